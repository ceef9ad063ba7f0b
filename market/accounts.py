"""Money: who holds how much, what an order locks, what a trade moves, who pays which fee; in units of 1e-8, exactly.

Owner 0 is the venue itself: it collects the fees, so that per asset the sum over all owners never changes. An order
that rests has its funds locked at its own price, so its trades can always be paid; a taker pays out of what is free,
after a check. `reduces` marks an order that may only close a position: it needs no funds. Compiled code;
`market.engine` calls it, nothing else writes these arrays.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from market.book import BUY, Integers
from market.contracts import CON_KIND, SPOT, Contract, asset_names, contract_table, scales_of

FEE_SCALE = 1_000_000
"""Fee rates are in millionths: 500 is 5 bps."""

FREE, LOCKED = 0, 1
VENUE = 0

# Compiled code freezes these numbers: after a change delete market/__pycache__.
# Columns of Accounts.scales: asset columns, units per lot of base, units per tick and lot of quote.
BASE, QUOTE, LOT_UNITS, TICK_LOT_UNITS, SCALE_FIELDS = range(5)
# Columns of Accounts.positions: signed lots.
POS_LOTS, POS_FIELDS = range(2)


class Accounts(NamedTuple):
    """All state of money."""

    scales: Integers
    """[instruments, SCALE_FIELDS]."""
    contracts: Integers
    """[instruments, CON_FIELDS] of `market.contracts`."""
    balances: Integers
    """[owners, assets, 2]: free and locked, in units."""
    fee_rates: Integers
    """[owners], in millionths."""
    positions: Integers
    """[owners, instruments, POS_FIELDS]; zero for spot."""


def new_accounts(contracts: Sequence[Contract], owners: int) -> Accounts:
    """Zero balances, no fees, no positions."""
    return Accounts(
        scales=scales_of(contracts),
        contracts=contract_table(contracts),
        balances=np.zeros((owners, len(asset_names(contracts)), 2), np.int64),
        fee_rates=np.zeros(owners, np.int64),
        positions=np.zeros((owners, len(contracts), POS_FIELDS), np.int64),
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
    """Whether the owner can pay for so many lots that cost `cost` ticks × lots in all."""
    asset, units = _needed(accounts, i, side, cost, 1 if side == BUY else lots)
    return bool(accounts.balances[owner, asset, FREE] >= units)


@njit(cache=True, nogil=True)
def spendable(accounts: Any, i: int, owner: int) -> int:
    """The most ticks × lots that the owner can pay a seller now."""
    scale = accounts.scales[i]
    return int(accounts.balances[owner, scale[QUOTE], FREE] // scale[TICK_LOT_UNITS])


@njit(cache=True, nogil=True)
def lock(accounts: Any, i: int, owner: int, side: int, price: int, lots: int, reduces: bool) -> None:
    """Set aside what an order takes that begins to rest; `affords` said yes."""
    asset, units = _needed(accounts, i, side, price, lots)
    accounts.balances[owner, asset, FREE] -= units
    accounts.balances[owner, asset, LOCKED] += units


@njit(cache=True, nogil=True)
def unlock(accounts: Any, i: int, owner: int, side: int, price: int, lots: int, reduces: bool) -> None:
    """Give back what `lock` set aside for so many lots."""
    asset, units = _needed(accounts, i, side, price, lots)
    accounts.balances[owner, asset, LOCKED] -= units
    accounts.balances[owner, asset, FREE] += units


@njit(cache=True, nogil=True)
def fee_of(units: int, rate: int) -> int:
    """Floor of units × rate without overflowing 64 bits."""
    return int((units // FEE_SCALE) * rate + (units % FEE_SCALE) * rate // FEE_SCALE)


@njit(cache=True, nogil=True)
def settle(
    accounts: Any, i: int, maker: int, taker: int, maker_buys: bool, price: int, lots: int, maker_reduces: bool
) -> tuple[int, int, int, int, int, int]:
    """Move what a trade moves: the maker pays from what it locked, the taker from what is free.

    Returns the maker's and the taker's fee in units, the asset columns they were paid in, and the profits they
    realized.
    """
    scale = accounts.scales[i]
    if accounts.contracts[i, CON_KIND] != SPOT:
        signed = lots if maker_buys else -lots
        accounts.positions[maker, i, POS_LOTS] += signed
        accounts.positions[taker, i, POS_LOTS] -= signed
        return 0, 0, scale[QUOTE], scale[QUOTE], 0, 0
    balances = accounts.balances
    base, quote = scale[BASE], scale[QUOTE]
    paid, moved = price * lots * scale[TICK_LOT_UNITS], lots * scale[LOT_UNITS]
    buyer, seller = (maker, taker) if maker_buys else (taker, maker)
    fee_base, fee_quote = fee_of(moved, accounts.fee_rates[buyer]), fee_of(paid, accounts.fee_rates[seller])
    balances[buyer, quote, LOCKED if maker_buys else FREE] -= paid
    balances[seller, base, FREE if maker_buys else LOCKED] -= moved
    balances[buyer, base, FREE] += moved - fee_base
    balances[seller, quote, FREE] += paid - fee_quote
    balances[VENUE, base, FREE] += fee_base
    balances[VENUE, quote, FREE] += fee_quote
    if maker_buys:
        return fee_base, fee_quote, base, quote, 0, 0
    return fee_quote, fee_base, quote, base, 0, 0


@njit(cache=True, nogil=True)
def closable(accounts: Any, i: int, owner: int, side: int) -> int:
    """Lots of the owner's position that an order of this side can still close."""
    lots = accounts.positions[owner, i, POS_LOTS]
    return max(0, -lots) if side == BUY else max(0, lots)
