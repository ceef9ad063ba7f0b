"""Build silver bars: bronze payloads to one-minute bars, those and the five-minute streams to five-minute bars.

Reads   bronze raw_bars_v1
Writes  silver bars_1m_v1 and bars_5m_v1, and the quarantine and history beside each

One Spark application for both tables. Each task reads one month of its input through Arrow, types, checks and folds it
(`jobs.bar_rows`, `jobs.five_minutes`); `jobs.silver` distributes, validates and commits.

Without --start and --end the interval spans every bronze row that silver has not seen yet. Any interval can be built
again, at once or after a kill: equal input leaves equal content.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import polars as pl
from pyspark.sql import SparkSession

from jobs import quality
from jobs.bar_rows import fold, refused, typed_rows
from jobs.command import Job, main, parser
from jobs.five_minutes import five_minute_bars
from jobs.lock import writing
from jobs.progress import Stages
from jobs.silver import Built, make, outcome, pieces, told
from lake.intervals import Interval, format_time, month_of, timeframe_us
from lake.spark import Merged, spark_session
from lake.storage import Lake
from lake.table import Table
from lake.tables import BARS_1M, BARS_5M, RAW_BARS
from lake.wire.bars import stream_timeframe


@dataclass(frozen=True, slots=True)
class Source:
    """What a task needs to read its month: pinned versions, so that all tasks see one state of the lake."""

    lake: Lake
    instruments: tuple[str, ...]
    """Empty: all that there are."""
    bronze_version: int
    silver_version: int | None = None
    """Of bars_1m_v1, for five-minute bars; None: there is no such table."""
    replaced_version: int | None = None
    """Of its history; None: nothing was ever corrected."""

    def bronze(self, timeframe: str, interval: Interval) -> pl.DataFrame:
        """Bronze rows of one timeframe's streams in the interval, however they were received."""
        first, last = month_of(interval.start), month_of(interval.end - 1)
        return (
            self.lake.scan(RAW_BARS, interval, self.bronze_version)
            .filter(
                pl.col("month").is_between(pl.lit(first), pl.lit(last)),
                pl.col("stream").str.ends_with("_" + timeframe),
                self._wanted(),
            )
            .collect()
        )

    def minutes(self, interval: Interval) -> pl.DataFrame:
        """The minutes that stand."""
        return self._silver(BARS_1M, interval, self.silver_version)

    def replaced(self, interval: Interval) -> pl.DataFrame | None:
        """The minutes that corrections replaced."""
        if self.replaced_version is None:
            return None
        return self._silver(BARS_1M.history(), interval, self.replaced_version)

    def _silver(self, table: Table, interval: Interval, version: int | None) -> pl.DataFrame:
        first, last = month_of(interval.start), month_of(interval.end - 1)
        return (
            self.lake.scan(table, interval, version)
            .filter(pl.col("month").is_between(pl.lit(first), pl.lit(last)))
            .filter(self._wanted())
            .collect()
        )

    def _wanted(self) -> pl.Expr:
        return pl.col("instrument").is_in(list(self.instruments)) if self.instruments else pl.lit(True)

    def months(self) -> set[str]:
        """Months that hold any input."""
        held = self.lake.partitions(RAW_BARS, "month", self.bronze_version)
        return held | (self.lake.partitions(BARS_1M, "month", self.silver_version) if self.silver_version else set())


def one_minute(source: Source, interval: Interval) -> pl.DataFrame:
    """One-minute bars of the interval, and the rows refused and replaced."""
    return _judged(BARS_1M, typed_rows(source.bronze("1m", interval), BARS_1M))


def five_minute(source: Source, interval: Interval) -> pl.DataFrame:
    """Five-minute bars of the interval, from minutes and from streams, and the rows refused and replaced."""
    rows = typed_rows(source.bronze("5m", interval), BARS_5M)
    if source.silver_version is None:
        return _judged(BARS_5M, rows)
    built = five_minute_bars(source.minutes(interval), source.replaced(interval))
    return _judged(BARS_5M, rows, built.cast({"market_time": rows.schema["market_time"]}))


def _judged(table: Table, rows: pl.DataFrame, built: pl.DataFrame | None = None) -> pl.DataFrame:
    good = rows.filter(pl.col("reason").is_null())
    candidates = good if built is None else pl.concat([built, good], how="diagonal")
    standing, superseded, lost = fold(candidates, table)
    bad = pl.concat([rows.filter(pl.col("reason").is_not_null()), lost.select(rows.columns)])
    return outcome(table, standing, refused(bad), superseded)


def build(
    job: Job,
    session: SparkSession,
    source: Source,
    kernel: Callable[[Source, Interval], pl.DataFrame],
    table: Table,
    interval: Interval,
    reads: dict[str, int],
) -> Built:
    """Make the table's interval, leaving out months that hold no input."""
    held = source.months()
    units = [unit for unit in pieces(interval, "month") if month_of(unit.start) in held]
    return replace(make(job, session, table, partial(kernel, source), units, reads), interval=interval)


