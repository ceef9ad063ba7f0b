"""Orders of all types over the books and the accounts: what is asked, checked, matched, settled and expired.

A request is one row of integers (REQ_*). Whoever wants something from a market calls a function of this file and holds
the `Engine` it came from; the trades are on the book's tape, and what happens to an order that nobody asked for at that
moment (it expires, it is triggered, it is liquidated) is a row of `events`. EV_TAPE, the length of the tape at that
time, merges both into one history. Everything runs in compiled code, allocates nothing and is exact.

Rules: price, then time. An order that may not wait (immediate or cancel, fill or kill, market) gets what is there and
expires with the rest; fill or kill gets all or nothing and counts no order that only reduces. Self-trade prevention is
the taker's wish: before an order of its own owner the taker expires, or that order, or both. An order that waits for a
price (stop, take profit, trailing stop) takes a slot and an id at once; when its price is reached it enters the book as
a limit or market order under the same id, after the order that moved the price, nearest trigger first. What trades when
such an order enters may set off more; all of that happens inside the call that began it. An order that may only reduce
a position trades no more than the position has, and ends when nothing is left to reduce.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

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
    FUNDED,
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
    WAITING,
    Book,
    Integers,
    crosses,
    dequeue,
    enqueue,
    free_slot,
    lots_of,
    match,
    shrink,
    take_slot,
    to_the_end,
    trade,
    with_rows,
)
from market.contracts import CON_KIND, SPOT, Contract, spot
from market.kernel import inlined, kernel
from market.triggers import (
    COND_KIND,
    COND_SOURCE,
    COND_TIF,
    COND_TRAIL,
    DATE_ID,
    EXPIRES,
    FALLS,
    FIRED,
    RISES,
    WAITING_FOR,
    Triggers,
    new_triggers,
    next_date,
    push,
    remove_from,
    see,
    stop_waiting,
    trail_now,
    wait,
    with_slots,
)

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
REFUSED_NO_PRICE = -10

(
    EV_KIND, EV_INSTRUMENT, EV_ORDER, EV_OWNER, EV_SIDE, EV_PRICE, EV_LOTS_LEFT, EV_TIME, EV_TAPE, EV_REASON, EV_SLOT,
    EV_FIELDS,
) = range(12)  # fmt: skip
EV_TRIGGERED, EV_RESTED, EV_EXPIRED, EV_CANCELED, EV_LIQUIDATED, EV_FUNDING, EV_SETTLED = range(1, 8)
BY_TIF, BY_TIME, BY_REDUCE_ONLY, BY_STP_TAKER, BY_STP_MAKER, BY_BALANCE, BY_LIQUIDATION, BY_SETTLEMENT = range(1, 9)
"""EV_REASON of an order that ended: its time in force, its date, no position left to reduce, …"""
BY_REFUSAL = 100
"""EV_REASON of an order that fired and was refused: this minus the refusal."""

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
    triggers: Triggers
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
        triggers=new_triggers(count, slots),
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
    triggers = with_slots(engine.triggers, book.orders.shape[1])
    engine = engine._replace(book=book, triggers=triggers, events=with_rows(engine.events, needed))
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


@kernel
def report(
    engine: Any, kind: int, i: int, order_id: int, owner: int, side: int, price: int, left: int, time: int,
    reason: int, slot: int,
) -> None:  # fmt: skip
    """Write one event."""
    events, row = engine.events, engine.event_rows[0]
    events[row, EV_KIND], events[row, EV_INSTRUMENT], events[row, EV_ORDER] = kind, i, order_id
    events[row, EV_OWNER], events[row, EV_SIDE], events[row, EV_PRICE] = owner, side, price
    events[row, EV_LOTS_LEFT], events[row, EV_TIME], events[row, EV_REASON] = left, time, reason
    events[row, EV_TAPE], events[row, EV_SLOT] = engine.book.tape_rows[0], slot
    engine.event_rows[0] = row + 1


@kernel
def end_order(engine: Any, i: int, slot: int, kind: int, reason: int, time: int) -> None:
    """Take an order out, free its funds and report why."""
    orders = engine.book.orders
    order_id, left = orders[i, slot, ORDER_ID], lots_of(engine.book, i, slot)
    report(
        engine, kind, i, order_id, orders[i, slot, ORDER_OWNER], orders[i, slot, ORDER_SIDE],
        orders[i, slot, ORDER_PRICE], left, time, reason, slot,
    )  # fmt: skip
    cancel(engine, i, slot, order_id, time)


# -- entering the book ------------------------------------------------------------------------------------------------


@kernel
def _fillable(book: Any, i: int, owner: int, side: int, price: int, lots: int, stp: int) -> bool:
    """Whether a fill-or-kill order can be filled: own orders count as `stp` says, reduce-only ones never."""
    other, goes = 1 - side, True
    at = book.meta[i, books.BUY_LEVELS + other] - 1
    while goes and at >= 0 and lots > 0:
        level_price = book.levels[i, other, at, LEVEL_PRICE]
        goes = level_price <= price if side == BUY else level_price >= price
        slot = book.levels[i, other, at, LEVEL_HEAD] if goes else -1
        while slot >= 0 and lots > 0:
            own = stp != STP_NONE and book.orders[i, slot, ORDER_OWNER] == owner
            if own and stp != EXPIRE_MAKER:
                goes, slot = False, -1
            else:
                if not own and not book.orders[i, slot, ORDER_FLAGS] & REDUCE_ONLY:
                    lots -= lots_of(book, i, slot)
                slot = book.orders[i, slot, ORDER_NEXT]
        at -= 1
    return lots <= 0


@inlined
def _settle_from(engine: Any, i: int, first: int, maker_reduces: bool) -> None:
    """Settle the tape from row `first` on."""
    tape = engine.book.tape
    for k in range(first, engine.book.tape_rows[0]):
        money = settle(
            engine.accounts, i, tape[k, TAPE_MAKER], tape[k, TAPE_TAKER], tape[k, TAPE_BUYER_IS_MAKER] != 0,
            tape[k, TAPE_PRICE], tape[k, TAPE_LOTS], maker_reduces,
        )  # fmt: skip
        tape[k, TAPE_MAKER_FEE], tape[k, TAPE_TAKER_FEE] = money[0], money[1]
        tape[k, TAPE_MAKER_FEE_ASSET], tape[k, TAPE_TAKER_FEE_ASSET] = money[2], money[3]
        tape[k, TAPE_MAKER_REALIZED], tape[k, TAPE_TAKER_REALIZED] = money[4], money[5]


@kernel
def _meet_reducing(engine: Any, i: int, slot: int, taker: int, taker_order: int, lots: int, time: int) -> int:
    """Trade with a resting order that only reduces; it ends once it has no position left. Returns the lots traded."""
    orders = engine.book.orders
    maker, maker_order, side = orders[i, slot, ORDER_OWNER], orders[i, slot, ORDER_ID], orders[i, slot, ORDER_SIDE]
    taken = min(lots, orders[i, slot, ORDER_LOTS], closable(engine.accounts, i, maker, side))
    if taken > 0:
        first = engine.book.tape_rows[0]
        trade(engine.book, i, slot, taker, taker_order, taken, time)
        _settle_from(engine, i, first, True)
    if orders[i, slot, ORDER_ID] == maker_order and closable(engine.accounts, i, maker, side) == 0:
        end_order(engine, i, slot, EV_EXPIRED, BY_REDUCE_ONLY, time)
    return taken


@kernel
def _meet(
    engine: Any, i: int, slot: int, owner: int, order_id: int, lots: int, stp: int, time: int
) -> tuple[int, bool]:
    """Deal with a resting order the book may not decide about; returns lots traded, and whether the taker stops."""
    taken, stopped = 0, False
    if stp != STP_NONE and engine.book.orders[i, slot, ORDER_OWNER] == owner:
        stopped = stp != EXPIRE_MAKER
        if stp != EXPIRE_TAKER:
            end_order(engine, i, slot, EV_EXPIRED, BY_STP_MAKER, time)
    else:
        taken = _meet_reducing(engine, i, slot, owner, order_id, lots, time)
    return taken, stopped


@inlined
def _take(
    engine: Any, i: int, owner: int, order_id: int, side: int, price: int, lots: int, stp: int, rests: bool, time: int
) -> tuple[int, bool]:
    """Match up to `lots`, settling as it goes; returns the lots left and whether self-trade prevention stopped it."""
    left, bound, stopped, goes = lots, lots, False, lots > 0
    while goes:
        first = engine.book.tape_rows[0]
        kept, blocked = match(engine.book, i, owner, order_id, side, price, bound, stp != STP_NONE, time)
        _settle_from(engine, i, first, False)
        left -= bound - kept
        goes = blocked >= 0
        if goes:
            taken, stopped = _meet(engine, i, blocked, owner, order_id, kept, stp, time)
            left -= taken
            bound = left
            if side == BUY and not rests:  # without the order skipped, what is left may cost more than was checked
                bound = books.sweep(engine.book, i, side, price, left, spendable(engine.accounts, i, owner))[0]
            goes = bound > 0 and not stopped
    return left, stopped


@inlined
def _rest(
    engine: Any, i: int, slot: int, owner: int, order_id: int, side: int, price: int, lots: int, display: int,
    flags: int, stp: int, expiry: int,
) -> int:  # fmt: skip
    """Queue what is left of an order and lock its funds; returns its slot."""
    if slot < 0:
        slot = take_slot(engine.book, i, owner, side, price, order_id)
    orders = engine.book.orders
    shown = min(lots, display) if display > 0 else lots
    orders[i, slot, ORDER_PRICE], orders[i, slot, ORDER_FLAGS], orders[i, slot, ORDER_STP] = price, flags, stp
    orders[i, slot, ORDER_DISPLAY], orders[i, slot, ORDER_EXPIRY] = display, expiry
    orders[i, slot, ORDER_LOTS], orders[i, slot, ORDER_HIDDEN] = shown, lots - shown
    if expiry > 0:
        push(engine.triggers, i, EXPIRES, slot, expiry, order_id)
    lock(engine.accounts, i, owner, side, price, lots, flags & REDUCE_ONLY != 0)
    enqueue(engine.book, i, slot)
    return slot + to_the_end(engine)


@inlined
def _refusal(
    engine: Any, i: int, owner: int, side: int, price: int, lots: int, tif: int, reduces: bool, stp: int
) -> int:
    """Why an order may not enter the book now, or 0."""
    state = engine.state
    refusal, cost = 0, price * lots
    if tif in (IOC, FOK):
        cost = 0
        if side == BUY or engine.accounts.contracts[i, CON_KIND] != SPOT:
            cost = books.sweep(engine.book, i, side, price, lots, NO_PRICE)[1]
    if state[i, STATE_HALTED] != 0:
        refusal = REFUSED_HALTED
    elif price > state[i, STATE_BAND_HIGH] if side == BUY else price < state[i, STATE_BAND_LOW]:
        refusal = REFUSED_BAND
    elif tif == POST_ONLY and crosses(engine.book, i, side, price):
        refusal = REFUSED_POST_ONLY
    elif reduces and closable(engine.accounts, i, owner, side) == 0:
        refusal = REFUSED_REDUCE_ONLY
    elif not within_leverage(engine.accounts, i, owner, side, cost, reduces):
        refusal = REFUSED_LEVERAGE
    elif not affords(engine.accounts, i, owner, side, lots, cost, reduces):
        refusal = REFUSED_BALANCE
    return refusal + to_the_end(engine)


@inlined
def _note_last(engine: Any, i: int, tape_rows: int) -> None:
    """Keep the price of the last trade, if there was one since the tape had so many rows."""
    rows = engine.book.tape_rows[0]
    if rows != tape_rows:
        engine.state[i, STATE_LAST] = engine.book.tape[rows - 1, TAPE_PRICE]


@kernel
def _enter(
    engine: Any, i: int, owner: int, side: int, price: int, lots: int, tif: int, display: int, reduces: bool,
    stp: int, expiry: int, order_id: int, slot: int, reports: bool, time: int,
) -> tuple[int, int, int]:  # fmt: skip
    """Check, match, settle, and let the rest wait or expire; an order that has an id and a slot brings them along.

    A slot that comes along is free afterwards unless the order rests in it, or was refused.
    """
    answer, filled, rests_in = _refusal(engine, i, owner, side, price, lots, tif, reduces, stp), 0, -1
    if answer == 0:
        meta = engine.book.meta
        if order_id == 0:
            order_id = meta[i, NEXT_ORDER_ID]
            meta[i, NEXT_ORDER_ID] += 1
        answer = order_id
        want = min(lots, closable(engine.accounts, i, owner, side)) if reduces else lots
        waits = tif != IOC and tif != FOK
        left, stopped, rows = want, False, engine.book.tape_rows[0]
        if tif != FOK or _fillable(engine.book, i, owner, side, price, want, stp):
            left, stopped = _take(engine, i, owner, order_id, side, price, want, stp, waits, time)
        _note_last(engine, i, rows)
        exhausted = reduces and left == 0
        filled = want - left
        left = lots - filled
        if left > 0 and waits and not stopped and not exhausted:
            flags = (REDUCE_ONLY if reduces else 0) | (POST_ONLY_FLAG if tif == POST_ONLY else 0)
            rests_in = _rest(engine, i, slot, owner, order_id, side, price, left, display, flags, stp, expiry)
        else:
            if slot >= 0:
                free_slot(engine.book, i, slot)
            if left > 0 and reports:
                reason = BY_STP_TAKER if stopped else BY_REDUCE_ONLY if exhausted else BY_TIF
                report(engine, EV_EXPIRED, i, order_id, owner, side, price, left, time, reason, -1)
    return answer, filled, rests_in + to_the_end(engine)


# -- waiting orders ---------------------------------------------------------------------------------------------------


@kernel
def _wait(engine: Any, request: Any, time: int) -> tuple[int, int, int]:
    """Take in an order that waits for a price; of spot, funds that are known already are locked."""
    i, side, kind, price = request[REQ_INSTRUMENT], request[REQ_SIDE], request[REQ_KIND], request[REQ_PRICE]
    owner, lots, stop, source = request[REQ_OWNER], request[REQ_LOTS], request[REQ_STOP], request[REQ_TRIGGER_BY]
    if kind != STOP_LIMIT and kind != TAKE_PROFIT_LIMIT and kind != TRAILING_STOP:
        price = 0
    trails = kind == TRAILING_STOP
    now = engine.state[i, STATE_LAST if source == LAST_PRICE else STATE_MARK]
    takes_profit = kind in (TAKE_PROFIT_MARKET, TAKE_PROFIT_LIMIT)
    rises = stop > now if trails else (side == BUY) != takes_profit
    at_once = now > 0 and (stop <= now if rises else stop >= now)
    funded = engine.accounts.contracts[i, CON_KIND] == SPOT and (side != BUY or price > 0)
    answer, slot = 0, -1
    if engine.state[i, STATE_HALTED]:
        answer = REFUSED_HALTED
    elif at_once and not trails:
        answer = REFUSED_TRIGGERS_NOW
    elif trails and now <= 0 and stop <= 0:
        answer = REFUSED_NO_PRICE
    elif funded and not affords(engine.accounts, i, owner, side, lots, price * lots, False):
        answer = REFUSED_BALANCE
    if answer == 0:
        answer = engine.book.meta[i, NEXT_ORDER_ID]
        engine.book.meta[i, NEXT_ORDER_ID] += 1
        slot = take_slot(engine.book, i, owner, side, price, answer)
        orders, conditions = engine.book.orders, engine.triggers.conditions
        orders[i, slot, ORDER_FLAGS] = (
            WAITING | (FUNDED if funded else 0) | (REDUCE_ONLY if request[REQ_REDUCE_ONLY] else 0)
        )
        orders[i, slot, ORDER_LOTS], orders[i, slot, ORDER_DISPLAY] = lots, request[REQ_DISPLAY]
        orders[i, slot, ORDER_STP], orders[i, slot, ORDER_EXPIRY] = request[REQ_STP], request[REQ_EXPIRY]
        conditions[i, slot, COND_KIND], conditions[i, slot, COND_TIF] = kind, request[REQ_TIF]
        conditions[i, slot, COND_SOURCE] = source
        conditions[i, slot, COND_TRAIL] = request[REQ_TRAIL] if trails else 0
        if funded:
            lock(engine.accounts, i, owner, side, price, lots, False)
        if request[REQ_EXPIRY] > 0:
            push(engine.triggers, i, EXPIRES, slot, request[REQ_EXPIRY], answer)
        if trails and (stop <= 0 or stop == now):
            trail_now(engine.triggers, i, slot, side, now, answer)
        else:
            wait(engine.triggers, i, slot, 2 * source + (RISES if rises else FALLS), stop, answer)
    return answer, 0, slot + to_the_end(engine)


@kernel
def _carry_out(engine: Any, i: int, slot: int, time: int) -> None:
    """Turn an order that fired into one of the book; if it is refused now, it expires."""
    orders, conditions = engine.book.orders, engine.triggers.conditions
    order_id, owner, side = orders[i, slot, ORDER_ID], orders[i, slot, ORDER_OWNER], orders[i, slot, ORDER_SIDE]
    price, lots, flags = orders[i, slot, ORDER_PRICE], orders[i, slot, ORDER_LOTS], orders[i, slot, ORDER_FLAGS]
    report(engine, EV_TRIGGERED, i, order_id, owner, side, price, lots, time, 0, slot)
    if flags & FUNDED:
        unlock(engine.accounts, i, owner, side, price, lots, False)
    tif, bound = conditions[i, slot, COND_TIF], price
    if price == 0:
        tif, bound = IOC, engine.state[i, STATE_BAND_HIGH if side == BUY else STATE_BAND_LOW]
    orders[i, slot, ORDER_FLAGS] = 0
    answer, filled, rests_in = _enter(
        engine, i, owner, side, bound, lots, tif, orders[i, slot, ORDER_DISPLAY], flags & REDUCE_ONLY != 0,
        orders[i, slot, ORDER_STP], orders[i, slot, ORDER_EXPIRY], order_id, slot, True, time,
    )  # fmt: skip
    if answer < 0:
        free_slot(engine.book, i, slot)
        report(engine, EV_EXPIRED, i, order_id, owner, side, price, lots, time, BY_REFUSAL - answer, -1)
    elif rests_in >= 0:
        report(engine, EV_RESTED, i, order_id, owner, side, price, lots - filled, time, 0, rests_in)


@kernel
def react(engine: Any, i: int, source: int, time: int) -> None:
    """Show the price to the waiting orders, carry out who fires in that order, and go on while that moves the price."""
    see(engine.triggers, engine.book.orders, i, source, engine.state[i, STATE_LAST if source == 0 else STATE_MARK])
    done = 0
    while done < engine.triggers.counts[i, FIRED]:
        slot, rows = engine.triggers.fired[i, done], engine.book.tape_rows[0]
        done += 1
        _carry_out(engine, i, slot, time)
        if engine.book.tape_rows[0] != rows:
            see(engine.triggers, engine.book.orders, i, LAST_PRICE, engine.state[i, STATE_LAST])
    engine.triggers.counts[i, FIRED] = 0


@inlined
def _after(engine: Any, i: int, tape_rows: int, time: int) -> None:
    """Look for triggers if something traded since the tape had so many rows."""
    if engine.book.tape_rows[0] != tape_rows and engine.triggers.counts[i, WAITING_FOR] > 0:
        react(engine, i, LAST_PRICE, time)
    to_the_end(engine)


# -- requests ---------------------------------------------------------------------------------------------------------


@kernel
def submit(engine: Any, request: Any, time: int) -> tuple[int, int, int]:
    """Carry out one request.

    Returns the order id or a refusal (negative: then nothing happened), the lots filled, and the slot it rests or
    waits in, or -1. What expired at once is reported too. Filled counts what it filled before other orders fired.
    """
    i, side, kind, tif = request[REQ_INSTRUMENT], request[REQ_SIDE], request[REQ_KIND], request[REQ_TIF]
    price, expiry = request[REQ_PRICE], request[REQ_EXPIRY]
    answer, filled, slot = REFUSED_EXPIRED, 0, -1
    if expiry == 0 or expiry > time:
        if kind in (LIMIT, MARKET):
            if kind == MARKET:
                price = engine.state[i, STATE_BAND_HIGH] if side == BUY else engine.state[i, STATE_BAND_LOW]
                tif = IOC
            rows = engine.book.tape_rows[0]
            answer, filled, slot = _enter(
                engine, i, request[REQ_OWNER], side, price, request[REQ_LOTS], tif, request[REQ_DISPLAY],
                request[REQ_REDUCE_ONLY] != 0, request[REQ_STP], expiry, 0, -1, True, time,
            )  # fmt: skip
            _after(engine, i, rows, time)
            if slot >= 0 and engine.book.orders[i, slot, ORDER_ID] != answer:
                slot = -1  # an order that fired took it
        else:
            answer, filled, slot = _wait(engine, request, time)
    return answer, filled, slot + to_the_end(engine)


@kernel
def cancel(engine: Any, i: int, slot: int, order_id: int, time: int) -> int:
    """Take an order out and free its funds; returns its remaining lots, 0 if it is there no more."""
    orders, left = engine.book.orders, 0
    if order_id > 0 and orders[i, slot, ORDER_ID] == order_id:
        left, flags = lots_of(engine.book, i, slot), orders[i, slot, ORDER_FLAGS]
        if not flags & WAITING or flags & FUNDED:
            unlock(
                engine.accounts, i, orders[i, slot, ORDER_OWNER], orders[i, slot, ORDER_SIDE],
                orders[i, slot, ORDER_PRICE], left, flags & REDUCE_ONLY != 0,
            )  # fmt: skip
        if flags & WAITING:
            stop_waiting(engine.triggers, i, slot)
        else:
            dequeue(engine.book, i, slot)
        free_slot(engine.book, i, slot)
    return left + to_the_end(engine)


@kernel
def cancel_all(engine: Any, owner: int, i: int, time: int) -> int:
    """Cancel every order of an owner, of one instrument or (-1) of all; each is reported. Returns how many."""
    first, last, count = (i, i + 1, 0) if i >= 0 else (0, len(engine.state), 0)
    for k in range(first, last):
        for slot in range(engine.book.orders.shape[1]):
            if engine.book.orders[k, slot, ORDER_ID] > 0 and engine.book.orders[k, slot, ORDER_OWNER] == owner:
                end_order(engine, k, slot, EV_CANCELED, 0, time)
                count += 1
    return count


@kernel
def amend(engine: Any, i: int, slot: int, order_id: int, price: int, lots: int, time: int) -> tuple[int, int, int]:
    """Give a resting order another price or another number of lots still to fill; answers as `submit`.

    With the same price and no more lots it keeps its place in the queue. Otherwise it goes to the back, and may trade
    at once; an order that is post-only is refused then. A refused change changes nothing.
    """
    orders, answer, filled, rests_in = engine.book.orders, REFUSED_UNKNOWN, 0, -1
    found = order_id > 0 and orders[i, slot, ORDER_ID] == order_id and not orders[i, slot, ORDER_FLAGS] & WAITING
    if found and lots > 0:
        owner, side, flags = orders[i, slot, ORDER_OWNER], orders[i, slot, ORDER_SIDE], orders[i, slot, ORDER_FLAGS]
        old_price, left, reduces = orders[i, slot, ORDER_PRICE], lots_of(engine.book, i, slot), flags & REDUCE_ONLY != 0
        if engine.state[i, STATE_HALTED]:
            answer = REFUSED_HALTED
        elif price == old_price and lots <= left:
            answer, rests_in = order_id, slot
            if lots < left:
                unlock(engine.accounts, i, owner, side, price, left - lots, reduces)
                shrink(engine.book, i, slot, left - lots)
        else:
            unlock(engine.accounts, i, owner, side, old_price, left, reduces)
            tif = POST_ONLY if flags & POST_ONLY_FLAG else GTC
            answer = _refusal(engine, i, owner, side, price, lots, tif, reduces, orders[i, slot, ORDER_STP])
            if answer < 0:
                lock(engine.accounts, i, owner, side, old_price, left, reduces)
            else:
                rows = engine.book.tape_rows[0]
                dequeue(engine.book, i, slot)
                answer, filled, rests_in = _enter(
                    engine, i, owner, side, price, lots, tif, orders[i, slot, ORDER_DISPLAY], reduces,
                    orders[i, slot, ORDER_STP], orders[i, slot, ORDER_EXPIRY], order_id, slot, True, time,
                )  # fmt: skip
                _after(engine, i, rows, time)
                if rests_in >= 0 and orders[i, rests_in, ORDER_ID] != order_id:
                    rests_in = -1
    return answer, filled, rests_in + to_the_end(engine)


@kernel
def pass_time(engine: Any, time: int) -> None:
    """Let orders expire whose date is not after `time`, the earliest first."""
    triggers = engine.triggers
    for i in range(len(engine.state)):
        while triggers.counts[i, EXPIRES] > 0 and next_date(triggers, i) <= time:
            slot = triggers.heaps[i, EXPIRES, 0]
            remove_from(triggers, i, EXPIRES, slot)
            if engine.book.orders[i, slot, ORDER_ID] == triggers.conditions[i, slot, DATE_ID]:
                end_order(engine, i, slot, EV_EXPIRED, BY_TIME, time)


@kernel
def _withdraw(engine: Any, i: int, owner: int, time: int) -> None:
    """Cancel what the owner quoted with `QUOTE_LEVEL`."""
    kept, quotes = 0, engine.quotes
    for q in range(engine.state[i, STATE_QUOTES]):
        if quotes[i, q, 2] == owner:
            cancel(engine, i, quotes[i, q, 0], quotes[i, q, 1], time)
        else:
            for field in range(3):
                quotes[i, kept, field] = quotes[i, q, field]
            kept += 1
    engine.state[i, STATE_QUOTES] = kept


@kernel
def execute(engine: Any, commands: Any, count: int, time: int) -> int:
    """Carry out the agents' commands in order; returns how many were refused.

    TAKE is immediate-or-cancel, QUOTE_LEVEL rests and is remembered, WITHDRAW removes what its owner quoted.
    """
    refused = 0
    for k in range(count):
        i, kind, owner = commands[k, DO_INSTRUMENT], commands[k, DO_KIND], commands[k, DO_OWNER]
        if kind == WITHDRAW:
            _withdraw(engine, i, owner, time)
        else:
            rows = engine.book.tape_rows[0]
            order_id, _, slot = _enter(
                engine, i, owner, commands[k, DO_SIDE], commands[k, DO_PRICE], commands[k, DO_LOTS],
                IOC if kind == TAKE else GTC, 0, False, STP_NONE, 0, 0, -1, False, time,
            )  # fmt: skip
            if order_id < 0:
                refused += 1
            elif slot >= 0:
                at = engine.state[i, STATE_QUOTES]
                engine.quotes[i, at, 0], engine.quotes[i, at, 1], engine.quotes[i, at, 2] = slot, order_id, owner
                engine.state[i, STATE_QUOTES] = at + 1
            _after(engine, i, rows, time)
    return refused + to_the_end(engine)


@kernel
def sweep(engine: Any, i: int, side: int, price: int, lots: int, budget: int) -> tuple[int, int]:
    """Lots a taker would get now at `price` or better within `budget` units of quote, and the units they cost."""
    unit = engine.accounts.scales[i, TICK_LOT_UNITS]
    got, cost = books.sweep(engine.book, i, side, price, lots, budget // unit)
    return got, cost * unit


@kernel
def force(engine: Any, i: int, owner: int, side: int, price: int, lots: int, time: int) -> tuple[int, int]:
    """Match an immediate order that the venue itself wants (`market.clearing`), unchecked; returns its id and fills."""
    order_id, rows = engine.book.meta[i, NEXT_ORDER_ID], engine.book.tape_rows[0]
    engine.book.meta[i, NEXT_ORDER_ID] += 1
    left, _ = _take(engine, i, owner, order_id, side, price, lots, STP_NONE, True, time)
    _note_last(engine, i, rows)
    _after(engine, i, rows, time)
    return order_id, lots - left


def warm(instruments: Sequence[Instrument]) -> Engine:
    """Load or compile every function above, on an engine that is thrown away."""
    trial = with_room(new_engine([spot(instrument) for instrument in instruments], 2), 2)
    trial.accounts.balances[1, :, FREE] = NO_PRICE // 4
    request = new_request(0, 1, BUY, 1, LIMIT, 1)
    order_id, _, slot = submit(trial, request, 0)
    amend(trial, 0, slot, order_id, 1, 1, 0)
    cancel(trial, 0, slot, order_id, 0)
    cancel_all(trial, 1, -1, 0)
    pass_time(trial, 0)
    react(trial, 0, LAST_PRICE, 0)
    sweep(trial, 0, BUY, 0, 1, 0)
    execute(trial, np.zeros((1, DO_FIELDS), np.int64), 0, 0)
    return trial
