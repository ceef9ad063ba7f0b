"""Money: who holds how much, what an order locks, what a trade moves, who pays which fee; in units of 1e-8, exactly.

Owner 0 is the venue itself: it collects the fees, so that per asset the sum over all owners never changes. The last
owner is the insurance fund of the derivatives. Of spot, an order that rests has its funds locked at its own price, so
its trades can always be paid; a taker pays out of what is free, after a check. Of derivatives nothing is locked: an
order counts towards its owner's margin (`market.margin`). Compiled code; `market.order_entry` calls it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from market import margin
from market.book import BUY, NO_PRICE, Integers, to_the_end
from market.contracts import (
    BASE,
    CON_KIND,
    CON_MOST_LEVERAGE,
    FREE,
    LOCKED,
    LOT_UNITS,
    QUOTE,
    SCALE_FIELDS,
    SPOT,
    TICK_LOT_UNITS,
    Contract,
    asset_names,
    contract_table,
    scales_of,
    tier_table,
)
from market.contracts import RATE_SCALE as FEE_SCALE
from market.fees import (
    COIN_ASSET,
    COIN_CONTRACT,
    MAKER_RATE,
    SPOT_MARKET,
    TAKER_RATE,
    Fees,
    coin_fee,
    new_fees,
    note_volume,
    share,
)
from market.kernel import inlined, kernel
from market.margin import DEFAULT_LEVERAGE, FUND, POS_FIELDS, POS_LEVERAGE, POS_LOTS

__all__ = [
    "BASE", "FEE_SCALE", "FREE", "FUND", "LOCKED", "LOT_UNITS", "POS_LOTS", "QUOTE", "SCALE_FIELDS", "TICK_LOT_UNITS",
    "VENUE", "Accounts", "affords", "closable", "lock", "new_accounts", "settle", "spendable",
    "unlock", "within_leverage",
]  # fmt: skip

VENUE = 0
FEE_COIN = "BNB"
"""The coin that pays spot fees at a discount, where the venue trades it; Binance's."""


class Accounts(NamedTuple):
    """All state of money."""

    scales: Integers
    """[instruments, SCALE_FIELDS] of `market.contracts`."""
    contracts: Integers
    """[instruments, CON_FIELDS] of `market.contracts`."""
    tiers: Integers
    """[instruments, tiers, TIER_FIELDS] of `market.contracts`."""
    balances: Integers
    """[owners, assets, 2]: free and locked, in units; of a margin wallet see `market.margin`."""
    positions: Integers
    """[owners, instruments, POS_FIELDS] of `market.margin`; zero for spot."""
    marks: Integers
    """[instruments]: mark price in ticks; 0 before the first."""
    last: Integers
    """[instruments]: price of the last trade in ticks; 0 before the first."""
    fees: Fees


def new_accounts(contracts: Sequence[Contract], owners: int) -> Accounts:
    """Zero balances, no fees, no positions; one row more than `owners`, for the insurance fund."""
    assets, table = asset_names(contracts), contract_table(contracts)
    positions = np.zeros((owners + 1, len(contracts), POS_FIELDS), np.int64)
    positions[:, :, POS_LEVERAGE] = np.minimum(DEFAULT_LEVERAGE, table[:, CON_MOST_LEVERAGE])
    coins = [i for i, contract in enumerate(contracts) if contract.kind == SPOT and contract.base_asset == FEE_COIN]
    coin = (assets.index(FEE_COIN), coins[0], 250_000) if coins else (-1, -1, 0)
    return Accounts(
        scales=scales_of(contracts),
        contracts=table,
        tiers=tier_table(contracts),
        balances=np.zeros((owners + 1, len(assets), 2), np.int64),
        positions=positions,
        marks=np.zeros(len(contracts), np.int64),
        last=np.zeros(len(contracts), np.int64),
        fees=new_fees(owners + 1, coin=coin),
    )


@inlined
def affords(accounts: Any, i: int, owner: int, side: int, lots: int, cost: int, reduces: bool) -> bool:
    """Whether the owner can pay for so many lots that cost `cost` ticks × lots in all, or has the margin for them."""
    fits = True
    units = cost * accounts.scales[i, TICK_LOT_UNITS]
    if accounts.contracts[i, CON_KIND] == SPOT:
        asset = accounts.scales[i, QUOTE if side == BUY else BASE]
        needed = units if side == BUY else lots * accounts.scales[i, LOT_UNITS]
        fits = accounts.balances[owner, asset, FREE] >= needed
    elif not reduces:
        fits = margin.affords(accounts, i, owner, side, lots, units)
    return fits and to_the_end(accounts) == 0


@inlined
def within_leverage(accounts: Any, i: int, owner: int, side: int, cost: int, reduces: bool) -> bool:
    """Whether the owner's leverage is allowed on what an order of `cost` ticks × lots would make of its position."""
    fits = True
    if accounts.contracts[i, CON_KIND] != SPOT and not reduces:
        fits = margin.within_leverage(accounts, i, owner, side, cost * accounts.scales[i, TICK_LOT_UNITS])
    return fits and to_the_end(accounts) == 0


@inlined
def spendable(accounts: Any, i: int, owner: int) -> int:
    """The most ticks × lots that the owner can pay a seller now; without limit where margin was checked before."""
    most = NO_PRICE
    if accounts.contracts[i, CON_KIND] == SPOT:
        most = accounts.balances[owner, accounts.scales[i, QUOTE], FREE] // accounts.scales[i, TICK_LOT_UNITS]
    return most + to_the_end(accounts)


