"""Measures against hand-worked cases and independent formulas."""

import math

import numpy as np
import pandas as pd
import pytest

from lake.errors import UsageError
from market import metrics

TRAP = [100, 99, 101, 100.5, 130, 90]


def test_drawdown_is_equity_over_its_running_peak() -> None:
    assert metrics.max_drawdown(TRAP) == pytest.approx(90 / 130 - 1)  # −30.8 %, not −133 %
    assert metrics.drawdown(TRAP) == pytest.approx([0, -0.01, 0, 100.5 / 101 - 1, 0, 90 / 130 - 1])
    assert metrics.max_drawdown([1, 2, 3]) == 0


def test_the_longest_drawdown_counts_periods_below_a_peak() -> None:
    assert metrics.longest_drawdown(TRAP) == 1
    assert metrics.longest_drawdown([10, 9, 8, 9, 10, 9]) == 3
    assert metrics.longest_drawdown([10, 9, 8, 7]) == 3  # not recovered: to the end
    assert metrics.longest_drawdown([1, 2, 3]) == 0


def test_returns_and_equity_are_inverse() -> None:
    returns = metrics.simple_returns(TRAP)
    assert returns[0] == pytest.approx(-0.01)
    assert metrics.equity_curve(returns, 100) == pytest.approx(TRAP)
    assert metrics.total_return(TRAP) == pytest.approx(-0.1)
    assert metrics.annual_return([1, 1.1], periods_per_year=2) == pytest.approx(0.21)


def test_sharpe_and_sortino_agree_with_hand_worked_ones() -> None:
    returns = [0.01, -0.02, 0.03, 0.0]
    mean, deviation = 0.005, math.sqrt((0.005**2 + 0.025**2 + 0.025**2 + 0.005**2) / 3)
    assert metrics.sharpe(returns) == pytest.approx(mean / deviation * math.sqrt(365))
    assert metrics.sortino(returns) == pytest.approx(mean / 0.01 * math.sqrt(365))  # √(0.02² / 4) = 0.01


def test_calmar_is_growth_over_depth() -> None:
    assert metrics.calmar([100, 50, 110], periods_per_year=2) == pytest.approx(0.1 / 0.5)


def test_hits_and_profits_leave_out_idle_periods() -> None:
    returns = [0.02, -0.01, 0.0, 0.02]
    assert metrics.hit_rate(returns) == pytest.approx(2 / 3)
    assert metrics.profit_factor(returns) == pytest.approx(4)


def test_turnover_counts_the_entry_and_exposure_averages() -> None:
    assert metrics.turnover([0.5, 0.5, 0, 1]) == pytest.approx(2.0)
    assert metrics.turnover([1, 1], start=1) == 0
    assert metrics.exposure([0.5, 0.5, 0, 1]) == pytest.approx(0.5)


def test_a_flat_strategy_measures_zero_everywhere() -> None:
    flat = metrics.Performance.of_returns(np.zeros(30)).to_dict()
    assert flat.pop("periods") == 30
    assert set(flat.values()) == {0.0}


def test_gains_without_a_loss_are_infinitely_profitable() -> None:
    gains = metrics.Performance.of_returns([0.01, 0.02])
    assert math.isinf(gains.profit_factor) and math.isinf(gains.sortino) and math.isinf(gains.calmar)
    assert gains.hit_rate == 1


def test_drawdowns_agree_with_pandas_on_random_walks() -> None:
    equity = metrics.equity_curve(np.random.default_rng(3).normal(0, 0.02, 500))
    series = pd.Series(equity)
    assert metrics.max_drawdown(equity) == pytest.approx((series / series.cummax() - 1).min())
    under = (series < series.cummax()).astype(int)
    assert metrics.longest_drawdown(equity) == under.groupby((under == 0).cumsum()).sum().max()


@pytest.mark.parametrize("bad", [[], [1.0, math.nan], [[1.0]]])
def test_bad_input_is_refused(bad: list[float]) -> None:
    with pytest.raises(UsageError):
        metrics.sharpe(bad)


def test_equity_that_reached_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="above zero"):
        metrics.max_drawdown([1, 0, 1])


def test_the_bootstrap_interval_of_a_constant_is_a_point() -> None:
    assert metrics.bootstrap_mean_interval([0.5] * 23, block=5) == pytest.approx((0.5, 0.5, 0.5))


def test_the_bootstrap_is_fixed_by_its_seed() -> None:
    series = np.random.default_rng(1).normal(size=100)
    assert metrics.bootstrap_mean_interval(series, seed=7) == metrics.bootstrap_mean_interval(series, seed=7)
    assert metrics.bootstrap_mean_interval(series, seed=7) != metrics.bootstrap_mean_interval(series, seed=8)


def test_a_block_of_one_gives_the_normal_interval_of_independent_values() -> None:
    series = np.random.default_rng(2).normal(0.3, 2.0, 400)
    low, mid, high = metrics.bootstrap_mean_interval(series, block=1, draws=20_000)
    half = 1.645 * series.std() / 20
    assert (low, mid, high) == pytest.approx((mid - half, series.mean(), mid + half), abs=0.03 * half)


def test_dependent_values_widen_the_interval() -> None:
    shocks = np.random.default_rng(4).normal(size=600)
    series = np.convolve(shocks, np.ones(10), "valid")
    narrow, wide = (metrics.bootstrap_mean_interval(series, block=b) for b in (1, 30))
    assert wide[2] - wide[0] > 2 * (narrow[2] - narrow[0])


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for seed in range(300):
        low, _, high = metrics.bootstrap_mean_interval(rng.normal(size=120), block=5, draws=600, seed=seed)
        hits += low <= 0 <= high
    assert 0.82 <= hits / 300 <= 0.95


def test_a_bootstrap_of_too_few_values_is_refused() -> None:
    with pytest.raises(UsageError):
        metrics.bootstrap_mean_interval([1.0] * 9, block=5)
    with pytest.raises(UsageError):
        metrics.bootstrap_mean_interval([1.0] * 9, block=1, level=1.0)
