"""What the engine can be asked for: submit, amend and cancel orders, let time pass, carry out agents' commands.

Each call is one change of the `Engine` it gets, with all that it sets off; `market.engine` says how to read what came
of it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lake.instruments import Instrument
from market import book as books
from market.accounts import FREE, TICK_LOT_UNITS, lock, unlock
from market.admission import why_refused
from market.book import (
    BUY,
    NEXT_ORDER_ID,
    NO_PRICE,
    ORDER_DISPLAY,
    ORDER_EXPIRY,
    ORDER_FLAGS,
    ORDER_ID,
    ORDER_OWNER,
    ORDER_PRICE,
    ORDER_SIDE,
    ORDER_STP,
    POST_ONLY_FLAG,
    REDUCE_ONLY,
    WAITING,
    dequeue,
    lots_of,
    shrink,
    to_the_end,
)
from market.contracts import spot
from market.engine import (
    BY_TIME,
    DO_FIELDS,
    DO_INSTRUMENT,
    DO_KIND,
    DO_LOTS,
    DO_OWNER,
    DO_PRICE,
    DO_SIDE,
    EV_CANCELED,
    EV_EXPIRED,
    GTC,
    IOC,
    LAST_PRICE,
    LIMIT,
    MARKET,
    POST_ONLY,
    REFUSED_EXPIRED,
    REFUSED_HALTED,
    REFUSED_UNKNOWN,
    REQ_DISPLAY,
    REQ_EXPIRY,
    REQ_INSTRUMENT,
    REQ_KIND,
    REQ_LOTS,
    REQ_OWNER,
    REQ_PRICE,
    REQ_REDUCE_ONLY,
    REQ_SIDE,
    REQ_STP,
    REQ_TIF,
    STATE_BAND_HIGH,
    STATE_BAND_LOW,
    STATE_HALTED,
    STATE_QUOTES,
    STP_NONE,
    TAKE,
    WITHDRAW,
    Engine,
    new_engine,
    new_request,
    with_room,
)
from market.kernel import kernel
from market.order_entry import cancel, end_order, enter, note_last, take
from market.triggers import DATE_ID, EXPIRES, next_date, remove_from
from market.waiting_orders import after_trades, react, take_in


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
            answer, filled, slot = enter(
                engine, i, request[REQ_OWNER], side, price, request[REQ_LOTS], tif, request[REQ_DISPLAY],
                request[REQ_REDUCE_ONLY] != 0, request[REQ_STP], expiry, 0, -1, True, time,
            )  # fmt: skip
            after_trades(engine, i, rows, time)
            if slot >= 0 and engine.book.orders[i, slot, ORDER_ID] != answer:
                slot = -1  # an order that fired took it
        else:
            answer, filled, slot = take_in(engine, request, time)
    return answer, filled, slot + to_the_end(engine)


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
            answer = why_refused(engine, i, owner, side, price, lots, tif, reduces, orders[i, slot, ORDER_STP])
            if answer < 0:
                lock(engine.accounts, i, owner, side, old_price, left, reduces)
            else:
                rows = engine.book.tape_rows[0]
                dequeue(engine.book, i, slot)
                answer, filled, rests_in = enter(
                    engine, i, owner, side, price, lots, tif, orders[i, slot, ORDER_DISPLAY], reduces,
                    orders[i, slot, ORDER_STP], orders[i, slot, ORDER_EXPIRY], order_id, slot, True, time,
                )  # fmt: skip
                after_trades(engine, i, rows, time)
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
            order_id, _, slot = enter(
                engine, i, owner, commands[k, DO_SIDE], commands[k, DO_PRICE], commands[k, DO_LOTS],
                IOC if kind == TAKE else GTC, 0, False, STP_NONE, 0, 0, -1, False, time,
            )  # fmt: skip
            if order_id < 0:
                refused += 1
            elif slot >= 0:
                at = engine.state[i, STATE_QUOTES]
                engine.quotes[i, at, 0], engine.quotes[i, at, 1], engine.quotes[i, at, 2] = slot, order_id, owner
                engine.state[i, STATE_QUOTES] = at + 1
            after_trades(engine, i, rows, time)
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
    left, _ = take(engine, i, owner, order_id, side, price, lots, STP_NONE, True, time)
    note_last(engine, i, rows)
    after_trades(engine, i, rows, time)
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
