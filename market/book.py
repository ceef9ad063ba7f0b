"""The limit order books of all instruments and the one matching loop: prices in ticks, quantities in lots, no money.

Each side of a book is an array of price levels sorted so that the best is last; a level is a first-in-first-out list
of resting orders. An order that shows only a part of itself (iceberg) stands in the queue with that part; when it is
eaten the next part goes to the back of the queue. Matching, queueing and leaving happen in compiled code over plain
arrays; whoever holds a `Book` may read them, only the functions below write them. Money is `market.accounts`; what an
order is allowed to do is `market.order_entry`, which drives this loop and settles the rows it leaves on the tape.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from market.kernel import inlined, kernel

Integers = NDArray[np.int64]

UNIT = 100_000_000
"""Units in one whole asset."""

BUY, SELL = 0, 1
NO_PRICE = 2**62

# Columns of Book.orders: the lots it shows, its neighbours in the level's queue (slots, -1 is none), the lots it hides
# and how many it shows at a time (0: all), flags, and what the engine keeps: self-trade mode, when it expires.
(
    ORDER_ID, ORDER_OWNER, ORDER_SIDE, ORDER_PRICE, ORDER_LOTS, ORDER_PREVIOUS, ORDER_NEXT, ORDER_FLAGS, ORDER_HIDDEN,
    ORDER_DISPLAY, ORDER_STP, ORDER_EXPIRY, ORDER_FIELDS,
) = range(13)  # fmt: skip
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

REDUCE_ONLY, POST_ONLY_FLAG, WAITING, FUNDED = 1, 2, 4, 8
"""Bits of ORDER_FLAGS; a waiting order holds a slot and stands in no queue, a funded one has money locked meanwhile."""


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


@inlined
def to_the_end(_state: Any) -> int:
    """Zero: added on the last line by functions that use the arrays in one branch only."""
    return 0


@inlined
def level_at(book: Any, i: int, side: int, price: int) -> int:
    """Index of the first level of a side that is not worse than `price`; the count of levels if all are worse.

    Looks from the best price down: nearly everything happens near the touch.
    """
    at, sign = book.meta[i, BUY_LEVELS + side], 1 - 2 * side
    while at > 0 and book.levels[i, side, at - 1, LEVEL_PRICE] * sign >= price * sign:
        at -= 1
    return at


@inlined
def take_slot(book: Any, i: int, owner: int, side: int, price: int, order_id: int) -> int:
    """A free slot with these fields and all others zero."""
    orders, meta = book.orders, book.meta
    slot = meta[i, FREE_SLOT]
    meta[i, FREE_SLOT] = orders[i, slot, ORDER_NEXT]
    meta[i, RESTING] += 1
    orders[i, slot, ORDER_ID], orders[i, slot, ORDER_OWNER] = order_id, owner
    orders[i, slot, ORDER_SIDE], orders[i, slot, ORDER_PRICE] = side, price
    for field in range(ORDER_FLAGS, ORDER_FIELDS):
        orders[i, slot, field] = 0
    return slot


@inlined
def free_slot(book: Any, i: int, slot: int) -> None:
    """Give a slot back that stands in no queue."""
    orders, meta = book.orders, book.meta
    orders[i, slot, ORDER_ID] = orders[i, slot, ORDER_LOTS] = 0
    orders[i, slot, ORDER_NEXT] = meta[i, FREE_SLOT]
    meta[i, FREE_SLOT] = slot
    meta[i, RESTING] -= 1


@inlined
def enqueue(book: Any, i: int, slot: int) -> None:
    """Queue the slot's order behind all others of its price, and count its hidden parts."""
    meta, orders, levels = book.meta, book.orders, book.levels
    side, price, hidden = orders[i, slot, ORDER_SIDE], orders[i, slot, ORDER_PRICE], orders[i, slot, ORDER_HIDDEN]
    count, before = meta[i, BUY_LEVELS + side], -1
    at = level_at(book, i, side, price)
    if at < count and levels[i, side, at, LEVEL_PRICE] == price:
        before = levels[i, side, at, LEVEL_TAIL]
        orders[i, before, ORDER_NEXT] = slot
    else:
        for k in range(count, at, -1):
            for field in range(LEVEL_FIELDS):
                levels[i, side, k, field] = levels[i, side, k - 1, field]
        levels[i, side, at, LEVEL_PRICE], levels[i, side, at, LEVEL_HEAD] = price, slot
        levels[i, side, at, LEVEL_LOTS] = levels[i, side, at, LEVEL_HIDDEN] = 0
        meta[i, BUY_LEVELS + side] = count + 1
    if hidden > 0:
        meta[i, PARTS] += (hidden - 1) // orders[i, slot, ORDER_DISPLAY] + 1
    levels[i, side, at, LEVEL_LOTS] += orders[i, slot, ORDER_LOTS]
    levels[i, side, at, LEVEL_HIDDEN] += hidden
    levels[i, side, at, LEVEL_TAIL] = slot
    orders[i, slot, ORDER_PREVIOUS], orders[i, slot, ORDER_NEXT] = before, -1
    meta[i, UPDATE_ID] += 1


