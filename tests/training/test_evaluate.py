"""The evaluation against hand-written days and an independent loop."""

from dataclasses import replace

import numpy as np
import pytest
from simulated_markets import simulated_panel

from lake.intervals import DAY, MINUTE
from market.policy import PolicyParameters, target_weight
from training import evaluate
from training.panel import Panel

MONDAY = 1_672_617_600 * 1_000_000
ALL_IN = PolicyParameters(full_weight_return=1e-4, band=0.0, neutral_weight=0.0)


def plain_panel(opens: np.ndarray) -> Panel:
    times = MONDAY + np.arange(opens.shape[1], dtype=np.int64) * 5 * MINUTE
    names = tuple(f"binance:X{i}/USDT" for i in range(len(opens)))
    return Panel(names, ("a",), "5m", times, np.zeros((*opens.shape, 1)), opens)


def test_a_position_earns_from_the_fill_on_and_pays_on_both_sides() -> None:
    opens = np.full((1, 577), 100.0)
    opens[0, 12:] = 110.0
    opens[0, 22:] = 99.0
    panel = plain_panel(opens)
    predictions = np.full(opens.shape, -1.0)
    predictions[0, 9] = 1.0  # filled at bar 11, at 100; decided out at bar 10, filled at bar 12, at 110
    track = evaluate.simulate(panel, predictions, [ALL_IN], np.zeros(577, dtype=np.int64), 0, 576)
    assert track.days.tolist() == [MONDAY, MONDAY + DAY]
    assert track.returns[0] == pytest.approx(0.10 - 0.0005 * (1.0 + 1.1))
    assert track.turnover[0] == pytest.approx(2.1)
    assert track.returns[1] == 0.0


def test_a_decision_cannot_profit_from_the_move_it_was_made_in() -> None:
    """A jump between the signal bar's close and the first possible fill is lost, not earned."""
    opens = np.full((1, 289), 100.0)
    opens[0, 6:] = 120.0
    panel = plain_panel(opens)
    for decided, earned in ((3, True), (4, False), (5, False)):  # filled at 5, 6, 7
        predictions = np.full(opens.shape, np.nan)
        predictions[0, decided] = 1.0
        track = evaluate.simulate(panel, predictions, [ALL_IN], np.zeros(289, dtype=np.int64), 0, 288)
        assert bool(track.returns[0] > 0.1) is earned


def test_buy_and_hold_is_the_mean_of_the_moves_less_entry_and_exit() -> None:
    opens = np.vstack([np.linspace(100.0, 120.0, 577), np.linspace(100.0, 90.0, 577)])
    panel = plain_panel(opens)
    track = evaluate.buy_and_hold(panel, 0, 576)
    bought = opens[:, 2]
    wealth = float(np.mean(opens[:, 576] / bought))
    paid = 0.0005 * (1.0 + np.mean(opens[:, 575] / bought))
    assert np.prod(1.0 + track.returns) == pytest.approx(wealth - paid, rel=1e-12)
    assert (evaluate.flat(panel, 0, 576).returns == 0.0).all()


def test_a_missing_bar_is_held_through_and_not_traded() -> None:
    opens = np.full((1, 289), 100.0)
    opens[0, 20:23] = np.nan
    opens[0, 23:] = 105.0
    panel = plain_panel(opens)
    predictions = np.full(opens.shape, np.nan)
    predictions[0, 10], predictions[0, 18:21] = 1.0, -1.0  # out would fill at 20, 21, 22: not there
    track = evaluate.simulate(panel, predictions, [ALL_IN], np.zeros(289, dtype=np.int64), 0, 288)
    assert track.returns[0] == pytest.approx(0.05 - 0.0005)


def test_simulation_equals_a_plain_loop_over_cash_and_units() -> None:
    panel, signal = simulated_panel(61, days=4)
    predictions = signal - 0.001 + np.random.default_rng(1).normal(0, 1e-3, signal.shape)
    parameters = PolicyParameters(0.001)
    track = evaluate.simulate(panel, predictions, [parameters], np.zeros(1152, dtype=np.int64), 288, 1152)
    expected = np.zeros(3)
    for i in range(6):
        cash, units, wealth = 0.0, 0.0, 0.0
        for bar in range(288, 1152):
            price = panel.opens[i, bar]
            if bar >= 290:
                seen = units * panel.opens[i, bar - 1]
                wanted = target_weight(float(predictions[i, bar - 2]), seen, parameters, 0.0005)
                if wanted != seen:
                    traded = wanted / price - units
                    cash -= traded * price + 0.0005 * abs(traded) * price
                    units = wanted / price
            ahead = panel.opens[i, bar + 1] if bar + 1 < 1152 else price
            now = cash + units * ahead
            expected[(bar - 288) // 288] += (now - wealth) / 6
            wealth = now
    np.testing.assert_allclose(track.returns, expected, atol=1e-12)


def test_tracks_join_without_a_day_twice() -> None:
    panel, _ = simulated_panel(61, days=4)
    whole = evaluate.market(panel, 0, 1152)
    first, later = evaluate.market(panel, 0, 576), evaluate.market(panel, 288, 1152)
    assert len(first.days) == 2
    np.testing.assert_array_equal(whole.on(first.days).days, first.days)
    np.testing.assert_allclose(whole.since(int(later.days[0])).returns, later.returns)


def test_costs_are_felt() -> None:
    panel, signal = simulated_panel(62, days=4)
    predictions = signal + np.random.default_rng(1).normal(0, 5e-3, signal.shape)
    which = np.zeros(1152, dtype=np.int64)
    parameters = [PolicyParameters(0.001, 0.0)]
    cheap = evaluate.simulate(replace(panel, cost_bps_per_side=0.0), predictions, parameters, which, 0, 1152)
    dear = evaluate.simulate(panel, predictions, parameters, which, 0, 1152)
    lost = cheap.returns.sum() - dear.returns.sum()
    assert lost > 0.5 * 0.0005 * dear.turnover.sum()
