"""The money of derivatives: positions, margins, charges; compiled, in integers, exact to the unit.

A position is signed lots and their cost, the quote units paid for them (negative for a short). Closing a part releases
that part of the cost, and the difference to the price is realised into the wallet. A wallet is a column of the
balances: FREE backs all cross positions together, LOCKED is the sum of the isolated margins. So

    equity = wallet + Σ (lots × mark − cost)      and      Σ over owners of (balances − costs) never changes.

No wallet falls below zero: what it cannot pay is added to the cost of a position that it backs (equity is the same),
and where no position is left the insurance fund pays. The fund is the last owner; it alone may owe.

Requirements are rounded up, so nobody gains by splitting an order. Formulas: Binance's USDⓈ-M futures rules (initial
margin of open orders as the worse of both sides; maintenance by notional tier).
"""

from typing import Any

from market.book import BUY
from market.contracts import (
    CON_MARGIN,
    CON_MOST_LEVERAGE,
    FREE,
    LOCKED,
    RATE_SCALE,
    TICK_LOT_UNITS,
    TIER_AMOUNT,
    TIER_FLOOR,
    TIER_LEVERAGE,
    TIER_RATE,
)
from market.fees import DERIVATIVES_MARKET, TAKER_RATE, note_volume, share
from market.kernel import kernel

CROSS, ISOLATED = 0, 1
FUND = -1
"""Index of the insurance fund among the owners: the last row."""
DEFAULT_LEVERAGE = 20
# Columns of Accounts.positions.
# Signed lots and cost, isolated margin, mode, leverage; lots and quote units of the resting orders of each side;
# running totals of what was realised and of the funding paid.
(
    POS_LOTS, POS_COST, POS_ISOLATED, POS_MODE, POS_LEVERAGE, POS_BUY_LOTS, POS_BUY_UNITS, POS_SELL_LOTS,
    POS_SELL_UNITS, POS_REALIZED, POS_FUNDING, POS_FIELDS,
) = range(12)  # fmt: skip

MARGIN_SHORT, LEVERAGE_TOO_HIGH, POSITION_OPEN = -1, -7, -9
"""Why a change of leverage, mode or isolated margin was refused; 0 is done."""


