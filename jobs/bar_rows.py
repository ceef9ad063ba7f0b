"""From bronze rows to typed bars, without Spark: judge every row alone, then fold what was received for one bar.

A row that breaks a rule keeps its reason and goes to quarantine; it never touches a good one. The good rows of one bar
are folded by `lake.revisions`. So silver is a pure function of bronze, whenever and however often it is built.
"""

from datetime import timedelta

import polars as pl

from jobs.silver import refusals
from lake import revisions
from lake.instruments import ID
from lake.intervals import timeframe_us
from lake.revisions import Folded
from lake.table import Table
from lake.tables.bars import PUBLICATION_DELAY
from lake.wire.bars import parse_payloads, stream_timeframe

CONTENT = ("open", "high", "low", "close", "volume", "quote_volume", "trade_count")
_TIME = pl.Datetime("us", "UTC")
_RAW = ("venue", "stream", "instrument", "event_time", "market_time", "payload", "payload_hash")
_DELAY = timedelta(microseconds=PUBLICATION_DELAY)


def typed_rows(raw: pl.DataFrame, table: Table) -> pl.DataFrame:
    """One candidate bar per bronze row: the table's columns, `market_time`, and `reason`, null for a good row.

    Args:
        raw: bronze rows of streams of one timeframe, with every content column.
    """
    parts = [_typed(rows, str(stream), table) for (stream,), rows in raw.group_by("stream", maintain_order=True)]
    return pl.concat(parts) if parts else _typed(raw, "rest:klines_1m", table)


def _typed(raw: pl.DataFrame, stream: str, table: Table) -> pl.DataFrame:
    step = timeframe_us(stream_timeframe(stream))
    parsed = parse_payloads(stream, raw["payload"]).rename({"open_time": "open_us", "close_time": "close_us"})
    rows = pl.concat([raw.select(*_RAW, "month"), parsed], how="horizontal").with_columns(
        open_time=pl.col("open_us").cast(_TIME),
        source=pl.lit(stream),
    )
    rows = rows.with_columns(reason=_reason(table, step))
    close = pl.col("open_time") + timedelta(microseconds=step)
    return rows.with_columns(
        raw_event_time=pl.col("event_time"),
        event_time=close,
        available_time=close + _DELAY,
        month=pl.col("open_time").dt.strftime("%Y-%m"),
    ).select(*table.schema.names, "market_time", "reason", "venue", "stream", "payload", "raw_event_time")


def _reason(table: Table, step: int) -> pl.Expr:
    """Every rule the row breaks, joined by '; '; null where it breaks none."""
    readable = pl.col("problem").is_null()
    market = pl.col("market_time").dt.epoch("us")
    of_venue = pl.col("instrument").str.starts_with(pl.col("venue") + ":")
    rules = [
        ("instrument is not an id of its venue", ~(pl.col("instrument").str.contains(ID) & of_venue)),
        ("bar is not closed", readable & ~pl.col("closed")),
        ("open time is not the bronze row's event time", pl.col("open_us") != pl.col("event_time").dt.epoch("us")),
        ("length is not the stream's timeframe", pl.col("close_us") - pl.col("open_us") != step),
        ("timestamp in the venue's future", pl.col("open_us") + step > market),
        *((check.reason, readable & ~expression(check.sql)) for check in table.checks),
    ]
    said = [pl.when(broken).then(pl.lit(text)) for text, broken in rules]
    joined = pl.concat_str(pl.col("problem"), *said, separator="; ", ignore_nulls=True)
    return pl.when(joined != "").then(joined)


def expression(sql: str) -> pl.Expr:
    """A declared check in Polars; a null counts as broken. Spark's `unix_micros(open_time)` is `open_us` here."""
    return pl.sql_expr(sql.replace("unix_micros(open_time)", "open_us")).fill_null(False)


def fold(rows: pl.DataFrame, table: Table) -> Folded:
    """The bars that stand, those that corrections replaced, and the rows that lost (`lake.revisions.fold`).

    Args:
        rows: good candidates with `market_time`, when the content was known; any order. Of two known at one instant
            the bar built from minutes, which has no `stream`, goes first.
    """
    streamed = rows.with_columns(streamed=pl.col("stream").is_not_null())
    return revisions.fold(streamed, table.key, CONTENT, ("market_time", "streamed", "payload_hash"), what="bar")


def refused(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of a quarantine table (without `received_time`) for candidates with a reason."""
    return refusals(rows, (*(name for name in _RAW if name != "event_time"), "market_time"), "raw_event_time")
