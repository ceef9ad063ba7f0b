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

from market import engine as engines
from market.book import (
    BUY,
    NEXT_ORDER_ID,
    ORDER_ID,
    ORDER_OWNER,
    SELL,
    TAPE_INSTRUMENT,
    TAPE_LOTS,
    TAPE_PRICE,
    TAPE_TAKER_ORDER,
    Integers,
)
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
    MARK_PRICE,
    STATE_BAND_HIGH,
    STATE_BAND_LOW,
    STATE_HALTED,
    STATE_MARK,
    Engine,
    report,
)
from market.fees import DERIVATIVES_MARKET, TAKER_RATE, share
from market.kernel import kernel
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
from market.order_entry import end_order
from market.requests import force
from market.waiting_orders import react

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


def set_halted(engine: Engine, i: int, halted: bool) -> None:
    """Refuse new orders of a contract, or take them again; cancels always work."""
    engine.state[i, STATE_HALTED] = 1 if halted else 0


def set_marks(engine: Engine, ticks: Integers, time: int) -> None:
    """Set the mark prices of all contracts ([contracts] ticks, 0 leaves one as it is) and the bands around them.

    Orders that wait for a mark fire; then who is no longer covered is liquidated.
    """
    _act(engine, ticks, -1, 0, -1, time)


def set_mark(engine: Engine, i: int, ticks: int, time: int) -> None:
    """`set_marks` for one contract."""
    _act(engine, _only(engine, i, ticks), -1, 0, -1, time)


def pay_funding(engine: Engine, i: int, rate: int, time: int) -> int:
    """Let longs pay shorts `rate` (hundred-millionths; negative: the other way) of their position at the mark.

    Everybody's payment is rounded against him; the units left over go to the fund and are returned. Then margins are
    checked.
    """
    return int(_act(engine, _only(engine, i, 0), i, rate, -1, time))


def settle_expiry(engine: Engine, i: int, ticks: int, time: int) -> None:
    """Close a contract for good: cancel its orders, settle every position at `ticks`, refuse new orders.

    Who cannot bear the last move is liquidated first. Against Binance: it settles at the index itself and not at its
    half-hour average, and asks no delivery fee.
    """
    _act(engine, _only(engine, i, ticks), -1, 0, i, time)


def _only(engine: Engine, i: int, ticks: int) -> Integers:
    marks = np.zeros(len(engine.state), np.int64)
    marks[i] = ticks
    return marks


@kernel
def _act(engine: Any, marks: Any, funded: int, rate: int, settled: int, time: int) -> int:
    """Everything above in one kernel, because each kernel that can trade costs seconds to compile; returns rounding."""
    accounts, fund, rounding = engine.accounts, len(engine.accounts.balances) - 1, 0
    for i in range(len(marks)):
        if marks[i] > 0:
            _mark(engine, i, marks[i])
    if funded >= 0:
        rounding = _collect_funding(engine, funded, rate, time)
    for i in range(len(marks)):
        if marks[i] > 0:
            react(engine, i, MARK_PRICE, time)
        if (marks[i] > 0 or i == funded) and accounts.contracts[i, CON_MARGIN] >= 0:
            for owner in range(1, fund):
                if _is_due(accounts, i, owner):
                    _liquidate(engine, i, owner, time)
            side, price, lots = _to_work_off(accounts, i, fund)
            if lots > 0:
                force(engine, i, fund, side, price, lots, time)
    if settled >= 0:
        _settle(engine, settled, marks[settled], time)
    return rounding


@kernel
def _mark(engine: Any, i: int, ticks: int) -> None:
    engine.accounts.marks[i] = ticks
    engine.state[i, STATE_MARK] = ticks
    reach = share(ticks, engine.accounts.contracts[i, CON_BAND])
    if reach > 0:
        engine.state[i, STATE_BAND_LOW], engine.state[i, STATE_BAND_HIGH] = ticks - reach, ticks + reach


# -- liquidation ------------------------------------------------------------------------------------------------------


