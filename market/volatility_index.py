"""The volatility of one coin's bars: realised, implied by our surface, and its index (DVOL), now and in the past."""

import math
from functools import cached_property

import numpy as np

from lake.intervals import DAY, HOUR, MINUTE
from market.candles import CLOSE, Candles
from market.options import YEAR_US, Floats, Surface, faded_mean, variance_swap

SHORT_HALF_LIFE, LONG_HALF_LIFE = 1 * DAY, 45 * DAY
"""Memory of the realised variances that the surface's ends follow."""
RISK_PREMIUM = 1.15
"""Implied over realised volatility."""
FIRST_VARIANCE, LEAST_VARIANCE = 0.5**2, 0.05**2
"""Realised variance a year before anything is known, and the least that is implied."""
DVOL_YEARS = 30 / 365
MINUTES_A_YEAR = YEAR_US / MINUTE


class VolatilityPast:
    """Follows row `i` of the candles: every closed minute is read once."""

    def __init__(self, candles: Candles, i: int) -> None:
        self._candles, self._i = candles, i
        self._variances = np.empty((2, 0))
        self._ends = (FIRST_VARIANCE, FIRST_VARIANCE)

    def variances(self) -> Floats:
        """[2, minutes]: the surface's ends (now, long) after every closed minute."""
        closed = self._candles.minutes - 1
        done = self._variances.shape[1]
        if done < closed:
            closes = self._candles.bars[self._i, max(0, done - 1) : closed, CLOSE].astype(float)
            squares = np.diff(np.log(closes)) ** 2 * MINUTES_A_YEAR
            if done == 0:  # the first bar's return is unknown
                squares = np.concatenate(([FIRST_VARIANCE], squares))
            fresh = np.stack([
                faded_mean(squares, 0.5 ** (MINUTE / life), end)
                for life, end in zip((SHORT_HALF_LIFE, LONG_HALF_LIFE), self._ends, strict=True)
            ])  # fmt: skip
            self._ends = (float(fresh[0, -1]), float(fresh[1, -1]))
            implied = np.maximum(fresh * RISK_PREMIUM**2, LEAST_VARIANCE)
            self._variances = np.concatenate((self._variances, implied), axis=1)
        return self._variances

    def surface(self) -> Surface:
        """Of this minute."""
        variances = self.variances()
        now, long = variances[:, -1] if variances.shape[1] else self._ends
        return Surface(float(now), float(long))

    @cached_property
    def _swap_table(self) -> tuple[Floats, Floats]:
        """Total variances at the money and what a strip of options over them is worth."""
        theta = np.geomspace(1e-4, 1.0, 60)
        some = Surface(1.0, 1.0)
        return theta, variance_swap(theta, some.rho, some.eta)

    def dvol(self, start: int, end: int, resolution: int) -> list[list[float]]:
        """DVOL candles [ms, open, high, low, close] of `resolution` µs that open from `start` to `end` (µs).

        The index is the volatility, in percent a year, that a strip of all 30-day options replicates.
        """
        variances = self.variances()
        first = -(-max(start, self._candles.start) // resolution) * resolution
        step = resolution // MINUTE
        rows = []
        for opened in range(first, end + 1, resolution):
            at = (opened - self._candles.start) // MINUTE
            part = variances[:, at : at + step]
            if part.shape[1] == 0:
                break
            level = self._dvol_of(part)
            rows.append(
                [opened // 1000, *(round(float(v), 2) for v in (level[0], level.max(), level.min(), level[-1]))]
            )
        return rows

    def _dvol_of(self, variances: Floats) -> Floats:
        kappa, years = Surface(1.0, 1.0).reversion, DVOL_YEARS
        faded = -math.expm1(-kappa * years) / kappa
        theta = variances[1] * years + (variances[0] - variances[1]) * faded
        return 100 * np.sqrt(np.interp(theta, *self._swap_table) / years)

    def realised(self, days: int = 15) -> list[list[float]]:
        """Hourly [ms, percent a year]: volatility of the hourly returns of the last `days` days, over the last two
        weeks of hours, as `get_historical_volatility` gives it."""
        closed = self._candles.minutes - 1
        ends = np.arange(59, closed, 60)
        logs = np.log(self._candles.bars[self._i, ends, CLOSE].astype(float))
        returns, window = np.diff(logs), days * 24
        if len(returns) < window:
            return []
        deviation = np.lib.stride_tricks.sliding_window_view(returns, window)[-384:].std(axis=1, ddof=1)
        times = self._candles.start + (ends[-len(deviation) :] + 1) * MINUTE
        return [
            [int(time) // 1000, round(float(value), 6)]
            for time, value in zip(times, deviation * math.sqrt(YEAR_US / HOUR) * 100, strict=True)
        ]
