"""Measures of performance and risk. Every number a report shows comes from here.

Equity is wealth after each period (its first value is the start); returns are simple returns per period. Days are
365 to the year, as crypto trades on all of them. Empty input raises; a measure that nothing happened for is zero.
"""

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lake.errors import UsageError

Floats = NDArray[np.float64]

DAYS_PER_YEAR = 365.0


def _series(values: ArrayLike, what: str, at_least: int = 1) -> Floats:
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1 or len(series) < at_least or not np.isfinite(series).all():
        raise UsageError(f"{what}: expected at least {at_least} finite numbers in one row, found shape {series.shape}.")
    return series


def _equity(values: ArrayLike) -> Floats:
    equity = _series(values, "equity")
    if (equity <= 0).any():
        raise UsageError(f"equity: expected above zero throughout, found {equity.min()}.")
    return equity


def simple_returns(equity: ArrayLike) -> Floats:
    """Return of each period: one shorter than the equity."""
    wealth = _equity(equity)
    return np.asarray(wealth[1:] / wealth[:-1] - 1.0)


def equity_curve(returns: ArrayLike, start: float = 1.0) -> Floats:
    """Compound returns from `start`: one longer than the returns."""
    return np.asarray(start * np.concatenate(([1.0], np.cumprod(1.0 + _series(returns, "returns")))))


def total_return(equity: ArrayLike) -> float:
    """Last equity over first, minus one."""
    wealth = _equity(equity)
    return float(wealth[-1] / wealth[0] - 1.0)


def annual_return(equity: ArrayLike, periods_per_year: float = DAYS_PER_YEAR) -> float:
    """Compound growth a year."""
    wealth = _equity(equity)
    if len(wealth) < 2:
        return 0.0
    return float((wealth[-1] / wealth[0]) ** (periods_per_year / (len(wealth) - 1)) - 1.0)


def sharpe(returns: ArrayLike, periods_per_year: float = DAYS_PER_YEAR) -> float:
    """Mean over sample deviation, annualised, no risk-free rate; zero where returns do not vary."""
    series = _series(returns, "returns")
    if len(series) < 2 or np.ptp(series) == 0.0:
        return 0.0
    return float(series.mean() / series.std(ddof=1) * math.sqrt(periods_per_year))


def sortino(returns: ArrayLike, periods_per_year: float = DAYS_PER_YEAR) -> float:
    """Mean over downside deviation (root mean square of the losses over all periods), annualised.

    Infinite when there are gains and no loss; zero when there is neither.
    """
    series = _series(returns, "returns")
    downside = math.sqrt(float(np.mean(np.minimum(series, 0.0) ** 2)))
    if downside == 0.0:
        return math.inf if (series > 0).any() else 0.0
    return float(series.mean() / downside * math.sqrt(periods_per_year))


def drawdown(equity: ArrayLike) -> Floats:
    """Equity over its running peak, minus one: zero at a peak, never positive, never below −1."""
    wealth = _equity(equity)
    return np.asarray(wealth / np.maximum.accumulate(wealth) - 1.0)


def max_drawdown(equity: ArrayLike) -> float:
    """The deepest drawdown, as a negative fraction."""
    return float(drawdown(equity).min())


def longest_drawdown(equity: ArrayLike) -> int:
    """Most consecutive periods spent below an earlier peak."""
    at_peak = np.flatnonzero(drawdown(equity) == 0.0)
    return int(np.diff(np.append(at_peak, len(np.asarray(equity)))).max() - 1)


def calmar(equity: ArrayLike, periods_per_year: float = DAYS_PER_YEAR) -> float:
    """Annual return over the depth of the maximum drawdown; infinite for gains without a drawdown."""
    depth, growth = -max_drawdown(equity), annual_return(equity, periods_per_year)
    if depth == 0.0:
        return math.inf if growth > 0 else 0.0
    return growth / depth


def hit_rate(returns: ArrayLike) -> float:
    """Share of gains among the periods with a gain or a loss."""
    series = _series(returns, "returns")
    moved = int(np.count_nonzero(series))
    return float(np.count_nonzero(series > 0) / moved) if moved else 0.0


def profit_factor(returns: ArrayLike) -> float:
    """Sum of gains over sum of losses; infinite for gains without a loss."""
    series = _series(returns, "returns")
    gains, losses = float(series[series > 0].sum()), float(-series[series < 0].sum())
    if losses == 0.0:
        return math.inf if gains > 0 else 0.0
    return gains / losses


def turnover(weights: ArrayLike, start: float = 0.0) -> float:
    """Sum of absolute changes of weight, the entry from `start` included; two is one round trip of the whole."""
    return float(np.abs(np.diff(_series(weights, "weights"), prepend=start)).sum())


def exposure(weights: ArrayLike) -> float:
    """Mean absolute weight."""
    return float(np.abs(_series(weights, "weights")).mean())


def value_at_risk(returns: ArrayLike, level: float = 0.95) -> float:
    """Historical value at risk: the loss, as a positive fraction, that a share `level` of the periods did not exceed.

    An observed return, never interpolated; negative where even that period gained.
    """
    series = _series(returns, "returns")
    return float(-np.quantile(series, 1.0 - _share(level), method="inverted_cdf"))


