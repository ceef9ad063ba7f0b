"""Whether an order may enter the book now: halts, price bands, what it costs, and whether all of it could be filled."""

from typing import Any

from market import book as books
from market.accounts import affords, closable, within_leverage
from market.book import (
    BUY,
    LEVEL_HEAD,
    LEVEL_PRICE,
    NO_PRICE,
    ORDER_FLAGS,
    ORDER_NEXT,
    ORDER_OWNER,
    REDUCE_ONLY,
    crosses,
    lots_of,
    to_the_end,
)
from market.contracts import CON_KIND, SPOT
from market.engine import (
    EXPIRE_MAKER,
    FOK,
    IOC,
    POST_ONLY,
    REFUSED_BALANCE,
    REFUSED_BAND,
    REFUSED_HALTED,
    REFUSED_LEVERAGE,
    REFUSED_POST_ONLY,
    REFUSED_REDUCE_ONLY,
    STATE_BAND_HIGH,
    STATE_BAND_LOW,
    STATE_HALTED,
    STP_NONE,
)
from market.kernel import inlined, kernel


@kernel
def fillable(book: Any, i: int, owner: int, side: int, price: int, lots: int, stp: int) -> bool:
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
def why_refused(
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
