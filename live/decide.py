"""From a prediction to an order, purely: no I/O, no clock, no numpy. Every closed bar ends in one `Choice`.

Only a fresh, gapless, warm vector with a finite prediction may trade; every other reason holds the position.
"""

import math
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from lake.instruments import Instrument
from live.orders import ZERO, Side
from market.policy import PolicyParameters, target_weight

STALE_BARS = 2
"""A bar whose close lies more than this many bars behind the market clock is too old to act on."""


class Reason(StrEnum):
    MODEL = "model"
    STRATEGY = "strategy"
    BOOK = "book"
    TRADE = "trade"
    TIME = "time"
    NO_MODEL = "no_model"
    WARMING = "warming"
    GAP = "gap"
    NAN = "nan"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Book:
    """What is held of one instrument and what may be: quantities in base, amounts in quote."""

    traded: Instrument
    position: Decimal
    in_flight: bool
    capital: Decimal
    max_order_notional: Decimal

    def weight(self, price: Decimal) -> float:
        """The position as a share of the instrument's capital."""
        return float(self.position * price / self.capital)


@dataclass(frozen=True, slots=True)
class Choice:
    """The weight to hold and the order that moves towards it, if any."""

    reason: Reason
    prediction: float | None
    weight: float
    order: tuple[Side, Decimal] | None = None


def is_stale(close_time: int, market_now: int, bar_us: int) -> bool:
    return market_now - close_time > STALE_BARS * bar_us


def hold(reason: Reason, book: Book, price: Decimal) -> Choice:
    return Choice(reason, None, book.weight(price))


def choose(prediction: float, book: Book, price: Decimal, parameters: PolicyParameters, cost: float) -> Choice:
    """Apply the policy. `cost` is a fraction per side; a prediction that is not finite holds."""
    if not math.isfinite(prediction):
        return hold(Reason.NAN, book, price)
    current = book.weight(price)
    weight = target_weight(prediction, current, parameters, cost)
    order = None if weight == current or book.in_flight else rebalance(weight, book, price)
    return Choice(Reason.MODEL, prediction, weight, order)


def rebalance(weight: float, book: Book, price: Decimal) -> tuple[Side, Decimal] | None:
    """Side and quantity towards `weight`, rounded down to the step and cut to one order's limit.

    None where the rest is dust: below the venue's least quantity or notional.
    """
    target = Decimal(weight) * book.capital / price
    change = target - book.position
    side = Side.BUY if change > 0 else Side.SELL
    wanted = min(abs(change), book.max_order_notional / price)
    if side is Side.SELL:
        wanted = min(wanted, max(book.position, ZERO))
    quantity = book.traded.floor_quantity(wanted)
    if quantity < book.traded.min_quantity or quantity * price < book.traded.min_notional:
        return None
    return side, quantity
