"""Where a resting order stands in the queue of its price, when only the total at that price is recorded: compiled.

The lots ahead (`front`) fall by trades at the price, which is certain, and by cancellations, of which nobody knows
whether they were ahead or behind. The models differ in that alone, from pessimistic to probable; the formulas are those
of hftbacktest's `docs/order_fill`, where f(x) of what is ahead and behind says how likely a cancelled lot was ahead:

| name | a cancelled lot was ahead with probability |
| --- | --- |
| `risk_averse` | 0: only trades move us forward |
| `power:n` | 1 − f(back) / (f(back) + f(front)), f(x) = xⁿ; n = 1 spreads cancellations evenly |
| `power2:n` | 1 − f(back) / f(back + front) |
| `power3:n` | (front / (front + back))ⁿ |
| `log` | as power, f(x) = log(1 + x) |
| `log2` | as power2 with that f |

With every model the front is never more than the lots that are left at the price.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lake.errors import UsageError
from market.kernel import njit

RISK_AVERSE, POWER, POWER2, POWER3, LOG, LOG2 = range(6)
NAMES = ("risk_averse", "power", "power2", "power3", "log", "log2")


@dataclass(frozen=True, slots=True)
class QueueModel:
    """A choice of model; `exponent` belongs to the power ones."""

    kind: int = RISK_AVERSE
    exponent: float = 1.0

    @property
    def text(self) -> str:
        return NAMES[self.kind] + (f":{self.exponent:g}" if self.kind in (POWER, POWER2, POWER3) else "")


def parse_queue(text: str) -> QueueModel:
    """Read `risk_averse`, `power:3`, `log`, …

    Raises:
        UsageError: no such model, or an exponent that is not above zero.
    """
    name, _, exponent = text.partition(":")
    try:
        value = float(exponent or 1.0)
    except ValueError:
        value = math.nan
    if name not in NAMES or not (value > 0 and math.isfinite(value)):
        raise UsageError(f"queue {text!r}: expected one of {', '.join(NAMES)}, the power ones with an exponent (:3).")
    return QueueModel(NAMES.index(name), value)


@njit(cache=True, nogil=True)
def _weight(kind: int, exponent: float, lots: float) -> float:
    return float(np.log1p(lots)) if kind in (LOG, LOG2) else float(lots**exponent)


@njit(cache=True, nogil=True)
def share_behind(kind: int, exponent: float, front: float, back: float) -> float:
    """Probability that a cancelled lot stood behind us."""
    if kind == RISK_AVERSE or front + back <= 0.0:
        return 1.0
    if kind == POWER3:
        return float(1.0 - (front / (front + back)) ** exponent)
    behind = _weight(kind, exponent, back)
    whole = _weight(kind, exponent, back + front) if kind in (POWER2, LOG2) else behind + _weight(kind, exponent, front)
    return float(min(behind / whole, 1.0)) if whole > 0.0 else 1.0


@njit(cache=True, nogil=True)
def front_after(kind: int, exponent: float, front: float, traded: float, before: int, now: int) -> float:
    """Lots ahead after the venue changed the total at our price from `before` to `now`.

    `traded` lots of that change were trades and have already been taken off the front.
    """
    gone = before - now - traded
    if kind == RISK_AVERSE or gone <= 0.0:
        return min(front, float(now))
    back = max(before - traded - front, 0.0)
    behind = share_behind(kind, exponent, front, back)
    ahead = front - (1.0 - behind) * gone + min(back - behind * gone, 0.0)
    return max(min(ahead, float(now)), 0.0)


def front_from(model: QueueModel, front: float, traded: float, before: int, now: int) -> float:
    """`front_after` of a model, for callers outside compiled code."""
    value: Any = front_after(model.kind, model.exponent, front, traded, before, now)
    return float(value)
