"""The limit order books of all instruments and the one matching loop, in integers: ticks, lots and units.

A price is a whole number of ticks, a quantity of lots, money of units of 1e-8 of an asset (Binance's precision), so
that every balance is exact. Each side of a book is an array of price levels sorted so that the best is last; a level
is a first-in-first-out list of resting orders. Placing, matching, settling and cancelling happen in compiled code
over plain arrays; whoever holds a `Book` may read them, only the functions below write them.

Owner 0 is the venue itself: it collects the fees, so that per asset the sum over all owners never changes.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Integers = NDArray[np.int64]

UNIT = 100_000_000
"""Units in one whole asset."""
FEE_SCALE = 1_000_000
"""Fee rates are in millionths: 500 is 5 bps."""

BUY, SELL = 0, 1
FREE, LOCKED = 0, 1
VENUE = 0
NO_PRICE = 2**62

REFUSED_BALANCE = -1
"""`place` answers this instead of an order id when the owner cannot pay."""

# Kernels in other files freeze these numbers into Numba's disk cache: after a change here delete market/__pycache__.
# Columns of Book.orders; an order's remaining lots, and its neighbours in the level's queue (slots, -1 is none).
ORDER_ID, ORDER_OWNER, ORDER_SIDE, ORDER_PRICE, ORDER_LOTS, ORDER_PREVIOUS, ORDER_NEXT, ORDER_FIELDS = range(8)
# Columns of Book.levels.
LEVEL_PRICE, LEVEL_LOTS, LEVEL_HEAD, LEVEL_TAIL, LEVEL_FIELDS = range(5)
# Columns of Book.meta: levels per side, head of the list of free slots, resting orders, counters.
BUY_LEVELS, SELL_LEVELS, FREE_SLOT, RESTING, UPDATE_ID, NEXT_ORDER_ID, NEXT_TRADE_ID, QUOTES, META_FIELDS = range(9)
# Columns of Book.scales: asset columns, units per lot of base, units per tick and lot of quote.
BASE, QUOTE, LOT_UNITS, TICK_LOT_UNITS, SCALE_FIELDS = range(5)
# Columns of Book.tape, one row per trade, until someone drains it. Fees are units of the asset that side receives.
(
    TAPE_INSTRUMENT, TAPE_ID, TAPE_TIME, TAPE_PRICE, TAPE_LOTS, TAPE_BUYER_IS_MAKER, TAPE_MAKER_ORDER,
    TAPE_TAKER_ORDER, TAPE_MAKER, TAPE_TAKER, TAPE_MAKER_FEE, TAPE_TAKER_FEE, TAPE_MAKER_LEFT, TAPE_FIELDS,
) = range(14)  # fmt: skip
# Columns of a command of `execute`, and its kinds.
DO_INSTRUMENT, DO_KIND, DO_OWNER, DO_SIDE, DO_PRICE, DO_LOTS, DO_FIELDS = range(7)
TAKE, QUOTE_LEVEL, WITHDRAW = 0, 1, 2


class Book(NamedTuple):
    """All state of matching and settlement; first axis is the instrument where not said otherwise."""

    orders: Integers
    """[instruments, slots, ORDER_FIELDS]; a slot's id is 0 while it is free."""
    levels: Integers
    """[instruments, side, levels, LEVEL_FIELDS], best price last."""
    meta: Integers
    """[instruments, META_FIELDS]."""
    quotes: Integers
    """[instruments, slots, 2]: slot and id of the resting orders that `WITHDRAW` removes."""
    scales: Integers
    """[instruments, SCALE_FIELDS]."""
    balances: Integers
    """[owners, assets, 2]: free and locked, in units."""
    fee_rates: Integers
    """[owners], in millionths."""
    tape: Integers
    """[rows, TAPE_FIELDS]."""
    tape_rows: Integers
    """[1]: how many rows of the tape are filled."""


def new_book(scales: Integers, owners: int, assets: int, slots: int = 256, tape: int = 8192) -> Book:
    """Empty books and zero balances; ids start at 1."""
    instruments = len(scales)
    meta = np.zeros((instruments, META_FIELDS), np.int64)
    meta[:, NEXT_ORDER_ID] = meta[:, NEXT_TRADE_ID] = 1
    meta[:, FREE_SLOT] = -1
    empty = Book(
        orders=np.zeros((instruments, 0, ORDER_FIELDS), np.int64),
        levels=np.zeros((instruments, 2, 0, LEVEL_FIELDS), np.int64),
        meta=meta,
        quotes=np.zeros((instruments, 0, 2), np.int64),
        scales=np.ascontiguousarray(scales, np.int64),
        balances=np.zeros((owners, assets, 2), np.int64),
        fee_rates=np.zeros(owners, np.int64),
        tape=np.zeros((tape, TAPE_FIELDS), np.int64),
        tape_rows=np.zeros(1, np.int64),
    )
    return _grown(empty, slots)


