"""Money: who holds how much, what an order locks, what a trade moves, who pays which fee; in units of 1e-8, exactly.

Owner 0 is the venue itself: it collects the fees, so that per asset the sum over all owners never changes. The last
owner is the insurance fund of the derivatives. Of spot, an order that rests has its funds locked at its own price, so
its trades can always be paid; a taker pays out of what is free, after a check. Of derivatives nothing is locked: an
order counts towards its owner's margin (`market.margin`). Compiled code; `market.engine` calls it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from market import margin
from market.book import BUY, NO_PRICE, Integers
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
from market.margin import DEFAULT_LEVERAGE, FUND, POS_FIELDS, POS_LEVERAGE, POS_LOTS

__all__ = [
    "BASE", "FEE_SCALE", "FREE", "FUND", "LOCKED", "LOT_UNITS", "POS_LOTS", "QUOTE", "SCALE_FIELDS", "TICK_LOT_UNITS",
    "VENUE", "Accounts", "affords", "closable", "lock", "new_accounts", "settle", "spendable", "unlock",
    "within_leverage",
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


@njit(cache=True, nogil=True)
def _needed(accounts: Any, i: int, side: int, price: int, lots: int) -> tuple[int, int]:
    """Asset column and units that an order of spot takes at its price."""
    scale = accounts.scales[i]
    if side == BUY:
        return scale[QUOTE], price * lots * scale[TICK_LOT_UNITS]
    return scale[BASE], lots * scale[LOT_UNITS]


@njit(cache=True, nogil=True)
def affords(accounts: Any, i: int, owner: int, side: int, lots: int, cost: int, reduces: bool) -> bool:
    """Whether the owner can pay for so many lots that cost `cost` ticks × lots in all, or has the margin for them."""
    if accounts.contracts[i, CON_KIND] != SPOT:
        units = cost * accounts.scales[i, TICK_LOT_UNITS]
        return bool(reduces or margin.affords(accounts, i, owner, side, lots, units))
    asset, units = _needed(accounts, i, side, cost, 1 if side == BUY else lots)
    return bool(accounts.balances[owner, asset, FREE] >= units)


@njit(cache=True, nogil=True)
def within_leverage(accounts: Any, i: int, owner: int, side: int, cost: int, reduces: bool) -> bool:
    """Whether the owner's leverage is allowed on what an order of `cost` ticks × lots would make of its position."""
    if reduces or accounts.contracts[i, CON_KIND] == SPOT:
        return True
    return bool(margin.within_leverage(accounts, i, owner, side, cost * accounts.scales[i, TICK_LOT_UNITS]))


