"""Strategies over ticks as one compiled function: fast in a backtest, and the same step by step anywhere else.

    @njit(cache=True)
    def step(view):
        count = 0
        for row in view.orders:                                  # take back what stands elsewhere
            if row[MINE_TICK] != wanted: count = cancel(view, count, row[MINE_ID])
        return place(view, count, 0, BUY, wanted, lots, POST_ONLY)

    @dataclass
    class Quoter(StepStrategy):
        distance: int = 10                                       # view.parameters[0]
        step = staticmethod(step)
        interval_us = 100_000

Everything a step knows and keeps is in plain arrays (`View`), so it can be called with arrays filled from any feed:
`StepStrategy` does that itself from the handlers of market/strategy.py, for runners that know nothing of ticks.
Prices are whole ticks, quantities whole lots.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from market.kernel import njit
from market.strategy import Account, Book, Cancel, Command, Order, Strategy, Trade

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

BUY, SELL = range(2)
LIMIT, MARKET, STOP_LIMIT, STOP_MARKET = range(4)
GTC, IOC, FOK, POST_ONLY = range(4)
PLACE, CANCEL = range(2)
OPEN, CANCELLING, DONE = range(3)
"""An order as the strategy knows it: OPEN until it hears of the end, also while it is on its way."""
# Columns of View.market, a row for each instrument; −1 where nothing is known. TRADE_LOTS is above zero where the taker
# bought; TRADES counts those heard of.
(
    BID_TICK, BID_LOTS, ASK_TICK, ASK_LOTS, TRADE_TICK, TRADE_LOTS, TRADES, POSITION, SEEN_FIELDS,
) = range(9)  # fmt: skip
MINE_ID, MINE_INSTRUMENT, MINE_SIDE, MINE_TICK, MINE_LOTS, MINE_STATE, MINE_FIELDS = range(7)
(
    COMMAND_KIND, COMMAND_ID, COMMAND_INSTRUMENT, COMMAND_SIDE, COMMAND_ORDER, COMMAND_TIF, COMMAND_TICK, COMMAND_LOTS,
    COMMAND_STOP, COMMAND_FIELDS,
) = range(10)  # fmt: skip
COMMANDS = 64
"""Most commands of one step."""


class View(NamedTuple):
    """What a step may know, and where it answers."""

    now: int
    """µs, the strategy's clock."""
    market: Integers
    """[k, SEEN_FIELDS]."""
    depth: Integers
    """[k, 2, book_levels, 2]: tick and lots of bids and asks, best first; lots 0 where the book ends."""
    grid: Floats
    """[k, 2]: tick and lot size."""
    money: Floats
    """[1]: cash."""
    orders: Integers
    """[n, MINE_FIELDS]: our orders that are not known to have ended."""
    state: Floats
    """[state_size]: kept from step to step, zero at first."""
    parameters: Floats
    """The strategy's fields in their order."""
    commands: Integers
    """[COMMANDS, COMMAND_FIELDS]: the answer."""


@njit(cache=True, nogil=True)
def place(view: Any, count: int, instrument: int, side: int, tick: int, lots: int, time_in_force: int) -> int:
    """Write a limit order as command `count`; answers the new count. Beyond COMMANDS nothing is written."""
    if count >= len(view.commands):
        return count
    row = view.commands[count]
    row[COMMAND_KIND], row[COMMAND_INSTRUMENT], row[COMMAND_SIDE], row[COMMAND_ORDER] = PLACE, instrument, side, LIMIT
    row[COMMAND_TIF], row[COMMAND_TICK], row[COMMAND_LOTS], row[COMMAND_STOP] = time_in_force, tick, lots, 0
    return count + 1


@njit(cache=True, nogil=True)
def take(view: Any, count: int, instrument: int, side: int, lots: int) -> int:
    """Write a market order as command `count`; answers the new count."""
    after = place(view, count, instrument, side, 0, lots, IOC)
    if after > count:
        view.commands[count, COMMAND_ORDER] = MARKET
    return after


@njit(cache=True, nogil=True)
def cancel(view: Any, count: int, order_id: int) -> int:
    """Write a cancellation as command `count`; answers the new count."""
    if count >= len(view.commands):
        return count
    view.commands[count, COMMAND_KIND], view.commands[count, COMMAND_ID] = CANCEL, order_id
    return count + 1


