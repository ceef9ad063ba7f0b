"""Carry a strategy's commands out at a venue: the one arithmetic of live trading and of the backtest through a venue.

Events go in, orders for the venue come out, one at a time; no I/O, no clock, no randomness. Money is exact (Decimal);
the strategy sees it as float64. The rules:

- A `Target` becomes a market order for weight × equity / price less what is held and what earlier targets still have
  under way, with equity and price as the strategy knows them: the arithmetic of the bar backtest.
- Quantities are floored to the instrument's step; limit prices are rounded to the tick in our favour.
- A sale is cut to what is held and not yet offered (spot: never short), a buy to what the cash pays for at the order's
  price, or `CUSHION` above it where the price is the market's. What is left below the venue's minimum is dropped.
- `after` waits for the first fill of the order it names; the first fill in a `group` cancels the rest of it.
"""

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from lake.errors import UsageError
from lake.instruments import Instrument
from lake.intervals import MILLISECOND, MINUTE, SECOND
from market.order_intake import OrderIntake
from market.strategy import Account, Bar, Book, Cancel, Command, Fill, Order, Side, Strategy, Target
from market.turns import Action, Cause, Event, Execution, Heard, Moment, Submit, Withdraw

ZERO = Decimal(0)
CUSHION = Decimal("1.002")
"""A market order may cost so many times the last price: its cash is set aside for that."""
STEP = SECOND // 2
"""How often market data is looked at where a market stands for it: the step of the embedded exchange's agents."""


@dataclass(slots=True, eq=False)
class _Working:
    """An order the strategy gave: waiting for another, submitted, or partly filled."""

    order: Order
    target: bool = False
    submitted: bool = False
    left: Decimal = ZERO
    price: Decimal = ZERO
    """What a unit of it may cost."""
    cause: Cause = None


