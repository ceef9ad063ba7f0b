"""Orders and fills of the exchange's clients, in ticks, lots and units; times in µs of the market clock."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

OrderType = Literal["LIMIT", "MARKET"]
Status = Literal["NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "EXPIRED"]
SIDES = ("BUY", "SELL")
"""By the book's side number."""


@dataclass(frozen=True, slots=True)
class NewOrder:
    """What a client asks for, parsed but not yet checked against filters."""

    instrument: int
    side: int
    type: OrderType
    quantity: Decimal | None = None
    """Base; None only for a market order by quote quantity."""
    quote_quantity: Decimal | None = None
    price: Decimal | None = None
    client_order_id: str | None = None
    """None lets the exchange choose one."""


@dataclass(frozen=True, slots=True)
class Fill:
    """One trade seen from one side; a trade with oneself is two fills of one id."""

    id: int
    instrument: int
    order_id: int
    side: int
    price: int
    lots: int
    units: int
    """Quote paid or received, before the fee."""
    fee: int
    """Units of the asset received: base when buying, quote when selling."""
    is_maker: bool
    time: int


@dataclass(slots=True)
class Order:
    """An order and how far it got; once terminal it never changes again."""

    id: int
    client_order_id: str
    owner: int
    instrument: int
    side: int
    type: OrderType
    price: int
    """Ticks; 0 for market orders."""
    lots: int
    quote_units: int
    """Requested quote quantity; 0 if the order was by base quantity."""
    time: int
    updated: int
    status: Status = "NEW"
    slot: int = -1
    filled_lots: int = 0
    filled_units: int = 0
    fills: list[Fill] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        return self.status in ("NEW", "PARTIALLY_FILLED")

    def book(self, fill: Fill) -> None:
        """Add a fill and move on."""
        self.fills.append(fill)
        self.filled_lots += fill.lots
        self.filled_units += fill.units
        self.updated = fill.time
        self.status = "FILLED" if self.filled_lots == self.lots else "PARTIALLY_FILLED"


@dataclass(slots=True)
class Account:
    """A client: its keys and everything it ever ordered, per instrument in order of id."""

    owner: int
    api_key: str
    api_secret: str
    orders: list[list[Order]]
    fills: list[list[Fill]]
    by_client_id: list[dict[str, Order]]
    """The newest order of each client id: an id is unique among open orders only, as at Binance."""
    open: dict[tuple[int, int], Order] = field(default_factory=dict)
    """By instrument and order id."""
    updated: int = 0
