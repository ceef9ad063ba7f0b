"""Orders of all types over the books and the accounts: what is asked, checked, matched, settled and expired.

A request is one row of integers (REQ_*). Whoever wants something from a market calls a function of this file and holds
the `Engine` it came from; the trades are on the book's tape, and what happens to an order that nobody asked for at that
moment (it expires, it is triggered, it is liquidated) is a row of `events`. EV_TAPE, the length of the tape at that
time, merges both into one history. Everything runs in compiled code, allocates nothing and is exact.

Rules: price, then time. An order that may not wait (immediate or cancel, fill or kill, market) gets what is there and
expires with the rest; fill or kill gets all or nothing and counts no order that only reduces. Self-trade prevention is
the taker's wish: before an order of its own owner the taker expires, or that order, or both.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from lake.instruments import Instrument
from market import book as books
from market.accounts import (
    FREE,
    TICK_LOT_UNITS,
    Accounts,
    affords,
    closable,
    lock,
    new_accounts,
    settle,
    spendable,
    unlock,
    within_leverage,
)
from market.book import (
    BUY,
    LEVEL_HEAD,
    LEVEL_PRICE,
    NEXT_ORDER_ID,
    NO_PRICE,
    ORDER_DISPLAY,
    ORDER_EXPIRY,
    ORDER_FLAGS,
    ORDER_HIDDEN,
    ORDER_ID,
    ORDER_LOTS,
    ORDER_NEXT,
    ORDER_OWNER,
    ORDER_PRICE,
    ORDER_SIDE,
    ORDER_STP,
    POST_ONLY_FLAG,
    REDUCE_ONLY,
    TAPE_BUYER_IS_MAKER,
    TAPE_LOTS,
    TAPE_MAKER,
    TAPE_MAKER_FEE,
    TAPE_MAKER_FEE_ASSET,
    TAPE_MAKER_REALIZED,
    TAPE_PRICE,
    TAPE_TAKER,
    TAPE_TAKER_FEE,
    TAPE_TAKER_FEE_ASSET,
    TAPE_TAKER_REALIZED,
    Book,
    Integers,
    crosses,
    dequeue,
    enqueue,
    free_slot,
    lots_of,
    match,
    take_slot,
    trade,
    with_rows,
)
from market.contracts import CON_KIND, SPOT, Contract, spot

# Compiled code freezes these numbers: after a change delete market/__pycache__.
(
    REQ_INSTRUMENT, REQ_OWNER, REQ_SIDE, REQ_KIND, REQ_TIF, REQ_PRICE, REQ_LOTS, REQ_STOP, REQ_TRAIL, REQ_DISPLAY,
    REQ_REDUCE_ONLY, REQ_STP, REQ_EXPIRY, REQ_TRIGGER_BY, REQ_FIELDS,
) = range(15)  # fmt: skip
LIMIT, MARKET, STOP_MARKET, STOP_LIMIT, TAKE_PROFIT_MARKET, TAKE_PROFIT_LIMIT, TRAILING_STOP = range(7)
GTC, IOC, FOK, GTD, POST_ONLY = range(5)
STP_NONE, EXPIRE_TAKER, EXPIRE_MAKER, EXPIRE_BOTH = range(4)
LAST_PRICE, MARK_PRICE = range(2)

REFUSED_BALANCE, REFUSED_POST_ONLY, REFUSED_REDUCE_ONLY, REFUSED_TRIGGERS_NOW = -1, -2, -3, -4
REFUSED_BAND, REFUSED_HALTED, REFUSED_LEVERAGE, REFUSED_EXPIRED, REFUSED_UNKNOWN = -5, -6, -7, -8, -9

(
    EV_KIND, EV_INSTRUMENT, EV_ORDER, EV_OWNER, EV_SIDE, EV_PRICE, EV_LOTS_LEFT, EV_TIME, EV_TAPE, EV_REASON, EV_SLOT,
    EV_FIELDS,
) = range(12)  # fmt: skip
EV_TRIGGERED, EV_RESTED, EV_EXPIRED, EV_CANCELED, EV_LIQUIDATED, EV_FUNDING, EV_SETTLED = range(1, 8)
BY_TIF, BY_TIME, BY_REDUCE_ONLY, BY_STP_TAKER, BY_STP_MAKER, BY_BALANCE, BY_LIQUIDATION, BY_SETTLEMENT = range(1, 9)
"""EV_REASON of an order that ended: its time in force, its date, no position left to reduce, …"""

# Columns of Engine.state, per instrument.
(
    STATE_LAST, STATE_MARK, STATE_HALTED, STATE_BAND_LOW, STATE_BAND_HIGH, STATE_QUOTES, STATE_FIELDS,
) = range(7)  # fmt: skip

# Columns of a command of `execute`, and its kinds.
DO_INSTRUMENT, DO_KIND, DO_OWNER, DO_SIDE, DO_PRICE, DO_LOTS, DO_FIELDS = range(7)
TAKE, QUOTE_LEVEL, WITHDRAW = 0, 1, 2


class Engine(NamedTuple):
    """One venue: its books, its money, and what the engine itself keeps."""

    book: Book
    accounts: Accounts
    state: Integers
    """[instruments, STATE_FIELDS]."""
    quotes: Integers
    """[instruments, slots, 3]: slot, id and owner of the resting orders that `WITHDRAW` removes."""
    events: Integers
    """[rows, EV_FIELDS]."""
    event_rows: Integers
    """[1]: how many rows of `events` are filled; whoever drains them sets it to zero."""


def new_engine(contracts: Sequence[Contract], owners: int, slots: int = 256, tape: int = 8192) -> Engine:
    """Empty books and zero balances for these contracts; ids start at 1.

    Raises:
        UsageError: a contract's tick × step is no whole number of units.
    """
    count = len(contracts)
    state = np.zeros((count, STATE_FIELDS), np.int64)
    state[:, STATE_BAND_HIGH] = NO_PRICE
    return Engine(
        book=books.new_book(count, slots, tape),
        accounts=new_accounts(contracts, owners),
        state=state,
        quotes=np.zeros((count, slots, 3), np.int64),
        events=np.zeros((tape, EV_FIELDS), np.int64),
        event_rows=np.zeros(1, np.int64),
    )


def with_room(engine: Engine, orders: int) -> Engine:
    """The same engine with room for so many more orders per instrument, their trades and their events.

    The compiled code never grows an array; call this before it, and use the answer from then on.
    """
    book = books.with_room(engine.book, orders)
    owners, instruments = engine.accounts.positions.shape[:2]
    needed = int(engine.event_rows[0] + 3 * book.meta[:, books.RESTING].sum()) + 3 * orders + 2 * owners * instruments
    engine = engine._replace(book=book, events=with_rows(engine.events, needed))
    slots = book.orders.shape[1]
    if slots > engine.quotes.shape[1]:
        quotes = np.zeros((instruments, slots, 3), np.int64)
        quotes[:, : engine.quotes.shape[1]] = engine.quotes
        engine = engine._replace(quotes=quotes)
    return engine


def new_request(instrument: int, owner: int, side: int, lots: int, kind: int = MARKET, price: int = 0) -> Integers:
    """A request row, good till canceled; set further columns before `submit`."""
    row = np.zeros(REQ_FIELDS, np.int64)
    row[[REQ_INSTRUMENT, REQ_OWNER, REQ_SIDE, REQ_LOTS, REQ_KIND, REQ_PRICE]] = (
        instrument, owner, side, lots, kind, price,
    )  # fmt: skip
    return row


# -- events -----------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def report(
    engine: Any, kind: int, i: int, order_id: int, owner: int, side: int, price: int, left: int, time: int,
    reason: int, slot: int,
) -> None:  # fmt: skip
    """Write one event."""
    row = engine.events[engine.event_rows[0]]
    row[EV_KIND], row[EV_INSTRUMENT], row[EV_ORDER], row[EV_OWNER] = kind, i, order_id, owner
    row[EV_SIDE], row[EV_PRICE], row[EV_LOTS_LEFT], row[EV_TIME] = side, price, left, time
    row[EV_TAPE], row[EV_REASON], row[EV_SLOT] = engine.book.tape_rows[0], reason, slot
    engine.event_rows[0] += 1


@njit(cache=True, nogil=True)
def end_order(engine: Any, i: int, slot: int, kind: int, reason: int, time: int) -> None:
    """Take an order out, free its funds and report why."""
    order = engine.book.orders[i, slot]
    order_id, left = order[ORDER_ID], lots_of(engine.book, i, slot)
    report(
        engine, kind, i, order_id, order[ORDER_OWNER], order[ORDER_SIDE], order[ORDER_PRICE], left, time, reason, slot
    )
    cancel(engine, i, slot, order_id, time)


# -- entering the book ------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _fillable(book: Any, i: int, owner: int, side: int, price: int, lots: int, stp: int) -> bool:
    """Whether a fill-or-kill order can be filled: own orders count as `stp` says, reduce-only ones never."""
    levels = book.levels[i, 1 - side]
    for at in range(book.meta[i, books.BUY_LEVELS + 1 - side] - 1, -1, -1):
        level_price = levels[at, LEVEL_PRICE]
        if level_price > price if side == BUY else level_price < price:
            return False
        slot = levels[at, LEVEL_HEAD]
        while slot >= 0:
            order = book.orders[i, slot]
            own = stp != STP_NONE and order[ORDER_OWNER] == owner
            if own and stp != EXPIRE_MAKER:
                return False
            if not own and not order[ORDER_FLAGS] & REDUCE_ONLY:
                lots -= order[ORDER_LOTS] + order[ORDER_HIDDEN]
                if lots <= 0:
                    return True
            slot = order[ORDER_NEXT]
    return False


@njit(cache=True, nogil=True)
def _settle_from(engine: Any, i: int, first: int, maker_reduces: bool) -> None:
    """Settle the tape from row `first` on."""
    book = engine.book
    for k in range(first, book.tape_rows[0]):
        row = book.tape[k]
        money = settle(
            engine.accounts, i, row[TAPE_MAKER], row[TAPE_TAKER], row[TAPE_BUYER_IS_MAKER] != 0, row[TAPE_PRICE],
            row[TAPE_LOTS], maker_reduces,
        )  # fmt: skip
        row[TAPE_MAKER_FEE], row[TAPE_TAKER_FEE] = money[0], money[1]
        row[TAPE_MAKER_FEE_ASSET], row[TAPE_TAKER_FEE_ASSET] = money[2], money[3]
        row[TAPE_MAKER_REALIZED], row[TAPE_TAKER_REALIZED] = money[4], money[5]


@njit(cache=True, nogil=True)
def _meet_reducing(engine: Any, i: int, slot: int, taker: int, taker_order: int, lots: int, time: int) -> int:
    """Trade with a resting order that only reduces; it ends once it has no position left. Returns the lots traded."""
    order = engine.book.orders[i, slot]
    maker, maker_order, side = order[ORDER_OWNER], order[ORDER_ID], order[ORDER_SIDE]
    taken = min(lots, order[ORDER_LOTS], closable(engine.accounts, i, maker, side))
    if taken > 0:
        first = engine.book.tape_rows[0]
        trade(engine.book, i, slot, taker, taker_order, taken, time)
        _settle_from(engine, i, first, True)
    if order[ORDER_ID] == maker_order and closable(engine.accounts, i, maker, side) == 0:
        end_order(engine, i, slot, EV_EXPIRED, BY_REDUCE_ONLY, time)
    return taken


@njit(cache=True, nogil=True)
def _take(
    engine: Any, i: int, owner: int, order_id: int, side: int, price: int, lots: int, stp: int, rests: bool, time: int
) -> tuple[int, bool]:
    """Match up to `lots`, settling as it goes; returns the lots left and whether self-trade prevention stopped it."""
    book = engine.book
    left, checked = lots, True
    while left > 0:
        bound = left
        if not checked and side == BUY and not rests:  # an order skipped may have left dearer ones than were checked
            bound = books.sweep(book, i, side, price, left, spendable(engine.accounts, i, owner))[0]
        first = book.tape_rows[0]
        kept, blocked = match(book, i, owner, order_id, side, price, bound, stp != STP_NONE, time)
        _settle_from(engine, i, first, False)
        left -= bound - kept
        if blocked < 0:
            break
        checked = False
        if stp != STP_NONE and book.orders[i, blocked, ORDER_OWNER] == owner:
            if stp != EXPIRE_TAKER:
                end_order(engine, i, blocked, EV_EXPIRED, BY_STP_MAKER, time)
            if stp != EXPIRE_MAKER:
                return left, True
        else:
            left -= _meet_reducing(engine, i, blocked, owner, order_id, kept, time)
    return left, False


@njit(cache=True, nogil=True)
def _rest(
    engine: Any, i: int, slot: int, owner: int, order_id: int, side: int, price: int, lots: int, display: int,
    flags: int, stp: int, expiry: int,
) -> int:  # fmt: skip
    """Queue what is left of an order and lock its funds; returns its slot."""
    book = engine.book
    if slot < 0:
        slot = take_slot(book, i, owner, side, price, order_id)
    order = book.orders[i, slot]
    order[ORDER_PRICE], order[ORDER_FLAGS], order[ORDER_STP], order[ORDER_EXPIRY] = price, flags, stp, expiry
    order[ORDER_DISPLAY] = display
    order[ORDER_LOTS] = min(lots, display) if display > 0 else lots
    order[ORDER_HIDDEN] = lots - order[ORDER_LOTS]
    lock(engine.accounts, i, owner, side, price, lots, flags & REDUCE_ONLY != 0)
    enqueue(book, i, slot)
    return slot


@njit(cache=True, nogil=True)
def _refusal(
    engine: Any, i: int, owner: int, side: int, price: int, lots: int, tif: int, reduces: bool, stp: int
) -> int:
    """Why an order may not enter the book now, or 0."""
    state = engine.state[i]
    if state[STATE_HALTED]:
        return REFUSED_HALTED
    if (side == BUY and price > state[STATE_BAND_HIGH]) or (side != BUY and price < state[STATE_BAND_LOW]):
        return REFUSED_BAND
    if tif == POST_ONLY and crosses(engine.book, i, side, price):
        return REFUSED_POST_ONLY
    if reduces and closable(engine.accounts, i, owner, side) == 0:
        return REFUSED_REDUCE_ONLY
    cost = price * lots if tif != IOC and tif != FOK else 0
    if cost == 0 and (side == BUY or engine.accounts.contracts[i, CON_KIND] != SPOT):
        cost = books.sweep(engine.book, i, side, price, lots, NO_PRICE)[1]
    if not within_leverage(engine.accounts, i, owner, side, cost, reduces):
        return REFUSED_LEVERAGE
    return 0 if affords(engine.accounts, i, owner, side, lots, cost, reduces) else REFUSED_BALANCE


@njit(cache=True, nogil=True)
def _enter(
    engine: Any, i: int, owner: int, side: int, price: int, lots: int, tif: int, display: int, reduces: bool,
    stp: int, expiry: int, order_id: int, slot: int, reports: bool, time: int,
) -> tuple[int, int, int]:  # fmt: skip
    """Check, match, settle, and let the rest wait or expire; a waiting order passes its id and its slot on."""
    refusal = _refusal(engine, i, owner, side, price, lots, tif, reduces, stp)
    if refusal < 0:
        return refusal, 0, -1
    book = engine.book
    if order_id == 0:
        order_id = book.meta[i, NEXT_ORDER_ID]
        book.meta[i, NEXT_ORDER_ID] += 1
    want = min(lots, closable(engine.accounts, i, owner, side)) if reduces else lots
    left, stopped, traded = want, False, book.meta[i, books.NEXT_TRADE_ID]
    waits = tif != IOC and tif != FOK
    if tif != FOK or _fillable(book, i, owner, side, price, want, stp):
        left, stopped = _take(engine, i, owner, order_id, side, price, want, stp, waits, time)
    if book.meta[i, books.NEXT_TRADE_ID] != traded:
        engine.state[i, STATE_LAST] = book.tape[book.tape_rows[0] - 1, TAPE_PRICE]
    filled = want - left
    left = lots - filled
    exhausted = reduces and filled == want
    if left > 0 and waits and not stopped and not exhausted:
        flags = (REDUCE_ONLY if reduces else 0) | (POST_ONLY_FLAG if tif == POST_ONLY else 0)
        return order_id, filled, _rest(engine, i, slot, owner, order_id, side, price, left, display, flags, stp, expiry)
    if slot >= 0:
        free_slot(book, i, slot)
    if left > 0 and reports:
        reason = BY_STP_TAKER if stopped else BY_REDUCE_ONLY if exhausted else BY_TIF
        report(engine, EV_EXPIRED, i, order_id, owner, side, price, left, time, reason, -1)
    return order_id, filled, -1


# -- requests ---------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def submit(engine: Any, request: Any, time: int) -> tuple[int, int, int]:
    """Carry out one request.

    Returns the order id or a refusal (negative: then nothing happened), the lots filled, and the slot it rests or
    waits in, or -1. What expired at once is reported too.
    """
    i, side, kind, tif = request[REQ_INSTRUMENT], request[REQ_SIDE], request[REQ_KIND], request[REQ_TIF]
    price = request[REQ_PRICE]
    if kind == MARKET:
        price = engine.state[i, STATE_BAND_HIGH] if side == BUY else engine.state[i, STATE_BAND_LOW]
        tif = IOC
    return _enter(
        engine, i, request[REQ_OWNER], side, price, request[REQ_LOTS], tif, request[REQ_DISPLAY],
        request[REQ_REDUCE_ONLY] != 0, request[REQ_STP], request[REQ_EXPIRY], 0, -1, True, time,
    )  # fmt: skip


@njit(cache=True, nogil=True)
def cancel(engine: Any, i: int, slot: int, order_id: int, time: int) -> int:
    """Take an order out and free its funds; returns its remaining lots, 0 if it is there no more."""
    order = engine.book.orders[i, slot]
    if order_id < 1 or order[ORDER_ID] != order_id:
        return 0
    left = lots_of(engine.book, i, slot)
    unlock(
        engine.accounts, i, order[ORDER_OWNER], order[ORDER_SIDE], order[ORDER_PRICE], left,
        order[ORDER_FLAGS] & REDUCE_ONLY != 0,
    )  # fmt: skip
    dequeue(engine.book, i, slot)
    free_slot(engine.book, i, slot)
    return left


@njit(cache=True, nogil=True)
def _withdraw(engine: Any, i: int, owner: int, time: int) -> None:
    """Cancel what the owner quoted with `QUOTE_LEVEL`."""
    kept = 0
    quotes = engine.quotes[i]
    for q in range(engine.state[i, STATE_QUOTES]):
        if quotes[q, 2] == owner:
            cancel(engine, i, quotes[q, 0], quotes[q, 1], time)
        else:
            quotes[kept, 0], quotes[kept, 1], quotes[kept, 2] = quotes[q, 0], quotes[q, 1], quotes[q, 2]
            kept += 1
    engine.state[i, STATE_QUOTES] = kept


@njit(cache=True, nogil=True)
def execute(engine: Any, commands: Any, count: int, time: int) -> int:
    """Carry out the agents' commands in order; returns how many were refused.

    TAKE is immediate-or-cancel, QUOTE_LEVEL rests and is remembered, WITHDRAW removes what its owner quoted.
    """
    refused = 0
    for k in range(count):
        command = commands[k]
        i, kind, owner = command[DO_INSTRUMENT], command[DO_KIND], command[DO_OWNER]
        if kind == WITHDRAW:
            _withdraw(engine, i, owner, time)
            continue
        tif = IOC if kind == TAKE else GTC
        order_id, _, slot = _enter(
            engine, i, owner, command[DO_SIDE], command[DO_PRICE], command[DO_LOTS], tif, 0, False, STP_NONE, 0, 0, -1,
            False, time,
        )  # fmt: skip
        if order_id < 0:
            refused += 1
        elif slot >= 0:
            row = engine.quotes[i, engine.state[i, STATE_QUOTES]]
            row[0], row[1], row[2] = slot, order_id, owner
            engine.state[i, STATE_QUOTES] += 1
    return refused


@njit(cache=True, nogil=True)
def sweep(engine: Any, i: int, side: int, price: int, lots: int, budget: int) -> tuple[int, int]:
    """Lots a taker would get now at `price` or better within `budget` units of quote, and the units they cost."""
    unit = engine.accounts.scales[i, TICK_LOT_UNITS]
    got, cost = books.sweep(engine.book, i, side, price, lots, budget // unit)
    return got, cost * unit


def warm(instruments: Sequence[Instrument]) -> Engine:
    """Load or compile every function above, on an engine that is thrown away."""
    trial = with_room(new_engine([spot(instrument) for instrument in instruments], 2), 1)
    trial.accounts.balances[1, :, FREE] = NO_PRICE // 4
    request = new_request(0, 1, BUY, 1, LIMIT, 1)
    order_id, _, slot = submit(trial, request, 0)
    cancel(trial, 0, slot, order_id, 0)
    sweep(trial, 0, BUY, 0, 1, 0)
    execute(trial, np.zeros((1, DO_FIELDS), np.int64), 0, 0)
    return trial


@njit(cache=True, nogil=True)
def force(engine: Any, i: int, owner: int, side: int, price: int, lots: int, time: int) -> tuple[int, int]:
    """Match an immediate order that the venue itself wants (`market.clearing`), unchecked; returns its id and fills."""
    book = engine.book
    order_id, traded = book.meta[i, NEXT_ORDER_ID], book.meta[i, books.NEXT_TRADE_ID]
    book.meta[i, NEXT_ORDER_ID] += 1
    left, _ = _take(engine, i, owner, order_id, side, price, lots, STP_NONE, True, time)
    if book.meta[i, books.NEXT_TRADE_ID] != traded:
        engine.state[i, STATE_LAST] = book.tape[book.tape_rows[0] - 1, TAPE_PRICE]
    return order_id, lots - left
