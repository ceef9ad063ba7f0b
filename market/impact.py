"""Market impact: what taking liquidity does to the price we get, at once and afterwards. Compiled.

At once, the temporary part: I = Y σ √(Q / V), with σ and V the daily volatility and volume and Y about 1 (Tóth et al.
2011, Phys. Rev. X 1, 021006). On a recorded book it is the book itself that is walked, so the formula is used only for
what comes afterwards; on bars and trades it is paid on every fill that takes.

Afterwards, the permanent part: a share of I stays in the price and relaxes with a half-life (infinite: for good;
Bouchaud et al. 2004, Quantitative Finance 4, 176, find a slow decay to about two thirds). The recorded prices do not
know of it, so it is charged where it hurts: whoever goes on buying pays it, whoever turns round gets nothing for it. A
round trip therefore never earns from its own impact.
"""

import math
from typing import Any

import numpy as np

from lake.intervals import DAY
from market.desk import SEEN, SHIFT, SHIFT_TIME, VARIANCE, VOLUME
from market.kernel import njit


@njit(cache=True, nogil=True)
def square_root(factor: float, volatility: float, quantity: float, volume: float) -> float:
    """Y σ √(Q / V) as a fraction of the price; 0 where no volume is known."""
    if factor == 0.0 or volume <= 0.0:
        return 0.0
    return float(factor * volatility * np.sqrt(quantity / volume))


@njit(cache=True, nogil=True)
def relaxed(shift: float, elapsed: float, half_life: float) -> float:
    """What is left of a shift after some time (same unit as the half-life)."""
    return float(shift * 0.5 ** (elapsed / half_life)) if half_life < math.inf else shift


@njit(cache=True, nogil=True)
def of_order(flow: Any, j: int, lots: float, factor: float, step: float) -> float:
    """Impact of taking `lots`, by what was seen since the run began at steps of `step` µs."""
    row = flow[j]
    if row[SEEN] < 1.0:
        return 0.0
    per_day = DAY / step
    return square_root(factor, np.sqrt(row[VARIANCE] / row[SEEN] * per_day), lots, row[VOLUME] / row[SEEN] * per_day)


@njit(cache=True, nogil=True)
def shift_against(flow: Any, j: int, sign: float, time: int, half_life: float) -> float:
    """The fraction our earlier orders have moved the price against one of this sign; never below zero."""
    row = flow[j]
    row[SHIFT] = relaxed(row[SHIFT], time - row[SHIFT_TIME], half_life)
    row[SHIFT_TIME] = time
    return float(max(sign * row[SHIFT], 0.0))


@njit(cache=True, nogil=True)
def push(flow: Any, j: int, fraction: float) -> None:
    """Remember a signed permanent part."""
    flow[j, SHIFT] += fraction
