"""What is listed and quoted on one coin: expiries, strikes, the volatility of the moment and its past.

Nothing is drawn and nothing is stored: the chain is a function of the coin's one-minute bars and of the clock, so equal
seeds give equal chains. Dollars are the quote of the spot pair.
"""

import math
from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lake.intervals import DAY, HOUR, MINUTE
from market.candles import CLOSE, HIGH, LOW, Candles
from market.options import DELTA, GREEKS, PRICE, VEGA, YEAR_US, Floats, black76
from market.volatility_index import VolatilityPast

LISTED = {"day": (3 * DAY, 0.12, 0.0125), "week": (21 * DAY, 0.3, 0.025), "month": (98 * DAY, 0.6, 0.05),
          "quarter": (371 * DAY, 1.0, 0.1)}  # fmt: skip
"""Per kind of expiry: how long before it the options are listed, how far the strikes reach (|ln K/S| at least, from
every price the index has had since) and their distance as a share of the price at the listing."""
TICK_BELOW, SMALL_TICK, TICK = 0.005, 0.0001, 0.0005
"""Deribit's ticks in coin: the small one where the price is below `TICK_BELOW`."""
HALF_SPREAD_POINTS, WING_POINTS = 0.4, 2.0
"""Half the quoted spread in points of volatility, and what the wings (delta near 0 or 1) add."""