@inlined
def lock(accounts: Any, i: int, owner: int, side: int, price: int, lots: int, reduces: bool) -> int:
    """Set aside what an order takes that begins to rest; `affords` said yes. Returns 0."""
    if accounts.contracts[i, CON_KIND] == SPOT:
        asset = accounts.scales[i, QUOTE if side == BUY else BASE]
        units = lots * (price * accounts.scales[i, TICK_LOT_UNITS] if side == BUY else accounts.scales[i, LOT_UNITS])
        accounts.balances[owner, asset, FREE] -= units
        accounts.balances[owner, asset, LOCKED] += units
    elif not reduces:
        margin.rest(accounts, i, owner, side, price, lots)
    return to_the_end(accounts)


@inlined
def unlock(accounts: Any, i: int, owner: int, side: int, price: int, lots: int, reduces: bool) -> int:
    """Give back what `lock` set aside for so many lots. Returns 0."""
    return lock(accounts, i, owner, side, price, -lots, reduces) + to_the_end(accounts)


@inlined
def settle(
    accounts: Any, i: int, maker: int, taker: int, maker_buys: bool, price: int, lots: int, maker_reduces: bool
) -> tuple[int, int, int, int, int, int]:
    """Move what a trade moves: the maker pays from what it locked, the taker from what is free.

    Returns the maker's and the taker's fee in units, the asset columns they were paid in, and the profits they
    realized.
    """
    accounts.last[i] = price
    if accounts.contracts[i, CON_KIND] == SPOT:
        money = _settle_spot(accounts, i, maker, taker, maker_buys, price, lots)
    else:
        money = _settle_derivative(accounts, i, maker, taker, maker_buys, price, lots, maker_reduces)
    return money[0], money[1], money[2], money[3], money[4], money[5] + to_the_end(accounts)


@inlined
def _settle_spot(
    accounts: Any, i: int, maker: int, taker: int, maker_buys: bool, price: int, lots: int
) -> tuple[int, int, int, int, int, int]:
    base, quote = accounts.scales[i, BASE], accounts.scales[i, QUOTE]
    paid, moved = price * lots * accounts.scales[i, TICK_LOT_UNITS], lots * accounts.scales[i, LOT_UNITS]
    gives, gets = (quote, base) if maker_buys else (base, quote)
    given, got = (paid, moved) if maker_buys else (moved, paid)
    accounts.balances[maker, gives, LOCKED] -= given
    accounts.balances[maker, gets, FREE] += got
    accounts.balances[taker, gets, FREE] -= got
    accounts.balances[taker, gives, FREE] += given
    maker_fee, maker_asset = _spot_fee(accounts, i, maker, MAKER_RATE, gets, got, paid)
    taker_fee, taker_asset = _spot_fee(accounts, i, taker, TAKER_RATE, gives, given, paid)
    return maker_fee, taker_fee, maker_asset, taker_asset, 0, to_the_end(accounts)


@inlined
def _spot_fee(accounts: Any, i: int, owner: int, role: int, received: int, units: int, paid: int) -> tuple[int, int]:
    """Charge one side of a spot trade: in the coin where that is wished and possible, else out of what it received.

    Returns the fee in units and the asset column it was paid in.
    """
    fee, asset = -1, received
    rate = accounts.fees.rates[owner, SPOT_MARKET, role]
    note_volume(accounts.fees, owner, SPOT_MARKET, paid)
    if accounts.fees.wants_coin[owner] and rate:
        fee = _in_coin(accounts, i, owner, share(paid, rate))
    if fee >= 0:
        asset = accounts.fees.coin[COIN_ASSET]
    else:
        fee = share(units, rate)
    accounts.balances[owner, asset, FREE] -= fee
    accounts.balances[VENUE, asset, FREE] += fee
    return fee, asset + to_the_end(accounts)


@inlined
def _in_coin(accounts: Any, i: int, owner: int, worth: int) -> int:
    """A fee of so many quote units in units of the coin; -1 where the owner cannot pay it so."""
    fee, coin = -1, accounts.fees.coin[COIN_CONTRACT]
    if coin >= 0 and accounts.scales[coin, QUOTE] == accounts.scales[i, QUOTE]:
        lot_price = accounts.last[coin] * accounts.scales[coin, TICK_LOT_UNITS]
        free = accounts.balances[owner, accounts.fees.coin[COIN_ASSET], FREE]
        fee = coin_fee(accounts.fees, owner, worth, free, accounts.scales[coin, LOT_UNITS], lot_price)
    return fee + to_the_end(accounts)


@kernel
def _settle_derivative(
    accounts: Any, i: int, maker: int, taker: int, maker_buys: bool, price: int, lots: int, maker_reduces: bool
) -> tuple[int, int, int, int, int, int]:
    quote, signed = accounts.scales[i, QUOTE], lots if maker_buys else -lots
    if not maker_reduces:
        margin.rest(accounts, i, maker, BUY if maker_buys else 1 - BUY, price, -lots)
    maker_fee, maker_realized = margin.fill(accounts, i, maker, signed, price, MAKER_RATE)
    taker_fee, taker_realized = margin.fill(accounts, i, taker, -signed, price, TAKER_RATE)
    return maker_fee, taker_fee, quote, quote, maker_realized, taker_realized + to_the_end(accounts)


@inlined
def closable(accounts: Any, i: int, owner: int, side: int) -> int:
    """Lots of the owner's position that an order of this side can still close."""
    lots = accounts.positions[owner, i, POS_LOTS]
    return max(0, -lots if side == BUY else lots) + to_the_end(accounts)
