"""What the venue does to positions by itself: marks, margin checks, liquidation, funding, expiry, halts.

A liquidation follows Binance's order of things: the owner's orders are cancelled; the position is closed at the best
prices of the book, no worse than its bankruptcy price, at which nothing of its margin would be left; the liquidation
fee on what was closed goes to the insurance fund, as far as there is something left; what the book would not take, the
fund takes over with all of the margin behind it. An isolated position falls alone. Cross positions fall one after the
other, the largest requirement first, until the rest is covered. The fund works off what it took near the mark.

Every amount has a counterpart, so the sums of `market.margin` hold through all of it. Not modelled: liquidation of a
part of a position, and auto-deleveraging; instead the fund may owe.
"""

from typing import Any

import numpy as np
from numba import njit

from market import engine as engines
from market.book import BUY, NEXT_ORDER_ID, ORDER_ID, ORDER_OWNER, SELL, TAPE_LOTS, TAPE_PRICE
from market.contracts import (
    CON_BAND,
    CON_LIQUIDATION_FEE,
    CON_MARGIN,
    FREE,
    LOCKED,
    SPOT,
    TICK_LOT_UNITS,
)
from market.engine import (
    BY_LIQUIDATION,
    BY_SETTLEMENT,
    EV_CANCELED,
    EV_EXPIRED,
    EV_FUNDING,
    EV_LIQUIDATED,
    EV_SETTLED,
    STATE_BAND_HIGH,
    STATE_BAND_LOW,
    STATE_HALTED,
    STATE_MARK,
    Engine,
    end_order,
    force,
    report,
)
from market.fees import DERIVATIVES_MARKET, TAKER_RATE, share
from market.margin import (
    CROSS,
    ISOLATED,
    POS_COST,
    POS_FUNDING,
    POS_ISOLATED,
    POS_LOTS,
    POS_MODE,
    apply,
    charge,
    equity,
    maintenance,
    maintenance_of,
    position_value,
    unrealized,
)

RATE = 100_000_000
"""Funding rates are in hundred-millionths: 10_000 is 0.01 %."""
FUND_REACH = 5_000
"""How far from the mark the fund works its positions off, in millionths."""
EV_CLEARED = 8
"""Event: units of the owner's wallet went to the insurance fund (Binance's INSURANCE_CLEAR)."""


