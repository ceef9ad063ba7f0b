"""A recording played through the engine: `python -m market.server --replay FILE…`.

The recording's levels rest in the book as orders of one market owner (MAKER); its trades are orders of another (TAKER).
Clients' orders stand in the same queues and match by the same loop. The rules:

- A level that grows gets an order at the end of its queue, behind clients. One that shrinks loses its newest recorded
  order first, from behind clients: the pessimistic reading, since nobody recorded who left.
- A trade prints at its own price: what the recording still shows at better prices is gone by then, and what it does not
  show at this price is added behind whoever waits there. Clients at this price or a better one trade first if they
  came first. Without clients the tape is the recording's, trade by trade.
- After each change of the recording the market's part of the book equals the recorded book, except at levels that a
  client has taken from: those come back when the recording next sets them.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from lake.errors import BadInput
from lake.instruments import Instrument
from lake.intervals import DAY, MINUTE
from market import engine as engines
from market import l2, order_entry, requests
from market.accounts import FREE, unlock
from market.agents import MAKER, TAKER
from market.book import (
    BUY_LEVELS,
    LEVEL_HEAD,
    LEVEL_LOTS,
    LEVEL_PRICE,
    LEVEL_TAIL,
    NEXT_TRADE_ID,
    ORDER_ID,
    ORDER_LOTS,
    ORDER_NEXT,
    ORDER_OWNER,
    ORDER_PREVIOUS,
    UNIT,
    level_at,
    shrink,
)
from market.candles import Candles
from market.clock import MarketClock, Speed
from market.contracts import scales_of, spot
from market.engine import (
    EXPIRE_MAKER,
    GTC,
    IOC,
    LIMIT,
    REQ_INSTRUMENT,
    REQ_KIND,
    REQ_LOTS,
    REQ_OWNER,
    REQ_PRICE,
    REQ_SIDE,
    REQ_STP,
    REQ_TIF,
)
from market.exchange import Exchange
from market.kernel import njit
from market.l2 import BID, UPDATE_LOTS, UPDATE_SIDE, UPDATE_TICK, Levels
from market.recording import BOOK_SET, END, KIND, START, TIME, TRADED, Recording, read_recording
from market.venue import Venue, warm_up

MARKET_QUOTE, MARKET_BASE = 10**10, 10**9
"""What each market owner starts with: more than any recorded book holds."""
MOST_TOUCHED = 4096
"""Levels that trades may change between two changes of the recorded book."""


@njit(cache=True, nogil=True)
def recorded_lots(levels: Any, side: int, tick: int) -> int:
    """What the recorded book holds at a price."""
    rows, low, high = levels.rows[side], 0, levels.counts[side]
    while low < high:
        middle = (low + high) // 2
        if rows[middle, 0] < tick if side == BID else rows[middle, 0] > tick:
            low = middle + 1
        else:
            high = middle
    return rows[low, 1] if low < levels.counts[side] and rows[low, 0] == tick else 0


@njit(cache=True, nogil=True)
def market_lots(book: Any, i: int, side: int, price: int) -> int:
    """What the market owner has resting at a price."""
    at, total = level_at(book, i, side, price), 0
    if at < book.meta[i, BUY_LEVELS + side] and book.levels[i, side, at, LEVEL_PRICE] == price:
        slot = book.levels[i, side, at, LEVEL_HEAD]
        while slot >= 0:
            if book.orders[i, slot, ORDER_OWNER] == MAKER:
                total += book.orders[i, slot, ORDER_LOTS]
            slot = book.orders[i, slot, ORDER_NEXT]
    return total


@njit(cache=True, nogil=True)
def _send(engine: Any, request: Any, i: int, owner: int, side: int, price: int, lots: int, tif: int, time: int) -> None:
    request[:] = 0
    request[REQ_INSTRUMENT], request[REQ_OWNER], request[REQ_SIDE], request[REQ_KIND] = i, owner, side, LIMIT
    request[REQ_PRICE], request[REQ_LOTS], request[REQ_TIF], request[REQ_STP] = price, lots, tif, EXPIRE_MAKER
    requests.submit(engine, request, time)


@njit(cache=True, nogil=True)
def cut(engine: Any, i: int, side: int, price: int, lots: int, time: int) -> None:
    """Take so many lots of the market owner away from a price, newest order first."""
    book = engine.book
    at = level_at(book, i, side, price)
    slot = book.levels[i, side, at, LEVEL_TAIL]
    while slot >= 0 and lots > 0:
        before, held = book.orders[i, slot, ORDER_PREVIOUS], book.orders[i, slot, ORDER_LOTS]
        if book.orders[i, slot, ORDER_OWNER] == MAKER:
            order_id = book.orders[i, slot, ORDER_ID]
            if held <= lots:
                order_entry.cancel(engine, i, slot, order_id, time)
            else:
                shrink(book, i, slot, lots)  # it keeps its place in the queue
                unlock(engine.accounts, i, MAKER, side, price, lots, False)
            lots -= held
        slot = before


@njit(cache=True, nogil=True)
def grow(engine: Any, request: Any, i: int, side: int, price: int, lots: int, time: int) -> None:
    """Add lots of the market owner at the end of a price's queue: to its order there, if nobody waits behind that."""
    book = engine.book
    at = level_at(book, i, side, price)
    if at < book.meta[i, BUY_LEVELS + side] and book.levels[i, side, at, LEVEL_PRICE] == price:
        slot = book.levels[i, side, at, LEVEL_TAIL]
        if book.orders[i, slot, ORDER_OWNER] == MAKER:
            lots += order_entry.cancel(engine, i, slot, book.orders[i, slot, ORDER_ID], time)
    _send(engine, request, i, MAKER, side, price, lots, GTC, time)


