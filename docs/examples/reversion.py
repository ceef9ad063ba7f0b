"""Bid a little below each close; offer what was bought above its price, and sell it at any price after a while."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from market.strategy import Account, Bar, Cancel, Command, Fill, Order, Strategy


@dataclass
class Reversion(Strategy):
    discount: float = 0.0006  # of the bid against the close
    profit: float = 0.0012  # of the offer against what was paid
    patience: int = 6  # bars until what is still held is sold
    share: float = 0.1  # of the equity in each bid
    _bought: dict[str, int] = field(default_factory=dict, init=False, repr=False)

    def on_bar(self, bar: Bar, account: Account) -> Iterable[Command]:
        own = [order for order in account.open_orders.values() if order.instrument == bar.instrument]
        yield from (Cancel(order.id) for order in own if order.side == "buy")
        held = account.positions.get(bar.instrument, 0.0) * bar.close > 10.0
        if not held:
            price = bar.close * (1 - self.discount)
            quantity = self.share * account.equity / price
            yield Order(bar.instrument, "buy", quantity, "limit", limit_price=price, post_only=True)
        elif bar.close_time >= self._bought.get(bar.instrument, 0) + self.patience * (bar.close_time - bar.open_time):
            yield from (Cancel(order.id) for order in own if order.side == "sell")
            yield Order(bar.instrument, "sell", account.positions[bar.instrument])

    def on_fill(self, fill: Fill, account: Account) -> Iterable[Command]:
        if fill.side == "buy":
            self._bought[fill.instrument] = fill.time
            yield Order(fill.instrument, "sell", fill.quantity, "limit", limit_price=fill.price * (1 + self.profit))
