"""Derivatives: liquidations, funding, open interest, mark and index, option quotes (silver); the surface (gold)."""

import pyarrow as pa

from lake.intervals import DAY, HOUR
from lake.table import TIME, Check, Column, Table
from lake.tables.market import HEAD, KNOWN_AFTER, TAIL, UNIT, not_negative, positive

_TEXT = pa.string()
_NUMBER = pa.float64()

LIQUIDATIONS = Table(
    name="liquidations_v1",
    layer="silver",
    description="Positions that a venue closed by force.",
    owner="data",
    columns=(
        *HEAD,
        Column("position", pa.int32(), "Place within the frame."),
        Column("side", _TEXT, "Of the closing order: buy or sell."),
        Column("price", _NUMBER, "The order's limit, the bankruptcy price.", "quote"),
        Column("average_price", _NUMBER, "Average of its fills; null where untold.", "quote", nullable=True),
        Column("quantity", _NUMBER, "Of the order.", "unit"),
        UNIT,
        *TAIL,
    ),
    key=("instrument", "event_time", "side", "price", "quantity"),
    time_column="event_time",
    freshness=DAY,
    partition=("day",),
    checks=(
        positive("price", "quantity"),
        Check("side is not buy or sell", "coalesce(side IN ('buy', 'sell'), false)"),
        KNOWN_AFTER,
    ),
)

FUNDING = Table(
    name="funding_v1",
    layer="silver",
    description="Settled funding payments of perpetuals; the settlement time is snapped to its whole hour.",
    owner="data",
    columns=(
        *HEAD,
        Column("rate", _NUMBER, "What longs pay shorts for the period; negative: shorts pay.", "fraction"),
        Column("mark_price", _NUMBER, "At settlement; null where untold.", "quote", nullable=True),
        *TAIL,
    ),
    key=("instrument", "event_time"),
    time_column="event_time",
    freshness=10 * HOUR,
    partition=("day",),
    checks=(
        Check("rate is missing or beyond ±100 %", "coalesce(rate > -1 AND rate < 1, false)"),
        KNOWN_AFTER,
    ),
)

OPEN_INTEREST = Table(
    name="open_interest_v1",
    layer="silver",
    description="Open contracts of a derivative.",
    owner="data",
    columns=(
        *HEAD,
        Column("quantity", _NUMBER, "Open interest.", "unit"),
        Column("value", _NUMBER, "Its worth; null where untold.", "quote", nullable=True),
        UNIT,
        *TAIL,
    ),
    key=("instrument", "event_time"),
    time_column="event_time",
    freshness=3 * HOUR,
    partition=("day",),
    checks=(not_negative("quantity"), KNOWN_AFTER),
)

MARKS = Table(
    name="marks_v1",
    layer="silver",
    description="Mark and index price, the basis between them, and the running funding estimate.",
    owner="data",
    columns=(
        *HEAD,
        Column("mark_price", _NUMBER, "What the venue values positions at.", "quote"),
        Column("index_price", _NUMBER, "Spot index; null where untold.", "quote", nullable=True),
        Column("basis", _NUMBER, "mark / index - 1; null without an index.", "fraction", nullable=True),
        Column("funding_rate", _NUMBER, "Estimate for the running period; null where untold.", "fraction", True),
        Column("next_funding_time", TIME, "Its settlement; null where untold.", nullable=True),
        *TAIL,
    ),
    key=("instrument", "event_time"),
    time_column="event_time",
    freshness=3 * HOUR,
    partition=("day",),
    checks=(positive("mark_price"), KNOWN_AFTER),
)

OPTION_QUOTES = Table(
    name="option_quotes_v1",
    layer="silver",
    description="Quotes of single options with their forward; prices in the coin, as Deribit quotes them.",
    owner="data",
    columns=(
        *HEAD,
        Column("underlying", _TEXT, "Coin, e.g. BTC."),
        Column("expiry_time", TIME, "08:00 UTC of the expiry day."),
        Column("strike", _NUMBER, "Strike.", "USD"),
        Column("is_call", pa.bool_(), "Call or put."),
        Column("underlying_price", _NUMBER, "Forward of the expiry.", "USD"),
        Column("mark_price", _NUMBER, "Null where untold.", "coin", nullable=True),
        Column("mark_iv", _NUMBER, "Venue's implied volatility; null where untold.", "fraction a year", nullable=True),
        Column("bid", _NUMBER, "Null without a bid.", "coin", nullable=True),
        Column("ask", _NUMBER, "Null without an ask.", "coin", nullable=True),
        Column("open_interest", _NUMBER, "Null where untold.", "contracts", nullable=True),
        Column("volume", _NUMBER, "Last 24 hours; null where untold.", "contracts", nullable=True),
        *TAIL,
    ),
    key=("instrument", "event_time"),
    time_column="event_time",
    freshness=3 * HOUR,
    partition=("day",),
    checks=(
        positive("strike", "underlying_price"),
        Check("already expired", "coalesce(expiry_time >= event_time, false)"),
        KNOWN_AFTER,
    ),
)

OPTION_SURFACE = Table(
    name="option_surface_v1",
    layer="gold",
    description="What an option chain says of volatility, per coin and constant tenor; formulas in docs/recorder.md.",
    owner="data",
    columns=(
        Column("instrument", _TEXT, "venue:COIN, e.g. deribit:BTC."),
        Column("event_time", TIME, "End of the five minutes whose quotes make the surface."),
        Column("available_time", TIME, "That end, or later: when the last of its quotes was known."),
        Column("tenor", _TEXT, "7d, 30d, 60d, 90d or 180d: constant maturity."),
        Column("forward", _NUMBER, "Forward at the tenor, between the two expiries around it.", "USD"),
        Column("atm_iv", _NUMBER, "At-the-money-forward implied volatility.", "fraction a year"),
        Column("skew_25d", _NUMBER, "Volatility of the 25-delta put less that of the call.", "fraction a year", True),
        Column("butterfly_25d", _NUMBER, "Mean of the two 25-delta volatilities less atm_iv.", "fraction a year", True),
        Column("term_slope", _NUMBER, "atm_iv less the 30d one.", "fraction a year", nullable=True),
        Column("dvol", _NUMBER, "Model-free 30-day volatility index, on the row 30d.", "fraction a year", True),
        Column("options", pa.int32(), "Quotes behind the row."),
        Column("day", _TEXT, "YYYY-MM-DD of event_time."),
    ),
    key=("instrument", "event_time", "tenor"),
    time_column="event_time",
    freshness=3 * HOUR,
    partition=("day",),
    checks=(
        Check("atm_iv is missing or out of (0, 10)", "coalesce(atm_iv > 0 AND atm_iv < 10, false)"),
        KNOWN_AFTER,
    ),
)
