"""A tick backtest that calls a strategy's handlers one event at a time, over the same compiled venue."""

import math
from collections.abc import Iterable

import numpy as np

from lake.errors import UsageError
from market import desk as d
from market import feed as f
from market import tick_strategy as s
from market.desk import Desk, Integers, Room
from market.execution import Floats
from market.feed import Feed
from market.l2_backtest import check, desk_for, finish
from market.order_intake import OrderIntake
from market.recorded_venue import FOREVER, play
from market.strategy import (
    Account,
    Bar,
    Book,
    Cancel,
    Command,
    Fill,
    Kind,
    Order,
    Side,
    Strategy,
    Target,
    Trade,
)  # fmt: skip
from market.strategy_side import hear, learn, seen_mid, send_cancel, send_order
from market.tick_conditions import TickConditions

KINDS: dict[Kind, int] = {
    "limit": s.LIMIT, "market": s.MARKET, "stop_limit": s.STOP_LIMIT, "stop": s.STOP_MARKET,
}  # fmt: skip
FORCES = {"gtc": s.GTC, "ioc": s.IOC, "fok": s.FOK}


class TickSimulation:
    """One run. The strategy hears of market data, then of its orders, then of the time; then its commands are sent."""

    def __init__(
        self, strategy: Strategy, feed: Feed, conditions: TickConditions, step: int = 0, timeframe: int = 0
    ) -> None:
        self._strategy, self._feed = strategy, feed
        self._desk: Desk = desk_for(feed, conditions, Room(), step)
        sizes = [(float(tick), float(lot)) for tick, lot in feed.grid]
        self._account = Account(
            feed.instruments,
            cash=conditions.capital / conditions.size,
            grid=dict(zip(feed.instruments, sizes, strict=True)),
        )
        self._intake = OrderIntake(type(strategy).__name__, feed.instruments)
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._ended: dict[str, bool] = {}  # whether the order had filled
        self._filled: set[str] = set()
        self._targets: dict[str, float] = {}
        self._groups: dict[str, int] = {}
        self._shown: dict[str, object] = {}
        self._now = 0
        kind = type(strategy)
        self._wants_books = kind.on_book is not Strategy.on_book
        self._wants_trades = kind.on_trade is not Strategy.on_trade
        wants_bars = kind.on_bar is not Strategy.on_bar
        self._bars = (
            list(closed_bars(feed, timeframe or int(np.diff(self._desk.grid_times[:2])[0]))) if wants_bars else []
        )
        self._size = conditions.size

    def run(self) -> Desk:
        """Play the whole recording."""
        rows, interval, counters = self._desk.rows, self._strategy.interval_us, self._desk.counters
        last, bars = int(rows[-1, f.HEARD]), 0
        timer = -(-int(rows[0, f.HEARD]) // interval) * interval if interval > 0 else FOREVER
        while True:
            heard = int(rows[counters[d.NEXT_HEARD], f.HEARD]) if counters[d.NEXT_HEARD] < len(rows) else FOREVER
            bar = self._bars[bars][0] if bars < len(self._bars) else FOREVER
            bound = min(heard, timer, bar)
            if bound > last:
                break
            play(self._desk, bound, True)
            self._now = self._account.time = int(counters[d.NOW])
            play(self._desk, self._now, False)  # the rest of what happens at this very time
            self._hear()
            self._learn()
            while bars < len(self._bars) and self._bars[bars][0] <= self._now:
                self._take(self._strategy.on_bar(self._bars[bars][1], self._account))
                bars += 1
            if self._now == timer:
                self._take(self._strategy.on_time(self._now, self._account))
                timer += interval
            self._make_room()
            check(self._desk, self._strategy)
        finish(self._desk)
        return self._desk

    def _make_room(self) -> None:
        """Twice as much room for fills where little is left: the compiled code never grows an array."""
        fills = self._desk.fills
        if self._desk.counters[d.FILLS] > len(fills) // 2:
            self._desk = self._desk._replace(fills=np.concatenate([fills, np.zeros_like(fills)]))

    def _hear(self) -> None:
        desk, account = self._desk, self._account
        start = int(desk.counters[d.NEXT_HEARD])
        hear(desk, self._now)
        rows = desk.rows[start : desk.counters[d.NEXT_HEARD]]
        if not len(rows):
            return
        for j in np.unique(rows[:, f.INSTRUMENT]).tolist():
            price = seen_mid(desk, j) * desk.grid[j, f.TICK_SIZE]
            if price == price:
                account.prices[self._feed.instruments[j]] = float(price)
        if self._wants_trades:
            for row in rows[(rows[:, f.KIND] == f.BUY) | (rows[:, f.KIND] == f.SELL)]:
                self._take(self._strategy.on_trade(self._trade(row), account))
        if self._wants_books:
            for j in dict.fromkeys(rows[rows[:, f.KIND] != f.FUNDING, f.INSTRUMENT].tolist()):
                self._show(self._book(j), account)

    def _show(self, book: Book, account: Account) -> None:
        """Tell the strategy of a book whose levels differ from those it saw last."""
        levels = book.bids, book.asks
        if levels != self._shown.get(book.instrument, ((), ())):
            self._shown[book.instrument] = levels
            self._take(self._strategy.on_book(book, account))

    def _trade(self, row: Integers) -> Trade:
        j = int(row[f.INSTRUMENT])
        tick, lot = self._feed.grid[j]
        price, quantity = float(self._feed.ticks[row[f.AT]] * tick), float(row[f.LOTS] * lot)
        side: Side = "buy" if row[f.KIND] == f.BUY else "sell"
        return Trade(self._feed.instruments[j], self._now, price, quantity, side)

    def _book(self, j: int) -> Book:
        bids, asks = (self._levels(j, side) for side in (0, 1))
        return Book(self._feed.instruments[j], self._now, bids, asks)

    def _levels(self, j: int, side: int) -> tuple[tuple[float, float], ...]:
        desk = self._desk
        out: list[tuple[float, float]] = []
        at, low, high = int(desk.seen_best[side, j]), int(desk.offsets[j]), int(desk.offsets[j + 1])
        tick, lot = self._feed.grid[j]
        while low <= at < high and len(out) < self._strategy.book_levels:
            if desk.seen_lots[side, at]:
                out.append((float(desk.ticks[at] * tick), float(desk.seen_lots[side, at] * lot)))
            at += -1 if side == 0 else 1
        return tuple(out)

    # Our orders

    def _learn(self) -> None:
        desk, c = self._desk, self._desk.counters
        while c[d.ANSWER_HEAD] < c[d.ANSWER_TAIL]:
            answer = desk.answers[c[d.ANSWER_HEAD] % len(desk.answers)]
            if answer[d.ANSWER_TIME] > self._now:
                return
            slot, kind, fill, number = learn(desk)
            name = self._names[int(number)]
            order = self._account.open_orders[name]
            j = int(desk.orders[slot, d.INSTRUMENT])
            self._account.left[name] = float(
                desk.orders[slot, d.KNOWN_LEFT] * self._feed.grid[j, f.LOT_SIZE] / self._size
            )
            done = bool(answer[d.ANSWER_LAST])
            if kind == d.FILLED:
                self._filled.add(name)
            if done:
                self._account.open_orders.pop(name)
                self._account.left.pop(name)
                self._ended[name] = name in self._filled
                self._targets.pop(name, None)
            if kind == d.FILLED:
                self._on_fill(order, desk.fills[fill], j)

    def _on_fill(self, order: Order, row: Floats, j: int) -> None:
        desk, account = self._desk, self._account
        signed = float(row[d.FILL_LOTS] * self._feed.grid[j, f.LOT_SIZE])
        account.cash = float(desk.money[d.KNOWN_CASH]) / self._size
        account.positions[order.instrument] = float(
            desk.seen[j, s.POSITION] * self._feed.grid[j, f.LOT_SIZE] / self._size
        )
        if order.id in self._targets:
            self._targets[order.id] -= signed / self._size
        side: Side = "buy" if signed > 0 else "sell"
        price, fee = float(row[d.FILL_PRICE]), float(row[d.FILL_FEE]) / self._size
        fill = Fill(order.id, order.instrument, side, int(row[d.FILL_TIME]), price, abs(signed) / self._size, fee)
        self._take(self._strategy.on_fill(fill, account))

    # What the strategy asks for

    def _take(self, commands: Iterable[Command]) -> None:
        for command in commands:
            if isinstance(command, Cancel):
                if command.order_id in self._numbers:
                    send_cancel(self._desk, self._now, self._numbers[command.order_id])
            elif isinstance(command, Target):
                self._take_target(command)
            elif isinstance(command, Order):
                self._send(self._intake.take(command))
            else:
                raise UsageError(f"{self._name}: expected Order, Target or Cancel, found {command!r:.100}.")

    @property
    def _name(self) -> str:
        return type(self._strategy).__name__

    def _take_target(self, target: Target) -> None:
        price = self._account.prices.get(target.instrument)
        if price is None or not math.isfinite(target.weight):
            raise UsageError(f"{self._name}: {target} needs a finite weight of an instrument that has had a price.")
        planned = self._account.positions.get(target.instrument, 0.0)
        planned += sum(
            left for name, left in self._targets.items()
            if self._account.open_orders[name].instrument == target.instrument
        )  # fmt: skip
        quantity = target.weight * self._account.equity / price - planned
        lot = self._account.grid[target.instrument][1]
        if abs(quantity) < lot * (1 - 1e-9):
            return
        order = self._intake.take(Order(target.instrument, "buy" if quantity > 0 else "sell", abs(quantity)))
        lots = math.floor(abs(quantity) / lot + 1e-9)
        self._targets[order.id] = math.copysign(lots * lot, quantity)
        self._send(order)

    def _send(self, order: Order) -> None:
        """Round to the grid (a quantity down, prices to the nearest tick) and send; less than a lot is not sent."""
        j = self._feed.instruments.index(order.instrument)
        tick, lot = self._account.grid[order.instrument]
        lots = math.floor(order.quantity / lot + 1e-9)
        parent_done = self._ended.get(order.after) if order.after else True
        if lots < 1 or parent_done is False:
            self._numbers[order.id], self._ended[order.id] = 0, False
            return
        force = s.POST_ONLY if order.post_only else FORCES[order.time_in_force]
        group = self._groups.setdefault(order.group, len(self._groups) + 1) if order.group else 0
        after = self._numbers[order.after] if order.after and parent_done is None else 0
        number = send_order(
            self._desk, self._now, j, 0 if order.side == "buy" else 1, KINDS[order.kind], force,
            round(order.limit_price / tick), round(order.stop_price / tick), lots, int(order.reduce_only), group, after,
        )  # fmt: skip
        self._numbers[order.id], self._names[number] = number, order.id
        self._account.open_orders[order.id] = order


def closed_bars(feed: Feed, timeframe: int) -> Iterable[tuple[int, Bar]]:
    """Bars of each instrument's trades and when the strategy hears of them: with the first event after their end."""
    found = []
    for j, name in enumerate(feed.instruments):
        tick, lot = feed.grid[j]
        rows = feed.rows[
            (feed.rows[:, f.INSTRUMENT] == j) & ((feed.rows[:, f.KIND] == f.BUY) | (feed.rows[:, f.KIND] == f.SELL))
        ]
        if not len(rows):
            continue
        opened = rows[:, f.TIME] // timeframe * timeframe
        starts = np.flatnonzero(np.diff(opened, prepend=-1))
        prices, lots = feed.ticks[rows[:, f.AT]] * tick, rows[:, f.LOTS] * lot
        highs, lows = np.maximum.reduceat(prices, starts), np.minimum.reduceat(prices, starts)
        volumes, ends = np.add.reduceat(lots, starts), np.append(starts[1:], len(rows)) - 1
        for k, start in enumerate(starts):
            begin = int(opened[start])
            next_row = int(np.searchsorted(feed.rows[:, f.TIME], begin + timeframe))
            if next_row < len(feed.rows):
                values = prices[start], highs[k], lows[k], prices[ends[k]], volumes[k]
                bar = Bar(name, begin, begin + timeframe, *(float(value) for value in values))
                found.append((max(int(feed.rows[next_row, f.HEARD]), begin + timeframe), bar))
    return sorted(found, key=lambda pair: pair[0])
