"""Compare a table of bars with its time grid: every hole with its reason, and how much of each day is covered.

Reads   bars_1m_v1 or bars_5m_v1 (--table), and what went on meanwhile: quotes_v1, and of raw_frames_v1 the recorders'
        connections
Writes  gold gaps_v1: a row per hole, and state closed for one that has been filled since the last check
"""

from datetime import UTC, datetime
from typing import Any

import polars as pl

from jobs.bronze import store
from jobs.command import Job, main, parser
from jobs.lock import writing
from jobs.raw_frames import RECORDER
from lake.errors import UsageError
from lake.gaps import as_rows, coverage, explained
from lake.intervals import Interval, timeframe_us
from lake.storage import Lake
from lake.table import Table
from lake.tables import BARS_1M, BARS_5M, GAPS, QUOTES, RAW_FRAMES
from lake.tables import table as table_named
from lake.wire.feeds import feed

STEPS = {BARS_1M.name: timeframe_us("1m"), BARS_5M.name: timeframe_us("5m")}


def times(lake: Lake, table: Table, interval: Interval | None) -> pl.DataFrame:
    """`instrument` and `time` of the table's rows."""
    rows = lake.scan(table, interval).select("instrument", time=pl.col(table.time_column).dt.epoch("us"))
    return rows.unique().collect()


def connections(lake: Lake, interval: Interval | None) -> pl.DataFrame | None:
    """The lives of the recorders' connections (`lake.recording`); None where nothing was recorded."""
    if not lake.exists(RAW_FRAMES):
        return None
    frames = lake.scan(RAW_FRAMES, interval).filter(~pl.col("stream").str.starts_with("rest:history:"))
    said = (pl.col("stream") == RECORDER) & pl.col("payload").str.contains('"e":"connected"', literal=True)
    time = pl.col("market_time").dt.epoch("us")
    lives = frames.group_by("venue", "connection").agg(up=time.filter(said).min(), tried=time.min(), down=time.max())
    told = lives.filter(~pl.col("connection").str.ends_with("-start")).collect()
    return told.select(
        pl.col("venue").map_elements(lambda name: feed(name).venue, pl.String).alias("who"), "up", "tried", "down"
    )


def open_gaps(lake: Lake, table: Table) -> pl.DataFrame:
    """What gaps_v1 says is missing of the table: rows with state open that none has closed."""
    rows = lake.scan(GAPS).filter(pl.col("observed") == table.name).collect()
    closed = rows.filter(pl.col("state") == "closed")
    return rows.filter(pl.col("state") == "open").join(closed, on=list(GAPS.key[:-1]), how="anti")


def run(job: Job) -> dict[str, Any]:
    table, lake = table_named(job.arguments.table), job.lake
    if table.name not in STEPS:
        raise UsageError(f"--table {table.name}: expected a table with a time grid: {', '.join(STEPS)}.")
    step, rows = STEPS[table.name], times(lake, table, job.interval)
    quotes = times(lake, QUOTES, job.interval) if lake.exists(QUOTES) else None
    found = as_rows(explained(rows, step, quotes, connections(lake, job.interval)), table.name, step)
    with writing(job.home.home, GAPS):
        filled = found.clear()
        if lake.exists(GAPS):
            known = open_gaps(lake, table).filter(_inside(job.interval))
            gone = known.join(found, on=list(GAPS.key), how="anti")
            filled = gone.with_columns(state=pl.lit("closed")).select(found.columns)
        changes = pl.concat([found, filled]).with_columns(found_time=pl.lit(datetime.now(UTC)))
        count = store(lake, GAPS, changes, job.run_id)
    days = coverage(rows, step)
    return {
        "table": GAPS.name,
        "version": lake.version(GAPS) if lake.exists(GAPS) else None,
        "rows": count,
        "open": dict(found.group_by("reason").len().sort("reason").iter_rows()),
        "closed": filled.height,
        "coverage": round(int(days["found"].sum()) / max(int(days["expected"].sum()), 1), 6),
    }


def _inside(interval: Interval | None) -> pl.Expr:
    if interval is None:
        return pl.lit(True)
    start, end = (pl.col(name).dt.epoch("us") for name in ("event_time", "end_time"))
    return (start >= interval.start) & (end < interval.end)


if __name__ == "__main__":
    arguments = parser("find_gaps", __doc__)
    arguments.add_argument("--table", default=BARS_1M.name, help="bars_1m_v1 (default) or bars_5m_v1")
    main("find_gaps", run, arguments)