@inlined
def dequeue(book: Any, i: int, slot: int) -> None:
    """Take an order out of its queue, and its level out of the book if it was the last there; the slot stays taken."""
    meta, orders, levels = book.meta, book.orders, book.levels
    side, hidden = orders[i, slot, ORDER_SIDE], orders[i, slot, ORDER_HIDDEN]
    before, after = orders[i, slot, ORDER_PREVIOUS], orders[i, slot, ORDER_NEXT]
    at, count = level_at(book, i, side, orders[i, slot, ORDER_PRICE]), meta[i, BUY_LEVELS + side]
    if before >= 0:
        orders[i, before, ORDER_NEXT] = after
    else:
        levels[i, side, at, LEVEL_HEAD] = after
    if after >= 0:
        orders[i, after, ORDER_PREVIOUS] = before
    else:
        levels[i, side, at, LEVEL_TAIL] = before
    if hidden > 0:
        meta[i, PARTS] -= (hidden - 1) // orders[i, slot, ORDER_DISPLAY] + 1
    levels[i, side, at, LEVEL_LOTS] -= orders[i, slot, ORDER_LOTS]
    levels[i, side, at, LEVEL_HIDDEN] -= hidden
    emptied = before < 0 and after < 0
    for k in range(at, count - 1 if emptied else at):
        for field in range(LEVEL_FIELDS):
            levels[i, side, k, field] = levels[i, side, k + 1, field]
    meta[i, BUY_LEVELS + side] = count - emptied
    meta[i, UPDATE_ID] += 1


@kernel
def shrink(book: Any, i: int, slot: int, lots: int) -> None:
    """Make a resting order smaller by so many lots without losing its place: hidden lots go first.

    `lots` is less than what the order has.
    """
    meta, orders, levels = book.meta, book.orders, book.levels
    side, hidden, display = orders[i, slot, ORDER_SIDE], orders[i, slot, ORDER_HIDDEN], orders[i, slot, ORDER_DISPLAY]
    at = level_at(book, i, side, orders[i, slot, ORDER_PRICE])
    concealed = min(hidden, lots)
    if concealed > 0:
        kept = hidden - concealed
        meta[i, PARTS] -= (hidden - 1) // display - (kept - 1) // display
        orders[i, slot, ORDER_HIDDEN] = kept
        levels[i, side, at, LEVEL_HIDDEN] -= concealed
    orders[i, slot, ORDER_LOTS] -= lots - concealed
    levels[i, side, at, LEVEL_LOTS] -= lots - concealed
    meta[i, UPDATE_ID] += 1


@inlined
def lots_of(book: Any, i: int, slot: int) -> int:
    """What is left of an order, shown and hidden."""
    return book.orders[i, slot, ORDER_LOTS] + book.orders[i, slot, ORDER_HIDDEN]


# -- matching ---------------------------------------------------------------------------------------------------------


@inlined
def crosses(book: Any, i: int, side: int, price: int) -> bool:
    """Whether an order at `price` would trade at once."""
    other = 1 - side
    best = book.meta[i, BUY_LEVELS + other] - 1
    answer = False
    if best >= 0:
        held = book.levels[i, other, best, LEVEL_PRICE]
        answer = held <= price if side == BUY else held >= price
    return answer


@kernel
def sweep(book: Any, i: int, side: int, price: int, lots: int, budget: int) -> tuple[int, int]:
    """Lots a taker would get now at `price` or better for at most `budget` ticks × lots, and what they cost."""
    levels, other = book.levels, 1 - side
    got, cost, at = 0, 0, book.meta[i, BUY_LEVELS + other] - 1
    while at >= 0 and got < lots:
        level_price = levels[i, other, at, LEVEL_PRICE]
        fits = level_price <= price if side == BUY else level_price >= price
        if fits:
            shown = levels[i, other, at, LEVEL_LOTS] + levels[i, other, at, LEVEL_HIDDEN]
            take = min(lots - got, shown)
            if cost + take * level_price > budget:
                take = (budget - cost) // level_price
            got += take
            cost += take * level_price
            fits = take == shown
        at = at - 1 if fits else -1
    return got, cost


