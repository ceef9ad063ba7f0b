"""What a venue trades: spot pairs, perpetuals and dated futures, with the money rules that belong to each.

A `Contract` is an instrument and its kind. Derivatives are linear (USDⓈ-margined): quoted, margined and settled in the
quote asset, but in a wallet of their own, the asset column "USDT:margin", as Binance keeps the two wallets apart.
Compiled code reads the tables that `scales_of`, `contract_table` and `tier_table` make of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import numpy as np

from lake.errors import UsageError
from lake.instruments import Instrument
from market.book import UNIT, Integers

SPOT, PERPETUAL, FUTURE = range(3)
RATE_SCALE = 1_000_000
"""Rates of fees, margins and bands are in millionths."""
NO_EXPIRY = 2**62

FREE, LOCKED = 0, 1
"""Columns of a balance. Of a margin wallet: what backs the cross positions, and the sum of the isolated margins."""
# Columns of `scales_of`: asset columns (base -1: derivative), units per lot of base, units per tick and lot of quote.
BASE, QUOTE, LOT_UNITS, TICK_LOT_UNITS, SCALE_FIELDS = range(5)
# Columns of `contract_table`.
# Units: µs, millionths, millionths, times, column of the asset (-1: none), column.
(
    CON_KIND, CON_EXPIRY, CON_BAND, CON_LIQUIDATION_FEE, CON_MOST_LEVERAGE, CON_MARGIN, CON_FIELDS,
) = range(7)  # fmt: skip
# Columns of a row of `tier_table`: notional units from which it holds, maintenance rate in millionths, the units to
# subtract so that the requirement is continuous, the most leverage.
TIER_FLOOR, TIER_RATE, TIER_AMOUNT, TIER_LEVERAGE, TIER_FIELDS = range(5)


@dataclass(frozen=True, slots=True)
class MarginTier:
    """Up to `cap` of position notional (whole quote) this maintenance rate and at most this leverage."""

    cap: int
    maintenance_rate: Decimal
    leverage: int


def _tiers(*rows: tuple[int, str, int]) -> tuple[MarginTier, ...]:
    return tuple(MarginTier(cap, Decimal(rate), leverage) for cap, rate, leverage in rows)


MAJOR_TIERS = _tiers(
    (300_000, "0.004", 125), (800_000, "0.005", 100), (3_000_000, "0.0065", 75), (12_000_000, "0.01", 50),
    (70_000_000, "0.02", 25), (100_000_000, "0.025", 20), (230_000_000, "0.05", 10), (480_000_000, "0.1", 5),
    (600_000_000, "0.125", 4), (800_000_000, "0.15", 3), (1_200_000_000, "0.25", 2), (1_800_000_000, "0.5", 1),
)  # fmt: skip
"""Shaped like Binance's notional brackets of BTCUSDT (GET /fapi/v1/leverageBracket)."""
MINOR_TIERS = _tiers(
    (10_000, "0.005", 75), (50_000, "0.0065", 50), (500_000, "0.01", 25), (2_000_000, "0.025", 20),
    (10_000_000, "0.05", 10), (25_000_000, "0.1", 5), (50_000_000, "0.125", 4), (100_000_000, "0.25", 2),
    (300_000_000, "0.5", 1),
)  # fmt: skip
"""The same for the smaller coins."""


