"""Orders that wait for a price: how they are taken in, fire, and become orders of the book.

Kernels of the engine (`market.engine`); which order a price reaches, and in what sequence, is `market.triggers`.
"""

from typing import Any

from market.accounts import affords, lock, unlock
from market.book import (
    BUY,
    FUNDED,
    NEXT_ORDER_ID,
    ORDER_DISPLAY,
    ORDER_EXPIRY,
    ORDER_FLAGS,
    ORDER_ID,
    ORDER_LOTS,
    ORDER_OWNER,
    ORDER_PRICE,
    ORDER_SIDE,
    ORDER_STP,
    REDUCE_ONLY,
    WAITING,
    free_slot,
    take_slot,
    to_the_end,
)
from market.contracts import CON_KIND, SPOT
from market.engine import (
    BY_REFUSAL,
    EV_EXPIRED,
    EV_RESTED,
    EV_TRIGGERED,
    IOC,
    LAST_PRICE,
    REFUSED_BALANCE,
    REFUSED_HALTED,
    REFUSED_NO_PRICE,
    REFUSED_TRIGGERS_NOW,
    REQ_DISPLAY,
    REQ_EXPIRY,
    REQ_INSTRUMENT,
    REQ_KIND,
    REQ_LOTS,
    REQ_OWNER,
    REQ_PRICE,
    REQ_REDUCE_ONLY,
    REQ_SIDE,
    REQ_STOP,
    REQ_STP,
    REQ_TIF,
    REQ_TRAIL,
    REQ_TRIGGER_BY,
    STATE_BAND_HIGH,
    STATE_BAND_LOW,
    STATE_HALTED,
    STATE_LAST,
    STATE_MARK,
    STOP_LIMIT,
    TAKE_PROFIT_LIMIT,
    TAKE_PROFIT_MARKET,
    TRAILING_STOP,
    report,
)
from market.kernel import inlined, kernel
from market.order_entry import enter
from market.triggers import (
    COND_KIND,
    COND_SOURCE,
    COND_TIF,
    COND_TRAIL,
    EXPIRES,
    FALLS,
    FIRED,
    RISES,
    WAITING_FOR,
    push,
    see,
    trail_now,
    wait,
)


@kernel
def take_in(engine: Any, request: Any, time: int) -> tuple[int, int, int]:
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
    answer, filled, rests_in = enter(
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
def after_trades(engine: Any, i: int, tape_rows: int, time: int) -> None:
    """Look for triggers if something traded since the tape had so many rows."""
    if engine.book.tape_rows[0] != tape_rows and engine.triggers.counts[i, WAITING_FOR] > 0:
        react(engine, i, LAST_PRICE, time)
    to_the_end(engine)
