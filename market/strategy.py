"""The strategy interface: events in, commands out. Pure: no clock, no network, no file, no randomness of its own.

Whoever runs a strategy (the backtester here, a live node) calls its handlers in the order of time and carries out what
they answer. A strategy file holds one class:

    @dataclass
    class Breakout(Strategy):
        lookback: int = 48                      # its fields are its parameters; the critique counts them

        def on_bar(self, bar, account):
            ...
            yield Target(bar.instrument, 0.5)

A strategy whose position is a function of past bars alone is better written as a `WeightStrategy`: the same class then
also runs compiled over millions of bars. Times are UTC microseconds. Prices and quantities are float64; the runner
rounds them to the instrument's grid.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Side: TypeAlias = Literal["buy", "sell"]
Kind: TypeAlias = Literal["market", "limit", "stop", "stop_limit"]
TimeInForce: TypeAlias = Literal["gtc", "ioc", "fok"]
"""Good till cancelled; immediate or cancel; fill or kill."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A closed bar; the strategy hears of it at `close_time` (exclusive end), never before."""

    instrument: str
    open_time: int
    close_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    """Base quantity."""


@dataclass(frozen=True, slots=True)
class Book:
    """The best levels of an order book as the strategy sees them, `feed latency` after the venue did."""

    instrument: str
    time: int
    """When the strategy saw it."""
    bids: tuple[tuple[float, float], ...]
    """Price and quantity, best first, as many levels as the strategy's `book_levels`; empty where none is known."""
    asks: tuple[tuple[float, float], ...]

    @property
    def mid(self) -> float:
        """Between the best prices; NaN where a side is empty."""
        return (self.bids[0][0] + self.asks[0][0]) / 2 if self.bids and self.asks else float("nan")


@dataclass(frozen=True, slots=True)
class Trade:
    """Somebody's trade, as the feed reports it."""

    instrument: str
    time: int
    """When the strategy heard of it."""
    price: float
    quantity: float
    side: Side
    """Of the one who took liquidity."""


@dataclass(frozen=True, slots=True)
class Order:
    """Buy or sell a quantity of base. A stop becomes a market order at its price, a stop_limit a limit order."""

    instrument: str
    side: Side
    quantity: float
    kind: Kind = "market"
    limit_price: float = 0.0
    stop_price: float = 0.0
    id: str = ""
    """Unique; the runner numbers those left empty."""
    reduce_only: bool = False
    """Never opens or turns a position; cut to what is held."""
    group: str = ""
    """When one order of a group fills, the others are cancelled."""
    after: str = ""
    """Waits for the first fill of the order with this id, and is cancelled if that one ends without."""
    time_in_force: TimeInForce = "gtc"
    """Of a limit order; market orders are immediate or cancel whatever it says."""
    post_only: bool = False
    """A limit order that would trade at once is refused instead."""


@dataclass(frozen=True, slots=True)
class Target:
    """Hold this share of the equity in the instrument, by a market order for the difference to what is under way.

    The quantity follows from the price and the equity known when the target is given; repeating a target therefore
    trades the drift since then.
    """

    instrument: str
    weight: float


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel an open order; one that is gone already is no error."""

    order_id: str


Command: TypeAlias = Order | Target | Cancel


@dataclass(frozen=True, slots=True)
class Fill:
    """A part or all of an order was traded."""

    order_id: str
    instrument: str
    side: Side
    time: int
    price: float
    quantity: float
    fee: float
    """In quote."""


@dataclass(slots=True)
class Account:
    """What the strategy may know of its money. Read only: the runner keeps it up to date."""

    instruments: tuple[str, ...]
    time: int = 0
    cash: float = 0.0
    """Quote; negative when borrowed."""
    positions: dict[str, float] = field(default_factory=dict)
    """Base; negative when short."""
    prices: dict[str, float] = field(default_factory=dict)
    """Last close of each instrument; where the strategy hears of books or trades, the newest mid or price."""
    open_orders: dict[str, Order] = field(default_factory=dict)
    left: dict[str, float] = field(default_factory=dict)
    """What is left of open orders that filled in part, by their id."""
    grid: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Price tick and quantity step of each instrument, where the runner knows them."""

    @property
    def equity(self) -> float:
        """Cash and positions at the last closes."""
        return self.cash + sum(held * self.prices[name] for name, held in self.positions.items() if held)

    def weight(self, instrument: str) -> float:
        """Share of the equity held in the instrument."""
        held = self.positions.get(instrument, 0.0)
        return held * self.prices[instrument] / self.equity if held else 0.0


