"""Fees by tier and fee coin, compiled and exact.

An owner pays in the asset received (spot) or in the quote (derivatives), rounded down to a unit, at the rate of the
tier that its traded quote of the last 30 whole days reaches; tiers change at midnight UTC. Who holds the fee coin and
asked for it pays spot fees in that coin at its last price, with a discount (Binance: BNB, 25 %), where enough is free.
Owners outside the tiers (the agents, the default demo's clients) keep the rate that was set for them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from market.book import Integers, to_the_end
from market.contracts import RATE_SCALE
from market.kernel import inlined, kernel

DAY = 86_400_000_000
WINDOW = 30
"""Whole days of volume that count."""
MAKER_RATE, TAKER_RATE = 0, 1
SPOT_MARKET, DERIVATIVES_MARKET = 0, 1
# Columns of Fees.schedule: traded quote units from which the row holds, and the rates in millionths.
SCHEDULE_VOLUME, SCHEDULE_MAKER, SCHEDULE_TAKER, SCHEDULE_FIELDS = range(4)
# Entries of Fees.coin: asset column (-1: none), contract whose last trade is its price, discount in millionths.
COIN_ASSET, COIN_CONTRACT, COIN_DISCOUNT, COIN_FIELDS = range(4)
NO_VOLUME = 2**62

_UNIT = 100_000_000
SPOT_TIERS = ((0, 1000, 1000), (1_000_000, 900, 1000), (5_000_000, 800, 1000), (20_000_000, 400, 600),
              (100_000_000, 400, 520), (150_000_000, 250, 310), (400_000_000, 200, 290))  # fmt: skip
"""30-day volume in whole quote, maker and taker in millionths: shaped like Binance's spot schedule, VIP 0 to 6."""
DERIVATIVE_TIERS = ((0, 200, 500), (15_000_000, 160, 400), (50_000_000, 140, 350), (100_000_000, 120, 320),
                    (600_000_000, 100, 300), (1_000_000_000, 80, 270))  # fmt: skip
"""The same for USDⓈ-M futures, VIP 0 to 5."""


class Fees(NamedTuple):
    rates: Integers
    """[owners, market, maker or taker], millionths: what is charged now."""
    schedule: Integers
    """[market, tiers, SCHEDULE_FIELDS]."""
    tiered: Integers
    """[owners]: 1 where the tiers set the rates."""
    volumes: Integers
    """[owners, market, WINDOW + 1] quote units per day; the day number modulo WINDOW + 1 is its place."""
    day: Integers
    """[1]: the day that is being filled, days since 1970."""
    coin: Integers
    """[COIN_FIELDS]."""
    wants_coin: Integers
    """[owners]: 1 where fees are to be paid in the coin."""


def new_fees(
    owners: int,
    spot: Sequence[tuple[int, int, int]] = SPOT_TIERS,
    derivatives: Sequence[tuple[int, int, int]] = DERIVATIVE_TIERS,
    coin: tuple[int, int, int] = (-1, -1, 250_000),
) -> Fees:
    """Rates of zero and nobody in the tiers; see `join_tiers`."""
    schedule = np.full((2, max(len(spot), len(derivatives)), SCHEDULE_FIELDS), NO_VOLUME, np.int64)
    for rows, tiers in zip(schedule, (spot, derivatives), strict=True):
        for row, (volume, maker, taker) in zip(rows, tiers, strict=False):
            row[:] = volume * _UNIT, maker, taker
    return Fees(
        rates=np.zeros((owners, 2, 2), np.int64),
        schedule=schedule,
        tiered=np.zeros(owners, np.int64),
        volumes=np.zeros((owners, 2, WINDOW + 1), np.int64),
        day=np.zeros(1, np.int64),
        coin=np.array(coin, np.int64),
        wants_coin=np.zeros(owners, np.int64),
    )


def join_tiers(fees: Fees, owner: int) -> None:
    """From now on the owner's volume sets its rates."""
    fees.tiered[owner] = 1
    _apply_tiers(fees, owner)


def pay_in_coin(fees: Fees, asset: int, contract: int, discount: int = 250_000) -> None:
    """From now on everybody pays spot fees in this coin, where he holds enough of it.

    Args:
        asset: its column of the balances.
        contract: the number of the pair whose last trade is its price in the quote.
        discount: millionths.
    """
    fees.coin[:] = asset, contract, discount
    fees.wants_coin[:] = 1


@inlined
def share(units: int, rate: int) -> int:
    """Floor of units × rate in millionths, without overflowing 64 bits."""
    return int((units // RATE_SCALE) * rate + (units % RATE_SCALE) * rate // RATE_SCALE)


@kernel
def volume_of(fees: Any, owner: int, market: int) -> int:
    """Quote units traded in the last WINDOW whole days, today not counted."""
    return int(fees.volumes[owner, market].sum() - fees.volumes[owner, market, fees.day[0] % (WINDOW + 1)])


@kernel
def _apply_tiers(fees: Any, owner: int) -> None:
    for market in range(2):
        traded = volume_of(fees, owner, market)
        for tier in range(fees.schedule.shape[1]):
            row = fees.schedule[market, tier]
            if row[SCHEDULE_VOLUME] > traded:
                break
            fees.rates[owner, market, MAKER_RATE] = row[SCHEDULE_MAKER]
            fees.rates[owner, market, TAKER_RATE] = row[SCHEDULE_TAKER]


@kernel
def roll_days(fees: Any, time: int) -> None:
    """Forget days older than the window and set everybody's rates, once per midnight passed; cheap otherwise."""
    today = time // DAY
    if today == fees.day[0]:
        return
    for day in range(max(fees.day[0], today - WINDOW - 1) + 1, today + 1):
        fees.volumes[:, :, day % (WINDOW + 1)] = 0
    fees.day[0] = today
    for owner in range(len(fees.tiered)):
        if fees.tiered[owner]:
            _apply_tiers(fees, owner)


@inlined
def note_volume(fees: Any, owner: int, market: int, quote_units: int) -> int:
    """Count a trade towards the owner's tier; whoever holds the clock calls `roll_days` at least once a day.

    Returns 0.
    """
    fees.volumes[owner, market, fees.day[0] % (WINDOW + 1)] += quote_units * fees.tiered[owner]
    return to_the_end(fees)


@inlined
def coin_fee(fees: Any, owner: int, quote_fee: int, free_coin: int, lot_units: int, lot_price: int) -> int:
    """The fee in units of the coin, discount taken; -1 where it cannot be paid in the coin.

    Args:
        quote_fee: the fee's worth in quote units.
        free_coin: what the owner has free of the coin.
        lot_units: units of the coin in one lot of its contract.
        lot_price: quote units of one such lot at the last trade; 0: it never traded.
    """
    coins = -1
    if fees.wants_coin[owner] and lot_price > 0:
        worth = quote_fee - share(quote_fee, fees.coin[COIN_DISCOUNT])
        coins = worth // lot_price * lot_units + worth % lot_price * lot_units // lot_price
        if coins > free_coin:
            coins = -1
    return coins + to_the_end(fees)