def hull(*intervals: Interval | None) -> Interval | None:
    """The smallest interval that covers all."""
    some = [i for i in intervals if i is not None]
    return Interval(min(i.start for i in some), max(i.end for i in some)) if some else None


def widen(interval: Interval | None, step: int) -> Interval | None:
    """Out to whole bars of `step` microseconds."""
    if interval is None:
        return None
    return Interval(interval.start - interval.start % step, -(-interval.end // step) * step)


def streams(lake: Lake, timeframe: str) -> tuple[str, ...]:
    """Bronze streams of a timeframe."""
    return tuple(sorted(s for s in lake.partitions(RAW_BARS, "stream") if stream_timeframe(s) == timeframe))


def _interval(
    job: Job, table: Table, source: Table, version: int | None, names: tuple[str, ...] = ()
) -> Interval | None:
    """What of `source` (version to build from) `table` has not seen, or what was asked for."""
    if version is None or (source is RAW_BARS and not names):
        return None
    if job.interval is None:
        return job.lake.changed(source, job.lake.watermark(table, source), version, names)
    held = job.lake.changed(source, None, version, names)
    if held is None:
        return None
    start, end = max(held.start, job.interval.start), min(held.end, job.interval.end)
    return Interval(start, end) if start < end else None


def run(job: Job) -> dict[str, Any]:
    lake, say = job.lake, Stages("build_bars")
    with writing(job.home.home, BARS_1M, BARS_5M):
        bronze = lake.version(RAW_BARS)
        library = quality.warm_up()
        session = spark_session(lake, "build_bars")
        library.join()
        say("Spark and Great Expectations are up")
        source = Source(lake, job.asked, bronze)
        whole = job.interval is None and not job.arguments.instruments  # only such a run moves the watermark
        built: dict[str, Built] = {}

        minutes = widen(_interval(job, BARS_1M, RAW_BARS, bronze, streams(lake, "1m")), timeframe_us("1m"))
        if minutes:
            reads = {RAW_BARS.name: bronze} if whole else {}
            built[BARS_1M.name] = build(job, session, source, one_minute, BARS_1M, minutes, reads)
            say(told(BARS_1M, built[BARS_1M.name]))

        silver = lake.version(BARS_1M) if lake.exists(BARS_1M) else None
        replaced = lake.version(BARS_1M.history()) if lake.exists(BARS_1M.history()) else None
        source = Source(lake, source.instruments, bronze, silver, replaced)
        wanted = hull(
            _interval(job, BARS_5M, RAW_BARS, bronze, streams(lake, "5m")),
            _interval(job, BARS_5M, BARS_1M, silver),
            _interval(job, BARS_5M, BARS_1M.history(), replaced),
        )
        fives = widen(wanted, timeframe_us("5m"))
        if fives:
            seen = {RAW_BARS.name: bronze, BARS_1M.name: silver, BARS_1M.history().name: replaced}
            reads = {name: version for name, version in seen.items() if version is not None} if whole else {}
            built[BARS_5M.name] = build(job, session, source, five_minute, BARS_5M, fives, reads)
            say(told(BARS_5M, built[BARS_5M.name]))
    return _summary(lake, built)


def _summary(lake: Lake, built: dict[str, Built]) -> dict[str, Any]:
    tables = {}
    for table in (BARS_1M, BARS_5M):
        done = built.get(table.name)
        merged = done.merged if done else Merged(lake.version(table) if lake.exists(table) else -1)
        tables[table.name] = {
            "version": merged.version if merged.version >= 0 else None,
            "rows": merged.rows,
            "inserted": merged.inserted,
            "updated": merged.updated,
            "unchanged": merged.unchanged,
            "refused": done.refused if done else 0,
            "superseded": done.superseded if done else 0,
            "missing": _missing(lake, table, done.interval) if done else 0,
        }
    span = hull(*(b.interval for b in built.values()))
    last = tables[BARS_5M.name]
    return {
        "table": BARS_5M.name,
        "version": last["version"],
        "rows": last["rows"],
        "start": format_time(span.start) if span else None,
        "end": format_time(span.end) if span else None,
        "tables": tables,
    }


def _missing(lake: Lake, table: Table, interval: Interval | None) -> int:
    """Bars that are absent between an instrument's first and last bar of the interval."""
    step = timeframe_us("1m" if table is BARS_1M else "5m")
    time_us = pl.col("open_time").dt.epoch("us")
    spans = (
        lake.scan(table, interval)
        .group_by("instrument")
        .agg(expected=(time_us.max() - time_us.min()) // step + 1, found=pl.len())
    )
    return int(spans.select((pl.col("expected") - pl.col("found")).sum()).collect().item() or 0)


if __name__ == "__main__":
    main("build_bars", run, parser("build_bars", __doc__))
