"""The gateway: the only way an order reaches the venue. It owns the sender, and through it the keys.

An order is checked, then its intent is made durable, then it is sent, in this order and without a switch to skip a
step. Everything in flight counts at its worst case. Whatever cannot be judged is refused: fail closed.
"""

import logging
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from lake.errors import Misconfigured
from lake.instruments import Instrument
from live.account import Account
from live.errors import JournalFailed
from live.journal import Durable
from live.orders import ZERO, Order, OrderRequest, OrderType, Side, Status
from live.replies import Outcome, Reply
from live.reports import acknowledged, fills_in_reply, report_in_reply

log = logging.getLogger("live.risk")


@dataclass(frozen=True, slots=True)
class Limits:
    """Hard limits in quote currency, per order and per instrument. There is no default and no way around."""

    max_order_notional: Decimal
    max_position_notional: Decimal

    def __post_init__(self) -> None:
        for name in ("max_order_notional", "max_position_notional"):
            value = getattr(self, name)
            if not (value.is_finite() and value > 0):
                raise Misconfigured(f"LIVE_{name.upper()}: expected an amount above 0, found {value}.")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an order was not sent: a code for metrics, words for the log."""

    code: str
    why: str


class Sender(Protocol):
    """What the gateway needs of a venue. `place` and `cancel` answer with a classified reply and never raise."""

    @property
    def pause_reason(self) -> str | None: ...
    def timestamp(self) -> int: ...
    async def place(self, order: Order) -> Reply: ...
    async def cancel(self, order: Order) -> Reply: ...


class Gateway:
    """Checks, makes durable, sends. `instruments` hold the venue's own filters; `not_ready` says what is missing."""

    def __init__(self, account: Account, limits: Limits, sender: Sender, instruments: dict[str, Instrument]) -> None:
        self._account, self._limits, self._sender = account, limits, sender
        self.instruments = instruments
        self.not_ready: set[str] = {"recovery", "user stream"}
        self.halted: str | None = None
        self.refusals: Counter[str] = Counter()
        self.in_flight: set[str] = set()

    def halt(self, why: str) -> None:
        """Block every new order for the rest of this process; cancels still pass."""
        self.halted = self.halted or why
        log.warning("no new orders: %s", self.halted)

    def check(self, request: OrderRequest, reference_price: Decimal) -> Refusal | None:
        """Judge an order against the limits, everything in flight included; None lets it pass.

        `reference_price` prices a market order; one with prices of its own counts at the highest of them.
        """
        blocked = self._blocked()
        if blocked:
            return blocked
        traded = self.instruments.get(request.instrument)
        if traded is None:
            return Refusal("restricted", f"{request.instrument} is not among the instruments traded here")
        price = max([reference_price, *(p for p in (request.price, request.stop_price) if p is not None)])
        return _check_shape(request, traded, price) or self._check_limits(request, traded, price)

    async def submit(self, request: OrderRequest, reference_price: Decimal) -> Order | Refusal:
        """Check, make the intent durable, send, and book the reply.

        Up to the send there is no await: no second order can be judged on the same room.
        """
        refusal = self.check(request, reference_price)
        if refusal:
            self.refusals[refusal.code] += 1
            log.warning("%s %s %s refused: %s", request.side, request.quantity, request.instrument, refusal.why)
            return refusal
        try:
            token = self._account.intend(request, self._sender.timestamp())
        except JournalFailed as error:
            self.halt(str(error))
            self.refusals["journal"] += 1
            return Refusal("journal", str(error))
        return await self._send(token)

    async def cancel(self, order: Order) -> Reply:
        """Cancel an order of ours; allowed in every state, as it can only reduce risk."""
        self._note_cancel(order, "sent")
        reply = await self._sender.cancel(order)
        report = report_in_reply(order, reply.body) if reply.outcome is Outcome.YES else None
        if report:
            self._note_cancel(order, "done")
            self._account.report(report)
        elif reply.is_not_found:
            self._note_cancel(order, "gone")
        return reply

    async def _send(self, token: Durable) -> Order:
        order = self._account.ledger.orders[token.spend()["client_order_id"]]
        self.in_flight.add(order.client_order_id)
        try:
            reply = await self._sender.place(order)
        except BaseException:
            self._book_unproven(order, "interrupted while sending")
            raise
        finally:
            self.in_flight.discard(order.client_order_id)
        try:
            self._book(order, reply)
        except JournalFailed as error:
            self.halt(str(error))
        return order

    def _book(self, order: Order, reply: Reply) -> None:
        if reply.outcome is Outcome.NO:
            self._account.mark(order, Status.REJECTED, str(reply))
        elif reply.outcome is Outcome.UNKNOWN:
            self._account.mark(order, Status.UNKNOWN, str(reply))
        else:
            for fill in fills_in_reply(order, reply.body):
                self._account.fill(fill)
            self._account.report(report_in_reply(order, reply.body) or acknowledged(order, reply.body))

    def _book_unproven(self, order: Order, why: str) -> None:
        try:
            self._account.mark(order, Status.UNKNOWN, why)
        except JournalFailed as error:
            self.halt(str(error))

    def _note_cancel(self, order: Order, status: str) -> None:
        try:
            self._account.write("cancel", self._account.clock.now, client_order_id=order.client_order_id, status=status)
        except JournalFailed as error:
            self.halt(str(error))

    def _blocked(self) -> Refusal | None:
        if self.halted:
            return Refusal("halted", self.halted)
        if self._account.ledger.faults:
            return Refusal("fault", "; ".join(self._account.ledger.faults))
        if self.not_ready:
            return Refusal("not_ready", f"not ready: {', '.join(sorted(self.not_ready))}")
        if self._sender.pause_reason:
            return Refusal("paused", self._sender.pause_reason)
        return None

    def _check_limits(self, request: OrderRequest, traded: Instrument, price: Decimal) -> Refusal | None:
        limits, ledger = self._limits, self._account.ledger
        notional = request.quantity * price
        if notional > limits.max_order_notional:
            return Refusal("max_order", f"order of {notional:f} is above the limit {limits.max_order_notional:f}")
        position = ledger.positions.get(traded.id, ZERO)
        if request.side is Side.SELL:
            left = position - ledger.outstanding(traded.id, Side.SELL) - request.quantity
            return (
                Refusal("short", f"would leave {left:f} {traded.base}: positions never go short") if left < 0 else None
            )
        exposure = (position + ledger.outstanding(traded.id, Side.BUY) + request.quantity) * price
        if exposure > limits.max_position_notional:
            return Refusal(
                "max_position", f"position of up to {exposure:f} is above the limit {limits.max_position_notional:f}"
            )
        return None


