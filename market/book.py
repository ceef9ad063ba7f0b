"""The limit order books of all instruments and the one matching loop: prices in ticks, quantities in lots, no money.

Each side of a book is an array of price levels sorted so that the best is last; a level is a first-in-first-out list
of resting orders. An order that shows only a part of itself (iceberg) stands in the queue with that part; when it is
eaten the next part goes to the back of the queue. Matching, queueing and leaving happen in compiled code over plain
arrays; whoever holds a `Book` may read them, only the functions below write them. Money is `market.accounts`; what an
order is allowed to do is `market.engine`, which drives this loop and settles the rows it leaves on the tape.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Integers = NDArray[np.int64]

UNIT = 100_000_000
"""Units in one whole asset."""

BUY, SELL = 0, 1
NO_PRICE = 2**62

# Kernels in other files freeze these numbers into Numba's disk cache: after a change here delete market/__pycache__.
# Columns of Book.orders: the lots it shows, its neighbours in the level's queue (slots, -1 is none), the lots it hides
# and how many it shows at a time (0: all), flags, and what `market.engine` keeps: self-trade mode, when it expires.
(
    ORDER_ID, ORDER_OWNER, ORDER_SIDE, ORDER_PRICE, ORDER_LOTS, ORDER_PREVIOUS, ORDER_NEXT, ORDER_FLAGS, ORDER_HIDDEN,
    ORDER_DISPLAY, ORDER_STP, ORDER_EXPIRY, ORDER_EXPIRY_AT, ORDER_FIELDS,
) = range(14)  # fmt: skip
# Columns of Book.levels: lots that show, first and last slot of the queue, lots that do not show.
LEVEL_PRICE, LEVEL_LOTS, LEVEL_HEAD, LEVEL_TAIL, LEVEL_HIDDEN, LEVEL_FIELDS = range(6)
# Columns of Book.meta: levels per side, head of the list of free slots, slots in use, counters, and how many more
# parts the resting icebergs can show.
(
    BUY_LEVELS, SELL_LEVELS, FREE_SLOT, RESTING, UPDATE_ID, NEXT_ORDER_ID, NEXT_TRADE_ID, PARTS, META_FIELDS,
) = range(9)  # fmt: skip
# Columns of Book.tape, one row per trade, until someone drains it. The engine writes what the trade meant in money:
# fees and realized profits in units, and the asset columns the fees were paid in.
(
    TAPE_INSTRUMENT, TAPE_ID, TAPE_TIME, TAPE_PRICE, TAPE_LOTS, TAPE_BUYER_IS_MAKER, TAPE_MAKER_ORDER,
    TAPE_TAKER_ORDER, TAPE_MAKER, TAPE_TAKER, TAPE_MAKER_FEE, TAPE_TAKER_FEE, TAPE_MAKER_LEFT,
    TAPE_MAKER_FEE_ASSET, TAPE_TAKER_FEE_ASSET, TAPE_MAKER_REALIZED, TAPE_TAKER_REALIZED, TAPE_FIELDS,
) = range(18)  # fmt: skip

REDUCE_ONLY, POST_ONLY_FLAG, WAITING = 1, 2, 4
"""Bits of ORDER_FLAGS; a waiting order holds a slot and stands in no queue."""


class Book(NamedTuple):
    """All state of matching; first axis is the instrument where not said otherwise."""

    orders: Integers
    """[instruments, slots, ORDER_FIELDS]; a slot's id is 0 while it is free."""
    levels: Integers
    """[instruments, side, levels, LEVEL_FIELDS], best price last."""
    meta: Integers
    """[instruments, META_FIELDS]."""
    tape: Integers
    """[rows, TAPE_FIELDS]."""
    tape_rows: Integers
    """[1]: how many rows of the tape are filled."""


def new_book(instruments: int, slots: int = 256, tape: int = 8192) -> Book:
    """Empty books; ids start at 1."""
    meta = np.zeros((instruments, META_FIELDS), np.int64)
    meta[:, NEXT_ORDER_ID] = meta[:, NEXT_TRADE_ID] = 1
    meta[:, FREE_SLOT] = -1
    empty = Book(
        orders=np.zeros((instruments, 0, ORDER_FIELDS), np.int64),
        levels=np.zeros((instruments, 2, 0, LEVEL_FIELDS), np.int64),
        meta=meta,
        tape=np.zeros((tape, TAPE_FIELDS), np.int64),
        tape_rows=np.zeros(1, np.int64),
    )
    return _grown(empty, slots)


