"""Orders, fills and what they add up to: a pure fold over journal records, so that replay and life agree.

    pending ──► open ──► filled | cancelled | expired
       │  └───► unknown ──► any of the others, once the venue proves it
       └──────► rejected

Terminal states absorb, except that a late fill is always booked: money moved at the venue is never ignored.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from lake.errors import JournalCorrupted
from lake.instruments import Instrument, instrument
from lake.journal import Record

ZERO = Decimal(0)
_IGNORED = {"frame", "model", "decision", "cancel", "ready", "stop"}


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"

    @property
    def has_limit(self) -> bool:
        return self in (OrderType.LIMIT, OrderType.STOP_LIMIT)

    @property
    def has_stop(self) -> bool:
        return self in (OrderType.STOP, OrderType.STOP_LIMIT)


class Status(StrEnum):
    PENDING = "pending"
    UNKNOWN = "unknown"
    OPEN = "open"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"


TERMINAL = frozenset({Status.FILLED, Status.CANCELLED, Status.REJECTED, Status.EXPIRED})
_RANK = {Status.PENDING: 0, Status.UNKNOWN: 1, Status.OPEN: 2}


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What a decision wants; on the venue's grid already."""

    instrument: str
    side: Side
    order_type: OrderType
    quantity: Decimal
    price: Decimal | None
    decision_id: str
    stop_price: Decimal | None = None
    time_in_force: str = "GTC"
    """GTC, IOC or FOK; of an order with a limit."""
    post_only: bool = False

    def conditions(self) -> dict[str, object]:
        """What the journal holds beside type, price and quantity: nothing for plain orders."""
        found: dict[str, object] = {} if self.stop_price is None else {"stop_price": str(self.stop_price)}
        found |= {} if self.time_in_force == "GTC" else {"time_in_force": self.time_in_force}
        return found | ({"post_only": True} if self.post_only else {})


@dataclass(frozen=True, slots=True)
class OrderReport:
    """What the venue says of an order; `filled_quantity` is cumulative, `event_time` market microseconds."""

    client_order_id: str
    order_id: str | None
    status: Status
    filled_quantity: Decimal
    event_time: int


@dataclass(frozen=True, slots=True)
class Fill:
    """One trade of ours, exact."""

    instrument: str
    trade_id: str
    order_id: str
    client_order_id: str
    side: Side
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str
    is_maker: bool
    event_time: int


@dataclass(slots=True)
class Order:
    """An intent and what is known of it. `reported` is the venue's cumulative fill, `filled` the fills we hold."""

    client_order_id: str
    request: OrderRequest
    event_time: int
    timestamp: int
    """Signed into the order, wall milliseconds: the venue refuses it after this plus recvWindow."""
    status: Status = Status.PENDING
    order_id: str | None = None
    reported: Decimal = ZERO
    filled: Decimal = ZERO

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def is_settled(self) -> bool:
        """Nothing more is expected of it: ended, and every fill the venue reports is held."""
        return self.is_terminal and self.filled >= self.reported

    @property
    def outstanding(self) -> Decimal:
        """What may still fill, or has and is not booked yet: charged to risk at full size."""
        return max((self.reported if self.is_terminal else self.request.quantity) - self.filled, ZERO)

    def is_news(self, report: OrderReport) -> bool:
        """Whether a report moves this order on. States never go back, a cumulative fill never shrinks."""
        if report.filled_quantity > self.reported or (self.order_id is None and report.order_id is not None):
            return True
        if self.is_terminal or report.status == self.status:
            return False
        return report.status in TERMINAL or _RANK[report.status] > _RANK[self.status]