def with_room(book: Book, orders: int) -> Book:
    """The same book with room for so many more resting orders per instrument and for the trades they can make.

    The compiled code never grows an array; call this before it, and use the answer from then on.
    """
    slots = book.orders.shape[1]
    resting = int(book.meta[:, RESTING].max())
    if resting + orders > slots:
        book = _grown(book, max(2 * slots, resting + orders))
    needed = int(book.tape_rows[0]) + resting + 2 * orders
    if needed > len(book.tape):
        tape = np.zeros((2 * needed, TAPE_FIELDS), np.int64)
        tape[: len(book.tape)] = book.tape
        book = book._replace(tape=tape)
    return book


def _grown(book: Book, slots: int) -> Book:
    instruments, held = book.orders.shape[:2]
    orders = np.zeros((instruments, slots, ORDER_FIELDS), np.int64)
    orders[:, :held] = book.orders
    orders[:, held:, ORDER_NEXT] = np.arange(held + 1, slots + 1)
    orders[:, slots - 1, ORDER_NEXT] = book.meta[:, FREE_SLOT]
    book.meta[:, FREE_SLOT] = held
    levels = np.zeros((instruments, 2, slots, LEVEL_FIELDS), np.int64)
    levels[:, :, :held] = book.levels
    quotes = np.zeros((instruments, slots, 2), np.int64)
    quotes[:, :held] = book.quotes
    return book._replace(orders=orders, levels=levels, quotes=quotes)


@njit(cache=True, nogil=True)
def _level_at(levels: Any, count: int, side: int, price: int) -> int:
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
def _rest(book: Any, i: int, owner: int, side: int, price: int, lots: int, order_id: int) -> int:
    """Queue an order behind all others of its price; returns its slot."""
    meta, orders, levels = book.meta[i], book.orders[i], book.levels[i, side]
    slot = meta[FREE_SLOT]
    order = orders[slot]
    meta[FREE_SLOT] = order[ORDER_NEXT]
    order[ORDER_ID], order[ORDER_OWNER], order[ORDER_SIDE] = order_id, owner, side
    order[ORDER_PRICE], order[ORDER_LOTS] = price, lots
    order[ORDER_PREVIOUS] = order[ORDER_NEXT] = -1
    count = meta[BUY_LEVELS + side]
    at = _level_at(levels, count, side, price)
    if at < count and levels[at, LEVEL_PRICE] == price:
        tail = levels[at, LEVEL_TAIL]
        orders[tail, ORDER_NEXT] = slot
        order[ORDER_PREVIOUS] = tail
        levels[at, LEVEL_LOTS] += lots
        levels[at, LEVEL_TAIL] = slot
    else:
        for k in range(count, at, -1):
            for field in range(LEVEL_FIELDS):
                levels[k, field] = levels[k - 1, field]
        levels[at, LEVEL_PRICE], levels[at, LEVEL_LOTS] = price, lots
        levels[at, LEVEL_HEAD] = levels[at, LEVEL_TAIL] = slot
        meta[BUY_LEVELS + side] = count + 1
    meta[RESTING] += 1
    meta[UPDATE_ID] += 1
    return int(slot)


@njit(cache=True, nogil=True)
def _leave(book: Any, i: int, slot: int) -> None:
    """Take an order out of its queue, and its level out of the book if it was the last there."""
    meta, orders = book.meta[i], book.orders[i]
    order = orders[slot]
    side = order[ORDER_SIDE]
    levels = book.levels[i, side]
    count = meta[BUY_LEVELS + side]
    at = _level_at(levels, count, side, order[ORDER_PRICE])
    before, after = order[ORDER_PREVIOUS], order[ORDER_NEXT]
    levels[at, LEVEL_LOTS] -= order[ORDER_LOTS]
    if before >= 0:
        orders[before, ORDER_NEXT] = after
    else:
        levels[at, LEVEL_HEAD] = after
    if after >= 0:
        orders[after, ORDER_PREVIOUS] = before
    else:
        levels[at, LEVEL_TAIL] = before
    if levels[at, LEVEL_HEAD] < 0:
        for k in range(at, count - 1):
            for field in range(LEVEL_FIELDS):
                levels[k, field] = levels[k + 1, field]
        meta[BUY_LEVELS + side] = count - 1
    order[ORDER_ID] = 0
    order[ORDER_LOTS] = 0
    order[ORDER_NEXT] = meta[FREE_SLOT]
    meta[FREE_SLOT] = slot
    meta[RESTING] -= 1
    meta[UPDATE_ID] += 1