def with_room(book: Book, orders: int) -> Book:
    """The same book with room for so many more orders per instrument and for the trades they can make.

    The compiled code never grows an array; call this before it, and use the answer from then on.
    """
    slots = book.orders.shape[1]
    resting = int(book.meta[:, RESTING].max())
    if resting + orders > slots:
        book = _grown(book, max(2 * slots, resting + orders))
    makers = int(book.meta[:, RESTING].sum() + book.meta[:, PARTS].sum())
    needed = int(book.tape_rows[0]) + makers + 2 * orders
    return book._replace(tape=with_rows(book.tape, needed))


def with_rows(log: Integers, needed: int) -> Integers:
    """The same log, at least so many rows long."""
    if needed <= len(log):
        return log
    longer = np.zeros((2 * needed, log.shape[1]), np.int64)
    longer[: len(log)] = log
    return longer


def _grown(book: Book, slots: int) -> Book:
    instruments, held = book.orders.shape[:2]
    orders = np.zeros((instruments, slots, ORDER_FIELDS), np.int64)
    orders[:, :held] = book.orders
    orders[:, held:, ORDER_NEXT] = np.arange(held + 1, slots + 1)
    orders[:, slots - 1, ORDER_NEXT] = book.meta[:, FREE_SLOT]
    book.meta[:, FREE_SLOT] = held
    levels = np.zeros((instruments, 2, slots, LEVEL_FIELDS), np.int64)
    levels[:, :, :held] = book.levels
    return book._replace(orders=orders, levels=levels)


# -- slots and queues -------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def level_at(levels: Any, count: int, side: int, price: int) -> int:
    """Index of the first level that is not worse than `price`; `count` if all are worse."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        held = levels[middle, LEVEL_PRICE]
        worse = held < price if side == BUY else held > price
        if worse:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def take_slot(book: Any, i: int, owner: int, side: int, price: int, order_id: int) -> int:
    """A free slot with these fields and all others zero."""
    order = book.orders[i, book.meta[i, FREE_SLOT]]
    slot = book.meta[i, FREE_SLOT]
    book.meta[i, FREE_SLOT] = order[ORDER_NEXT]
    book.meta[i, RESTING] += 1
    order[ORDER_ID], order[ORDER_OWNER], order[ORDER_SIDE], order[ORDER_PRICE] = order_id, owner, side, price
    order[ORDER_LOTS] = order[ORDER_FLAGS] = order[ORDER_HIDDEN] = order[ORDER_DISPLAY] = 0
    order[ORDER_STP] = order[ORDER_EXPIRY] = 0
    return int(slot)


@njit(cache=True, nogil=True)
def free_slot(book: Any, i: int, slot: int) -> None:
    """Give a slot back that stands in no queue."""
    order = book.orders[i, slot]
    order[ORDER_ID] = order[ORDER_LOTS] = 0
    order[ORDER_NEXT] = book.meta[i, FREE_SLOT]
    book.meta[i, FREE_SLOT] = slot
    book.meta[i, RESTING] -= 1


@njit(cache=True, nogil=True)
def enqueue(book: Any, i: int, slot: int) -> None:
    """Queue the slot's order behind all others of its price, and count its hidden parts."""
    meta, orders = book.meta[i], book.orders[i]
    order = orders[slot]
    side, price, lots, hidden = order[ORDER_SIDE], order[ORDER_PRICE], order[ORDER_LOTS], order[ORDER_HIDDEN]
    levels = book.levels[i, side]
    order[ORDER_PREVIOUS] = order[ORDER_NEXT] = -1
    count = meta[BUY_LEVELS + side]
    at = level_at(levels, count, side, price)
    if at < count and levels[at, LEVEL_PRICE] == price:
        tail = levels[at, LEVEL_TAIL]
        orders[tail, ORDER_NEXT] = slot
        order[ORDER_PREVIOUS] = tail
        levels[at, LEVEL_LOTS] += lots
        levels[at, LEVEL_HIDDEN] += hidden
        levels[at, LEVEL_TAIL] = slot
    else:
        for k in range(count, at, -1):
            for field in range(LEVEL_FIELDS):
                levels[k, field] = levels[k - 1, field]
        levels[at, LEVEL_PRICE], levels[at, LEVEL_LOTS], levels[at, LEVEL_HIDDEN] = price, lots, hidden
        levels[at, LEVEL_HEAD] = levels[at, LEVEL_TAIL] = slot
        meta[BUY_LEVELS + side] = count + 1
    if hidden > 0:
        meta[PARTS] += (hidden - 1) // order[ORDER_DISPLAY] + 1
    meta[UPDATE_ID] += 1