@dataclass(frozen=True, slots=True)
class Contract:
    """One thing that trades; the fields below `kind` have meaning for derivatives alone, but for `price_band`."""

    instrument: Instrument
    kind: int = SPOT
    expiry: int | None = None
    """µs UTC; only of dated futures."""
    margin_tiers: tuple[MarginTier, ...] = ()
    price_band: Decimal = Decimal(0)
    """A limit price may be at most this share away from the mark price, on the losing side; 0: no band."""
    liquidation_fee: Decimal = Decimal(0)
    """Share of a liquidated notional that goes to the insurance fund."""

    def __post_init__(self) -> None:
        if (self.kind == FUTURE) != (self.expiry is not None):
            raise UsageError(f"{self.id}: expected an expiry for a dated future and none else, found {self.expiry}.")
        if (self.kind != SPOT) != bool(self.margin_tiers):
            raise UsageError(f"{self.id}: expected margin tiers for a derivative and none for spot.")
        if any(low.cap >= high.cap for low, high in pairwise(self.margin_tiers)):
            raise UsageError(f"{self.id}: expected margin tiers in rising order of cap; sort them.")

    @property
    def id(self) -> str:
        return self.instrument.id

    @property
    def base_asset(self) -> str:
        return self.instrument.base

    @property
    def quote_asset(self) -> str:
        """The asset column its money moves in: the quote, or the margin wallet of a derivative."""
        return self.instrument.quote if self.kind == SPOT else margin_asset(self.instrument.quote)

    @property
    def is_derivative(self) -> bool:
        return self.kind != SPOT

    @property
    def venue_symbol(self) -> str:
        """The venue's name: BTCUSDT for spot and perpetual alike, BTCUSDT_230331 for a future."""
        suffix = "" if self.expiry is None else f"_{_date(self.expiry)}"
        return f"{self.instrument.base}{self.instrument.quote}{suffix}"

    @property
    def units_per_lot(self) -> int:
        return int(self.instrument.quantity_step * UNIT)

    @property
    def units_per_tick_lot(self) -> int:
        return int(self.instrument.price_tick * self.instrument.quantity_step * UNIT)


def margin_asset(quote: str) -> str:
    """Name of the derivatives wallet that holds a quote asset."""
    return f"{quote}:margin"


def spot(instrument: Instrument) -> Contract:
    return Contract(instrument)


_DERIVATIVE_FILTERS = {  # tick, step, least notional: those of Binance's USDⓈ-M contracts
    "BTC": ("0.1", "0.001", "100"), "ETH": ("0.01", "0.001", "20"), "SOL": ("0.01", "0.01", "5"),
    "BNB": ("0.01", "0.01", "5"), "XRP": ("0.0001", "0.1", "5"), "ADA": ("0.0001", "1", "5"),
}  # fmt: skip
_COARSER = {"andina": (5, 10, 2)}
"""By venue, how many times larger tick, step (up to one coin) and least notional are there."""
_MAJORS = ("BTC", "ETH")


def perpetual(base: str, venue: str = "binance", quote: str = "USDT") -> Contract:
    """The perpetual of a coin, `binance:BTC/USDT:USDT`.

    Raises:
        UsageError: no such coin.
    """
    return _derivative(base, venue, quote, None)


def future(base: str, expiry: int, venue: str = "binance", quote: str = "USDT") -> Contract:
    """The dated future of a coin that settles at `expiry` (µs UTC), `binance:BTC/USDT:USDT-230331`.

    Raises:
        UsageError: no such coin.
    """
    return _derivative(base, venue, quote, expiry)


def _derivative(base: str, venue: str, quote: str, expiry: int | None) -> Contract:
    if base not in _DERIVATIVE_FILTERS:
        raise UsageError(f"no derivative of {base!r}: expected one of {', '.join(_DERIVATIVE_FILTERS)}.")
    filters = zip(map(Decimal, _DERIVATIVE_FILTERS[base]), _COARSER.get(venue, (1, 1, 1)), strict=True)
    tick, step, notional = (value * times for value, times in filters)
    step = min(step, Decimal(1))
    symbol = f"{base}/{quote}:{quote}" + ("" if expiry is None else f"-{_date(expiry)}")
    instrument = Instrument(venue, symbol, tick, step, step, notional)
    major = base in _MAJORS
    return Contract(
        instrument, PERPETUAL if expiry is None else FUTURE, expiry, MAJOR_TIERS if major else MINOR_TIERS,
        Decimal("0.05") if major else Decimal("0.1"), Decimal("0.0125") if major else Decimal("0.015"),
    )  # fmt: skip


def quarterly_expiries(after: int, count: int = 2) -> list[int]:
    """The next expiries later than `after` (µs UTC): 08:00 UTC on the last Friday of March, June, September, December.

    Source: Binance's specification of its delivery contracts.
    """
    year, found = _moment(after).year, list[int]()
    while len(found) < count:
        found += [expiry for month in (3, 6, 9, 12) if (expiry := _last_friday(year, month)) > after]
        year += 1
    return found[:count]


