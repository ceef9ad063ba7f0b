"""Instruments and the only place that rounds a price or a quantity.

An instrument's id is its venue and ccxt's unified symbol: `binance:BTC/USDT`. Filters here are the catalogue's
defaults; a venue's own exchangeInfo replaces them where a session trades.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

from lake.errors import UnknownInstrument


@dataclass(frozen=True, slots=True)
class Instrument:
    """One tradable pair; prices and quantities are exact multiples of `price_tick` and `quantity_step`."""

    venue: str
    symbol: str
    price_tick: Decimal
    quantity_step: Decimal
    min_quantity: Decimal
    min_notional: Decimal

    @property
    def id(self) -> str:
        return f"{self.venue}:{self.symbol}"

    @property
    def base(self) -> str:
        return self.symbol.split("/")[0]

    @property
    def quote(self) -> str:
        return self.symbol.split("/")[1].split(":")[0]

    @property
    def venue_symbol(self) -> str:
        """The venue's own name, e.g. BTCUSDT."""
        return self.base + self.quote

    def round_price(self, price: Decimal) -> Decimal:
        """Round half-even to the tick."""
        ticks = (price / self.price_tick).to_integral_value(ROUND_HALF_EVEN)
        return (ticks * self.price_tick).quantize(self.price_tick)

    def floor_quantity(self, quantity: Decimal) -> Decimal:
        """Round towards zero to the step: an order never grows by rounding."""
        steps = (quantity / self.quantity_step).to_integral_value(ROUND_DOWN)
        return (steps * self.quantity_step).quantize(self.quantity_step)

    def price_ticks(self, price: Decimal) -> int:
        """The price in whole ticks; ValueError where it is not on the grid."""
        return _whole(price, self.price_tick, f"{self.id} price")

    def quantity_lots(self, quantity: Decimal) -> int:
        """The quantity in whole steps; ValueError where it is not on the grid."""
        return _whole(quantity, self.quantity_step, f"{self.id} quantity")


def _whole(value: Decimal, step: Decimal, what: str) -> int:
    count = value / step
    if count != count.to_integral_value():
        raise ValueError(f"{what} {value} is not a multiple of {step}")
    return int(count)


def _spot(symbol: str, tick: str, step: str, venue: str = "binance", min_notional: str = "5") -> Instrument:
    return Instrument(venue, symbol, Decimal(tick), Decimal(step), Decimal(step), Decimal(min_notional))


INSTRUMENTS: dict[str, Instrument] = {
    instrument.id: instrument
    for instrument in (
        _spot("BTC/USDT", "0.01", "0.00001"),
        _spot("ETH/USDT", "0.01", "0.0001"),
        _spot("SOL/USDT", "0.01", "0.001"),
        _spot("BNB/USDT", "0.01", "0.001"),
        _spot("XRP/USDT", "0.0001", "0.1"),
        _spot("ADA/USDT", "0.0001", "0.1"),
    )
}
"""What is recorded, learned and traded unless said otherwise."""
ANDINA: dict[str, Instrument] = {
    instrument.id: instrument
    for instrument in (
        _spot("BTC/USDT", "0.1", "0.0001", "andina", "10"),
        _spot("ETH/USDT", "0.05", "0.001", "andina", "10"),
        _spot("SOL/USDT", "0.02", "0.01", "andina", "10"),
        _spot("BNB/USDT", "0.05", "0.01", "andina", "10"),
        _spot("XRP/USDT", "0.0002", "1", "andina", "10"),
        _spot("ADA/USDT", "0.0002", "1", "andina", "10"),
    )
}
"""The embedded market's second venue: coarser ticks and steps, larger orders."""


ID = r"^[a-z0-9_]+:[^\s:/]+/[^\s:/]+(:[^\s:/]+)?$"
"""venue:BASE/QUOTE, or venue:BASE/QUOTE:SETTLE[-EXPIRY…] of a derivative, as ccxt writes symbols."""


def is_id(text: str) -> bool:
    """Whether it can name an instrument, of the catalogue or not."""
    return re.match(ID, text) is not None


def instrument(instrument_id: str) -> Instrument:
    """Look an instrument up by id.

    Raises:
        UnknownInstrument: the id is not in the catalogue; the message lists what is.
    """
    try:
        return INSTRUMENTS.get(instrument_id) or ANDINA[instrument_id]
    except KeyError:
        known = ", ".join([*INSTRUMENTS, *ANDINA])
        raise UnknownInstrument(
            f"unknown instrument {instrument_id!r}: expected one of {known}. "
            "Write it as venue:BASE/QUOTE, or add it to lake/instruments.py."
        ) from None


def instruments(ids: Iterable[str] | None = None) -> tuple[Instrument, ...]:
    """The named instruments, or the whole catalogue."""
    return tuple(INSTRUMENTS.values()) if ids is None else tuple(instrument(name) for name in ids)