@njit(cache=True, nogil=True)
def sweep(book: Any, i: int, side: int, price: int, lots: int, budget: int) -> tuple[int, int]:
    """Lots a taker would get now at `price` or better within `budget` units of quote, and what they cost."""
    levels = book.levels[i, 1 - side]
    unit = book.scales[i, TICK_LOT_UNITS]
    got, cost = 0, 0
    for at in range(book.meta[i, BUY_LEVELS + 1 - side] - 1, -1, -1):
        level_price = levels[at, LEVEL_PRICE]
        if got == lots or (level_price > price if side == BUY else level_price < price):
            break
        take = min(lots - got, levels[at, LEVEL_LOTS])
        affordable = (budget - cost) // (level_price * unit)
        got += min(take, affordable)
        cost += min(take, affordable) * level_price * unit
        if affordable < take:
            break
    return got, cost


@njit(cache=True, nogil=True)
def _fee(units: int, rate: int) -> int:
    """Floor of units × rate without overflowing 64 bits."""
    return int((units // FEE_SCALE) * rate + (units % FEE_SCALE) * rate // FEE_SCALE)


@njit(cache=True, nogil=True)
def _trade(book: Any, i: int, slot: int, taker: int, taker_order: int, reserve: int, lots: int, time: int) -> None:
    """Trade `lots` with the resting order of `slot` at its price, settle both sides, write the tape.

    `reserve` is the price at which a buying taker's quote was locked; what the trade did not need becomes free.
    """
    order = book.orders[i, slot]
    base, quote, lot_units, unit = book.scales[i, 0], book.scales[i, 1], book.scales[i, 2], book.scales[i, 3]
    price, maker = order[ORDER_PRICE], order[ORDER_OWNER]
    maker_buys = order[ORDER_SIDE] == BUY
    paid, moved = price * lots * unit, lots * lot_units
    buyer, seller = (maker, taker) if maker_buys else (taker, maker)
    fee_base, fee_quote = _fee(moved, book.fee_rates[buyer]), _fee(paid, book.fee_rates[seller])
    locked = paid if maker_buys else reserve * lots * unit
    balances = book.balances
    balances[buyer, quote, LOCKED] -= locked
    balances[buyer, quote, FREE] += locked - paid
    balances[buyer, base, FREE] += moved - fee_base
    balances[seller, base, LOCKED] -= moved
    balances[seller, quote, FREE] += paid - fee_quote
    balances[VENUE, base, FREE] += fee_base
    balances[VENUE, quote, FREE] += fee_quote
    row = book.tape[book.tape_rows[0]]
    row[TAPE_INSTRUMENT], row[TAPE_ID], row[TAPE_TIME] = i, book.meta[i, NEXT_TRADE_ID], time
    row[TAPE_PRICE], row[TAPE_LOTS], row[TAPE_BUYER_IS_MAKER] = price, lots, maker_buys
    row[TAPE_MAKER_ORDER], row[TAPE_TAKER_ORDER] = order[ORDER_ID], taker_order
    row[TAPE_MAKER], row[TAPE_TAKER] = maker, taker
    row[TAPE_MAKER_FEE] = fee_base if maker_buys else fee_quote
    row[TAPE_TAKER_FEE] = fee_quote if maker_buys else fee_base
    row[TAPE_MAKER_LEFT] = order[ORDER_LOTS] - lots
    book.tape_rows[0] += 1
    book.meta[i, NEXT_TRADE_ID] += 1


@njit(cache=True, nogil=True)
def place(
    book: Any, i: int, owner: int, side: int, price: int, lots: int, rests: bool, time: int
) -> tuple[int, int, int]:
    """Match an order against the book and, if `rests`, queue what is left of it.

    The owner's funds are locked first: at the limit price for an order that may rest, at what the book asks for one
    that may not. A market order has the price NO_PRICE (buy) or 0 (sell).

    Returns the order id (REFUSED_BALANCE if the owner cannot pay: then nothing happened), the lots filled, and the
    slot it rests in or -1.
    """
    meta, balances = book.meta[i], book.balances
    lot_units, unit = book.scales[i, LOT_UNITS], book.scales[i, TICK_LOT_UNITS]
    asset = book.scales[i, QUOTE] if side == BUY else book.scales[i, BASE]
    if side == SELL:
        needed = lots * lot_units
    elif rests:
        needed = price * lots * unit
    else:
        needed = sweep(book, i, side, price, lots, NO_PRICE)[1]
    if balances[owner, asset, FREE] < needed:
        return REFUSED_BALANCE, 0, -1
    balances[owner, asset, FREE] -= needed
    balances[owner, asset, LOCKED] += needed
    order_id = meta[NEXT_ORDER_ID]
    meta[NEXT_ORDER_ID] += 1
    left = lots
    levels = book.levels[i, 1 - side]
    while left > 0 and meta[BUY_LEVELS + 1 - side] > 0:
        best = meta[BUY_LEVELS + 1 - side] - 1
        level_price = levels[best, LEVEL_PRICE]
        if level_price > price if side == BUY else level_price < price:
            break
        slot = levels[best, LEVEL_HEAD]
        order = book.orders[i, slot]
        taken = min(left, order[ORDER_LOTS])
        _trade(book, i, slot, owner, order_id, price if rests else level_price, taken, time)
        left -= taken
        if taken == order[ORDER_LOTS]:
            _leave(book, i, slot)
        else:
            order[ORDER_LOTS] -= taken
            levels[best, LEVEL_LOTS] -= taken
            meta[UPDATE_ID] += 1
    slot = -1
    if left > 0 and rests:
        slot = _rest(book, i, owner, side, price, left, order_id)
    elif left > 0 and side == SELL:
        balances[owner, asset, LOCKED] -= left * lot_units
        balances[owner, asset, FREE] += left * lot_units
    return order_id, lots - left, slot


@njit(cache=True, nogil=True)
def cancel(book: Any, i: int, slot: int, order_id: int) -> int:
    """Take a resting order out and free its funds; returns its remaining lots, 0 if it rests there no more."""
    order = book.orders[i, slot]
    if order[ORDER_ID] != order_id:
        return 0
    left, owner = order[ORDER_LOTS], order[ORDER_OWNER]
    if order[ORDER_SIDE] == BUY:
        asset = book.scales[i, QUOTE]
        units = order[ORDER_PRICE] * left * book.scales[i, TICK_LOT_UNITS]
    else:
        asset = book.scales[i, BASE]
        units = left * book.scales[i, LOT_UNITS]
    book.balances[owner, asset, LOCKED] -= units
    book.balances[owner, asset, FREE] += units
    _leave(book, i, slot)
    return int(left)


@njit(cache=True, nogil=True)
def execute(book: Any, commands: Any, count: int, time: int) -> int:
    """Carry out the agents' commands in order; returns how many were refused for want of funds.

    TAKE is immediate-or-cancel, QUOTE_LEVEL rests and is remembered, WITHDRAW removes what was remembered.
    """
    refused = 0
    for k in range(count):
        command = commands[k]
        i, kind = command[DO_INSTRUMENT], command[DO_KIND]
        if kind == WITHDRAW:
            for q in range(book.meta[i, QUOTES]):
                cancel(book, i, book.quotes[i, q, 0], book.quotes[i, q, 1])
            book.meta[i, QUOTES] = 0
            continue
        order_id, _, slot = place(
            book, i, command[DO_OWNER], command[DO_SIDE], command[DO_PRICE], command[DO_LOTS], kind != TAKE, time
        )
        if order_id < 0:
            refused += 1
        elif slot >= 0:
            at = book.meta[i, QUOTES]
            book.quotes[i, at, 0], book.quotes[i, at, 1] = slot, order_id
            book.meta[i, QUOTES] = at + 1
    return refused


def depth(book: Book, i: int, side: int, limit: int) -> Integers:
    """[levels, 2]: price ticks and lots, best first."""
    count = int(book.meta[i, BUY_LEVELS + side])
    return book.levels[i, side, max(0, count - limit) : count, :2][::-1]
