"""What a derivative is worth beside its index: the process of the fair basis, the mark price and the funding rate.

The fair price of a contract is index × (1 + basis). For a perpetual the basis is a premium of its own:

    basis = slow + fast                                   two Ornstein-Uhlenbeck processes

for a dated future it is a carry that wears off with the time τ to expiry (in years), and noise that fades over the
last day, so that at expiry it is exactly 0 and the fair price is the index, to the tick:

    basis = (carry + slow) × τ + fast × min(1, τ ÷ one day)

One state, one random generator and one exact discretisation serve the simulated past (`path`) and the present
(`step`): a path is steps, so a seed gives the same basis however the time is cut into calls of equal instants.
Sizes were set by Binance's BTC perpetual of 2025, which traded below its index: funding of 0.004 % in 8 hours on
average, with a deviation as large, and one rate in seven at the interest itself.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market.book import UNIT
from market.contracts import FUTURE, NO_EXPIRY, SPOT, Contract
from market.kernel import njit

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

SECOND = 1_000_000
DAY = 86_400 * SECOND
YEAR = 365 * DAY
CARRY = 0.06
"""Mean annual carry of the dated futures."""
SLOW_HALF_LIFE, FAST_HALF_LIFE = 36 * 3600.0, 600.0
"""Seconds: sentiment lasts days, the push of single orders minutes."""
PREMIUM_SLOW, PREMIUM_FAST = 0.55e-4, 1.0e-4
"""Deviations of a perpetual's premium, as shares of the index."""
CARRY_SLOW, FUTURE_FAST = 0.02, 1.5e-4
"""Deviations of the annual carry, and of a future's noise as a share of the index."""
COMMON = 0.6
"""Correlation of the slow parts of two contracts: sentiment is shared."""
PREMIUM_MEAN = -4.75e-4

INTEREST = 0.0001
"""Interest part of the funding rate per 8 hours (Binance: 0.03 % a day)."""
CLAMP = 0.0005
MOST_FUNDING = 0.02
"""Cap of the funding rate, both ways; Binance's differs by contract (`fundingInfo`)."""

SLOW, FAST = 0, 1


class BasisProcess:
    """The fair basis of several contracts, from a seed; the clock only moves forwards."""

    def __init__(self, contracts: Sequence[Contract], seed: int, start: int) -> None:
        self._rng = np.random.Generator(np.random.PCG64([seed, 77]))
        self._expiry = np.array([c.expiry if c.expiry is not None else NO_EXPIRY for c in contracts], np.int64)
        self._kind = np.array([c.kind for c in contracts], np.int64)
        self._deviation = np.array([_deviations(c.kind) for c in contracts]).reshape(-1, 2)
        self._time = start
        self._state = self._rng.standard_normal((len(contracts), 2))

    def step(self, time: int) -> Floats:
        """[contracts]: the basis at `time` µs, as a share of the index; 0 for spot and from expiry on."""
        return self.path(np.array([time], np.int64))[:, 0]

    def path(self, times: Times) -> Floats:
        """[contracts, times]: the basis at rising instants (µs), none before the last one asked for."""
        normals = self._rng.standard_normal((len(times), len(self._kind) + 1, 2))
        out = np.empty((len(self._kind), len(times)))
        _walk(self._state, normals, times, self._time, self._kind, self._expiry, self._deviation, out)
        if len(times):
            self._time = int(times[-1])
        return out


def _deviations(kind: int) -> tuple[float, float]:
    if kind == SPOT:
        return 0.0, 0.0
    return (CARRY_SLOW, FUTURE_FAST) if kind == FUTURE else (PREMIUM_SLOW, PREMIUM_FAST)


