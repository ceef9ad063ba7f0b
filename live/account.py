"""The one place that changes trading state: a record goes into the journal, then into the ledger, never otherwise."""

import logging
from collections.abc import Callable
from decimal import Decimal

from lake.journal import Record
from live.clock import MarketClock
from live.journal import Durable, Journal
from live.orders import Fill, Ledger, Order, OrderReport, OrderRequest, Status

log = logging.getLogger("live.account")


class Account:
    """A journal and the ledger folded from it. `observers` hear every record after it was applied."""

    def __init__(self, journal: Journal, clock: MarketClock) -> None:
        self.journal, self.clock = journal, clock
        self.ledger = Ledger()
        self.observers: list[Callable[[Record], None]] = []
        for record in journal.replayed:
            self.ledger.apply(record)
            clock.observe(record["event_time"])

    @property
    def is_fresh(self) -> bool:
        """Whether this journal has never been started."""
        return self.ledger.start_balances is None

    def write(self, kind: str, event_time: int, **fields: object) -> Record:
        """Append one record and fold it in."""
        self.clock.observe(event_time)
        return self._apply(self.journal.append(kind, event_time, **fields))

    def intend(self, request: OrderRequest, timestamp: int) -> Durable:
        """Make an intent durable. Its id is its journal's id and its own sequence number: unique for ever."""
        token = self.journal.append_durable(
            "intent",
            self.clock.now,
            client_order_id=f"b{self.journal.id}-{self.journal.next_seq}",
            decision_id=request.decision_id,
            instrument=request.instrument,
            side=request.side,
            order_type=request.order_type,
            price=None if request.price is None else str(request.price),
            quantity=str(request.quantity),
            timestamp=timestamp,
            **request.conditions(),
        )
        self._apply(token.record)
        return token

    def report(self, report: OrderReport, why: str = "") -> None:
        """Book what the venue (or the lack of its answer) says of an order of ours; no news changes nothing."""
        order = self.ledger.orders.get(report.client_order_id)
        if order is None or not order.is_news(report):
            return
        reason = {"why": why} if why else {}
        self.write(
            "order",
            report.event_time,
            client_order_id=report.client_order_id,
            order_id=report.order_id or order.order_id,
            status=report.status,
            filled_quantity=str(max(report.filled_quantity, order.reported)),
            **reason,
        )

    def mark(self, order: Order, status: Status, why: str) -> None:
        """Book a state that no payload of the venue carries: unknown, or rejected."""
        self.report(OrderReport(order.client_order_id, None, status, Decimal(0), self.clock.now), why)

    def fill(self, fill: Fill) -> bool:
        """Book a trade of ours once, whichever way and however often it is heard of; True if it was new."""
        if (fill.instrument, fill.trade_id) in self.ledger.fills or fill.client_order_id not in self.ledger.orders:
            return False
        self.write(
            "fill",
            fill.event_time,
            instrument=fill.instrument, trade_id=fill.trade_id, order_id=fill.order_id,
            client_order_id=fill.client_order_id, side=fill.side, price=str(fill.price),
            quantity=str(fill.quantity), fee=str(fill.fee), fee_asset=fill.fee_asset, is_maker=fill.is_maker,
            available_time=max(self.clock.now, fill.event_time),
        )  # fmt: skip
        return True

    def _apply(self, record: Record) -> Record:
        self.ledger.apply(record)
        for observer in self.observers:
            observer(record)
        return record
