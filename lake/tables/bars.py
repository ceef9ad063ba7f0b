"""Bars: as the venue sent them (bronze), typed and checked (silver)."""

import pyarrow as pa

from lake.intervals import HOUR, SECOND
from lake.table import TIME, Check, Column, Table

PUBLICATION_DELAY = 1 * SECOND
"""A bar counts as available this long after its close (declared, not measured)."""

RAW_BARS = Table(
    name="raw_bars_v1",
    layer="bronze",
    description="Every bar message as received, append only; a payload already held is skipped.",
    owner="data",
    columns=(
        Column("venue", pa.string(), "Venue that sent it."),
        Column("stream", pa.string(), "rest:klines_1m, rest:ohlcv_1m, ws:kline_5m, ws:bars_1m or file:bars_1m."),
        Column("instrument", pa.string(), "Instrument id, e.g. binance:BTC/USDT."),
        Column("event_time", TIME, "The bar's open time: the natural key within stream and instrument."),
        Column("market_time", TIME, "The venue's market clock when it was sent; a closed bar ends at or before it."),
        Column("payload", pa.string(), "One bar as JSON: klines exactly as sent, else the numbers told of it."),
        Column("payload_hash", pa.string(), "SHA-256 of the payload, hex."),
        Column("month", pa.string(), "YYYY-MM of event_time."),
        Column("received_time", TIME, "Wall clock of receipt.", content=False),
        Column("run_id", pa.string(), "Which run stored it.", content=False),
    ),
    key=("venue", "stream", "instrument", "event_time", "payload_hash"),
    time_column="event_time",
    freshness=2 * HOUR,
    partition=("stream", "month"),
    writer="delta-rs",
)

_PRICES = ("open", "high", "low", "close")

_BAR_COLUMNS = (
    Column("instrument", pa.string(), "Instrument id."),
    Column("open_time", TIME, "First instant of the bar."),
    Column("event_time", TIME, "Close of the bar: open_time plus the timeframe."),
    Column("available_time", TIME, "Close plus the publication delay; for a correction, when it was received."),
    Column("open", pa.float64(), "First trade.", "quote"),
    Column("high", pa.float64(), "Highest trade.", "quote"),
    Column("low", pa.float64(), "Lowest trade.", "quote"),
    Column("close", pa.float64(), "Last trade.", "quote"),
    Column("volume", pa.float64(), "Traded quantity.", "base"),
    Column("quote_volume", pa.float64(), "Traded value; null where the source has none.", "quote", nullable=True),
    Column("trade_count", pa.int64(), "Trades; null where the source has none.", nullable=True),
    Column("month", pa.string(), "YYYY-MM of open_time."),
)

_BAR_CHECKS = (
    Check(
        "a price is missing, zero, negative or not finite",
        " AND ".join(f"coalesce({c} > 0 AND {c} < 1e12, false)" for c in _PRICES),
    ),
    Check("high is below low, open or close", "coalesce(high >= low AND high >= open AND high >= close, false)"),
    Check("low is above open or close", "coalesce(low <= open AND low <= close, false)"),
    Check("volume is missing, negative or not finite", "coalesce(volume >= 0 AND volume < 1e15, false)"),
    Check("timestamp is missing", "open_time IS NOT NULL"),
)


def _on_grid(seconds: int) -> Check:
    return Check(
        f"open time is off the {seconds} s grid", f"coalesce(unix_micros(open_time) % {seconds * SECOND} = 0, false)"
    )


BARS_1M = Table(
    name="bars_1m_v1",
    layer="silver",
    description="One-minute bars: typed, deduplicated, checked, one row per instrument and minute.",
    owner="data",
    columns=(
        *_BAR_COLUMNS,
        Column("payload_hash", pa.string(), "The bronze row this bar was read from."),
    ),
    key=("instrument", "open_time"),
    time_column="open_time",
    freshness=2 * HOUR,
    partition=("month",),
    checks=(*_BAR_CHECKS, _on_grid(60)),
)

BARS_5M = Table(
    name="bars_5m_v1",
    layer="silver",
    description="Five-minute bars, from one-minute bars, from the live feed's frames or from imported files.",
    owner="data",
    columns=(
        *_BAR_COLUMNS,
        Column("source", pa.string(), "bars_1m, or the bronze stream it was read from."),
        Column("payload_hash", pa.string(), "Bronze row, or SHA-256 over the one-minute rows' hashes in time order."),
    ),
    key=("instrument", "open_time"),
    time_column="open_time",
    freshness=2 * HOUR,
    partition=("month",),
    checks=(*_BAR_CHECKS, _on_grid(300)),
)
