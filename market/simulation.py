"""Run a strategy over bars: event by event, or compiled where it is a `WeightStrategy`.

At a bar's open the orders that have arrived are filled, inside it stops before limits, at its close the strategy hears
of it; what it answers arrives `delay_bars` later. So no bar fills the signal it produced. Answers to a fill arrive as
late as answers to the bar. A stop attached to an order (`after`) may be met in the bar that filled the order, since it
rests at the venue from then on; a limit so attached only where the order filled at the open.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lake.errors import UsageError
from market import execution as x
from market.bars import Bars
from market.conditions import Conditions, Terms
from market.execution import Floats, Ledger
from market.order_intake import OrderIntake
from market.strategy import Account, Bar, Cancel, Command, Fill, Order, Side, Strategy, Target, WeightStrategy

Rows: TypeAlias = list[list[float]]
"""[k][BAR_FIELDS]: one bar of each instrument, as plain floats."""


@dataclass(frozen=True, slots=True)
class Run:
    """What happened."""

    bars: Bars
    conditions: Terms
    equity: Floats
    """[n], at each close."""
    exposure: Floats
    """[n], gross, over equity."""
    fills: Floats
    """[m, FILL_FIELDS], in order."""
    ruined_at: int | None
    """Bar at whose close nothing was left; the run ends there."""
    compiled: bool
    """Whether the fast path ran."""
    more: Mapping[str, float] = field(default_factory=dict)
    """Measures that only this kind of run has, by their names in reports."""


def backtest(strategy: Strategy, bars: Bars, conditions: Conditions, compiled: bool = True) -> Run:
    """Run a strategy; `compiled=False` feeds a `WeightStrategy` bar by bar too, as live would.

    Raises:
        UsageError: the strategy's commands or weights make no sense; the message says which.
    """
    if compiled and isinstance(strategy, WeightStrategy):
        return follow_weights(portfolio_weights(strategy, bars), bars, conditions)
    return Simulation(strategy, bars, conditions).run()


def portfolio_weights(strategy: WeightStrategy, bars: Bars) -> Floats:
    """[n, k]: shares of the equity after each bar, NaN where an instrument has no bar or the strategy no opinion."""
    out = np.full(bars.values.shape[:2], np.nan)
    for j in range(len(bars.instruments)):
        own = bars.of(j)
        weights = np.asarray(strategy.weights(own), np.float64)
        if weights.shape != own.close.shape or np.isinf(weights).any():
            raise UsageError(
                f"{type(strategy).__name__}.weights: expected {len(own.close)} numbers for {bars.instruments[j]}, one "
                f"for each bar, found shape {weights.shape}{' with infinities' if np.isinf(weights).any() else ''}."
            )
        out[~np.isnan(bars.values[:, j, x.CLOSE]), j] = weights / len(bars.instruments)
    return out


def follow_weights(weights: Floats, bars: Bars, conditions: Conditions) -> Run:
    """The fast path: target weights [n, k] as shares of the equity."""
    n = len(bars.open_time)
    equity, exposure = np.empty(n), np.empty(n)
    room = 4096 + n // 8
    while True:
        fills = np.empty((room, x.FILL_FIELDS))
        ledger, terms = conditions.ledger(bars.instruments), conditions.terms(bars.bars_per_day)
        delay, rates = conditions.delay_bars, bars.rates()
        count, end = x.run_weights(bars.values, weights, delay, ledger, terms, equity, exposure, fills, rates)
        if count <= room:
            ruined_at = None if end == n else int(end)
            return Run(bars, conditions, equity, exposure, fills[:count], ruined_at, True, _paid(bars, ledger))
        room = count


def _paid(bars: Bars, ledger: Ledger) -> dict[str, float]:
    return {} if bars.funding is None else {"funding": float(ledger.cash[1])}


@dataclass(slots=True, eq=False)
class Working:
    """An order on its way or at the venue."""

    order: Order
    left: float
    sign: float
    arrives: int
    decided: float
    """Close when it was decided."""
    index: int
    target: bool = False
    waiting: bool = False
    """For the order it comes `after`."""
    triggered: bool = False
    fresh: bool = True
    """Arrives in the bar that opens next, so it may take; later it rests and gets no better than its price."""

    @property
    def is_stop(self) -> bool:
        return self.order.kind in ("stop", "stop_limit") and not self.triggered


class Simulation:
    """One run, event by event."""

    def __init__(self, strategy: Strategy, bars: Bars, conditions: Conditions) -> None:
        self._strategy, self._bars, self._conditions = strategy, bars, conditions
        self._ledger: Ledger = conditions.ledger(bars.instruments)
        self._terms = conditions.terms(bars.bars_per_day)
        self._columns = {name: j for j, name in enumerate(bars.instruments)}
        self._account = Account(bars.instruments, cash=conditions.capital)
        self._working: list[Working] = []
        self._cancels: list[tuple[int, str]] = []
        self._planned = np.zeros(len(bars.instruments))
        self._fills: list[NDArray[np.float64]] = []
        self._row = np.empty((1, x.FILL_FIELDS))
        self._intake = OrderIntake(type(strategy).__name__, self._columns)
        self._t = 0

    def run(self) -> Run:
        """Play every bar."""
        n = len(self._bars.open_time)
        equity, exposure, end = np.empty(n), np.zeros(n), None
        exits = bool(self._terms[[x.STOP_LOSS, x.TRAILING_STOP, x.TAKE_PROFIT]].any())
        capital = self._conditions.capital
        names, values, length, rates = (
            self._bars.instruments, self._bars.values, self._bars.timeframe, self._bars.rates(),
        )  # fmt: skip
        for t, opened in enumerate(self._bars.open_time.tolist()):
            self._t = t
            rows = values[t].tolist()
            if self._working or self._cancels or exits:
                trading = [j for j, row in enumerate(rows) if row[x.VOLUME] > 0.0]
                self._play_orders(trading, rows)
                if exits:
                    self._play_exits(trading, values[t])
            equity[t], exposure[t] = x.close_bar(self._ledger, values, t, self._terms, capital, rates)
            if len(rates):
                self._account.cash = float(self._ledger.cash[0])
            if exposure[t] < 0.0:
                equity[t:], exposure[t:], end = equity[t], 0.0, t
                break
            present = [(name, row) for name, row in zip(names, rows, strict=True) if row[x.CLOSE] == row[x.CLOSE]]
            for name, row in present:
                self._account.prices[name] = row[x.CLOSE]
            self._account.time = opened + length
            for name, row in present:
                self._take(self._strategy.on_bar(Bar(name, opened, opened + length, *row), self._account))
        fills = np.array(self._fills).reshape(-1, x.FILL_FIELDS)
        paid = _paid(self._bars, self._ledger)
        return Run(self._bars, self._conditions, equity, exposure, fills, end, False, paid)

    # What the strategy asks for

    def _take(self, commands: Iterable[Command]) -> None:
        arrives = self._t + self._conditions.delay_bars
        for command in commands:
            if isinstance(command, Cancel):
                self._cancels.append((arrives, command.order_id))
            elif isinstance(command, Target):
                self._take_target(command, arrives)
            elif isinstance(command, Order):
                self._add(self._intake.take(command), arrives)
            else:
                raise UsageError(f"{self._name}: expected Order, Target or Cancel, found {command!r:.100}.")

    @property
    def _name(self) -> str:
        return type(self._strategy).__name__

    def _take_target(self, target: Target, arrives: int) -> None:
        j = self._columns.get(target.instrument)
        price = self._account.prices.get(target.instrument)
        if j is None or price is None or not math.isfinite(target.weight):
            raise UsageError(f"{self._name}: {target} needs a finite weight of an instrument that has had a bar.")
        quantity = target.weight * x.equity(self._ledger) / price - float(self._planned[j])
        if quantity == 0.0:
            return
        self._planned[j] += quantity
        side: Side = "buy" if quantity > 0 else "sell"
        self._add(self._intake.take(Order(target.instrument, side, abs(quantity))), arrives, target=True)

    def _add(self, order: Order, arrives: int, target: bool = False) -> None:
        j = self._columns[order.instrument]
        sign = 1.0 if order.side == "buy" else -1.0
        decided = self._account.prices.get(order.instrument, math.nan)
        self._working.append(
            Working(order, order.quantity, sign, arrives, decided, j, target, waiting=bool(order.after))
        )
        self._account.open_orders[order.id] = order

    # What the market does with it

    def _play_orders(self, trading: list[int], rows: Rows) -> None:
        if not self._working and not self._cancels:
            return
        due = [order_id for arrives, order_id in self._cancels if arrives <= self._t]
        if due:
            self._cancels = [pair for pair in self._cancels if pair[0] > self._t]
            for working in [w for w in self._working if w.order.id in due and w.arrives <= self._t]:
                self._end(working)
        for j in trading:
            self._fill_targets(j, rows[j])
            for working in self._arrived(j):
                self._at_open(working, rows[j])
        for j in trading:
            for working in self._arrived(j):
                if working.is_stop:
                    self._inside(working, rows[j])
            for working in self._arrived(j):
                if not working.is_stop:
                    self._inside(working, rows[j])
            for working in self._arrived(j):  # stops attached to what a limit just opened
                if working.is_stop:
                    self._inside(working, rows[j])

    def _arrived(self, j: int) -> list[Working]:
        return [w for w in self._working if w.index == j and w.arrives <= self._t and not w.waiting]

    def _fill_targets(self, j: int, row: list[float]) -> None:
        """Targets that have arrived are one order for their sum."""
        due = [w for w in self._arrived(j) if w.target]
        if not due:
            return
        quantity = sum(w.sign * w.left for w in due)
        for working in due[:-1]:
            self._end(working)
        last = due[-1]
        done = self._trade(last, quantity, row[x.OPEN], x.MARKET_FILL, 0.0) if quantity else 0.0
        self._planned[j] -= quantity - done
        self._end(last)

    def _at_open(self, working: Working, row: list[float]) -> None:
        if working not in self._working:
            return
        order, opened, sign = working.order, row[x.OPEN], working.sign
        fresh, working.fresh = working.fresh, False
        if working.is_stop and sign * (opened - order.stop_price) >= 0:
            working.triggered = True
            if order.kind == "stop":
                self._execute(working, opened, x.STOP_FILL)
                return
        if working.is_stop:
            return
        if order.kind == "market":
            self._execute(working, opened, x.MARKET_FILL)
        elif fresh and sign * (order.limit_price - opened) >= 0:
            if order.post_only:
                self._end(working)
            else:
                self._execute(working, opened, x.MARKET_FILL, worst=order.limit_price)
        if order.kind == "limit" and order.time_in_force != "gtc":
            self._end(working)

    def _inside(self, working: Working, row: list[float]) -> None:
        if working not in self._working:
            return
        order, sign = working.order, working.sign
        if working.is_stop:
            if sign * ((row[x.HIGH] if sign > 0 else row[x.LOW]) - order.stop_price) >= 0:
                working.triggered = True
                if order.kind == "stop":
                    self._execute(working, order.stop_price, x.STOP_FILL)
                else:
                    working.arrives = self._t + 1
        elif sign * (order.limit_price - (row[x.LOW] if sign > 0 else row[x.HIGH])) > 0 and order.kind != "market":
            most = self._conditions.limit_share * row[x.VOLUME]
            self._execute(working, order.limit_price, x.LIMIT_FILL, most=most)

    def _execute(
        self, working: Working, reference: float, kind: int, worst: float = 0.0, most: float = math.inf
    ) -> None:
        """Trade an order; what a limit could not get stays, what the account does not allow is cancelled."""
        held = float(self._ledger.instruments[working.index, x.POSITION])
        wanted = min(working.left, max(-working.sign * held, 0.0)) if working.order.reduce_only else working.left
        portion = min(wanted, most)
        if portion <= 0.0:
            self._end(working)
            return
        done = self._trade(working, working.sign * portion, reference, kind, worst)
        self._planned[working.index] += done
        working.left -= abs(done)
        rests = portion < wanted and abs(done) > 0.0 and working.left > 1e-12 * working.order.quantity
        if not rests:
            self._end(working)

    def _trade(self, working: Working, quantity: float, reference: float, kind: int, worst: float) -> float:
        done = x.trade(
            self._ledger, self._t, working.index, quantity, reference, kind, worst, working.decided, self._terms,
            self._row, 0,
        )  # fmt: skip
        if done:
            self._record(working.order)
        return done

    def _record(self, order: Order) -> None:
        row = self._row[0].copy()
        self._fills.append(row)
        self._account.cash = float(self._ledger.cash[0])
        held = float(self._ledger.instruments[self._columns[order.instrument], x.POSITION])
        self._account.positions[order.instrument] = held
        for other in list(self._working):
            if other.order.after == order.id and other.waiting:
                other.waiting = other.fresh = False
                other.arrives = self._t if row[x.FILL_KIND] == x.MARKET_FILL or other.is_stop else self._t + 1
            elif order.group and other.order.group == order.group and other.order.id != order.id:
                self._end(other)
        side: Side = "buy" if row[x.FILL_QUANTITY] > 0 else "sell"
        time = int(self._bars.open_time[self._t])
        quantity, price, fee = abs(row[x.FILL_QUANTITY]), row[x.FILL_PRICE], row[x.FILL_FEE]
        fill = Fill(order.id, order.instrument, side, time, float(price), float(quantity), float(fee))
        self._take(self._strategy.on_fill(fill, self._account))

    def _end(self, working: Working) -> None:
        """Take an order off, and those that wait for it if it never filled."""
        if working not in self._working:
            return
        self._working.remove(working)
        self._account.open_orders.pop(working.order.id, None)
        for other in [w for w in self._working if w.waiting and w.order.after == working.order.id]:
            self._end(other)

    def _play_exits(self, trading: list[int], rows: Floats) -> None:
        for j in trading:
            if self._ledger.instruments[j, x.POSITION] == 0.0:
                continue
            done = x.leave(self._ledger, self._t, j, rows[j], self._terms, self._row, 0)
            self._planned[j] += done
            if done:
                side: Side = "buy" if done > 0 else "sell"
                self._record(Order(self._bars.instruments[j], side, abs(done), id="exit"))