@dataclass(frozen=True, slots=True)
class Expiry:
    time: int
    """µs"""
    kind: str
    """day, week, month or quarter: the longest it belongs to"""

    @property
    def listed_from(self) -> int:
        return self.time - LISTED[self.kind][0]

    @property
    def name(self) -> str:
        """As in instrument names, e.g. 9JAN24."""
        moment = datetime.fromtimestamp(self.time // 1_000_000, UTC)
        return f"{moment.day}{moment:%b%y}".upper()


def expiries(now: int) -> list[Expiry]:
    """Listed expiries later than `now` (µs): 08:00 UTC on the next 3 days, 3 Fridays, and the last Fridays of 3 months
    and of 4 quarters: the expiries of the chain recorded at Deribit on 2024-01-08."""
    day = datetime.fromtimestamp(now // 1_000_000, UTC).replace(hour=8, minute=0, second=0, microsecond=0)
    moments = [day + timedelta(days=n) for n in range(380)]
    later = [Expiry(time, _kind(moment)) for moment in moments if (time := _microseconds(moment)) > now]
    listed: dict[int, Expiry] = {}
    for kind, count in (("day", 3), ("week", 3), ("month", 3), ("quarter", 4)):
        listed |= {expiry.time: expiry for expiry in [e for e in later if _covers(e.kind, kind)][:count]}
    return [listed[time] for time in sorted(listed)]


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


_ORDER = ("day", "week", "month", "quarter")


def _covers(kind: str, shorter: str) -> bool:
    return _ORDER.index(kind) >= _ORDER.index(shorter)


def _kind(moment: datetime) -> str:
    if moment.weekday() != 4:
        return "day"
    if moment.day + 7 <= monthrange(moment.year, moment.month)[1]:
        return "week"
    return "quarter" if moment.month % 3 == 0 else "month"


def step_near(value: float) -> float:
    """The number of 1, 2, 2.5 or 5 times a power of ten nearest to `value` from below."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(factor * power for factor in (1, 2, 2.5, 5) if factor * power <= value * 1.0001)


class Listing(NamedTuple):
    """The options of one coin, one row each: calls and puts of a strike stand together."""

    names: list[str]
    expiry: list[Expiry]
    strike: Floats
    is_call: NDArray[np.bool_]
    expires: NDArray[np.int64]
    """Expiry, µs."""


class Quotes(NamedTuple):
    """One moment's prices, float64 [n] in the rows of the listing; prices in coin, NaN where there is no bid."""

    time: int
    spot: float
    """The index, dollars."""
    forward: Floats
    years: Floats
    volatility: Floats
    values: Floats
    """[GREEKS, n] of `black76`."""
    bid: Floats
    ask: Floats


Carry = Callable[[str, int], float]
"""ln(forward / index) of a coin for an expiry, µs."""


def index_carry(base: str, expiry: int) -> float:
    """Forwards are the index."""
    return 0.0


class Chain:
    """The options of one coin over its spot pair, row `i` of the candles."""

    def __init__(self, base: str, candles: Candles, i: int, index: Callable[[str], float], carry: Carry) -> None:
        """`index` gives dollars of a coin now."""
        self.base = base
        self._candles, self._i, self._index, self._carry = candles, i, index, carry
        self._ratio_to_dollars = float(candles.price_units(i)) / 1e8
        self.volatility = VolatilityPast(candles, i)
        self._listing: tuple[int, Listing] | None = None
        self._quotes: Quotes | None = None

    @property
    def start(self) -> int:
        """µs; before it nothing is known."""
        return self._candles.start

    def delivery_prices(self) -> list[dict[str, object]]:
        """Newest first: the mean of the last 30 closes before every 08:00 UTC, what options settle at."""
        rows, closed = [], self._candles.minutes - 1
        first = -(-(self._candles.start + 30 * MINUTE - 8 * HOUR) // DAY) * DAY + 8 * HOUR
        for end in range(first, self._candles.start + closed * MINUTE + 1, DAY):
            at = (end - self._candles.start) // MINUTE
            mean = float(self._candles.bars[self._i, at - 30 : at, CLOSE].mean()) * self._ratio_to_dollars
            day = datetime.fromtimestamp(end // 1_000_000, UTC)
            rows.append({"date": f"{day:%Y-%m-%d}", "delivery_price": round(mean, 4)})
        return rows[::-1]

    # -- the chain ------------------------------------------------------------------------------------------------

    def listing(self, now: int) -> Listing:
        """What is listed; looked at once a minute."""
        minute = now // MINUTE
        if self._listing is None or self._listing[0] != minute:
            self._listing = (minute, self._list(now))
            self._quotes = None
        return self._listing[1]

    def _list(self, now: int) -> Listing:
        names, of, strikes = [], [], []
        for expiry in expiries(now):
            for strike in self._strikes(expiry):
                names += [f"{self.base}-{expiry.name}-{strike:g}-{letter}" for letter in "CP"]
                of += [expiry, expiry]
                strikes += [strike, strike]
        times = np.array([expiry.time for expiry in of], np.int64)
        return Listing(names, of, np.array(strikes), np.arange(len(names)) % 2 == 0, times)

    def _strikes(self, expiry: Expiry) -> list[float]:
        _, reach, share = LISTED[expiry.kind]
        first = max(0, (expiry.listed_from - self._candles.start) // MINUTE)
        bars = self._candles.bars[self._i, min(first, self._candles.minutes - 1) : self._candles.minutes]
        lowest, highest = (float(value) * self._ratio_to_dollars for value in (bars[:, LOW].min(), bars[:, HIGH].max()))
        step = step_near(float(bars[0, CLOSE]) * self._ratio_to_dollars * share)
        low, high = math.floor(lowest * math.exp(-reach) / step), math.ceil(highest * math.exp(reach) / step)
        return [step * n for n in range(max(1, low), high + 1)]

    def quotes(self, now: int) -> Quotes:
        """Prices of everything listed."""
        listing = self.listing(now)
        if self._quotes is None or self._quotes.time != now:
            self._quotes = self._quote(listing, now)
        return self._quotes

    def _quote(self, listing: Listing, now: int) -> Quotes:
        index = self._index(self.base)
        carry = {time: self._carry(self.base, time) for time in dict.fromkeys(listing.expires.tolist())}
        forward = index * np.exp(np.array([carry[time] for time in listing.expires.tolist()]))
        years = np.maximum(listing.expires - now, 1_000_000) / YEAR_US
        volatility = self.volatility.surface().volatility(np.log(listing.strike / forward), years)
        values = black76(forward, listing.strike, years, volatility, listing.is_call)
        bid, ask = quoted(values, forward)
        return Quotes(now, index, forward, years, volatility, values, bid, ask)


def tick_of(price: Floats) -> Floats:
    """Coin; the tick that a price lies on."""
    return np.where(price < TICK_BELOW, SMALL_TICK, TICK)


def quoted(values: Floats, forward: Floats) -> tuple[Floats, Floats]:
    """Best bid (NaN where even a tick is too much) and best ask, on the tick and around the mark, so that no trade at
    quotes earns more than one at marks would: nothing."""
    assert values.shape[0] == GREEKS
    mark, middle = values[PRICE], np.abs(np.abs(values[DELTA]) - 0.5) * 2  # 0 at the money, 1 far from it
    half = values[VEGA] / forward * (HALF_SPREAD_POINTS + WING_POINTS * middle**2)
    low, high = mark - half, mark + half
    bid = np.floor(low / tick_of(low) + 1e-9) * tick_of(low)
    ask = np.maximum(np.ceil(high / tick_of(high) - 1e-9) * tick_of(high), SMALL_TICK)
    return np.where(bid < SMALL_TICK, np.nan, np.round(bid, 4)), np.round(ask, 4)
