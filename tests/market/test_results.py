"""Measures of runs, round trips and the critique: hand cases, identities, and strategies with known flaws."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from bar_worlds import FREE, bars_of, random_bars

from lake.intervals import MINUTE
from market import execution as x
from market import round_trips as rt
from market.backtest import runner
from market.bars import Bars
from market.critique import Critique, criticise, look_ahead
from market.results import buy_and_hold, measure, periods
from market.round_trips import round_trips
from market.simulation import follow_weights
from market.strategy import BarArrays, WeightStrategy

COSTLY = replace(FREE, fee_bps=5.0, slippage_bps=1.0)


def fills_of(*rows: tuple[int, float, float, float]) -> np.ndarray:
    """Bar, signed quantity, price, fee."""
    fills = np.zeros((len(rows), x.FILL_FIELDS))
    for fill, (bar, quantity, price, fee) in zip(fills, rows, strict=True):
        fill[[x.FILL_BAR, x.FILL_QUANTITY, x.FILL_PRICE, x.FILL_FEE]] = bar, quantity, price, fee
    return fills


BARS = bars_of([(100, 101, 99, 100)] * 9 + [(100, 131, 99, 130)])


def test_a_round_trip_goes_from_flat_to_flat_at_mean_prices() -> None:
    trips = round_trips(fills_of((1, 1, 100, 1), (2, 3, 104, 2), (5, -4, 110, 3)), BARS)
    assert len(trips) == 1
    trip = trips[0]
    assert trip[[rt.ENTRY_BAR, rt.EXIT_BAR, rt.QUANTITY]].tolist() == [1, 5, 4]
    assert trip[[rt.ENTRY_PRICE, rt.EXIT_PRICE]].tolist() == [103, 110]
    assert trip[[rt.PNL, rt.FEES]].tolist() == [4 * 7 - 6, 6]


def test_a_fill_that_turns_a_position_ends_one_trip_and_opens_another() -> None:
    trips = round_trips(fills_of((1, 2, 100, 0), (3, -3, 110, 3), (4, 1, 105, 0)), BARS)
    assert trips[:, rt.PNL].tolist() == [2 * 10 - 2, 5 - 1]
    assert trips[:, rt.QUANTITY].tolist() == [2, -1]


def test_an_open_position_is_marked_at_the_last_close() -> None:
    trips = round_trips(fills_of((1, 2, 100, 1)), BARS)
    assert trips[0, [rt.EXIT_BAR, rt.EXIT_PRICE, rt.PNL]].tolist() == [-1, 130, 59]


def test_round_trips_add_up_to_the_profit() -> None:
    bars = random_bars(3000, k=3)
    weights = np.random.default_rng(2).choice([-0.3, 0.0, 0.3, np.nan], (3000, 3), p=[0.1, 0.1, 0.1, 0.7])
    run = follow_weights(weights, bars, replace(COSTLY, shorts=True))
    results = measure(run, draws=0)
    assert results.trips[:, rt.PNL].sum() == pytest.approx(results.measures["pnl"])
    assert results.trips[:, rt.FEES].sum() == pytest.approx(results.measures["fees"])
    assert results.trips[:, rt.COSTS].sum() == pytest.approx(results.measures["slippage"])


def test_measures_of_holding_are_those_of_the_market() -> None:
    bars = random_bars(100 * 288, volatility=0.001)
    results = measure(follow_weights(np.ones((len(bars.open_time), 1)), bars, FREE), draws=50)
    assert results.periods.length == 24 * 60 * MINUTE and len(results.periods.rows) == 100
    assert results.measures["correlation_buy_and_hold"] == pytest.approx(1, abs=1e-4)
    assert results.measures["beta_buy_and_hold"] == pytest.approx(1, abs=1e-3)
    assert results.measures["exposure"] == pytest.approx(1, abs=1e-3)
    assert results.measures["turnover_per_day"] == pytest.approx(1 / 100, rel=0.01)
    held = bars.values[-1, 0, x.CLOSE] / bars.values[1, 0, x.OPEN]
    assert results.measures["total_return"] == pytest.approx(held - 1)
    assert results.run.equity[-1] / 10_000 == pytest.approx(held)


def test_returns_of_the_periods_compound_to_the_whole() -> None:
    bars = random_bars(5000)
    run = follow_weights(np.where(np.arange(5000) % 50 < 25, 1.0, 0.0)[:, None].copy(), bars, COSTLY)
    summed = periods(run, {"held": buy_and_hold(run)})
    assert np.prod(1 + summed.returns) == pytest.approx(run.equity[-1] / 10_000)
    assert summed.columns[-1] == "held"
    notional = np.abs(run.fills[:, x.FILL_QUANTITY]) * run.fills[:, x.FILL_PRICE]
    per_bar = notional / run.equity[run.fills[:, x.FILL_BAR].astype(int)]
    assert summed.rows[:, 2].sum() == pytest.approx(per_bar.sum())


def test_slippage_is_what_was_asked_for() -> None:
    bars = random_bars(2000)
    weights = np.where(np.arange(2000) % 50 < 25, 1.0, 0.0)[:, None].copy()
    measures = measure(follow_weights(weights, bars, replace(FREE, slippage_bps=7)), draws=0).measures
    assert measures["average_slippage_bps"] == pytest.approx(7, rel=0.01)
    assert measures["latency_seconds"] == 0


def test_every_interval_holds_a_measure_and_most_hold_its_value() -> None:
    bars = random_bars(90 * 288, k=2)
    weights = np.random.default_rng(1).choice([0.0, 0.5, np.nan], bars.values.shape[:2], p=[0.01, 0.01, 0.98])
    results = measure(follow_weights(weights, bars, COSTLY), {"a": bars.last_closes()[:, 0]}, draws=300)
    assert {"sharpe", "max_drawdown", "value_at_risk_95", "turnover_per_day", "hit_rate", "profit_factor",
            "correlation_a", "average_slippage_bps"} <= set(results.intervals) <= set(results.measures)  # fmt: skip
    inside = [low <= results.measures[name] <= high for name, (low, high) in results.intervals.items()]
    assert np.mean(inside) > 0.85
    assert all(low <= high for low, high in results.intervals.values())


def test_a_run_without_a_trade_measures_zero() -> None:
    results = measure(follow_weights(np.zeros((500, 1)), random_bars(500), COSTLY))
    assert results.measures["total_return"] == results.measures["sharpe"] == results.measures["round_trips"] == 0
    assert results.measures["hit_rate"] == 0


@dataclass
class Peeking(WeightStrategy):
    """Sees the next close."""

    @property
    def memory(self) -> int:
        return 2

    def weights(self, bars: BarArrays) -> np.ndarray:
        return np.append((bars.close[1:] > bars.close[:-1]).astype(float), 0.0)


@dataclass
class Normalised(WeightStrategy):
    """Scales by the deviation of the whole file: the commonest leak of all."""

    @property
    def memory(self) -> int:
        return 50

    def weights(self, bars: BarArrays) -> np.ndarray:
        return np.asarray((bars.close - bars.close.mean()) / (bars.close.std() + 1e-9) > 0, float)


@dataclass
class Coin(WeightStrategy):
    """Honest and worthless."""

    seed: int = 1

    @property
    def memory(self) -> int:
        return 1

    def weights(self, bars: BarArrays) -> np.ndarray:
        return (bars.open_time // (300 * MINUTE) * 2654435761 * self.seed >> 7) % 2 * 1.0


def judged(strategy: WeightStrategy, bars: Bars, **changes: float) -> tuple[Critique, dict[str, str]]:
    rerun = runner(lambda: strategy, bars)
    critique = criticise(strategy, measure(rerun(replace(COSTLY, **changes)), draws=100), rerun)
    return critique, {finding.name: finding.verdict for finding in critique.findings}


def test_a_strategy_that_sees_the_future_is_caught() -> None:
    bars = random_bars(3000)
    _, verdicts = judged(Peeking(), bars)
    assert verdicts["look-ahead"] == "fault"
    assert {finding.name: finding.verdict for finding in look_ahead(Normalised(), bars)}["memory"] == "fault"
    assert judged(Normalised(), bars)[0].findings[0].verdict == "fault"  # faults come first


def test_a_worthless_strategy_is_found_worthless() -> None:
    bars = random_bars(40 * 288)
    critique, verdicts = judged(Coin(), bars)
    assert verdicts["look-ahead"] == verdicts["memory"] == verdicts["too few trades"] == "ok"
    assert verdicts["significance"] == verdicts["short sample"] == "warning"
    assert [v.name for v in critique.variants] == ["costs ×0", "costs ×0.5", "as run", "costs ×2", "one bar later"]
    returns = [variant.total_return for variant in critique.variants[:4]]
    assert returns == sorted(returns, reverse=True)


def test_the_capacity_curve_falls_with_capital() -> None:
    bars = random_bars(40 * 288)
    critique, _ = judged(Coin(), bars, impact=1.0)
    returns = [variant.annual_return for variant in critique.capacity]
    assert returns == sorted(returns, reverse=True)
    assert critique.to_dict()["capacity"][0]["capital"] == 10_000


def test_one_lucky_trade_is_named() -> None:
    closes = np.full(4000, 100.0)
    closes[2000:] = 300.0
    rows = [(c, c * 1.001, c * 0.999, c) for c in closes]
    rows[2000] = (100, 301, 100, 300)
    bars = bars_of(rows)
    assert judged(Coin(), bars)[1]["one lucky trade"] == "warning"
    few: Callable[[], WeightStrategy] = lambda: Coin(seed=0)  # noqa: E731
    assert judged(few(), bars)[1]["too few trades"] == "warning"
