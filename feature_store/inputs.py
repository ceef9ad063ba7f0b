"""What a view may read besides the bar: every input by name and place, and where its numbers come from.

A row of inputs is one flat array; an input's place in it never changes, so a new one is appended. A service hands its
kernels only what its views name.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from lake.intervals import DAY, HOUR, MINUTE, SECOND


@dataclass(frozen=True, slots=True)
class Reference:
    """Another instrument's close at the same instant: `base` of the same venue and quote."""

    name: str
    base: str


@dataclass(frozen=True, slots=True)
class Series:
    """The newest observation of a number by the close of the bar: known then, and not older than `max_age_us`."""

    name: str
    metric: str
    """As in observations_v1."""
    entity: str
    """As in observations_v1; `{base}` stands for the instrument's base asset, `{instrument}` for its id."""
    unit: str
    max_age_us: int
    """From the observation's event time; older ones are NaN."""
    source: str | None = None
    """Of several that tell it; None takes whichever was newest."""

    def entity_of(self, instrument: str) -> str:
        """The entity it is read from for an instrument id such as `binance:BTC/USDT`."""
        return self.entity.format(instrument=instrument, base=instrument.partition(":")[2].partition("/")[0])


REFERENCES: Final = (Reference("btc_close", "BTC"), Reference("eth_close", "ETH"))
REFERENCE_NAMES: Final = frozenset(reference.name for reference in REFERENCES)
GRACE: Final = 5 * SECOND
"""How long after its close a row waits for the reference bars of that close, by market time."""


def reference_ids(extras: Iterable[str], instrument: str) -> dict[str, str]:
    """Ids of the instruments behind a service's reference inputs, by input name: same venue and quote."""
    venue, _, symbol = instrument.partition(":")
    quote, wanted = symbol.partition("/")[2], set(extras)
    return {one.name: f"{venue}:{one.base}/{quote}" for one in REFERENCES if one.name in wanted}


_DAILY = 3 * DAY
_DERIVATIVES = (
    Series("funding_rate", "funding_rate", "{base}", "fraction per interval", 9 * HOUR),
    Series("perpetual_mark", "mark_price", "{base}", "quote", 15 * MINUTE),
    Series("index_price", "index_price", "{base}", "quote", 15 * MINUTE),
    Series("open_interest", "open_interest", "{base}", "base", 30 * MINUTE),
    Series("implied_volatility", "atm_iv", "{base}", "fraction a year", HOUR),
    Series("skew_25_delta", "skew_25d", "{base}", "fraction a year", HOUR),
    Series("term_slope", "term_slope", "{base}", "fraction a year", HOUR),
)
_CHAIN = (
    Series("active_addresses", "active_addresses", "{base}", "count", _DAILY),
    Series("transactions", "transactions", "{base}", "count", _DAILY),
    Series("transfer_volume", "transfer_volume_usd", "{base}", "usd a day", _DAILY),
    Series("market_cap", "market_cap_usd", "{base}", "usd", _DAILY),
    Series("mvrv", "mvrv", "{base}", "ratio", _DAILY),
    Series("dominance", "dominance", "{base}", "fraction", _DAILY),
    Series("total_market_cap", "total_market_cap_usd", "global", "usd", _DAILY),
    Series("stablecoin_supply", "supply_usd", "stablecoin/1", "usd", _DAILY),
    Series("tvl", "tvl_usd", "chain/Ethereum", "usd", _DAILY),
    Series("loan_to_value", "loan_to_value", "lending/aave-v3", "fraction", _DAILY),
    Series("policy_rate", "policy_rate", "macro/DFF", "fraction", 6 * DAY),
    Series("term_spread", "term_spread", "macro/T10Y2Y", "fraction", 6 * DAY),
)
_TEXT = (
    Series("text_count", "texts", "{base}", "texts", DAY),
    Series("text_sentiment", "sentiment", "{base}", "-1 to 1", DAY),
)
SERIES: Final = (*_DERIVATIVES, *_CHAIN, *_TEXT)

INPUTS: Final[tuple[str, ...]] = (
    *("open", "high", "low", "close", "volume", "event_time"),
    *(reference.name for reference in REFERENCES),
    *(series.name for series in SERIES),
)


def place(name: str) -> int:
    """Where an input lies in a row."""
    return INPUTS.index(name)