@njit(cache=True, nogil=True)
def set_level(engine: Any, request: Any, i: int, side: int, price: int, lots: int, down: bool, time: int) -> None:
    """Bring the market's part of a level to `lots`; only downwards if `down`, else only upwards."""
    held = market_lots(engine.book, i, side, price)
    if down and held > lots:
        cut(engine, i, side, price, held - lots, time)
    elif not down and held < lots:
        grow(engine, request, i, side, price, lots - held, time)


@njit(cache=True, nogil=True)
def _touch(touched: Any, count: Any, side: int, price: int) -> None:
    if count[0] < len(touched):
        touched[count[0], 0], touched[count[0], 1] = side, price
        count[0] += 1


@njit(cache=True, nogil=True)
def _clear_beyond(engine: Any, i: int, side: int, price: int, also: bool, touched: Any, count: Any, time: int) -> None:
    """Take the market's orders away from prices of a side better than `price`, and from it too if `also`."""
    book, sign = engine.book, 1 - 2 * side
    k = book.meta[i, BUY_LEVELS + side] - 1
    while k >= 0:
        level = book.levels[i, side, k, LEVEL_PRICE]
        if level * sign < price * sign or (level == price and not also):
            break
        held = market_lots(book, i, side, level)
        if held > 0:
            cut(engine, i, side, level, held, time)
            _touch(touched, count, side, level)
        k = min(k, book.meta[i, BUY_LEVELS + side]) - 1


@njit(cache=True, nogil=True)
def print_trade(engine: Any, request: Any, i: int, update: Any, touched: Any, count: Any, time: int) -> None:
    """Let a recorded trade happen."""
    side, price, lots = update[UPDATE_SIDE], update[UPDATE_TICK], update[UPDATE_LOTS]
    _clear_beyond(engine, i, side, price, False, touched, count, time)
    _clear_beyond(engine, i, 1 - side, price, True, touched, count, time)
    book, waiting = engine.book, 0
    for k in range(level_at(book, i, side, price), book.meta[i, BUY_LEVELS + side]):
        waiting += book.levels[i, side, k, LEVEL_LOTS]
    if waiting < lots:
        grow(engine, request, i, side, price, lots - waiting, time)
    _send(engine, request, i, TAKER, 1 - side, price, lots, IOC, time)
    _touch(touched, count, side, price)


@njit(cache=True, nogil=True)
def set_book(engine: Any, request: Any, i: int, levels: Any, updates: Any, touched: Any, count: Any, time: int) -> None:
    """Bring the market's part of the book to the recorded one at the levels that changed; first down, then up."""
    for down in (True, False):
        for k in range(len(updates)):
            side, price = updates[k, UPDATE_SIDE], updates[k, UPDATE_TICK]
            set_level(engine, request, i, side, price, recorded_lots(levels, side, price), down, time)
        for k in range(count[0]):
            side, price = touched[k, 0], touched[k, 1]
            set_level(engine, request, i, side, price, recorded_lots(levels, side, price), down, time)
    count[0] = 0