@kernel
def proportion(units: int, part: int, whole: int) -> int:
    """Floor of units × part ÷ whole for 0 ≤ part ≤ whole, exact where the product has more than 64 bits."""
    quotient, rest = units // whole, units % whole
    if part == 0 or rest <= 2**62 // part:
        return int(quotient * part + rest * part // whole)
    carried, remainder = 0, 0  # long multiplication, bit by bit, keeping remainder < whole
    for bit in range(62, -1, -1):
        carried, remainder = carried * 2, remainder * 2
        if (part >> bit) & 1:
            remainder += rest
        while remainder >= whole:
            carried, remainder = carried + 1, remainder - whole
    return int(quotient * part + carried)


# -- what is held and what is required --------------------------------------------------------------------------------


@kernel
def position_value(accounts: Any, i: int, owner: int) -> int:
    """Signed quote units of the position at the mark price; its cost while there is no mark."""
    position = accounts.positions[owner, i]
    if accounts.marks[i] <= 0:
        return int(position[POS_COST])
    return int(position[POS_LOTS] * accounts.marks[i] * accounts.scales[i, TICK_LOT_UNITS])


@kernel
def unrealized(accounts: Any, i: int, owner: int) -> int:
    """Profit of the position at the mark price, in quote units."""
    return position_value(accounts, i, owner) - int(accounts.positions[owner, i, POS_COST])


@kernel
def _tier(accounts: Any, i: int, notional: int) -> int:
    tier = 0
    while tier + 1 < accounts.tiers.shape[1] and accounts.tiers[i, tier + 1, TIER_FLOOR] < notional:
        tier += 1
    return tier


@kernel
def maintenance(accounts: Any, i: int, notional: int) -> int:
    """Maintenance margin of so many units of position: notional × rate − amount of its tier, rounded up."""
    row = accounts.tiers[i, _tier(accounts, i, notional)]
    return max(0, -share(-notional, row[TIER_RATE]) - int(row[TIER_AMOUNT]))


@kernel
def _exposure(accounts: Any, i: int, owner: int, buys: int, sells: int) -> int:
    """The larger of what the position would be worth if all buys, or all sells, were filled."""
    value = position_value(accounts, i, owner)
    return max(abs(value + buys), abs(value - sells))


@kernel
def _required(accounts: Any, i: int, owner: int, buys: int, sells: int) -> int:
    """Units that position and open orders keep from the cross wallet; an isolated position pays its own share."""
    position = accounts.positions[owner, i]
    exposure = _exposure(accounts, i, owner, buys, sells)
    if position[POS_MODE] == ISOLATED:
        exposure -= abs(position_value(accounts, i, owner))
    return int(-(-max(0, exposure) // max(1, position[POS_LEVERAGE])))


@kernel
def initial_margin(accounts: Any, i: int, owner: int) -> int:
    """Initial margin of the position alone: its value at the mark ÷ leverage."""
    value = abs(position_value(accounts, i, owner))
    return int(-(-value // max(1, accounts.positions[owner, i, POS_LEVERAGE])))


@kernel
def order_margin(accounts: Any, i: int, owner: int) -> int:
    """What the open orders of a contract require beyond the position."""
    position = accounts.positions[owner, i]
    needed = _required(accounts, i, owner, position[POS_BUY_UNITS], position[POS_SELL_UNITS])
    return needed if position[POS_MODE] == ISOLATED else needed - initial_margin(accounts, i, owner)


@kernel
def equity(accounts: Any, column: int, owner: int) -> int:
    """Cross wallet and the unrealised profit of the cross positions it backs."""
    total = accounts.balances[owner, column, FREE]
    for i in range(len(accounts.contracts)):
        position = accounts.positions[owner, i]
        if accounts.contracts[i, CON_MARGIN] == column and position[POS_LOTS] and position[POS_MODE] == CROSS:
            total += unrealized(accounts, i, owner)
    return int(total)


@kernel
def maintenance_of(accounts: Any, column: int, owner: int) -> int:
    """Maintenance margin of all cross positions of a wallet."""
    total = 0
    for i in range(len(accounts.contracts)):
        position = accounts.positions[owner, i]
        if accounts.contracts[i, CON_MARGIN] == column and position[POS_LOTS] and position[POS_MODE] == CROSS:
            total += maintenance(accounts, i, abs(position_value(accounts, i, owner)))
    return total


@kernel
def available(accounts: Any, column: int, owner: int) -> int:
    """What new orders may use: equity less all initial margins; below zero when losses ate into them."""
    total = equity(accounts, column, owner)
    for i in range(len(accounts.contracts)):
        position = accounts.positions[owner, i]
        used = position[POS_LOTS] != 0 or position[POS_BUY_LOTS] != 0 or position[POS_SELL_LOTS] != 0
        if used and accounts.contracts[i, CON_MARGIN] == column:
            total -= _required(accounts, i, owner, position[POS_BUY_UNITS], position[POS_SELL_UNITS])
    return total


@kernel
def withdrawable(accounts: Any, column: int, owner: int) -> int:
    """What may leave the wallet: unrealised profit neither leaves nor stands in for margin that does."""
    wallet = int(accounts.balances[owner, column, FREE])
    profit = equity(accounts, column, owner) - wallet
    return max(0, min(wallet, available(accounts, column, owner) - max(0, profit)))


# -- what an order may do ---------------------------------------------------------------------------------------------


@kernel
def affords(accounts: Any, i: int, owner: int, side: int, lots: int, cost: int) -> bool:
    """Whether there is margin for an order of `lots` that costs `cost` units: extra margin, fee and loss at the mark.

    An order that asks for no more margin than before, one that closes, is always allowed.
    """
    position = accounts.positions[owner, i]
    buys, sells = position[POS_BUY_UNITS], position[POS_SELL_UNITS]
    before = _required(accounts, i, owner, buys, sells)
    after = _required(accounts, i, owner, buys + (cost if side == BUY else 0), sells + (0 if side == BUY else cost))
    if after <= before:
        return True
    loss = 0
    if accounts.marks[i] > 0:
        worth = lots * accounts.marks[i] * accounts.scales[i, TICK_LOT_UNITS]
        loss = max(0, cost - worth if side == BUY else worth - cost)
    fee = share(cost, accounts.fees.rates[owner, DERIVATIVES_MARKET, TAKER_RATE])
    return available(accounts, accounts.contracts[i, CON_MARGIN], owner) >= after - before + loss + fee


@kernel
def within_leverage(accounts: Any, i: int, owner: int, side: int, cost: int) -> bool:
    """Whether the tiers allow the owner's leverage on what position and orders would become; closing always may."""
    position = accounts.positions[owner, i]
    buys, sells = position[POS_BUY_UNITS], position[POS_SELL_UNITS]
    before = _exposure(accounts, i, owner, buys, sells)
    after = _exposure(accounts, i, owner, buys + (cost if side == BUY else 0), sells + (0 if side == BUY else cost))
    allowed = accounts.tiers[i, _tier(accounts, i, after), TIER_LEVERAGE]
    return bool(after <= before or position[POS_LEVERAGE] <= allowed)


@kernel
def rest(accounts: Any, i: int, owner: int, side: int, price: int, lots: int) -> None:
    """Count lots that begin to rest (or, negative, that left the book) towards the owner's order margin."""
    position = accounts.positions[owner, i]
    units = price * lots * accounts.scales[i, TICK_LOT_UNITS]
    position[POS_BUY_LOTS if side == BUY else POS_SELL_LOTS] += lots
    position[POS_BUY_UNITS if side == BUY else POS_SELL_UNITS] += units


# -- what moves -------------------------------------------------------------------------------------------------------


@kernel
def _bear(accounts: Any, i: int, owner: int, debt: int) -> None:
    """Put a debt that the wallet could not pay on a position of the same margin, else on the fund."""
    column = accounts.contracts[i, CON_MARGIN]
    own = accounts.positions[owner, i]
    if own[POS_LOTS]:
        own[POS_COST] += debt
        return
    for k in range(len(accounts.contracts)):
        other = accounts.positions[owner, k]
        if accounts.contracts[k, CON_MARGIN] == column and other[POS_LOTS] and other[POS_MODE] == CROSS:
            other[POS_COST] += debt
            return
    accounts.balances[FUND, column, FREE] -= debt


@kernel
def _from_isolated(accounts: Any, i: int, owner: int, amount: int) -> int:
    """Take up to `amount` units out of an isolated margin; returns how much."""
    position, column = accounts.positions[owner, i], accounts.contracts[i, CON_MARGIN]
    taken = min(position[POS_ISOLATED], amount)
    position[POS_ISOLATED] -= taken
    accounts.balances[owner, column, LOCKED] -= taken
    return int(taken)


@kernel
def charge(accounts: Any, i: int, owner: int, amount: int) -> None:
    """Take units (negative: give) on account of a contract: from the wallet, its isolated margin, a position."""
    column = accounts.contracts[i, CON_MARGIN]
    wallet = accounts.balances[owner, column]
    wallet[FREE] -= amount
    if wallet[FREE] < 0 and owner != len(accounts.balances) - 1:
        debt = -wallet[FREE]
        wallet[FREE] = 0
        debt -= _from_isolated(accounts, i, owner, debt)
        if debt:
            _bear(accounts, i, owner, debt)


@kernel
def apply(accounts: Any, i: int, owner: int, lots: int, units: int) -> int:
    """Add signed lots that cost signed units to a position; realise what they close. Returns the realised units."""
    position = accounts.positions[owner, i]
    held = position[POS_LOTS]
    closed = min(abs(lots), abs(held)) if held * lots < 0 else 0
    closing = units if closed == abs(lots) else proportion(units, closed, abs(lots))
    realized = 0
    if closed:
        released = position[POS_COST] if closed == abs(held) else proportion(position[POS_COST], closed, abs(held))
        realized = -closing - released
        freed = _from_isolated(accounts, i, owner, proportion(position[POS_ISOLATED], closed, abs(held)))
        accounts.balances[owner, accounts.contracts[i, CON_MARGIN], FREE] += freed
        position[POS_COST] -= released
        position[POS_LOTS] += closed if lots > 0 else -closed
        position[POS_REALIZED] += realized
        charge(accounts, i, owner, -realized)
    opened = abs(lots) - closed
    if opened:
        position[POS_LOTS] += opened if lots > 0 else -opened
        position[POS_COST] += units - closing
        if position[POS_MODE] == ISOLATED:
            _set_aside(accounts, i, owner, -(-abs(units - closing) // position[POS_LEVERAGE]))
    return int(realized)


@kernel
def _set_aside(accounts: Any, i: int, owner: int, units: int) -> None:
    """Move units, or what there is, from the wallet into the isolated margin of a position."""
    wallet = accounts.balances[owner, accounts.contracts[i, CON_MARGIN]]
    moved = min(units, wallet[FREE])
    wallet[FREE] -= moved
    wallet[LOCKED] += moved
    accounts.positions[owner, i, POS_ISOLATED] += moved


@kernel
def fill(accounts: Any, i: int, owner: int, lots: int, price: int, role: int) -> tuple[int, int]:
    """One side of a trade of signed lots: the position moves, the venue (owner 0) gets the fee.

    `role` is MAKER_RATE or TAKER_RATE. Returns the fee and the realised units.
    """
    units = price * abs(lots) * accounts.scales[i, TICK_LOT_UNITS]
    realized = apply(accounts, i, owner, lots, units if lots > 0 else -units)
    fee = share(units, accounts.fees.rates[owner, DERIVATIVES_MARKET, role])
    if fee:
        charge(accounts, i, owner, fee)
        accounts.balances[0, accounts.contracts[i, CON_MARGIN], FREE] += fee
    note_volume(accounts.fees, owner, DERIVATIVES_MARKET, units)
    return fee, realized


# -- what the owner may change ----------------------------------------------------------------------------------------


@kernel
def set_leverage(accounts: Any, i: int, owner: int, leverage: int) -> int:
    """Change the leverage of a contract; refused beyond the tier, without margin, or lower on an isolated position."""
    position = accounts.positions[owner, i]
    exposure = _exposure(accounts, i, owner, position[POS_BUY_UNITS], position[POS_SELL_UNITS])
    most = min(accounts.contracts[i, CON_MOST_LEVERAGE], accounts.tiers[i, _tier(accounts, i, exposure), TIER_LEVERAGE])
    before = position[POS_LEVERAGE]
    if not 1 <= leverage <= most:
        return LEVERAGE_TOO_HIGH
    if leverage < before and position[POS_MODE] == ISOLATED and position[POS_LOTS]:
        return POSITION_OPEN
    position[POS_LEVERAGE] = leverage
    if leverage < before and available(accounts, accounts.contracts[i, CON_MARGIN], owner) < 0:
        position[POS_LEVERAGE] = before
        return MARGIN_SHORT
    return 0


@kernel
def set_margin_mode(accounts: Any, i: int, owner: int, mode: int) -> int:
    """Cross or isolated; refused while the contract has a position or open orders."""
    position = accounts.positions[owner, i]
    if position[POS_MODE] != mode and (position[POS_LOTS] or position[POS_BUY_LOTS] or position[POS_SELL_LOTS]):
        return POSITION_OPEN
    position[POS_MODE] = mode
    return 0


@kernel
def move_isolated(accounts: Any, i: int, owner: int, units: int) -> int:
    """Add margin to an isolated position, or (negative) take some out down to its initial margin at the mark."""
    position, column = accounts.positions[owner, i], accounts.contracts[i, CON_MARGIN]
    if position[POS_MODE] != ISOLATED or position[POS_LOTS] == 0:
        return POSITION_OPEN
    spare = position[POS_ISOLATED] + min(0, unrealized(accounts, i, owner)) - initial_margin(accounts, i, owner)
    addable = max(0, min(accounts.balances[owner, column, FREE], available(accounts, column, owner)))
    if units > addable or -units > max(0, spare):
        return MARGIN_SHORT
    position[POS_ISOLATED] += units
    accounts.balances[owner, column, LOCKED] += units
    accounts.balances[owner, column, FREE] -= units
    return 0


@kernel
def transfer(accounts: Any, owner: int, source: int, target: int, units: int) -> bool:
    """Move units between two wallets of an owner, both of the same asset; False, and nothing, where margin needs them.

    `source` and `target` are columns of the balances, say of "USDT" and "USDT:margin".
    """
    if units < 0 or units > withdrawable(accounts, source, owner):
        return False
    accounts.balances[owner, source, FREE] -= units
    accounts.balances[owner, target, FREE] += units
    return True


@kernel
def liquidation_price(accounts: Any, i: int, owner: int) -> int:
    """Mark in ticks at which the position is liquidated, all other marks as they are; 0 if at no positive price.

    Solves wallet + lots × price − cost = |lots| × price × rate − amount, in the tier of today's notional.
    """
    position, column = accounts.positions[owner, i], accounts.contracts[i, CON_MARGIN]
    if position[POS_LOTS] == 0:
        return 0
    value = abs(position_value(accounts, i, owner))
    backing = position[POS_ISOLATED]
    if position[POS_MODE] == CROSS:
        others = maintenance_of(accounts, column, owner) - maintenance(accounts, i, value)
        backing = equity(accounts, column, owner) - unrealized(accounts, i, owner) - others
    row = accounts.tiers[i, _tier(accounts, i, value)]
    lot_units = position[POS_LOTS] * accounts.scales[i, TICK_LOT_UNITS]
    slope = lot_units - abs(lot_units) * (row[TIER_RATE] / RATE_SCALE)
    return max(0, round((position[POS_COST] - backing - row[TIER_AMOUNT]) / slope))
