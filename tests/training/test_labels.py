"""Labels never use a price that could not have been had."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.intervals import MINUTE, SECOND
from training.labels import entry_lag, net_forward_returns

FIVE = 5 * MINUTE


def test_the_fill_is_the_first_open_after_the_decision_not_the_one_at_the_same_instant() -> None:
    assert entry_lag(FIVE, SECOND) == 2  # closes 00:05:00, decided 00:05:01, filled 00:10:00
    assert entry_lag(FIVE, 0) == 2  # decided as the next bar opens: that open has traded already
    assert entry_lag(FIVE, FIVE) == 3


@given(st.integers(0, 3 * FIVE))
def test_the_fill_opens_strictly_after_the_decision_and_never_a_whole_bar_later_than_needed(delay: int) -> None:
    lag = entry_lag(FIVE, delay)
    decision = FIVE + delay  # the signal bar opens at zero
    assert lag * FIVE > decision
    assert (lag - 1) * FIVE <= decision


def test_a_label_is_the_return_from_open_to_open_less_a_round_trip() -> None:
    opens = np.array([100.0, 100.0, 100.0, 100.0, 102.0, 104.0])
    labels = net_forward_returns(opens, lag=2, horizon=2, cost_bps_per_side=5.0)
    assert labels[0] == pytest.approx(102.0 / 100.0 - 1.0 - 0.001)
    assert labels[1] == pytest.approx(104.0 / 100.0 - 1.0 - 0.001)
    assert np.isnan(labels[2:]).all()


def test_a_missing_bar_leaves_its_labels_empty() -> None:
    opens = np.array([100.0, 100.0, np.nan, 100.0, 100.0, 100.0])
    labels = net_forward_returns(opens, lag=1, horizon=1, cost_bps_per_side=5.0)
    assert np.isnan(labels).tolist() == [True, True, False, False, True, True]


@given(st.integers(1, 4), st.integers(1, 5), st.data())
def test_a_label_ignores_every_price_up_to_its_decision_and_after_its_exit(
    lag: int, horizon: int, data: st.DataObject
) -> None:
    opens = np.linspace(100.0, 130.0, 30)
    bar = data.draw(st.integers(0, 29 - lag - horizon))
    before = net_forward_returns(opens, lag, horizon, 5.0)[bar]
    changed = opens.copy()
    changed[: bar + lag] *= 3.0  # the past, the signal bar and all bars that opened before the decision
    changed[bar + lag + 1 : bar + lag + horizon] *= 5.0
    changed[bar + lag + horizon + 1 :] *= 7.0
    assert net_forward_returns(changed, lag, horizon, 5.0)[bar] == before


def test_a_label_on_the_signal_bar_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        net_forward_returns(np.ones(10), lag=0, horizon=12, cost_bps_per_side=5.0)