@dataclass
class StepStrategy(Strategy):
    """A strategy that is one compiled step at every multiple of `interval_us`."""

    interval_us: ClassVar[int] = 100_000
    book_levels: ClassVar[int] = 1
    state_size: ClassVar[int] = 16
    _view: Any = field(default=None, init=False, repr=False, compare=False)
    _cancelled: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    @staticmethod
    def step(view: View) -> int:
        """Write commands and answer how many; compiled with `njit`. May keep what it likes in `view.state`."""
        raise NotImplementedError("StepStrategy.step: give an njit function as `step = staticmethod(function)`")

    def numbers(self) -> Floats:
        """[p]: the parameters as the step gets them."""
        return np.array([float(value) for value in self.parameters().values()], np.float64)

    # The same step where events come one by one, as in a live node.

    def on_book(self, book: Book, account: Account) -> Iterable[Command]:
        view, j = self._seen(account), account.instruments.index(book.instrument)
        tick, lot = view.grid[j]
        for side, levels in enumerate((book.bids, book.asks)):
            shown = np.zeros((self.book_levels, 2), np.int64)
            for row, (price, quantity) in zip(shown, levels, strict=False):
                row[:] = round(price / tick), round(quantity / lot)
            view.depth[j, side] = shown
            best = shown[0] if levels else (-1, 0)
            view.market[j, [BID_TICK, BID_LOTS] if side == 0 else [ASK_TICK, ASK_LOTS]] = best
        return ()

    def on_trade(self, trade: Trade, account: Account) -> Iterable[Command]:
        view, j = self._seen(account), account.instruments.index(trade.instrument)
        tick, lot = view.grid[j]
        lots = round(trade.quantity / lot) * (1 if trade.side == "buy" else -1)
        view.market[j, TRADE_TICK], view.market[j, TRADE_LOTS] = round(trade.price / tick), lots
        view.market[j, TRADES] += 1
        return ()

    def on_time(self, time: int, account: Account) -> Iterable[Command]:
        view = self._seen(account)
        for j, name in enumerate(account.instruments):
            view.market[j, POSITION] = round(account.positions.get(name, 0.0) / view.grid[j, 1])
        view.money[0] = account.cash
        self._cancelled &= set(account.open_orders)
        ids = list(account.open_orders)
        mine = np.array([self._mine(n, account, view) for n in range(len(ids))], np.int64).reshape(-1, MINE_FIELDS)
        count = self.step(view._replace(now=time, orders=mine))
        return [self._command(row, ids, account, view) for row in view.commands[:count]]

    def _seen(self, account: Account) -> View:
        if self._view is None:
            k = len(account.instruments)
            market = np.full((k, SEEN_FIELDS), -1, np.int64)
            market[:, [BID_LOTS, ASK_LOTS, TRADE_LOTS, TRADES, POSITION]] = 0
            depth = np.zeros((k, 2, self.book_levels, 2), np.int64)
            grid = np.array([account.grid[name] for name in account.instruments], np.float64)
            self._view = View(
                0, market, depth, grid, np.array([account.cash]), np.zeros((0, MINE_FIELDS), np.int64),
                np.zeros(self.state_size), self.numbers(), np.zeros((COMMANDS, COMMAND_FIELDS), np.int64),
            )  # fmt: skip
        view: View = self._view
        return view

    def _mine(self, number: int, account: Account, view: View) -> tuple[int, ...]:
        """Row `number` of our open orders; its id is that number, good for this step alone."""
        order = list(account.open_orders.values())[number]
        j = account.instruments.index(order.instrument)
        tick, lot = view.grid[j]
        state = CANCELLING if order.id in self._cancelled else OPEN
        side = BUY if order.side == "buy" else SELL
        left = account.left.get(order.id, order.quantity)
        return number, j, side, round(order.limit_price / tick), round(left / lot), state

    def _command(self, row: Integers, ids: list[str], account: Account, view: View) -> Command:
        if row[COMMAND_KIND] == CANCEL:
            self._cancelled.add(ids[row[COMMAND_ID]])
            return Cancel(ids[row[COMMAND_ID]])
        j = int(row[COMMAND_INSTRUMENT])
        tick, lot = (float(size) for size in view.grid[j])
        return Order(
            account.instruments[j], "buy" if row[COMMAND_SIDE] == BUY else "sell", int(row[COMMAND_LOTS]) * lot,
            "market" if row[COMMAND_ORDER] == MARKET else "limit", int(row[COMMAND_TICK]) * tick,
            time_in_force="ioc" if row[COMMAND_TIF] == IOC else "fok" if row[COMMAND_TIF] == FOK else "gtc",
            post_only=bool(row[COMMAND_TIF] == POST_ONLY),
        )  # fmt: skip
