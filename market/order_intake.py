"""What every runner of a strategy asks of an order before it is carried out: that it makes sense, and a number."""

import math
from collections.abc import Container
from dataclasses import dataclass, field, replace

from lake.errors import UsageError
from market.strategy import Order

SIDES = ("buy", "sell")
KINDS = ("market", "limit", "stop", "stop_limit")
TIMES_IN_FORCE = ("gtc", "ioc", "fok")


@dataclass(slots=True)
class OrderIntake:
    """Takes the orders of one strategy, by its name in errors."""

    strategy: str
    instruments: Container[str]
    _ids: set[str] = field(default_factory=set)
    _numbers: int = 0

    def take(self, order: Order) -> Order:
        """The order with an id: its own, or the next number.

        Raises:
            UsageError: an unknown word, a quantity or price that is not above 0, or ids that do not fit.
        """
        prices = [order.limit_price] if "limit" in order.kind else []
        prices += [order.stop_price] if "stop" in order.kind else []
        sound = order.instrument in self.instruments and order.side in SIDES and order.kind in KINDS
        sound = sound and order.time_in_force in TIMES_IN_FORCE
        if not sound or not all(value > 0 and math.isfinite(value) for value in [order.quantity, *prices]):
            raise UsageError(
                f"{self.strategy}: {order} needs a known instrument, side, kind and time in force, "
                "and quantity and prices above 0."
            )
        if order.id in self._ids or (order.after and order.after not in self._ids):
            raise UsageError(f"{self.strategy}: {order} needs an id not used before, and `after` one that was.")
        if not order.id:
            self._numbers += 1
            order = replace(order, id=f"#{self._numbers}")
        self._ids.add(order.id)
        return order