@njit(cache=True, nogil=True)
def play(
    engine: Any, request: Any, i: int, levels: Any, events: Any, updates: Any, at: int, stop: int,
    touched: Any, count: Any,
) -> None:  # fmt: skip
    """Play the events [at, stop)."""
    for k in range(at, stop):
        time, kind = events[k, TIME], events[k, KIND]
        rows = updates[events[k, START] : events[k, END]]
        if kind == TRADED:
            print_trade(engine, request, i, rows[0], touched, count, time)
            continue
        if kind == BOOK_SET:
            l2.clear(levels)
        l2.apply_updates(levels, rows, 0, len(rows))
        if kind == BOOK_SET:
            for side in range(2):
                for place in range(engine.book.meta[i, BUY_LEVELS + side] - 1, -1, -1):
                    price = engine.book.levels[i, side, place, LEVEL_PRICE]
                    set_level(engine, request, i, side, price, recorded_lots(levels, side, price), True, time)
        set_book(engine, request, i, levels, rows, touched, count, time)


class Replay:
    """Plays a recording into an exchange as its time passes; one of `Exchange.steps`."""

    def __init__(self, exchange: Exchange, recording: Recording, i: int = 0) -> None:
        self._exchange, self._recording, self._i = exchange, recording, i
        ticks = len(np.unique(recording.updates[:, UPDATE_TICK]))
        self.levels: Levels = l2.with_room(l2.new_levels(), ticks)
        self._request = np.zeros(engines.REQ_FIELDS, np.int64)
        self._touched, self._count = np.zeros((MOST_TOUCHED, 2), np.int64), np.zeros(1, np.int64)
        self._at = 0

    @property
    def done(self) -> bool:
        """Whether everything has been played."""
        return self._at == len(self._recording.events)

    def __call__(self, until: int) -> None:
        """Play what happened before `until` (µs)."""
        events = self._recording.events
        self.play_to(int(np.searchsorted(events[:, TIME], until, side="left")))

    def play_to(self, stop: int) -> None:
        """Play up to the event of that number."""
        exchange, recording = self._exchange, self._recording
        events, updates = recording.events, recording.updates
        if stop <= self._at:
            return
        changes = int((events[self._at : stop, END] - events[self._at : stop, START]).sum()) + 2 * (stop - self._at)
        exchange.engine = engines.with_room(exchange.engine, changes + MOST_TOUCHED)
        play(
            exchange.engine, self._request, self._i, self.levels, events, updates, self._at, stop, self._touched,
            self._count,
        )  # fmt: skip
        self._at = stop


def replay_exchange(
    recording: Recording, accounts: int, fee_bps: Decimal, quote_balance: Decimal, seed: int
) -> tuple[Exchange, Replay]:
    """An exchange that stands at the minute of the recording's first event.

    Its candles begin at that day's midnight, at the recording's first price and without volume.

    Raises:
        BadInput: the recording is empty.
    """
    trades = recording.events[recording.events[:, KIND] == TRADED]
    if not len(recording.updates):
        raise BadInput(f"{recording.instrument.id}: expected a recording of trades or books, found nothing in it.")
    contract = spot(recording.instrument)
    first = int(recording.events[0, TIME])
    price = recording.updates[trades[0, START] if len(trades) else 0, UPDATE_TICK]
    candles = Candles(first // DAY * DAY, scales_of([contract]), np.array([price]))
    while candles.open_time < first // MINUTE * MINUTE:
        candles.roll()
    exchange = Exchange([contract], candles, [], fee_bps, accounts, seed, quote_balance)
    exchange.engine.book.meta[:, NEXT_TRADE_ID] = recording.first_trade
    for owner in (MAKER, TAKER):
        exchange.engine.accounts.balances[owner, exchange.column(contract.instrument.quote), FREE] = MARKET_QUOTE * UNIT
        exchange.engine.accounts.balances[owner, exchange.column(contract.instrument.base), FREE] = MARKET_BASE * UNIT
    replay = Replay(exchange, recording)
    exchange.steps.append(replay)
    return exchange, replay


def build_replay_venue(
    sources: Sequence[str], instrument: Instrument, speed: Speed, accounts: int, fee_bps: Decimal,
    quote_balance: Decimal, seed: int = 1,
) -> Venue:  # fmt: skip
    """A venue whose market is a recording, paused at its start. After the last event its book stands still."""
    recording = read_recording(sources, instrument)
    exchange, _ = replay_exchange(recording, accounts, fee_bps, quote_balance, seed)
    warm_up(exchange)
    return Venue(exchange, MarketClock(exchange.time, speed))