def _last_friday(year: int, month: int) -> int:
    day = datetime(year + month // 12, month % 12 + 1, 1, 8, tzinfo=UTC) - timedelta(days=1)
    day -= timedelta(days=(day.weekday() - 4) % 7)
    return int(day.timestamp()) * 1_000_000


def _moment(time: int) -> datetime:
    return datetime.fromtimestamp(time // 1_000_000, UTC)


def _date(time: int) -> str:
    return f"{_moment(time):%y%m%d}"


# -- tables for compiled code -----------------------------------------------------------------------------------------


def asset_names(contracts: Sequence[Contract]) -> tuple[str, ...]:
    """The columns of the balances: bases of the spot pairs in order, their quotes, then the margin wallets."""
    pairs = [contract for contract in contracts if contract.kind == SPOT]
    wallets = [contract.quote_asset for contract in contracts if contract.kind != SPOT]
    return tuple(dict.fromkeys([c.base_asset for c in pairs] + [c.quote_asset for c in pairs] + wallets))


def scales_of(contracts: Sequence[Contract]) -> Integers:
    """[contracts, SCALE_FIELDS].

    Raises:
        UsageError: an amount of one tick and one step would not be a whole number of 1e-8.
    """
    assets = asset_names(contracts)
    rows = []
    for contract in contracts:
        step, tick = contract.instrument.quantity_step, contract.instrument.price_tick
        if step * UNIT != contract.units_per_lot or tick * step * UNIT != contract.units_per_tick_lot:
            raise UsageError(f"{contract.id}: tick × step is no multiple of 1e-8; choose coarser filters.")
        base = -1 if contract.is_derivative else assets.index(contract.base_asset)
        rows.append((base, assets.index(contract.quote_asset), contract.units_per_lot, contract.units_per_tick_lot))
    return np.array(rows, np.int64).reshape(len(rows), SCALE_FIELDS)


def contract_table(contracts: Sequence[Contract]) -> Integers:
    """[contracts, CON_FIELDS]."""
    assets = asset_names(contracts)
    table = np.zeros((len(contracts), CON_FIELDS), np.int64)
    for row, contract in zip(table, contracts, strict=True):
        row[CON_KIND] = contract.kind
        row[CON_EXPIRY] = NO_EXPIRY if contract.expiry is None else contract.expiry
        row[CON_BAND] = millionths(contract.price_band, f"{contract.id} price band")
        row[CON_LIQUIDATION_FEE] = millionths(contract.liquidation_fee, f"{contract.id} liquidation fee")
        row[CON_MOST_LEVERAGE] = max((tier.leverage for tier in contract.margin_tiers), default=1)
        row[CON_MARGIN] = assets.index(contract.quote_asset) if contract.is_derivative else -1
    return table


def tier_table(contracts: Sequence[Contract]) -> Integers:
    """[contracts, tiers, TIER_FIELDS]; rows after a contract's last tier have a floor no notional reaches.

    TIER_AMOUNT is Binance's `cum`: maintenance margin = notional × rate − amount is continuous at every floor.
    """
    most = max((len(contract.margin_tiers) for contract in contracts), default=0)
    table = np.zeros((len(contracts), max(1, most), TIER_FIELDS), np.int64)
    table[:, :, TIER_FLOOR] = NO_EXPIRY
    for rows, contract in zip(table, contracts, strict=True):
        floor, rate, amount = 0, 0, 0
        for row, tier in zip(rows, contract.margin_tiers, strict=False):
            next_rate = millionths(tier.maintenance_rate, f"{contract.id} maintenance rate")
            amount += floor * (next_rate - rate) * (UNIT // RATE_SCALE)
            rate = next_rate
            row[:] = floor * UNIT, rate, amount, tier.leverage
            floor = tier.cap
    return table


def millionths(rate: Decimal, what: str) -> int:
    """A rate as compiled code holds it.

    Raises:
        UsageError: finer than a millionth, or negative.
    """
    scaled = rate * RATE_SCALE
    if scaled != int(scaled) or scaled < 0:
        raise UsageError(f"{what} {rate}: expected a multiple of 0.000001 that is not negative.")
    return int(scaled)