@njit(cache=True, nogil=True)
def dequeue(book: Any, i: int, slot: int) -> None:
    """Take an order out of its queue, and its level out of the book if it was the last there; the slot stays taken."""
    meta, orders = book.meta[i], book.orders[i]
    order = orders[slot]
    side, hidden = order[ORDER_SIDE], order[ORDER_HIDDEN]
    levels = book.levels[i, side]
    count = meta[BUY_LEVELS + side]
    at = level_at(levels, count, side, order[ORDER_PRICE])
    before, after = order[ORDER_PREVIOUS], order[ORDER_NEXT]
    levels[at, LEVEL_LOTS] -= order[ORDER_LOTS]
    levels[at, LEVEL_HIDDEN] -= hidden
    if before >= 0:
        orders[before, ORDER_NEXT] = after
    else:
        levels[at, LEVEL_HEAD] = after
    if after >= 0:
        orders[after, ORDER_PREVIOUS] = before
    else:
        levels[at, LEVEL_TAIL] = before
    if before < 0 and after < 0:
        for k in range(at, count - 1):
            for field in range(LEVEL_FIELDS):
                levels[k, field] = levels[k + 1, field]
        meta[BUY_LEVELS + side] = count - 1
    if hidden > 0:
        meta[PARTS] -= (hidden - 1) // order[ORDER_DISPLAY] + 1
    meta[UPDATE_ID] += 1