@dataclass
class Strategy:
    """Base of all strategies; a handler left out does nothing. Subclasses are dataclasses of their parameters."""

    book_levels: ClassVar[int] = 5
    """Levels a side that `on_book` is shown."""
    interval_us: ClassVar[int] = 0
    """Where above 0: `on_time` is called at every multiple of it, by the strategy's own clock."""

    @property
    def history(self) -> int:
        """Bars of each instrument that a run at a venue shows by `on_history` before it begins."""
        return 0

    def on_history(self, bar: Bar) -> None:
        """A bar that cannot be acted on: it closed before the run, or came too late."""

    def on_bar(self, bar: Bar, account: Account) -> Iterable[Command]:
        """A bar closed."""
        return ()

    def on_book(self, book: Book, account: Account) -> Iterable[Command]:
        """The levels shown of an order book changed; both sides are empty while the book is lost."""
        return ()

    def on_trade(self, trade: Trade, account: Account) -> Iterable[Command]:
        """Somebody traded."""
        return ()

    def on_time(self, time: int, account: Account) -> Iterable[Command]:
        """A multiple of `interval_us` was reached, after all that was known by then.

        Live hears of time by what the market sends: of several multiples that passed meanwhile the newest is called.
        """
        return ()

    def on_fill(self, fill: Fill, account: Account) -> Iterable[Command]:
        """One of our orders traded."""
        return ()

    def parameters(self) -> dict[str, Any]:
        """Names and values of what was chosen: the dataclass's own init fields."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}


class BarArrays(NamedTuple):
    """Bars of one instrument in the order of time, [n] each."""

    open_time: "NDArray[np.int64]"
    open: "NDArray[np.float64]"
    high: "NDArray[np.float64]"
    low: "NDArray[np.float64]"
    close: "NDArray[np.float64]"
    volume: "NDArray[np.float64]"


@dataclass
class WeightStrategy(Strategy):
    """A strategy that is one function of the past: after each bar, the weight to hold.

    Every instrument has an equal share of the equity, and the weight is the part of it to hold: 1 all, 0 none, below 0
    short. An order follows only where the weight changes.
    """

    _seen: dict[str, deque[Bar]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _last: dict[str, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def memory(self) -> int:
        """How many bars back a weight depends on; a runner that feeds bars one by one keeps so many."""
        raise NotImplementedError(f"{type(self).__name__}.memory: say how many bars a weight depends on")

    def weights(self, bars: BarArrays) -> "NDArray[np.float64]":
        """[n]: the weight after each bar; row i may use rows 0..i alone (the backtest checks). NaN: leave as it is."""
        raise NotImplementedError(f"{type(self).__name__}.weights: return one weight per bar")

    @property
    def history(self) -> int:
        return self.memory

    def on_history(self, bar: Bar) -> None:
        self._seen.setdefault(bar.instrument, deque(maxlen=self.memory)).append(bar)

    def on_bar(self, bar: Bar, account: Account) -> Iterable[Command]:
        """The same weights, one bar at a time; a run that begins with a position answers its first bar anyway."""
        self.on_history(bar)
        weight = float(self.weights(bar_arrays(self._seen[bar.instrument]))[-1])
        first = float("nan") if account.positions.get(bar.instrument) else 0.0
        if weight != weight or weight == self._last.get(bar.instrument, first):
            return ()
        self._last[bar.instrument] = weight
        return (Target(bar.instrument, weight / len(account.instruments)),)


def bar_arrays(bars: Iterable[Bar]) -> BarArrays:
    """Stack bars into arrays."""
    import numpy as np

    rows = [(bar.open_time, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars]
    times, *values = zip(*rows, strict=True)
    return BarArrays(np.array(times, np.int64), *(np.array(column, np.float64) for column in values))


def apply_settings(strategy: type[Strategy], settings: Mapping[str, str]) -> Strategy:
    """Build a strategy from `name=value` texts, each read as the type of the field's default.

    Raises:
        UsageError: no such parameter, or a value that does not fit.
    """
    from lake.errors import UsageError

    known: dict[str, Any] = {f.name: f.default for f in fields(strategy) if f.init}
    values: dict[str, Any] = {}
    for name, text in settings.items():
        if name not in known:
            raise UsageError(f"{strategy.__name__} has no parameter {name!r}: expected one of {sorted(known)}.")
        kind = type(known[name])
        try:
            values[name] = text.lower() in ("1", "true", "yes") if kind is bool else kind(text)
        except (TypeError, ValueError):
            raise UsageError(f"{strategy.__name__}.{name}: expected {kind.__name__}, found {text!r}.") from None
    return strategy(**values)