def expected_shortfall(returns: ArrayLike, level: float = 0.95) -> float:
    """Mean loss of the worst share 1 − `level` of the periods (Acerbi & Tasche 2002).

    The period on the boundary counts by the fraction that belongs to the tail; so it is never below the value at risk.
    """
    series = np.sort(_series(returns, "returns"))
    tail = len(series) * (1.0 - _share(level))
    whole = min(int(tail), len(series) - 1)
    return float(-(series[:whole].sum() + (tail - whole) * series[whole]) / tail)


def _share(level: float) -> float:
    if not 0 < level < 1:
        raise UsageError(f"level: expected within (0, 1), found {level}.")
    return level


def tail_ratio(returns: ArrayLike, level: float = 0.95) -> float:
    """Upper `level` quantile over the depth of the lower one: above one, large gains outweigh large losses.

    Infinite when that share of the periods never lost; zero when nothing happened.
    """
    low, high = np.quantile(_series(returns, "returns"), (1.0 - _share(level), level))
    if low >= 0.0:
        return math.inf if high > 0 else 0.0
    return float(high / -low)


def skewness(returns: ArrayLike) -> float:
    """Third standardised moment of the sample, not corrected for its size; zero where returns do not vary."""
    return _moment(_series(returns, "returns"), 3, 0.0)


def kurtosis(returns: ArrayLike) -> float:
    """Fourth standardised moment, 3 for a normal distribution (not the excess), not corrected for the sample's size."""
    return _moment(_series(returns, "returns"), 4, 3.0)


def _moment(series: Floats, order: int, still: float) -> float:
    if np.ptp(series) == 0.0:
        return still
    return float(np.mean(((series - series.mean()) / series.std()) ** order))


def correlation(returns: ArrayLike, reference: ArrayLike) -> float:
    """Pearson's correlation with a reference's returns of the same periods; zero where either does not vary."""
    ours, theirs = _pair(returns, reference)
    if np.ptp(ours) == 0.0 or np.ptp(theirs) == 0.0:
        return 0.0
    return float(np.clip(np.corrcoef(ours, theirs)[0, 1], -1.0, 1.0))


def beta(returns: ArrayLike, reference: ArrayLike) -> float:
    """Slope of the returns on a reference's; zero where the reference does not vary."""
    ours, theirs = _pair(returns, reference)
    if np.ptp(theirs) == 0.0:
        return 0.0
    return float(np.cov(ours, theirs)[0, 1] / theirs.var(ddof=1))


def _pair(returns: ArrayLike, reference: ArrayLike) -> tuple[Floats, Floats]:
    ours, theirs = _series(returns, "returns", 2), _series(reference, "reference", 2)
    if len(ours) != len(theirs):
        raise UsageError(f"reference: expected {len(ours)} returns of the same periods, found {len(theirs)}.")
    return ours, theirs


@dataclass(frozen=True, slots=True)
class Performance:
    """The measures of one equity curve, as the gate, MLflow and the report show them."""

    total_return: float
    annual_return: float
    sharpe: float
    sortino: float
    calmar: float
    max_drawdown: float
    longest_drawdown: int
    """Periods."""
    hit_rate: float
    profit_factor: float
    periods: int

    @classmethod
    def of_returns(cls, returns: ArrayLike, periods_per_year: float = DAYS_PER_YEAR) -> "Performance":
        """Measure a series of simple returns per period."""
        series = _series(returns, "returns")
        equity = equity_curve(series)
        return cls(
            total_return=total_return(equity),
            annual_return=annual_return(equity, periods_per_year),
            sharpe=sharpe(series, periods_per_year),
            sortino=sortino(series, periods_per_year),
            calmar=calmar(equity, periods_per_year),
            max_drawdown=max_drawdown(equity),
            longest_drawdown=longest_drawdown(equity),
            hit_rate=hit_rate(series),
            profit_factor=profit_factor(series),
            periods=len(series),
        )

    def to_dict(self) -> dict[str, float]:
        """Names and numbers; infinities stay (strict JSON needs them replaced)."""
        return asdict(self)


def bootstrap_mean_interval(
    differences: ArrayLike, block: int = 5, draws: int = 5_000, level: float = 0.9, seed: int = 0
) -> tuple[float, float, float]:
    """Interval for the mean of a dependent series by the circular block bootstrap (Politis & Romano 1992).

    Each draw joins blocks of `block` consecutive values, started anywhere and wrapped at the end, to the series' own
    length, the last block cut; so days that hang together stay together. A difference counts when `low` is above 0.

    Returns:
        The lower quantile of the draws' means, the mean observed, the upper quantile; `level` lies between.

    Raises:
        UsageError: fewer values than two blocks, or a level outside (0, 1).
    """
    if block < 1 or draws < 1 or not 0 < level < 1:
        raise UsageError(f"bootstrap: expected block, draws ≥ 1 and level in (0, 1), found {block}, {draws}, {level}.")
    series = _series(differences, "differences", at_least=2 * block)
    n = len(series)
    whole, rest = divmod(n, block)
    sums = np.concatenate(([0.0], np.cumsum(np.concatenate((series, series[:block])))))
    starts = np.random.default_rng(seed).integers(0, n, (draws, whole + 1))
    totals = (sums[starts[:, :whole] + block] - sums[starts[:, :whole]]).sum(axis=1)
    totals += sums[starts[:, whole] + rest] - sums[starts[:, whole]]
    low, high = np.quantile(totals / n, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(series.mean()), float(high)
