"""The arrays of a tick backtest: two books, our orders, what is on its way, money. Compiled code writes them.

The venue's side and the strategy's side are kept apart: the venue's book and orders change at the venue's time, the
strategy's when it hears of it. Nothing here decides: market/recorded_venue.py is the venue, market/strategy_side.py the
strategy's end of the line.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from market.execution import Floats
from market.feed import Feed
from market.kernel import njit
from market.latency import Delays
from market.queues import QueueModel
from market.tick_strategy import ASK_LOTS, BID_LOTS, POSITION, SEEN_FIELDS, TRADE_LOTS, TRADES

Integers = NDArray[np.int64]

# Columns of an order. AT is the number of its price or −1 where the recording never shows it; KNOWN_* is what the
# strategy has heard. SIDE is 0 to buy, 1 to sell, as the books'.
(
    ID, STATE, INSTRUMENT, SIDE, KIND, TIF, TICK, STOP, AT, LOTS, LEFT, REDUCE_ONLY, GROUP, AFTER, SENT, ARRIVED,
    KNOWN_STATE, KNOWN_LEFT, ORDER_FIELDS,
) = range(19)  # fmt: skip
FRONT, TRADED, DECIDED, QUEUE_FIELDS = range(4)
FREE, TRAVELLING, WAITING, READY, STOPPED, RESTING, GONE = range(7)
"""At the venue. WAITING is for the order it comes after, READY once that has filled, STOPPED for its trigger, GONE
until the strategy knows."""
REQUEST_TIME, REQUEST_SLOT, REQUEST_KIND, REQUEST_ID, REQUEST_FIELDS = range(5)
ACCEPTED, FILLED, ENDED, REFUSED = range(4)
ANSWER_TIME, ANSWER_SLOT, ANSWER_KIND, ANSWER_FILL, ANSWER_ID, ANSWER_LAST, ANSWER_FIELDS = range(7)

# Columns of a fill. COST is what the price was worse than the venue's mid by, times the signed quantity.
(
    FILL_TIME, FILL_INSTRUMENT, FILL_ORDER, FILL_LOTS, FILL_PRICE, FILL_FEE, FILL_COST, FILL_DECIDED, FILL_MAKER,
    FILL_FIELDS,
) = range(10)  # fmt: skip

# Terms, see TickConditions.
(
    MAKER_FEE, TAKER_FEE, LEVERAGE, SHORTS, SLIPPAGE, IMPACT, PERMANENT, HALF_LIFE, SIZE, TERM_FIELDS,
) = range(10)  # fmt: skip

CASH, FEES, FUNDING_PAID, KNOWN_CASH, ENTRY_SUM, ACK_SUM, FEED_SUM, MONEY_FIELDS = range(8)
(
    NEXT_ROW, NEXT_HEARD, REQUEST_HEAD, REQUEST_TAIL, ANSWER_HEAD, ANSWER_TAIL, OPEN_COUNT, FILLS, IDS, NEXT_GRID,
    NOW, TROUBLE, LAST_ARRIVAL, LAST_ANSWER, MESSAGES, ANSWERS, REFUSALS, CANCELS, SLOTS, STOPS, READY_COUNT,
    COUNTER_FIELDS,
) = range(22)  # fmt: skip
NO_TROUBLE, FILLS_FULL, ORDERS_FULL, RING_FULL, BAD_COMMAND = range(5)

# Columns of `flow`: what the venue's instrument trades and how far it moves, for impact (market/impact.py) and bars.
(
    LAST_TRADE, TRADED_LOTS, HIGH, LOW, LAST_MID, VARIANCE, VOLUME, SEEN, SHIFT, SHIFT_TIME, FLOW_FIELDS,
) = range(11)  # fmt: skip


class Desk(NamedTuple):
    """Everything a run writes, and the tables it reads."""

    rows: Integers
    ticks: Integers
    offsets: Integers
    grid: Floats
    has_book: NDArray[np.bool_]
    lots: Integers
    """[2, levels]: the venue's book."""
    best: Integers
    """[2, k]: number of the best level; one before the first (bids) or after the last (asks) where a side is empty."""
    used: Integers
    """[2, levels]: what we took of a level since the venue last set it."""
    ours: Integers
    """[2, levels]: how many of our orders rest there."""
    touch: Integers
    """[2, k]: the number our best bid is at or just above, our best ask at or just below; as `best` where none."""
    seen_lots: Integers
    """[2, levels]: the strategy's book."""
    seen_best: Integers
    seen: Integers
    """[k, SEEN_FIELDS]."""
    orders: Integers
    """[slots, ORDER_FIELDS]."""
    queue: Floats
    """[slots, QUEUE_FIELDS]."""
    open: Integers
    """[slots]: slots of resting orders by side, price and arrival."""
    requests: Integers
    answers: Integers
    fills: Floats
    positions: Integers
    """[k]: lots held, at the venue."""
    money: Floats
    counters: Integers
    flow: Floats
    terms: Floats
    delays: Delays
    model: tuple[int, float]
    """Kind and exponent of the queue model."""
    grid_times: Integers
    """[n]: when to note equity and mids."""
    worth: Floats
    """[n, 2]: equity, gross exposure."""
    mids: Floats
    """[n, k, 4]: mid at the time, highest and lowest trade or mid since the last, lots traded."""