@inlined
def trade(book: Any, i: int, slot: int, taker: int, taker_order: int, lots: int, time: int) -> None:
    """Trade `lots`, at most what it shows, with the resting order of `slot`, the first of its level.

    The tape gets a row, and the queue moves on.
    """
    orders, tape, row = book.orders, book.tape, book.tape_rows[0]
    side, shown, hidden = orders[i, slot, ORDER_SIDE], orders[i, slot, ORDER_LOTS], orders[i, slot, ORDER_HIDDEN]
    tape[row, TAPE_INSTRUMENT], tape[row, TAPE_ID], tape[row, TAPE_TIME] = i, book.meta[i, NEXT_TRADE_ID], time
    tape[row, TAPE_PRICE], tape[row, TAPE_LOTS] = orders[i, slot, ORDER_PRICE], lots
    tape[row, TAPE_BUYER_IS_MAKER] = side == BUY
    tape[row, TAPE_MAKER_ORDER], tape[row, TAPE_TAKER_ORDER] = orders[i, slot, ORDER_ID], taker_order
    tape[row, TAPE_MAKER], tape[row, TAPE_TAKER] = orders[i, slot, ORDER_OWNER], taker
    tape[row, TAPE_MAKER_LEFT] = shown + hidden - lots
    if lots < shown:
        book.orders[i, slot, ORDER_LOTS] = shown - lots
        book.levels[i, side, book.meta[i, BUY_LEVELS + side] - 1, LEVEL_LOTS] -= lots
        book.meta[i, UPDATE_ID] += 1
    else:
        dequeue(book, i, slot)
        if hidden == 0:
            free_slot(book, i, slot)
        else:
            next_part = min(book.orders[i, slot, ORDER_DISPLAY], hidden)
            book.orders[i, slot, ORDER_LOTS], book.orders[i, slot, ORDER_HIDDEN] = next_part, hidden - next_part
            enqueue(book, i, slot)
    book.meta[i, NEXT_TRADE_ID] += 1
    book.tape_rows[0] = row + 1


@inlined
def match(
    book: Any, i: int, taker: int, taker_order: int, side: int, price: int, lots: int, not_own: bool, time: int
) -> tuple[int, int]:
    """Trade with the opposite side, best price first, first come first served, up to `price`.

    Stops where nothing crosses any more, and before an order it may not decide about: one that reduces a position
    only, or one of the taker's own if `not_own`.

    Returns the lots left and the slot it stopped before, or -1.
    """
    levels, orders, other, blocked, goes = book.levels, book.orders, 1 - side, -1, lots > 0
    while goes:
        goes = False
        best = book.meta[i, BUY_LEVELS + other] - 1
        if best >= 0:
            held = levels[i, other, best, LEVEL_PRICE]
            if held <= price if side == BUY else held >= price:
                slot = levels[i, other, best, LEVEL_HEAD]
                if orders[i, slot, ORDER_FLAGS] & REDUCE_ONLY or (not_own and orders[i, slot, ORDER_OWNER] == taker):
                    blocked = slot
                else:
                    taken = min(lots, orders[i, slot, ORDER_LOTS])
                    trade(book, i, slot, taker, taker_order, taken, time)
                    lots -= taken
                    goes = lots > 0
    return lots, blocked


@kernel
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
    return order_id, lots - left, slot + to_the_end(book)


@kernel
def remove(book: Any, i: int, slot: int, order_id: int) -> int:
    """Take a resting order out of the book; returns its remaining lots, 0 if it rests there no more."""
    left = 0
    if order_id > 0 and book.orders[i, slot, ORDER_ID] == order_id:
        left = lots_of(book, i, slot)
        dequeue(book, i, slot)
        free_slot(book, i, slot)
    return left + to_the_end(book)


def depth(book: Book, i: int, side: int, limit: int) -> Integers:
    """[levels, 2]: price ticks and lots that show, best first."""
    count = int(book.meta[i, BUY_LEVELS + side])
    return book.levels[i, side, max(0, count - limit) : count, :2][::-1]