@njit(cache=True, nogil=True)
def shrink(book: Any, i: int, slot: int, lots: int) -> None:
    """Make a resting order smaller by so many lots without losing its place: hidden lots go first.

    `lots` is less than what the order has.
    """
    order = book.orders[i, slot]
    side, hidden, display = order[ORDER_SIDE], order[ORDER_HIDDEN], order[ORDER_DISPLAY]
    levels = book.levels[i, side]
    at = level_at(levels, book.meta[i, BUY_LEVELS + side], side, order[ORDER_PRICE])
    concealed = min(hidden, lots)
    if concealed > 0:
        parts = (hidden - 1) // display + 1
        kept = hidden - concealed
        book.meta[i, PARTS] -= parts - ((kept - 1) // display + 1 if kept > 0 else 0)
        order[ORDER_HIDDEN] = kept
        levels[at, LEVEL_HIDDEN] -= concealed
    order[ORDER_LOTS] -= lots - concealed
    levels[at, LEVEL_LOTS] -= lots - concealed
    book.meta[i, UPDATE_ID] += 1


@njit(cache=True, nogil=True)
def lots_of(book: Any, i: int, slot: int) -> int:
    """What is left of an order, shown and hidden."""
    return int(book.orders[i, slot, ORDER_LOTS] + book.orders[i, slot, ORDER_HIDDEN])


# -- matching ---------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def crosses(book: Any, i: int, side: int, price: int) -> bool:
    """Whether an order at `price` would trade at once."""
    count = book.meta[i, BUY_LEVELS + 1 - side]
    if count == 0:
        return False
    best = book.levels[i, 1 - side, count - 1, LEVEL_PRICE]
    return bool(best <= price) if side == BUY else bool(best >= price)


@njit(cache=True, nogil=True)
def sweep(book: Any, i: int, side: int, price: int, lots: int, budget: int) -> tuple[int, int]:
    """Lots a taker would get now at `price` or better for at most `budget` ticks × lots, and what they cost."""
    levels = book.levels[i, 1 - side]
    got, cost = 0, 0
    for at in range(book.meta[i, BUY_LEVELS + 1 - side] - 1, -1, -1):
        level_price = levels[at, LEVEL_PRICE]
        if got == lots or (level_price > price if side == BUY else level_price < price):
            break
        take = min(lots - got, levels[at, LEVEL_LOTS] + levels[at, LEVEL_HIDDEN])
        affordable = (budget - cost) // level_price
        got += min(take, affordable)
        cost += min(take, affordable) * level_price
        if affordable < take:
            break
    return got, cost


@njit(cache=True, nogil=True)
def trade(book: Any, i: int, slot: int, taker: int, taker_order: int, lots: int, time: int) -> None:
    """Trade `lots`, at most what it shows, with the resting order of `slot`: tape and queue move on."""
    order, row = book.orders[i, slot], book.tape[book.tape_rows[0]]
    side, price = order[ORDER_SIDE], order[ORDER_PRICE]
    row[TAPE_INSTRUMENT], row[TAPE_ID], row[TAPE_TIME] = i, book.meta[i, NEXT_TRADE_ID], time
    row[TAPE_PRICE], row[TAPE_LOTS], row[TAPE_BUYER_IS_MAKER] = price, lots, side == BUY
    row[TAPE_MAKER_ORDER], row[TAPE_TAKER_ORDER] = order[ORDER_ID], taker_order
    row[TAPE_MAKER], row[TAPE_TAKER] = order[ORDER_OWNER], taker
    row[TAPE_MAKER_LEFT] = order[ORDER_LOTS] + order[ORDER_HIDDEN] - lots
    book.tape_rows[0] += 1
    book.meta[i, NEXT_TRADE_ID] += 1
    if lots < order[ORDER_LOTS]:
        order[ORDER_LOTS] -= lots
        at = level_at(book.levels[i, side], book.meta[i, BUY_LEVELS + side], side, price)
        book.levels[i, side, at, LEVEL_LOTS] -= lots
        book.meta[i, UPDATE_ID] += 1
        return
    dequeue(book, i, slot)
    if order[ORDER_HIDDEN] == 0:
        free_slot(book, i, slot)
        return
    order[ORDER_LOTS] = min(order[ORDER_DISPLAY], order[ORDER_HIDDEN])
    order[ORDER_HIDDEN] -= order[ORDER_LOTS]
    enqueue(book, i, slot)


@njit(cache=True, nogil=True)
def match(
    book: Any, i: int, taker: int, taker_order: int, side: int, price: int, lots: int, not_own: bool, time: int
) -> tuple[int, int]:
    """Trade with the opposite side, best price first, first come first served, up to `price`.

    Stops where nothing crosses any more, and before an order it may not decide about: one that reduces a position
    only, or one of the taker's own if `not_own`.

    Returns the lots left and the slot it stopped before, or -1.
    """
    levels = book.levels[i, 1 - side]
    while lots > 0:
        best = book.meta[i, BUY_LEVELS + 1 - side] - 1
        if best < 0:
            break
        level_price = levels[best, LEVEL_PRICE]
        if level_price > price if side == BUY else level_price < price:
            break
        slot = levels[best, LEVEL_HEAD]
        order = book.orders[i, slot]
        if order[ORDER_FLAGS] & REDUCE_ONLY or (not_own and order[ORDER_OWNER] == taker):
            return lots, int(slot)
        taken = min(lots, order[ORDER_LOTS])
        trade(book, i, slot, taker, taker_order, taken, time)
        lots -= taken
    return lots, -1


@njit(cache=True, nogil=True)
def place(
    book: Any, i: int, owner: int, side: int, price: int, lots: int, rests: bool, time: int
) -> tuple[int, int, int]:
    """Match an order and, if `rests`, queue what is left: the plain book, for whoever keeps no money.

    Returns the order id, the lots filled, and the slot it rests in or -1.
    """
    order_id = book.meta[i, NEXT_ORDER_ID]
    book.meta[i, NEXT_ORDER_ID] += 1
    left, _ = match(book, i, owner, order_id, side, price, lots, False, time)
    slot = -1
    if left > 0 and rests:
        slot = take_slot(book, i, owner, side, price, order_id)
        book.orders[i, slot, ORDER_LOTS] = left
        enqueue(book, i, slot)
    return order_id, lots - left, slot


@njit(cache=True, nogil=True)
def remove(book: Any, i: int, slot: int, order_id: int) -> int:
    """Take a resting order out of the book; returns its remaining lots, 0 if it rests there no more."""
    if book.orders[i, slot, ORDER_ID] != order_id:
        return 0
    left = lots_of(book, i, slot)
    dequeue(book, i, slot)
    free_slot(book, i, slot)
    return left


def depth(book: Book, i: int, side: int, limit: int) -> Integers:
    """[levels, 2]: price ticks and lots that show, best first."""
    count = int(book.meta[i, BUY_LEVELS + side])
    return book.levels[i, side, max(0, count - limit) : count, :2][::-1]
