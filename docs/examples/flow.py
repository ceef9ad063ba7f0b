"""Follow the takers: buy where buyers take most of what trades and the book leans the same way, sell when they tire."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from market.strategy import Account, Book, Command, Order, Strategy, Trade


@dataclass
class Flow(Strategy):
    memory: float = 0.95  # of the flow, at each trade
    enter: float = 0.6  # share of the flow, buys less sells, at which to buy
    leave: float = 0.0  # at which to sell
    share: float = 0.02  # of the equity in each buy
    _flow: dict[str, tuple[float, float]] = field(default_factory=dict, init=False, repr=False)
    _lean: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def on_book(self, book: Book, account: Account) -> Iterable[Command]:
        bids, asks = (sum(quantity for _, quantity in side) for side in (book.bids, book.asks))
        self._lean[book.instrument] = bids - asks  # 0 while the book is unknown
        return ()

    def on_trade(self, trade: Trade, account: Account) -> Iterable[Command]:
        name = trade.instrument
        signed, whole = self._flow.get(name, (0.0, 0.0))
        signed = self.memory * signed + trade.quantity * (1 if trade.side == "buy" else -1)
        whole = self.memory * whole + trade.quantity
        self._flow[name] = signed, whole
        if any(order.instrument == name for order in account.open_orders.values()):
            return
        held = account.positions.get(name, 0.0)
        if held * trade.price < 10.0 and signed > self.enter * whole and self._lean.get(name, 0.0) > 0:
            yield Order(name, "buy", self.share * account.equity / trade.price)
        elif held * trade.price >= 10.0 and signed < self.leave * whole:
            yield Order(name, "sell", held)