class Runner:
    """One strategy on one spot account that begins with `capital` in quote and nothing else."""

    def __init__(self, strategy: Strategy, instruments: Sequence[Instrument], capital: Decimal) -> None:
        self.strategy = strategy
        self.instruments = {each.id: each for each in instruments}
        grid = {each.id: (float(each.price_tick), float(each.quantity_step)) for each in instruments}
        names = tuple(self.instruments)
        self.account = Account(names, cash=float(capital), positions=dict.fromkeys(names, 0.0), grid=grid)
        self.capital = self.cash = capital
        self.held: dict[str, Decimal] = dict.fromkeys(names, ZERO)
        self.fees: dict[str, Decimal] = defaultdict(Decimal)
        self._working: dict[str, _Working] = {}
        self._queue: deque[tuple[_Working, bool]] = deque()
        """What is to be submitted (True) or withdrawn."""
        self._intake = OrderIntake(type(strategy).__name__, self.instruments)
        self._cause: Cause = None
        self._timer = 0
        kind = type(strategy)
        self.wants_books = kind.on_book is not Strategy.on_book
        self.wants_trades = kind.on_trade is not Strategy.on_trade

    @property
    def step(self) -> int:
        """Market µs between two stops of a market that stands still for this strategy: each of its bars and times."""
        step = math.gcd(MINUTE, self.strategy.interval_us) if self.strategy.interval_us > 0 else MINUTE
        return max(math.gcd(step, STEP) if self.wants_books or self.wants_trades else step, MILLISECOND)

    # -- what happens ---------------------------------------------------------------------------------------------

    def on_history(self, bar: Bar) -> None:
        """Show a bar from before the run, or one that came too late to act on."""
        self.account.prices[bar.instrument] = bar.close
        self.strategy.on_history(bar)

    def on_event(self, event: Event) -> None:
        """A bar closed, the market moved, or the time came."""
        self._cause = event
        if isinstance(event, Bar):
            self.account.prices[event.instrument] = event.close
            self._pass_time(event.close_time)
            self._take(self.strategy.on_bar(event, self.account))
        elif isinstance(event, Moment):
            self._pass_time(event.time)
            self._take(self.strategy.on_time(event.time, self.account))
        else:
            self._pass_time(event.event.time)
            self._hear(event)

    def _hear(self, heard: Heard) -> None:
        """A price of the market stands until the next one or the next close; a book's mid goes before a trade's."""
        event, prices = heard.event, self.account.prices
        if isinstance(event, Book):
            if math.isfinite(event.mid):
                prices[event.instrument] = event.mid
            self._take(self.strategy.on_book(event, self.account))
        else:
            if not self.wants_books or event.instrument not in prices:
                prices[event.instrument] = event.price
            self._take(self.strategy.on_trade(event, self.account))

    def _pass_time(self, time: int) -> None:
        self.account.time = max(self.account.time, time)

    def is_due(self, time: int) -> bool:
        """Whether the strategy's clock has come to a multiple of its interval that it has not heard of."""
        return self.strategy.interval_us > 0 and time >= self._timer

    def moments(self, time: int) -> list[Moment]:
        """The newest multiple of the interval that was reached, once; ones that went by unseen are left out."""
        interval, first = self.strategy.interval_us, not self._timer
        if not self.is_due(time):
            return []
        newest = time // interval * interval
        self._timer = newest + interval
        return [Moment(newest)] if not first or newest == time else []

    def book(self, execution: Execution) -> None:
        """Enter a trade into the account without telling the strategy: what an earlier run did."""
        name, price, quantity = execution.instrument, execution.price, execution.quantity
        traded = self.instruments[name]
        sign = 1 if execution.side == "buy" else -1
        self.cash -= sign * price * quantity
        self.held[name] += sign * quantity
        if execution.fee_asset == traded.quote:
            self.cash -= execution.fee
        elif execution.fee_asset == traded.base:
            self.held[name] -= execution.fee
        self.fees[execution.fee_asset] += execution.fee
        self.account.cash = float(self.cash)
        self.account.positions[name] = float(self.held[name])

    def on_execution(self, execution: Execution) -> None:
        """An order of ours traded."""
        self._cause = execution
        self.book(execution)
        self._pass_time(execution.time)
        working = self._working.get(execution.order_id)
        if working is not None:
            working.left -= execution.quantity
            self.account.left[execution.order_id] = float(working.left)
            self._release(working.order)
        fee = execution.fee * (execution.price if execution.fee_asset == self._base(execution) else 1)
        fill = Fill(
            execution.order_id, execution.instrument, execution.side, execution.time, float(execution.price),
            float(execution.quantity), float(fee),
        )  # fmt: skip
        self._take(self.strategy.on_fill(fill, self.account))

    def on_end(self, order_id: str) -> None:
        """An order is over: filled, cancelled, expired, rejected or never sent."""
        self._working.pop(order_id, None)
        self.account.open_orders.pop(order_id, None)
        self.account.left.pop(order_id, None)
        for other in [w for w in self._working.values() if w.order.after == order_id and not w.submitted]:
            if (other, True) not in self._queue:
                self.on_end(other.order.id)

    def _base(self, execution: Execution) -> str:
        return self.instruments[execution.instrument].base

    def _release(self, filled: Order) -> None:
        """Let go what waited for this fill, and cancel the rest of its group."""
        for other in list(self._working.values()):
            waits = other.order.after == filled.id and not other.submitted
            if waits and (other, True) not in self._queue:
                other.cause = self._cause
                self._queue.append((other, True))
            elif filled.group and other.order.group == filled.group and other.order.id != filled.id:
                self._withdraw(other)

    def _withdraw(self, working: _Working) -> None:
        if working.submitted:
            working.cause = self._cause
            self._queue.append((working, False))
        else:
            self.on_end(working.order.id)

    # -- what the strategy wants ----------------------------------------------------------------------------------

    def _take(self, commands: Iterable[Command]) -> None:
        for command in commands:
            if isinstance(command, Cancel):
                if command.order_id in self._working:
                    self._withdraw(self._working[command.order_id])
            elif isinstance(command, Target):
                self._take_target(command)
            elif isinstance(command, Order):
                self._add(_Working(self._intake.take(command)))
            else:
                raise UsageError(f"{self._name}: expected Order, Target or Cancel, found {command!r:.100}.")

    @property
    def _name(self) -> str:
        return type(self.strategy).__name__

    def _take_target(self, target: Target) -> None:
        price = self.account.prices.get(target.instrument)
        if target.instrument not in self.instruments or price is None or not math.isfinite(target.weight):
            raise UsageError(f"{self._name}: {target} needs a finite weight of an instrument that has had a bar.")
        quantity = target.weight * self.account.equity / price - float(self._planned(target.instrument))
        if quantity:
            side: Side = "buy" if quantity > 0 else "sell"
            self._add(_Working(self._intake.take(Order(target.instrument, side, abs(quantity))), target=True))

    def _planned(self, name: str) -> Decimal:
        """What is held once every target under way is filled."""
        own = [w for w in self._working.values() if w.target and w.order.instrument == name]
        return self.held[name] + sum((w.left if w.order.side == "buy" else -w.left for w in own), ZERO)

    def _add(self, working: _Working) -> None:
        order = working.order
        if order.after and order.after not in self._working:
            return  # that one is over already
        working.left, working.cause = Decimal(str(order.quantity)), self._cause
        self._working[order.id] = working
        self.account.open_orders[order.id] = order
        if not order.after:
            self._queue.append((working, True))

    # -- what the venue is asked for ------------------------------------------------------------------------------

    def next_action(self) -> Action | None:
        """What to do now; carry it out and report what came of it before asking again. None: nothing is left."""
        while self._queue:
            working, submits = self._queue.popleft()
            if working.order.id not in self._working:
                continue
            if not submits:
                return Withdraw(working.order.id, working.cause)
            action = self._on_grid(working)
            if action is not None:
                return action
            self.on_end(working.order.id)
        return None

    def _on_grid(self, working: _Working) -> Submit | None:
        """The order as the venue and the account allow it; None if nothing is left of it."""
        order, traded = working.order, self.instruments[working.order.instrument]
        limit = self._limit_price(order, traded)
        stop = traded.round_price(Decimal(str(order.stop_price))) if "stop" in order.kind else None
        last = Decimal(str(self.account.prices.get(traded.id, 0.0)))
        price = limit or (stop or last) * CUSHION
        quantity = traded.floor_quantity(min(Decimal(str(order.quantity)), self._most(order, price)))
        if quantity <= 0 or quantity < traded.min_quantity or quantity * (limit or stop or last) < traded.min_notional:
            return None
        working.left, working.price, working.submitted = quantity, price, True
        return Submit(order, quantity, limit, stop, working.cause)

    def _limit_price(self, order: Order, traded: Instrument) -> Decimal | None:
        if "limit" not in order.kind:
            return None
        rounding = ROUND_FLOOR if order.side == "buy" else ROUND_CEILING
        ticks = (Decimal(str(order.limit_price)) / traded.price_tick).to_integral_value(rounding)
        return (ticks * traded.price_tick).quantize(traded.price_tick)

    def _most(self, order: Order, price: Decimal) -> Decimal:
        """The largest quantity that the account has the coins or the cash for."""
        out = [w for w in self._working.values() if w.submitted and w.order.side == order.side]
        if order.side == "sell":
            offered = sum((w.left for w in out if w.order.instrument == order.instrument), ZERO)
            return max(self.held[order.instrument] - offered, ZERO)
        if order.reduce_only or price <= 0:
            return ZERO
        return max((self.cash - sum((w.left * w.price for w in out), ZERO)) / price, ZERO)

    def planned_weight(self, name: str) -> float:
        """Share of the equity in an instrument once all targets under way are filled; 0 before its first price."""
        price = self.account.prices.get(name, 0.0)
        return float(self._planned(name)) * price / self.account.equity if price else 0.0

    # -- what it comes to -----------------------------------------------------------------------------------------

    def equity(self) -> Decimal:
        """Cash and positions at the last closes, exactly."""
        marks = {name: Decimal(str(price)) for name, price in self.account.prices.items()}
        return self.cash + sum((held * marks[name] for name, held in self.held.items() if held), ZERO)