class Ledger:
    """Every order and fill of one journal, positions and expected balances.

    Position of an instrument = Σ buys − Σ sells − fees taken in its base asset; it starts at zero whatever the
    account held before. `faults` is what no sound venue and journal produce: with any, nothing new is sent.
    """

    def __init__(self) -> None:
        self.start_balances: dict[str, Decimal] | None = None
        self.orders: dict[str, Order] = {}
        self.fills: dict[tuple[str, str], Fill] = {}
        self.deltas: dict[str, Decimal] = defaultdict(Decimal)
        self.positions: dict[str, Decimal] = defaultdict(Decimal)
        self.faults: list[str] = []
        self._unsettled: dict[str, Order] = {}

    def apply(self, record: Record) -> None:
        """Fold one record in.

        Raises:
            JournalCorrupted: a kind this version does not know, or a record that names no intent.
        """
        kind = record["kind"]
        if kind == "intent":
            self._intent(record)
        elif kind == "order":
            self._order(record)
        elif kind == "fill":
            self._fill(fill_from_record(record))
        elif kind == "start":
            self.start_balances = {asset: Decimal(text) for asset, text in record["balances"].items()}
        elif kind not in _IGNORED:
            raise JournalCorrupted(
                f"journal record {record['seq']} is of kind {kind!r}, which this version does not know. "
                "Start the version that wrote it."
            )

    def unsettled(self, instrument_id: str | None = None) -> list[Order]:
        """Orders of which something is still expected, oldest first."""
        return [o for o in self._unsettled.values() if instrument_id in (None, o.request.instrument)]

    def outstanding(self, instrument_id: str, side: Side) -> Decimal:
        """Worst case of what is in flight, in base units."""
        return sum((o.outstanding for o in self.unsettled(instrument_id) if o.request.side == side), ZERO)

    def expected_balances(self) -> dict[str, Decimal]:
        """Start + Σ fills − fees per asset, exact."""
        start = self.start_balances or {}
        return {a: start.get(a, ZERO) + self.deltas.get(a, ZERO) for a in sorted({*start, *self.deltas})}

    def _intent(self, record: Record) -> None:
        request = OrderRequest(
            instrument=record["instrument"],
            side=Side(record["side"]),
            order_type=OrderType(record["order_type"]),
            quantity=Decimal(record["quantity"]),
            price=None if record["price"] is None else Decimal(record["price"]),
            decision_id=record["decision_id"],
            stop_price=Decimal(record["stop_price"]) if "stop_price" in record else None,
            time_in_force=record.get("time_in_force", "GTC"),
            post_only=record.get("post_only", False),
        )
        order = Order(record["client_order_id"], request, record["event_time"], record["timestamp"])
        self.orders[order.client_order_id] = self._unsettled[order.client_order_id] = order

    def _order(self, record: Record) -> None:
        order = self._known(record)
        status = Status(record["status"])
        if not order.is_terminal:
            order.status = status
        order.order_id = order.order_id or record["order_id"]
        order.reported = max(order.reported, Decimal(record["filled_quantity"]))
        self._settle(order)

    def _fill(self, fill: Fill) -> None:
        key = (fill.instrument, fill.trade_id)
        if key in self.fills:
            return
        self.fills[key] = fill
        traded = instrument(fill.instrument)
        sign = 1 if fill.side is Side.BUY else -1
        self.deltas[traded.base] += sign * fill.quantity
        self.deltas[traded.quote] -= sign * fill.quantity * fill.price
        self.deltas[fill.fee_asset] -= fill.fee
        self.positions[fill.instrument] += sign * fill.quantity - _fee_in_base(fill, traded)
        order = self._known({"client_order_id": fill.client_order_id, "seq": "fill"})
        order.filled += fill.quantity
        order.order_id = order.order_id or fill.order_id
        if order.filled > order.request.quantity:
            self.faults.append(f"{order.client_order_id} filled {order.filled} of {order.request.quantity}")
        self._settle(order)

    def _known(self, record: Record) -> Order:
        try:
            return self.orders[record["client_order_id"]]
        except KeyError:
            raise JournalCorrupted(
                f"journal record {record['seq']} speaks of order {record['client_order_id']}, of which there is "
                "no intent. Keep the file and compare it with the venue before trading."
            ) from None

    def _settle(self, order: Order) -> None:
        if order.is_settled:
            self._unsettled.pop(order.client_order_id, None)
        else:
            self._unsettled[order.client_order_id] = order


def _fee_in_base(fill: Fill, traded: Instrument) -> Decimal:
    return fill.fee if fill.fee_asset == traded.base else ZERO


def fill_from_record(record: Record) -> Fill:
    return Fill(
        instrument=record["instrument"], trade_id=record["trade_id"], order_id=record["order_id"],
        client_order_id=record["client_order_id"], side=Side(record["side"]), price=Decimal(record["price"]),
        quantity=Decimal(record["quantity"]), fee=Decimal(record["fee"]), fee_asset=record["fee_asset"],
        is_maker=record["is_maker"], event_time=record["event_time"],
    )  # fmt: skip


def fills_of(ledger: Ledger, client_order_id: str) -> Iterator[Fill]:
    return (f for f in ledger.fills.values() if f.client_order_id == client_order_id)