@dataclass(frozen=True, slots=True)
class Room:
    """How many of each a run may hold at once."""

    slots: int = 256
    ring: int = 4_096
    fills: int = 65_536


def new_desk(
    feed: Feed, capital: float, terms: Floats, delays: Delays, queue: QueueModel, grid_times: Integers, room: Room
) -> Desk:
    """A fresh run: empty books, no orders, `capital` in cash."""
    k, levels = len(feed.instruments), len(feed.ticks)
    edges = np.stack([feed.offsets[:-1] - 1, feed.offsets[1:]])
    seen = np.full((k, SEEN_FIELDS), -1, np.int64)
    seen[:, [BID_LOTS, ASK_LOTS, TRADE_LOTS, TRADES, POSITION]] = 0
    money = np.zeros(MONEY_FIELDS)
    money[[CASH, KNOWN_CASH]] = capital
    book = [np.zeros((2, levels + 1), np.int64) for _ in range(4)]
    return Desk(
        feed.rows, feed.ticks, feed.offsets, feed.grid, feed.has_book,
        book[0], edges.copy(), book[1], book[2], edges.copy(), book[3], edges.copy(), seen,
        np.zeros((room.slots, ORDER_FIELDS), np.int64), np.zeros((room.slots, QUEUE_FIELDS)),
        np.zeros(room.slots, np.int64), np.zeros((room.ring, REQUEST_FIELDS), np.int64),
        np.zeros((room.ring, ANSWER_FIELDS), np.int64), np.zeros((room.fills, FILL_FIELDS)),
        np.zeros(k, np.int64), money, np.zeros(COUNTER_FIELDS, np.int64), np.zeros((k, FLOW_FIELDS)), terms, delays,
        (queue.kind, queue.exponent), grid_times, np.zeros((len(grid_times), 2)),
        np.full((len(grid_times), k, 4), np.nan),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def mid_ticks(desk: Any, j: int) -> float:
    """The venue's mid in ticks, or the side that is known, or the last one noted; NaN where nothing ever was."""
    bid, ask = desk.best[0, j], desk.best[1, j]
    has_bid, has_ask = bid >= desk.offsets[j], ask < desk.offsets[j + 1]
    if has_bid and has_ask:
        return float(0.5 * (desk.ticks[bid] + desk.ticks[ask]))
    if has_bid:
        return float(desk.ticks[bid])
    if has_ask:
        return float(desk.ticks[ask])
    return float(desk.flow[j, LAST_MID]) if desk.flow[j, LAST_MID] > 0.0 else np.nan


@njit(cache=True, nogil=True)
def value(desk: Any, j: int, lots: float, ticks: float) -> float:
    """Quote worth of lots at a price in ticks."""
    return float(lots * ticks * desk.grid[j, 0] * desk.grid[j, 1])


@njit(cache=True, nogil=True)
def equity(desk: Any) -> float:
    """Cash and positions at the venue's mids."""
    total = desk.money[CASH]
    for j in range(len(desk.positions)):
        if desk.positions[j] != 0:
            total += value(desk, j, desk.positions[j], mid_ticks(desk, j))
    return float(total)


@njit(cache=True, nogil=True)
def gross(desk: Any) -> float:
    """Sum of the positions' absolute worth."""
    total = 0.0
    for j in range(len(desk.positions)):
        if desk.positions[j] != 0:
            total += abs(value(desk, j, desk.positions[j], mid_ticks(desk, j)))
    return total