@njit(cache=True, nogil=True)
def _walk(
    state: Any, normals: Any, times: Any, start: int, kinds: Any, expiries: Any, deviations: Any, out: Any
) -> None:
    """Exact steps of all processes; the state is in units of its own stationary deviation."""
    before = start
    for t in range(len(times)):
        seconds = max(0, times[t] - before) / SECOND
        before = times[t]
        keep_slow, keep_fast = 0.5 ** (seconds / SLOW_HALF_LIFE), 0.5 ** (seconds / FAST_HALF_LIFE)
        push_slow, push_fast = math.sqrt(1.0 - keep_slow**2), math.sqrt(1.0 - keep_fast**2)
        for k in range(len(kinds)):
            shock = math.sqrt(COMMON) * normals[t, -1, SLOW] + math.sqrt(1.0 - COMMON) * normals[t, k, SLOW]
            state[k, SLOW] = keep_slow * state[k, SLOW] + push_slow * shock
            state[k, FAST] = keep_fast * state[k, FAST] + push_fast * normals[t, k, FAST]
            slow, fast = deviations[k, SLOW] * state[k, SLOW], deviations[k, FAST] * state[k, FAST]
            if kinds[k] == SPOT:
                out[k, t] = 0.0
            elif kinds[k] == FUTURE:
                left = max(0, expiries[k] - times[t])
                out[k, t] = (CARRY + slow) * left / YEAR + fast * min(1.0, left / DAY)
            else:
                out[k, t] = PREMIUM_MEAN + slow + fast


def fair_ticks(index: float, basis: float, price_tick: float) -> int:
    """The fair price on the contract's grid; at a basis of 0 the index on the same grid."""
    return max(1, round(index * (1.0 + basis) / price_tick))


def mark_price(
    index: float, last: float, basis_average: float, funding_rate: float = 0.0, until_funding: float = 0.0
) -> float:
    """The mark price by Binance's formula ("Mark Price in USDⓈ-Margined Futures"), in quote.

    Median of the price by funding, the price by basis and the last trade of the contract:

        price 1 = index × (1 + last funding rate × share of the period until the next funding)
        price 2 = index + average of (mid of best bid and ask − index) over 5 minutes

    Args:
        index: the index price; of a dated future too, with a funding rate of 0.
        last: the last trade's price; NaN where there was none: then price 2 stands in.
        basis_average: in quote, the 5-minute average.
        until_funding: share of the funding period that is left, 0 to 1.
    """
    by_basis = index + basis_average
    prices = (index * (1.0 + funding_rate * until_funding), by_basis, by_basis if math.isnan(last) else last)
    return sorted(prices)[1]


def premium_index(index: float, impact_bid: float, impact_ask: float) -> float:
    """[max(0, impact bid − index) − max(0, index − impact ask)] ÷ index (Binance, "Funding Rates")."""
    return (max(0.0, impact_bid - index) - max(0.0, index - impact_ask)) / index


def funding_rate(premiums: Floats, most: float = MOST_FUNDING) -> float:
    """The rate of one period from its premium indices in order of time, rounded to 1e-8 (Binance, "Funding Rates").

    rate = P + clamp(interest − P, −0.05 %, 0.05 %), with P their mean weighted 1, 2, … n: the newest counts most.
    No premium at all gives the interest.
    """
    weights = np.arange(1, len(premiums) + 1)
    average = float(weights @ premiums / weights.sum()) if len(premiums) else 0.0
    rate = average + min(CLAMP, max(-CLAMP, INTEREST - average))
    return round(min(most, max(-most, rate)), 8)


class BasisAverage:
    """The average of the last five minutes of (mid − index), sampled by whoever calls `add`, per contract."""

    def __init__(self, contracts: int, window: int = 300 * SECOND) -> None:
        self._window = window
        self._samples: list[deque[tuple[int, int]]] = [deque() for _ in range(contracts)]
        self._sums = [0] * contracts

    def add(self, i: int, time: int, difference: float) -> float:
        """Count a sample (quote, kept to 1e-8 so that the running sum is exact) and return the average.

        Samples older than the window are forgotten.
        """
        samples, units = self._samples[i], round(difference * UNIT)
        samples.append((time, units))
        self._sums[i] += units
        while samples[0][0] <= time - self._window:
            self._sums[i] -= samples.popleft()[1]
        return self.value(i)

    def value(self, i: int) -> float:
        """The average in quote; 0 before the first sample."""
        return self._sums[i] / UNIT / len(self._samples[i]) if self._samples[i] else 0.0