@njit(cache=True, nogil=True)
def spendable(accounts: Any, i: int, owner: int) -> int:
    """The most ticks × lots that the owner can pay a seller now; without limit where margin was checked before."""
    scale = accounts.scales[i]
    if accounts.contracts[i, CON_KIND] != SPOT:
        return NO_PRICE
    return int(accounts.balances[owner, scale[QUOTE], FREE] // scale[TICK_LOT_UNITS])


@njit(cache=True, nogil=True)
def lock(accounts: Any, i: int, owner: int, side: int, price: int, lots: int, reduces: bool) -> None:
    """Set aside what an order takes that begins to rest; `affords` said yes."""
    if accounts.contracts[i, CON_KIND] != SPOT:
        if not reduces:
            margin.rest(accounts, i, owner, side, price, lots)
        return
    asset, units = _needed(accounts, i, side, price, lots)
    accounts.balances[owner, asset, FREE] -= units
    accounts.balances[owner, asset, LOCKED] += units


@njit(cache=True, nogil=True)
def unlock(accounts: Any, i: int, owner: int, side: int, price: int, lots: int, reduces: bool) -> None:
    """Give back what `lock` set aside for so many lots."""
    lock(accounts, i, owner, side, price, -lots, reduces)


@njit(cache=True, nogil=True)
def settle(
    accounts: Any, i: int, maker: int, taker: int, maker_buys: bool, price: int, lots: int, maker_reduces: bool
) -> tuple[int, int, int, int, int, int]:
    """Move what a trade moves: the maker pays from what it locked, the taker from what is free.

    Returns the maker's and the taker's fee in units, the asset columns they were paid in, and the profits they
    realized.
    """
    accounts.last[i] = price
    if accounts.contracts[i, CON_KIND] != SPOT:
        return _settle_derivative(accounts, i, maker, taker, maker_buys, price, lots, maker_reduces)
    balances, scale = accounts.balances, accounts.scales[i]
    base, quote = scale[BASE], scale[QUOTE]
    paid, moved = price * lots * scale[TICK_LOT_UNITS], lots * scale[LOT_UNITS]
    buyer, seller = (maker, taker) if maker_buys else (taker, maker)
    balances[buyer, quote, LOCKED if maker_buys else FREE] -= paid
    balances[seller, base, FREE if maker_buys else LOCKED] -= moved
    balances[buyer, base, FREE] += moved
    balances[seller, quote, FREE] += paid
    of_maker, of_taker = (moved, paid) if maker_buys else (paid, moved)
    in_maker, in_taker = (base, quote) if maker_buys else (quote, base)
    maker_fee, maker_asset = _spot_fee(accounts, i, maker, MAKER_RATE, in_maker, of_maker, paid)
    taker_fee, taker_asset = _spot_fee(accounts, i, taker, TAKER_RATE, in_taker, of_taker, paid)
    return maker_fee, taker_fee, maker_asset, taker_asset, 0, 0


@njit(cache=True, nogil=True)
def _settle_derivative(
    accounts: Any, i: int, maker: int, taker: int, maker_buys: bool, price: int, lots: int, maker_reduces: bool
) -> tuple[int, int, int, int, int, int]:
    quote = accounts.scales[i, QUOTE]
    if not maker_reduces:
        margin.rest(accounts, i, maker, BUY if maker_buys else 1 - BUY, price, -lots)
    signed = lots if maker_buys else -lots
    maker_fee, maker_realized = margin.fill(accounts, i, maker, signed, price, MAKER_RATE)
    taker_fee, taker_realized = margin.fill(accounts, i, taker, -signed, price, TAKER_RATE)
    return maker_fee, taker_fee, quote, quote, maker_realized, taker_realized


@njit(cache=True, nogil=True)
def _spot_fee(accounts: Any, i: int, owner: int, role: int, received: int, units: int, paid: int) -> tuple[int, int]:
    """Charge one side of a spot trade: in the coin where that is wished and possible, else out of what it received.

    Returns the fee in units and the asset column it was paid in.
    """
    fees, balances = accounts.fees, accounts.balances
    note_volume(fees, owner, SPOT_MARKET, paid)
    rate = fees.rates[owner, SPOT_MARKET, role]
    if rate == 0:
        return 0, received
    fee, asset = -1, fees.coin[COIN_ASSET]
    if fees.wants_coin[owner] and asset >= 0:
        priced = accounts.scales[fees.coin[COIN_CONTRACT]]
        if priced[QUOTE] == accounts.scales[i, QUOTE]:
            lot_price = accounts.last[fees.coin[COIN_CONTRACT]] * priced[TICK_LOT_UNITS]
            free = balances[owner, asset, FREE]
            fee = coin_fee(fees, owner, share(paid, rate), free, priced[LOT_UNITS], lot_price)
    if fee < 0:
        fee, asset = share(units, rate), received
    balances[owner, asset, FREE] -= fee
    balances[VENUE, asset, FREE] += fee
    return fee, asset


@njit(cache=True, nogil=True)
def closable(accounts: Any, i: int, owner: int, side: int) -> int:
    """Lots of the owner's position that an order of this side can still close."""
    lots = accounts.positions[owner, i, POS_LOTS]
    return max(0, -lots) if side == BUY else max(0, lots)