@kernel
def _is_due(accounts: Any, i: int, owner: int) -> bool:
    """Whether the equity behind an owner's position is no more than its maintenance margin."""
    position, column = accounts.positions[owner, i], accounts.contracts[i, CON_MARGIN]
    if position[POS_LOTS] == 0:
        return False
    if position[POS_MODE] == ISOLATED:
        needed = maintenance(accounts, i, abs(position_value(accounts, i, owner)))
        return bool(position[POS_ISOLATED] + unrealized(accounts, i, owner) <= needed)
    return bool(equity(accounts, column, owner) <= maintenance_of(accounts, column, owner))


@kernel
def _to_work_off(accounts: Any, i: int, fund: int) -> tuple[int, int, int]:
    """Side, price and lots of the order with which the fund closes what it took over; no lots: nothing to do."""
    lots, mark = accounts.positions[fund, i, POS_LOTS], accounts.marks[i]
    reach = share(mark, FUND_REACH)
    side, price = (SELL, mark - reach) if lots > 0 else (BUY, mark + reach)
    return side, price, abs(lots) if mark > 0 else 0


@kernel
def _liquidate(engine: Any, i: int, owner: int, time: int) -> None:
    """Cancel the orders, then close position after position in the book, as far as bankruptcy prices allow.

    The order trades without a taker's fee: the liquidation fee stands for it.
    """
    accounts = engine.accounts
    k = _first_to_close(engine, i, owner, time)
    rates = accounts.fees.rates[owner, DERIVATIVES_MARKET]
    wallet = accounts.balances[owner, accounts.contracts[i, CON_MARGIN]]
    while k >= 0:
        lots = accounts.positions[owner, k, POS_LOTS]
        side, limit = SELL if lots > 0 else BUY, bankruptcy_price(accounts, k, owner, _backing(accounts, k, owner))
        order_id = engine.book.meta[k, NEXT_ORDER_ID]
        report(engine, EV_LIQUIDATED, k, order_id, owner, side, limit, abs(lots), time, BY_LIQUIDATION, -1)
        first, before, rate = engine.book.tape_rows[0], wallet[FREE], rates[TAKER_RATE]
        rates[TAKER_RATE] = 0
        _, filled = force(engine, k, owner, side, limit, abs(lots), time)
        rates[TAKER_RATE] = rate
        if filled < abs(lots):
            left = abs(lots) - filled
            report(engine, EV_EXPIRED, k, order_id, owner, side, limit, left, time, BY_LIQUIDATION, -1)
        k = _share_out(engine, k, owner, order_id, first, wallet[FREE] - before, time)


@kernel
def _first_to_close(engine: Any, i: int, owner: int, time: int) -> int:
    """Cancel the orders that share the margin of a position; returns which position to close first."""
    accounts, column = engine.accounts, engine.accounts.contracts[i, CON_MARGIN]
    if accounts.positions[owner, i, POS_MODE] == ISOLATED:
        _cancel_orders(engine, i, owner, BY_LIQUIDATION, time)
        return i
    for k in range(len(accounts.contracts)):
        if accounts.contracts[k, CON_MARGIN] == column:
            _cancel_orders(engine, k, owner, BY_LIQUIDATION, time)
    return int(_largest(accounts, column, owner))


@kernel
def _backing(accounts: Any, i: int, owner: int) -> int:
    """What stands behind a position beside its own profit: its isolated margin, or the rest of the cross equity."""
    if accounts.positions[owner, i, POS_MODE] == ISOLATED:
        return int(accounts.positions[owner, i, POS_ISOLATED])
    return int(equity(accounts, accounts.contracts[i, CON_MARGIN], owner) - unrealized(accounts, i, owner))


