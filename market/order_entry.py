"""Orders enter the book, trade, rest and leave it: checked, matched, settled, and what is left queued or expired.

Kernels of the engine (`market.engine`), called by `market.requests` and `market.waiting_orders`.
"""

from typing import Any

from market import book as books
from market.accounts import closable, lock, settle, spendable, unlock
from market.admission import fillable, why_refused
from market.book import (
    BUY,
    FUNDED,
    NEXT_ORDER_ID,
    ORDER_DISPLAY,
    ORDER_EXPIRY,
    ORDER_FLAGS,
    ORDER_HIDDEN,
    ORDER_ID,
    ORDER_LOTS,
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
    dequeue,
    enqueue,
    free_slot,
    lots_of,
    match,
    take_slot,
    to_the_end,
    trade,
)
from market.engine import (
    BY_REDUCE_ONLY,
    BY_STP_MAKER,
    BY_STP_TAKER,
    BY_TIF,
    EV_EXPIRED,
    EXPIRE_MAKER,
    EXPIRE_TAKER,
    FOK,
    IOC,
    POST_ONLY,
    STATE_LAST,
    STP_NONE,
    report,
)
from market.kernel import inlined, kernel
from market.triggers import EXPIRES, push, stop_waiting


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
def end_order(engine: Any, i: int, slot: int, kind: int, reason: int, time: int) -> None:
    """Take an order out, free its funds and report why."""
    orders = engine.book.orders
    order_id, left = orders[i, slot, ORDER_ID], lots_of(engine.book, i, slot)
    report(
        engine, kind, i, order_id, orders[i, slot, ORDER_OWNER], orders[i, slot, ORDER_SIDE],
        orders[i, slot, ORDER_PRICE], left, time, reason, slot,
    )  # fmt: skip
    cancel(engine, i, slot, order_id, time)


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
def take(
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
def note_last(engine: Any, i: int, tape_rows: int) -> None:
    """Keep the price of the last trade, if there was one since the tape had so many rows."""
    rows = engine.book.tape_rows[0]
    if rows != tape_rows:
        engine.state[i, STATE_LAST] = engine.book.tape[rows - 1, TAPE_PRICE]


@kernel
def enter(
    engine: Any, i: int, owner: int, side: int, price: int, lots: int, tif: int, display: int, reduces: bool,
    stp: int, expiry: int, order_id: int, slot: int, reports: bool, time: int,
) -> tuple[int, int, int]:  # fmt: skip
    """Check, match, settle, and let the rest wait or expire; an order that has an id and a slot brings them along.

    A slot that comes along is free afterwards unless the order rests in it, or was refused.
    """
    answer, filled, rests_in = why_refused(engine, i, owner, side, price, lots, tif, reduces, stp), 0, -1
    if answer == 0:
        meta = engine.book.meta
        if order_id == 0:
            order_id = meta[i, NEXT_ORDER_ID]
            meta[i, NEXT_ORDER_ID] += 1
        answer = order_id
        want = min(lots, closable(engine.accounts, i, owner, side)) if reduces else lots
        waits = tif != IOC and tif != FOK
        left, stopped, rows = want, False, engine.book.tape_rows[0]
        if tif != FOK or fillable(engine.book, i, owner, side, price, want, stp):
            left, stopped = take(engine, i, owner, order_id, side, price, want, stp, waits, time)
        note_last(engine, i, rows)
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
