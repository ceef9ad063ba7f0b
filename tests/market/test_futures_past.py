"""The derivatives' past fits the spot pairs' past, and says nothing about the future."""

import numpy as np
import pytest

from lake.intervals import DAY, HOUR, MINUTE
from market.contracts import FUTURE, PERPETUAL
from market.futures_past import FUNDING_PERIOD, Past, derivative_contracts, joined, simulate_past
from market.scenario import History, Scenario, simulate_history

SHORT, LONG = (simulate_history(Scenario(4, days=days)) for days in (9, 12))


def _past(history: History) -> Past:
    return simulate_past(history, derivative_contracts(LONG), 4)


@pytest.fixture(scope="module")
def past() -> Past:
    return _past(LONG)


def test_every_coin_has_a_perpetual_and_the_largest_two_quarters(past: Past) -> None:
    kinds = [contract.kind for contract in past.contracts]
    assert kinds == [PERPETUAL] * 6 + [FUTURE] * 4
    assert all(contract.expiry is None or contract.expiry > LONG.state.time_us for contract in past.contracts)
    assert [past.contracts[k].venue_symbol for k in (0, 5)] == ["BTCUSDT", "ADAUSDT"]
    assert [past.spot_rows[k] for k in (0, 5, 6, 9)] == [0, 5, 0, 1]


def test_bars_are_bars_on_the_grid_near_their_index(past: Past) -> None:
    bars = past.history
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    assert (bars.trade_count >= 1).all()
    for k, contract in enumerate(past.contracts):
        ticks = bars.close[k] / float(contract.instrument.price_tick)
        lots = bars.volume[k] / float(contract.instrument.quantity_step)
        np.testing.assert_allclose(ticks, np.rint(ticks), atol=1e-6)
        np.testing.assert_allclose(lots, np.rint(lots), atol=1e-5)
        gap = np.abs(bars.close[k] / LONG.close[past.spot_rows[k]] - 1)
        years = 0 if contract.expiry is None else (contract.expiry - LONG.open_time[0]) / (365 * DAY)
        assert gap.max() < 0.004 + 0.15 * years
        value = bars.quote_volume[k] / bars.volume[k]
        assert ((value > bars.low[k] * 0.9999) & (value < bars.high[k] * 1.0001)).all()


def test_marks_stay_between_index_and_last_and_are_smoother(past: Past) -> None:
    for k in (0, 3, 6):
        index, last = LONG.close[past.spot_rows[k]], past.history.close[k]
        basis_of_mark, basis_of_last = past.marks[k] / index - 1, last / index - 1
        assert np.std(np.diff(basis_of_mark)) < np.std(np.diff(basis_of_last))
        assert np.abs(basis_of_mark - basis_of_last).max() < 0.003


def test_funding_is_paid_every_eight_hours_within_its_bounds(past: Past) -> None:
    for payments, contract in zip(past.funding, past.contracts, strict=True):
        if contract.kind == FUTURE:
            assert payments == []
            continue
        assert [p.time for p in payments] == list(
            range(int(LONG.open_time[0]) + FUNDING_PERIOD, LONG.state.time_us + 1, FUNDING_PERIOD)
        )
        assert all(abs(p.rate) <= 0.02 and p.rate == round(p.rate, 8) for p in payments)
    at = (past.funding[0][3].time - int(LONG.open_time[0])) // MINUTE - 1
    assert past.funding[0][3].mark == pytest.approx(past.history.close[0, at], rel=1e-3)


def test_a_rate_is_binances_formula_over_the_minutes_of_its_period(past: Past) -> None:
    """By hand from the bars: the close over the index is the basis, half a spread either side of it the impact."""
    half = past.processes[0].spread_bps * 0.5e-4
    minutes = 8 * HOUR // MINUTE
    basis = past.history.close[0, :minutes] / LONG.close[0, :minutes] - 1
    premiums = np.maximum(0, (1 + basis) * (1 - half) - 1) - np.maximum(0, 1 - (1 + basis) * (1 + half))
    weights = np.arange(1, minutes + 1)
    average = (weights * premiums).sum() / weights.sum()
    expected = average + min(0.0005, max(-0.0005, 0.0001 - average))
    assert past.funding[0][0].rate == pytest.approx(expected, abs=2e-6)


def test_a_longer_past_begins_with_the_shorter_one(past: Past) -> None:
    short = _past(SHORT)
    minutes = len(SHORT.open_time)
    np.testing.assert_array_equal(short.history.close, past.history.close[:, :minutes])
    np.testing.assert_array_equal(short.history.volume, past.history.volume[:, :minutes])
    np.testing.assert_array_equal(short.marks, past.marks[:, :minutes])
    assert past.funding[0][: len(short.funding[0])] == short.funding[0]
    samples = short.open_interest.shape[1]
    np.testing.assert_array_equal(short.open_interest[0], past.open_interest[0, :samples])


def test_open_interest_is_a_share_of_the_volume_and_moves_slowly(past: Past) -> None:
    for interest, process, contract in zip(past.open_interest, past.processes, past.contracts, strict=True):
        days = interest[-1] * float(contract.instrument.quantity_step) / (process.volume_per_minute * 1440)
        assert days == pytest.approx(0.25 if contract.kind == PERPETUAL else 1.0, rel=0.7)
        assert interest.min() > 0
        assert np.std(np.diff(np.log(interest))) < 0.02


def test_a_seed_gives_the_same_past_again_and_another_another(past: Past) -> None:
    np.testing.assert_array_equal(_past(LONG).history.volume, past.history.volume)
    assert not np.array_equal(simulate_past(LONG, past.contracts, 5).history.close, past.history.close)


def test_joined_keeps_the_spot_rows_first(past: Past) -> None:
    both = joined(LONG, past)
    assert both.instruments == (*LONG.instruments, *(contract.id for contract in past.contracts))
    np.testing.assert_array_equal(both.close[:6], LONG.close)
    np.testing.assert_array_equal(both.volume[6:], past.history.volume)