def _check_shape(request: OrderRequest, traded: Instrument, price: Decimal) -> Refusal | None:
    if not (price.is_finite() and price > 0):
        return Refusal("price", f"cannot price the order: {price}")
    if not (request.quantity.is_finite() and request.quantity >= traded.min_quantity):
        return Refusal("quantity", f"quantity {request.quantity} is below {traded.min_quantity}")
    if request.quantity % traded.quantity_step:
        return Refusal("quantity", f"quantity {request.quantity} is off the step {traded.quantity_step}")
    if request.order_type.has_limit != (request.price is not None):
        return Refusal("price", f"a {request.order_type} order with price {request.price}")
    if request.order_type.has_stop != (request.stop_price is not None):
        return Refusal("price", f"a {request.order_type} order with stop price {request.stop_price}")
    if request.post_only and request.order_type is not OrderType.LIMIT:
        return Refusal("price", f"a {request.order_type} order cannot be post-only")
    for own in (request.price, request.stop_price):
        if own is not None and (own <= 0 or own % traded.price_tick):
            return Refusal("price", f"price {own} is not above 0 on the tick {traded.price_tick}")
    if request.quantity * price < traded.min_notional:
        return Refusal("min_notional", f"notional {request.quantity * price:f} is below {traded.min_notional}")
    return None