def with_room(engine: Engine) -> Engine:
    """The engine with room for every liquidation that one of the calls below could set off."""
    owners, contracts = engine.accounts.positions.shape[:2]
    return engines.with_room(engine, owners * contracts // 2 + 1)


@njit(cache=True, nogil=True)
def set_halted(engine: Any, i: int, halted: bool) -> None:
    """Refuse new orders of a contract, or take them again; cancels always work."""
    engine.state[i, STATE_HALTED] = 1 if halted else 0


@njit(cache=True, nogil=True)
def set_marks(engine: Any, ticks: Any, time: int) -> None:
    """Set the mark prices of all contracts ([contracts] ticks, 0 leaves one as it is), then check every margin."""
    for i in range(len(ticks)):
        if ticks[i] > 0:
            _mark(engine, i, ticks[i])
    for i in range(len(ticks)):
        if ticks[i] > 0:
            check_margins(engine, i, time)


@njit(cache=True, nogil=True)
def set_mark(engine: Any, i: int, ticks: int, time: int) -> None:
    """Set one mark price, and the band of limit prices around it; liquidate who is no longer covered."""
    _mark(engine, i, ticks)
    check_margins(engine, i, time)


@njit(cache=True, nogil=True)
def _mark(engine: Any, i: int, ticks: int) -> None:
    engine.accounts.marks[i] = ticks
    engine.state[i, STATE_MARK] = ticks
    reach = share(ticks, engine.accounts.contracts[i, CON_BAND])
    if reach > 0:
        engine.state[i, STATE_BAND_LOW], engine.state[i, STATE_BAND_HIGH] = ticks - reach, ticks + reach


@njit(cache=True, nogil=True)
def check_margins(engine: Any, i: int, time: int) -> None:
    """Liquidate every owner of a position in this contract whose equity is no more than its maintenance margin."""
    accounts = engine.accounts
    column = accounts.contracts[i, CON_MARGIN]
    if column < 0:
        return
    fund = len(accounts.balances) - 1
    for owner in range(1, fund):
        position = accounts.positions[owner, i]
        if position[POS_LOTS] == 0:
            continue
        if position[POS_MODE] == ISOLATED:
            needed = maintenance(accounts, i, abs(position_value(accounts, i, owner)))
            if position[POS_ISOLATED] + unrealized(accounts, i, owner) <= needed:
                _liquidate_isolated(engine, i, owner, time)
        elif equity(accounts, column, owner) <= maintenance_of(accounts, column, owner):
            _liquidate_cross(engine, column, owner, time)
    _work_off(engine, i, fund, time)


@njit(cache=True, nogil=True)
def _cancel_orders(engine: Any, i: int, owner: int, reason: int, time: int) -> None:
    """Cancel all orders of an owner (-1: of everybody) in a contract."""
    orders = engine.book.orders[i]
    for slot in range(len(orders)):
        if orders[slot, ORDER_ID] and (owner < 0 or orders[slot, ORDER_OWNER] == owner):
            end_order(engine, i, slot, EV_CANCELED, reason, time)


@njit(cache=True, nogil=True)
def bankruptcy_price(accounts: Any, i: int, owner: int, backing: int) -> int:
    """The worst whole tick at which closing the position leaves `backing` + lots × price − cost at zero or more.

    0 for a short that could not be closed at any positive price.
    """
    position = accounts.positions[owner, i]
    units = abs(position[POS_LOTS]) * accounts.scales[i, TICK_LOT_UNITS]
    if position[POS_LOTS] > 0:
        return max(1, -((backing - position[POS_COST]) // units))
    return max(0, (backing - position[POS_COST]) // units)


@njit(cache=True, nogil=True)
def _close(engine: Any, i: int, owner: int, backing: int, time: int) -> int:
    """Close a position in the book as far as its bankruptcy price allows; returns the quote units traded."""
    accounts, tape_rows = engine.accounts, engine.book.tape_rows
    lots = accounts.positions[owner, i, POS_LOTS]
    side, limit = SELL if lots > 0 else BUY, bankruptcy_price(accounts, i, owner, backing)
    order_id = engine.book.meta[i, NEXT_ORDER_ID]
    report(engine, EV_LIQUIDATED, i, order_id, owner, side, limit, abs(lots), time, BY_LIQUIDATION, -1)
    first = tape_rows[0]
    rates = accounts.fees.rates[owner, DERIVATIVES_MARKET]
    kept = rates[TAKER_RATE]
    rates[TAKER_RATE] = 0
    _, filled = force(engine, i, owner, side, limit, abs(lots), time)
    rates[TAKER_RATE] = kept
    if filled < abs(lots):
        left = abs(lots) - filled
        report(engine, EV_EXPIRED, i, order_id, owner, side, limit, left, time, BY_LIQUIDATION, -1)
    traded = 0
    for k in range(first, tape_rows[0]):
        traded += engine.book.tape[k, TAPE_PRICE] * engine.book.tape[k, TAPE_LOTS]
    return traded * int(accounts.scales[i, TICK_LOT_UNITS])


@njit(cache=True, nogil=True)
def _clear(engine: Any, i: int, owner: int, units: int, time: int) -> None:
    """Move units from the owner's wallet to the fund and say so."""
    if units <= 0:
        return
    accounts, column = engine.accounts, engine.accounts.contracts[i, CON_MARGIN]
    charge(accounts, i, owner, units)
    accounts.balances[-1, column, FREE] += units
    lots = accounts.positions[owner, i, POS_LOTS]
    report(engine, EV_CLEARED, i, 0, owner, 0, accounts.marks[i], lots, time, -units, -1)


@njit(cache=True, nogil=True)
def _take_over(engine: Any, i: int, owner: int, time: int) -> None:
    """Give a position with its isolated margin to the fund, at its cost."""
    accounts, column = engine.accounts, engine.accounts.contracts[i, CON_MARGIN]
    position = accounts.positions[owner, i]
    lots, cost, margin = position[POS_LOTS], position[POS_COST], position[POS_ISOLATED]
    position[POS_LOTS] = position[POS_COST] = position[POS_ISOLATED] = 0
    accounts.balances[owner, column, LOCKED] -= margin
    accounts.balances[-1, column, FREE] += margin
    apply(accounts, i, len(accounts.balances) - 1, lots, cost)
    if margin:
        report(engine, EV_CLEARED, i, 0, owner, 0, accounts.marks[i], 0, time, -margin, -1)


@njit(cache=True, nogil=True)
def _liquidate_isolated(engine: Any, i: int, owner: int, time: int) -> None:
    accounts, column = engine.accounts, engine.accounts.contracts[i, CON_MARGIN]
    _cancel_orders(engine, i, owner, BY_LIQUIDATION, time)
    before = accounts.balances[owner, column, FREE]
    traded = _close(engine, i, owner, accounts.positions[owner, i, POS_ISOLATED], time)
    saved = accounts.balances[owner, column, FREE] - before
    _clear(engine, i, owner, min(saved, share(traded, accounts.contracts[i, CON_LIQUIDATION_FEE])), time)
    if accounts.positions[owner, i, POS_LOTS]:
        _take_over(engine, i, owner, time)


@njit(cache=True, nogil=True)
def _largest(accounts: Any, column: int, owner: int) -> int:
    """The cross position with the largest requirement; -1: none is left."""
    found, most = -1, -1
    for i in range(len(accounts.contracts)):
        position = accounts.positions[owner, i]
        if accounts.contracts[i, CON_MARGIN] == column and position[POS_LOTS] and position[POS_MODE] == CROSS:
            needed = maintenance(accounts, i, abs(position_value(accounts, i, owner)))
            if needed > most:
                found, most = i, needed
    return found


@njit(cache=True, nogil=True)
def _liquidate_cross(engine: Any, column: int, owner: int, time: int) -> None:
    accounts = engine.accounts
    for i in range(len(accounts.contracts)):
        if accounts.contracts[i, CON_MARGIN] == column:
            _cancel_orders(engine, i, owner, BY_LIQUIDATION, time)
    i = _largest(accounts, column, owner)
    while i >= 0 and equity(accounts, column, owner) <= maintenance_of(accounts, column, owner):
        traded = _close(engine, i, owner, equity(accounts, column, owner) - unrealized(accounts, i, owner), time)
        if accounts.positions[owner, i, POS_LOTS]:
            _bankrupt(engine, column, owner, i, time)
            return
        fee = share(traded, accounts.contracts[i, CON_LIQUIDATION_FEE])
        _clear(engine, i, owner, min(fee, equity(accounts, column, owner)), time)
        i = _largest(accounts, column, owner)


@njit(cache=True, nogil=True)
def _bankrupt(engine: Any, column: int, owner: int, i: int, time: int) -> None:
    """All cross positions and the wallet behind them go to the fund."""
    accounts = engine.accounts
    for k in range(len(accounts.contracts)):
        position = accounts.positions[owner, k]
        if accounts.contracts[k, CON_MARGIN] == column and position[POS_LOTS] and position[POS_MODE] == CROSS:
            _take_over(engine, k, owner, time)
    _clear(engine, i, owner, int(accounts.balances[owner, column, FREE]), time)


@njit(cache=True, nogil=True)
def _work_off(engine: Any, i: int, fund: int, time: int) -> None:
    """Let the fund close what it took over, where the book takes it near the mark."""
    lots, mark = engine.accounts.positions[fund, i, POS_LOTS], engine.accounts.marks[i]
    if lots and mark > 0:
        reach = share(mark, FUND_REACH)
        force(engine, i, fund, SELL if lots > 0 else BUY, mark - reach if lots > 0 else mark + reach, abs(lots), time)


# -- funding and expiry -----------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def funding_payment(accounts: Any, i: int, owner: int, rate: int) -> int:
    """What the owner pays (negative: receives): position × mark × rate, rounded up to a unit."""
    value = -position_value(accounts, i, owner)
    return int(-(value // RATE * rate + value % RATE * rate // RATE))


@njit(cache=True, nogil=True)
def pay_funding(engine: Any, i: int, rate: int, time: int) -> int:
    """Let longs pay shorts `rate` (hundred-millionths; negative: the other way) of their position at the mark.

    Everybody's payment is rounded against him; the units left over go to the fund and are returned. Then margins are
    checked.
    """
    accounts, column = engine.accounts, engine.accounts.contracts[i, CON_MARGIN]
    total = 0
    for owner in range(1, len(accounts.balances)):
        position = accounts.positions[owner, i]
        if position[POS_LOTS] == 0:
            continue
        payment = funding_payment(accounts, i, owner, rate)
        total += payment
        position[POS_FUNDING] += payment
        _pay(accounts, i, owner, payment)
        report(engine, EV_FUNDING, i, 0, owner, 0, accounts.marks[i], position[POS_LOTS], time, -payment, -1)
    accounts.balances[-1, column, FREE] += total
    check_margins(engine, i, time)
    return total


@njit(cache=True, nogil=True)
def _pay(accounts: Any, i: int, owner: int, payment: int) -> None:
    """Charge funding: an isolated position's own margin pays and receives it, the wallet what it cannot pay."""
    position, column = accounts.positions[owner, i], accounts.contracts[i, CON_MARGIN]
    if position[POS_MODE] == ISOLATED:
        own = min(payment, position[POS_ISOLATED])
        position[POS_ISOLATED] -= own
        accounts.balances[owner, column, LOCKED] -= own
        payment -= own
    if payment:
        charge(accounts, i, owner, payment)


@njit(cache=True, nogil=True)
def settle_expiry(engine: Any, i: int, ticks: int, time: int) -> None:
    """Close a contract for good: cancel its orders, settle every position at `ticks`, refuse new orders.

    Who cannot bear the last move is liquidated first. Against Binance: it settles at the index itself and not at its
    half-hour average, and asks no delivery fee.
    """
    accounts, unit = engine.accounts, engine.accounts.scales[i, TICK_LOT_UNITS]
    set_mark(engine, i, ticks, time)
    _cancel_orders(engine, i, -1, BY_SETTLEMENT, time)
    for owner in range(1, len(accounts.balances)):
        lots = accounts.positions[owner, i, POS_LOTS]
        if lots:
            realized = apply(accounts, i, owner, -lots, -lots * ticks * unit)
            report(engine, EV_SETTLED, i, 0, owner, 0, ticks, lots, time, realized, -1)
    engine.state[i, STATE_HALTED] = 1


def totals(engine: Engine) -> list[int]:
    """Units per asset over all owners, the venue and the fund; nothing but deposits and transfers changes them."""
    accounts = engine.accounts
    sums = accounts.balances.sum(axis=(0, 2))
    for i in np.flatnonzero(accounts.contracts[:, 0] != SPOT):
        sums[accounts.contracts[i, CON_MARGIN]] -= accounts.positions[:, i, POS_COST].sum()
    return [int(units) for units in sums]