@kernel
def _share_out(engine: Any, i: int, owner: int, order_id: int, first: int, saved: int, time: int) -> int:
    """After a liquidation order traded rows of the tape from `first` on: its fee, or all that is left, to the fund.

    `saved` is what an isolated position gave back to the wallet. Returns the position to close next, -1: it is over.
    """
    accounts, column, traded = engine.accounts, engine.accounts.contracts[i, CON_MARGIN], 0
    for k in range(first, engine.book.tape_rows[0]):
        row = engine.book.tape[k]
        if row[TAPE_INSTRUMENT] == i and row[TAPE_TAKER_ORDER] == order_id:
            traded += row[TAPE_PRICE] * row[TAPE_LOTS]
    fee = share(traded * accounts.scales[i, TICK_LOT_UNITS], accounts.contracts[i, CON_LIQUIDATION_FEE])
    left = accounts.positions[owner, i, POS_LOTS] != 0
    if accounts.positions[owner, i, POS_MODE] == ISOLATED:
        _clear(engine, i, owner, min(saved, fee), time)
        if left:
            _take_over(engine, i, owner, time)
        return -1
    if left:
        _bankrupt(engine, column, owner, i, time)
        return -1
    _clear(engine, i, owner, min(fee, equity(accounts, column, owner)), time)
    covered = equity(accounts, column, owner) > maintenance_of(accounts, column, owner)
    return -1 if covered else int(_largest(accounts, column, owner))


@kernel
def _cancel_orders(engine: Any, i: int, owner: int, reason: int, time: int) -> None:
    """Cancel all orders of an owner (-1: of everybody) in a contract."""
    orders = engine.book.orders[i]
    for slot in range(len(orders)):
        if orders[slot, ORDER_ID] and (owner < 0 or orders[slot, ORDER_OWNER] == owner):
            end_order(engine, i, slot, EV_CANCELED, reason, time)


@kernel
def bankruptcy_price(accounts: Any, i: int, owner: int, backing: int) -> int:
    """The worst whole tick at which closing the position leaves `backing` + lots × price − cost at zero or more.

    0 for a short that could not be closed at any positive price.
    """
    position = accounts.positions[owner, i]
    units = abs(position[POS_LOTS]) * accounts.scales[i, TICK_LOT_UNITS]
    if position[POS_LOTS] > 0:
        return max(1, -((backing - position[POS_COST]) // units))
    return max(0, (backing - position[POS_COST]) // units)


@kernel
def _clear(engine: Any, i: int, owner: int, units: int, time: int) -> None:
    """Move units from the owner's wallet to the fund and say so."""
    if units <= 0:
        return
    accounts, column = engine.accounts, engine.accounts.contracts[i, CON_MARGIN]
    charge(accounts, i, owner, units)
    accounts.balances[-1, column, FREE] += units
    lots = accounts.positions[owner, i, POS_LOTS]
    report(engine, EV_CLEARED, i, 0, owner, 0, accounts.marks[i], lots, time, -units, -1)


@kernel
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


@kernel
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


@kernel
def _bankrupt(engine: Any, column: int, owner: int, i: int, time: int) -> None:
    """All cross positions and the wallet behind them go to the fund."""
    accounts = engine.accounts
    for k in range(len(accounts.contracts)):
        position = accounts.positions[owner, k]
        if accounts.contracts[k, CON_MARGIN] == column and position[POS_LOTS] and position[POS_MODE] == CROSS:
            _take_over(engine, k, owner, time)
    _clear(engine, i, owner, int(accounts.balances[owner, column, FREE]), time)


# -- funding and expiry -----------------------------------------------------------------------------------------------


@kernel
def funding_payment(accounts: Any, i: int, owner: int, rate: int) -> int:
    """What the owner pays (negative: receives): position × mark × rate, rounded up to a unit."""
    value = -position_value(accounts, i, owner)
    return int(-(value // RATE * rate + value % RATE * rate // RATE))


@kernel
def _collect_funding(engine: Any, i: int, rate: int, time: int) -> int:
    """Charge and pay everybody's funding; returns the units left over, which the fund got."""
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
    return total


@kernel
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


@kernel
def _settle(engine: Any, i: int, ticks: int, time: int) -> None:
    accounts, unit = engine.accounts, engine.accounts.scales[i, TICK_LOT_UNITS]
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
