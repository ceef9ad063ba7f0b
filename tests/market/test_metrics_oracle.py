"""Measures against empyrical, an independent package, over random records of many shapes."""

from collections.abc import Callable

import empyrical
import numpy as np
import pytest
from numpy.typing import NDArray

from market import metrics

Returns = NDArray[np.float64]
TRAP = [100, 99, 101, 100.5, 130, 90]
YEAR = metrics.DAYS_PER_YEAR

PAIRS: dict[str, tuple[Callable[[Returns], float], Callable[[Returns], float]]] = {
    "total return": (lambda r: metrics.total_return(metrics.equity_curve(r)), empyrical.cum_returns_final),
    "annual return": (
        lambda r: metrics.annual_return(metrics.equity_curve(r)),
        lambda r: empyrical.annual_return(r, annualization=YEAR),
    ),
    "sharpe": (metrics.sharpe, lambda r: empyrical.sharpe_ratio(r, annualization=YEAR)),
    "sortino": (metrics.sortino, lambda r: empyrical.sortino_ratio(r, annualization=YEAR)),
    "max drawdown": (lambda r: metrics.max_drawdown(metrics.equity_curve(r)), empyrical.max_drawdown),
    "calmar": (
        lambda r: metrics.calmar(metrics.equity_curve(r)),
        lambda r: empyrical.calmar_ratio(r, annualization=YEAR),
    ),
    "tail ratio": (metrics.tail_ratio, empyrical.tail_ratio),
}


def record(seed: int) -> Returns:
    """Daily returns, from calm to wild, from gaining to losing, with fat tails and idle days."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(30, 800))
    returns = 0.01 * rng.standard_t(3, size) * rng.uniform(0.2, 1.5) + rng.normal(0, 0.002)
    returns[rng.random(size) < 0.1] = 0.0
    return np.clip(returns, -0.5, 0.5)


@pytest.mark.parametrize("name", PAIRS)
def test_measures_agree_with_an_independent_package(name: str) -> None:
    ours, theirs = PAIRS[name]
    for seed in range(50):
        returns = record(seed)
        assert ours(returns) == pytest.approx(theirs(returns), rel=1e-9), f"seed {seed}"


def test_beta_and_correlation_agree_with_an_independent_package() -> None:
    for seed in range(50):
        market = record(seed)
        ours = 0.7 * market + 0.01 * np.random.default_rng(seed).standard_normal(len(market))
        assert metrics.beta(ours, market) == pytest.approx(empyrical.beta(ours, market), rel=1e-9)
        slope = metrics.correlation(ours, market) * ours.std() / market.std()
        assert slope == pytest.approx(empyrical.beta(ours, market), rel=1e-9)


def test_the_value_at_risk_lies_within_one_observation_of_the_interpolated_one() -> None:
    for seed in range(50):
        returns = np.sort(record(seed))
        at = np.searchsorted(returns, -metrics.value_at_risk(returns), side="right")
        assert returns[max(0, at - 2)] <= empyrical.value_at_risk(returns) <= returns[min(at, len(returns) - 1)]


def test_the_expected_shortfall_agrees_where_no_period_is_split() -> None:
    for seed in range(50):
        returns = np.random.default_rng(seed).permutation(record(seed))[:20]
        assert metrics.expected_shortfall(returns) == pytest.approx(-empyrical.conditional_value_at_risk(returns))


def test_drawdowns_agree_day_by_day_and_not_by_the_net_peak() -> None:
    theirs = empyrical.stats.drawdown_series(metrics.simple_returns(TRAP))
    assert metrics.drawdown(TRAP)[1:] == pytest.approx(theirs)
    net = np.asarray(TRAP) / TRAP[0] - 1.0
    by_net_peak = (net[-1] - net.max()) / net.max()
    assert by_net_peak == pytest.approx(-4 / 3)
    assert metrics.max_drawdown(TRAP) == pytest.approx(90 / 130 - 1)
