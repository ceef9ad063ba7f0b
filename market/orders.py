"""Orders and fills of the exchange's clients, in ticks, lots and units; times in µs of the market clock."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

Status = Literal["NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH"]
Execution = Literal["NEW", "TRIGGERED", "TRADE", "CANCELED", "REPLACED", "EXPIRED", "TRADE_PREVENTION"]
"""What has just happened to an order; TRIGGERED: a waiting order enters the book."""
TimeInForce = Literal["GTC", "IOC", "FOK", "GTD", "GTX"]
"""GTX is post-only: Binance's word for futures; spot says it by the type LIMIT_MAKER."""
SelfTradePrevention = Literal["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"]
SIDES = ("BUY", "SELL")
"""By the book's side number."""


@dataclass(frozen=True, slots=True)
class NewOrder:
    """What a client asks for, parsed but not yet checked against filters; the type is the venue's word."""

    instrument: int
    side: int
    type: str
    quantity: Decimal | None = None
    """Base; None only for a market order by quote quantity."""
    quote_quantity: Decimal | None = None
    price: Decimal | None = None
    """None for every type that trades at any price."""
    client_order_id: str | None = None
    """None lets the exchange choose one."""
    time_in_force: TimeInForce = "GTC"
    stop_price: Decimal | None = None
    """What triggers a waiting order, or what activates a trailing one."""
    trailing_delta: int | None = None
    """Hundredths of a percent."""
    iceberg: Decimal | None = None
    """The quantity others may see."""
    self_trade_prevention: SelfTradePrevention = "NONE"
    reduce_only: bool = False
    good_till: int | None = None
    """µs; only with GTD."""
    triggered_by_mark: bool = False
    """By the mark price instead of the last one."""
    close_position: bool = False
    """The order closes the whole position when triggered; it has no quantity."""


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
    """Units of `fee_asset`."""
    is_maker: bool
    time: int
    fee_asset: str = ""
    realized: int = 0
    """Quote units that a derivative's position won or lost by the trade."""


@dataclass(slots=True)
class Order:
    """An order and how far it got; once terminal it never changes again."""

    id: int
    client_order_id: str
    owner: int
    instrument: int
    side: int
    type: str
    price: int
    """Ticks; 0 for orders at any price."""
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
    time_in_force: TimeInForce = "GTC"
    stop: int = 0
    """Ticks; 0 without."""
    trailing_delta: int = 0
    iceberg_lots: int = 0
    self_trade_prevention: SelfTradePrevention = "NONE"
    reduce_only: bool = False
    good_till: int | None = None
    triggered_by_mark: bool = False
    close_position: bool = False
    working_since: int | None = None
    """When it entered the book; None while it waits for its trigger."""
    prevented_lots: int = 0
    """What self-trade prevention kept from trading."""
    expiry_reason: int = 0
    """EV_REASON of the engine, where it expired."""

    @property
    def is_open(self) -> bool:
        return self.status in ("NEW", "PARTIALLY_FILLED")

    @property
    def waits(self) -> bool:
        """Whether it is a stop, take-profit or trailing order that has not been triggered."""
        return self.is_open and self.working_since is None

    def book(self, fill: Fill) -> None:
        """Add a fill and move on."""
        self.fills.append(fill)
        self.filled_lots += fill.lots
        self.filled_units += fill.units
        self.updated = fill.time
        self.status = "FILLED" if self.filled_lots >= self.lots else "PARTIALLY_FILLED"


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
