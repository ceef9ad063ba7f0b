"""How much of a measured performance is luck: intervals by the block bootstrap, probabilistic and deflated Sharpe.

Sharpe ratios here are per period, not annualised, as in the papers:

    D. H. Bailey, M. López de Prado (2012): The Sharpe Ratio Efficient Frontier. Journal of Risk 15(2), 3–44.
    D. H. Bailey, M. López de Prado (2014): The Deflated Sharpe Ratio. Journal of Portfolio Management 40(5), 94–107.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from lake.errors import UsageError
from market.metrics import Floats, kurtosis, sharpe, skewness

EULER_MASCHERONI = 0.5772156649015329
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class SharpeSample:
    """What the tests need to know of a track record."""

    sharpe: float
    """Per period."""
    periods: int
    skewness: float = 0.0
    kurtosis: float = 3.0
    """Not the excess: 3 for a normal distribution."""

    def __post_init__(self) -> None:
        if self.periods < 2:
            raise UsageError(f"Sharpe ratio: expected at least 2 periods, found {self.periods}.")

    @classmethod
    def of_returns(cls, returns: ArrayLike) -> "SharpeSample":
        series = np.asarray(returns, dtype=np.float64)
        return cls(sharpe(series, 1.0), len(series), skewness(series), kurtosis(series))

    @property
    def variance(self) -> float:
        """Of the estimate, by its asymptotic distribution (2012), without the 1/(n − 1)."""
        return 1.0 - self.skewness * self.sharpe + (self.kurtosis - 1.0) / 4.0 * self.sharpe**2


def probabilistic_sharpe(sample: SharpeSample, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio is above `benchmark`, per period (2012)."""
    if sample.variance <= 0.0:
        return float(sample.sharpe > benchmark)
    return _NORMAL.cdf((sample.sharpe - benchmark) * math.sqrt((sample.periods - 1) / sample.variance))


def minimum_track_record(sample: SharpeSample, benchmark: float = 0.0, confidence: float = 0.95) -> float:
    """Periods a record with these moments needs before its Sharpe ratio is above `benchmark` with `confidence`.

    (2012.) Infinite where the ratio does not exceed the benchmark.
    """
    if sample.sharpe <= benchmark:
        return math.inf
    return 1.0 + max(sample.variance, 0.0) * (_NORMAL.inv_cdf(confidence) / (sample.sharpe - benchmark)) ** 2


def expected_maximum_sharpe(trials: int, deviation: float) -> float:
    """Best Sharpe ratio to expect of so many worthless trials whose ratios have this deviation (2014)."""
    if trials < 1:
        raise UsageError(f"trials: expected at least 1, found {trials}.")
    if trials == 1:
        return 0.0
    high, higher = _NORMAL.inv_cdf(1.0 - 1.0 / trials), _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return deviation * ((1.0 - EULER_MASCHERONI) * high + EULER_MASCHERONI * higher)


def deflated_sharpe(sample: SharpeSample, trials: int, deviation: float | None = None) -> float:
    """Probability that the true Sharpe ratio is above zero, given that the best of `trials` was picked (2014).

    Args:
        trials: independent variants tried, this one included.
        deviation: standard deviation of the trials' Sharpe ratios, per period. Unknown, it is taken as the error of a
            worthless one's estimate, 1/√(n − 1): then the trials are assumed to differ by chance alone.
    """
    spread = 1.0 / math.sqrt(sample.periods - 1) if deviation is None else deviation
    return probabilistic_sharpe(sample, expected_maximum_sharpe(trials, spread))


def block_length(periods: int) -> int:
    """The rule of thumb for a mean's bootstrap: the cube root of the length (Hall, Horowitz & Jing 1995)."""
    return max(1, round(periods ** (1.0 / 3.0)))


def bootstrap_intervals(
    returns: ArrayLike,
    measures: Callable[[Floats], Mapping[str, float]],
    block: int | None = None,
    draws: int = 1_000,
    level: float = 0.9,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Intervals of any measures of a dependent series by the circular block bootstrap (Politis & Romano 1992).

    Each draw joins blocks of consecutive returns, started anywhere and wrapped at the end, to the series' own length
    and measures that. Measures that depend on the order across blocks (drawdowns) are intervals for such a market
    met again, not errors of an estimate. Returns may be rows of several columns, which then stay together.

    Returns:
        For each name the lower and upper quantile of the draws, `level` between them; drawn values, not interpolated.

    Raises:
        UsageError: fewer returns than two blocks, or a level outside (0, 1).
    """
    series = np.asarray(returns, dtype=np.float64)
    length = block_length(len(series)) if block is None else block
    if length < 1 or draws < 1 or not 0 < level < 1 or len(series) < 2 * length:
        raise UsageError(
            f"bootstrap: expected draws ≥ 1, level in (0, 1) and two blocks of ≥ 1 returns, found {draws} draws, "
            f"level {level}, {len(series)} returns, blocks of {length}."
        )
    rng = np.random.default_rng(seed)
    blocks = -(-len(series) // length)
    drawn: dict[str, list[float]] = {}
    for _ in range(draws):
        starts = rng.integers(0, len(series), blocks)
        at = (starts[:, None] + np.arange(length)).ravel()[: len(series)] % len(series)
        for name, value in measures(series[at]).items():
            drawn.setdefault(name, []).append(value)
    tails = ((1 - level) / 2, (1 + level) / 2)
    quantiles = {name: np.quantile(values, tails, method="inverted_cdf") for name, values in drawn.items()}
    return {name: (float(low), float(high)) for name, (low, high) in quantiles.items()}
