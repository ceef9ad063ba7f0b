"""Build silver bars: bronze payloads to one-minute bars, those and the five-minute streams to five-minute bars.

Reads   bronze raw_bars_v1
Writes  silver bars_1m_v1 and bars_5m_v1, and their quarantine tables

One Spark application for both tables. Each task reads one month of its input through Arrow, types, checks and folds it
(`jobs.bar_rows`, `jobs.five_minutes`); Spark distributes, Great Expectations validates the whole interval once per
table before anything is committed, and `lake.spark.merge` commits what is new or changed.

Without --start and --end the interval spans every bronze row that silver has not seen yet. Any interval can be built
again, at once or after a kill: equal input leaves equal content.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import quality
from jobs.bar_rows import fold, refused, typed_rows
from jobs.command import Job, main, parser
from jobs.five_minutes import five_minute_bars
from jobs.lock import writing
from jobs.progress import Stages
from lake.intervals import DAY, Interval, format_time, month_of, timeframe_us, to_datetime
from lake.spark import Merged, merge, spark_schema, spark_session
from lake.storage import Lake
from lake.table import Table
from lake.tables import BARS_1M, BARS_5M, RAW_BARS
from lake.wire.bars import stream_timeframe

BATCH_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class Source:
    """What a task needs to read its month: pinned versions, so that all tasks see one state of the lake."""

    lake: Lake
    instruments: tuple[str, ...]
    bronze_version: int
    silver_version: int | None = None
    """Of bars_1m_v1, for five-minute bars; None: there is no such table."""

    def bronze(self, timeframe: str, interval: Interval) -> pl.DataFrame:
        """Bronze rows of one timeframe's streams in the interval, however they were received."""
        first, last = month_of(interval.start), month_of(interval.end - 1)
        return (
            self.lake.scan(RAW_BARS, interval, self.bronze_version)
            .filter(
                pl.col("month").is_between(pl.lit(first), pl.lit(last)),
                pl.col("stream").str.ends_with("_" + timeframe),
                pl.col("instrument").is_in(list(self.instruments)),
            )
            .collect()
        )

    def minutes(self, interval: Interval) -> pl.DataFrame:
        first, last = month_of(interval.start), month_of(interval.end - 1)
        return (
            self.lake.scan(BARS_1M, interval, self.silver_version)
            .filter(pl.col("month").is_between(pl.lit(first), pl.lit(last)))
            .filter(pl.col("instrument").is_in(list(self.instruments)))
            .collect()
        )

    def months(self) -> set[str]:
        """Months that hold any input."""
        held = self.lake.partitions(RAW_BARS, "month", self.bronze_version)
        return held | (self.lake.partitions(BARS_1M, "month", self.silver_version) if self.silver_version else set())


def one_minute(source: Source, interval: Interval) -> pl.DataFrame:
    """One-minute bars of the interval, and the rows refused."""
    rows = typed_rows(source.bronze("1m", interval), BARS_1M)
    standing, lost = fold(rows.filter(pl.col("reason").is_null()), BARS_1M)
    return _outcome(BARS_1M, standing, [rows.filter(pl.col("reason").is_not_null()), lost])


def five_minute(source: Source, interval: Interval) -> pl.DataFrame:
    """Five-minute bars of the interval, from minutes and from streams, and the rows refused."""
    rows = typed_rows(source.bronze("5m", interval), BARS_5M)
    good = rows.filter(pl.col("reason").is_null())
    if source.silver_version is not None:
        built = five_minute_bars(source.minutes(interval))
        good = pl.concat([built.cast({"market_time": good.schema["market_time"]}), good], how="diagonal")
    standing, lost = fold(good, BARS_5M)
    return _outcome(BARS_5M, standing, [rows.filter(pl.col("reason").is_not_null()), lost])


def _outcome(table: Table, standing: pl.DataFrame, bad: list[pl.DataFrame]) -> pl.DataFrame:
    """Both kinds of rows in one frame: `reason` null and the table's columns, or a reason and the refused row."""
    quarantined = refused(pl.concat(bad))
    return pl.concat([standing.select(table.schema.names), quarantined], how="diagonal")


def outcome_schema(table: Table) -> pa.Schema:
    fields = [pa.field(f.name, f.type) for f in table.schema]
    return pa.schema([*fields, *(pa.field(name, pa.string()) for name in ("reason", "row", "row_hash"))])


Kernel = Callable[[Source, Interval], pl.DataFrame]


def distribute(session: SparkSession, source: Source, kernel: Kernel, table: Table, units: list[Interval]) -> DataFrame:
    """Run the kernel over the units, one task each; rows of `outcome_schema`."""
    schema = outcome_schema(table)

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for at in batch.column(0).to_pylist():
                rows = kernel(source, units[at])
                whole = pl.DataFrame(schema=pl.Schema(schema)) if rows.is_empty() else rows
                missing = [pl.lit(None, pl.String).alias(n) for n in schema.names if n not in whole.columns]
                arrow = whole.with_columns(missing).select(schema.names).to_arrow(compat_level=pl.CompatLevel.oldest())
                yield from arrow.cast(schema).to_batches(max_chunksize=BATCH_ROWS)

    return session.range(0, len(units), 1, max(1, len(units))).mapInArrow(work, spark_schema(schema))


def months(interval: Interval) -> list[Interval]:
    """The interval cut at month ends: one task, and one partition of the table, each."""
    cuts = [interval.start]
    while cuts[-1] < interval.end:
        at = to_datetime(cuts[-1]).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        start = int(at.timestamp()) * 1_000_000
        next_month = to_datetime(start + 32 * DAY).replace(day=1)
        cuts.append(min(int(next_month.timestamp()) * 1_000_000, interval.end))
    return [Interval(a, b) for a, b in pairwise(cuts)]


@dataclass(frozen=True, slots=True)
class Built:
    """What became of one table."""

    merged: Merged
    refused: int = 0
    interval: Interval | None = None


def build(
    job: Job,
    session: SparkSession,
    source: Source,
    kernel: Kernel,
    table: Table,
    interval: Interval,
    reads: dict[str, int],
) -> Built:
    """Make, validate and merge the table's interval.

    Raises:
        ContractViolated: the validation failed; nothing is committed.
    """
    held = source.months()
    units = [unit for unit in months(interval) if month_of(unit.start) in held]
    outcome = distribute(session, source, kernel, table, units).persist()
    good = outcome.where("reason IS NULL").select(table.schema.names)
    quality.validate(good, table).require()
    merged = merge(session, job.lake, table, good, interval, job.run_id, reads)
    count = quarantine(job, session, table, outcome.where("reason IS NOT NULL"))
    outcome.unpersist()
    return Built(merged, count, interval)


def quarantine(job: Job, session: SparkSession, table: Table, bad: DataFrame) -> int:
    """Keep refused rows, each once; returns how many were refused this time."""
    count = bad.count()
    if count:
        target = table.quarantine()
        rows = bad.withColumn("received_time", F.current_timestamp()).dropDuplicates(["row_hash"])
        merge(session, job.lake, target, rows, None, job.run_id)
    return count


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
        source = Source(lake, tuple(i.id for i in job.instruments), bronze)
        whole = job.interval is None and not job.arguments.instruments  # only such a run moves the watermark
        built: dict[str, Built] = {}

        minutes = widen(_interval(job, BARS_1M, RAW_BARS, bronze, streams(lake, "1m")), timeframe_us("1m"))
        if minutes:
            reads = {RAW_BARS.name: bronze} if whole else {}
            built[BARS_1M.name] = build(job, session, source, one_minute, BARS_1M, minutes, reads)
            say(f"{BARS_1M.name} {_told(built[BARS_1M.name])}")

        silver = lake.version(BARS_1M) if lake.exists(BARS_1M) else None
        source = Source(lake, source.instruments, bronze, silver)
        wanted = hull(
            _interval(job, BARS_5M, RAW_BARS, bronze, streams(lake, "5m")),
            _interval(job, BARS_5M, BARS_1M, silver),
        )
        fives = widen(wanted, timeframe_us("5m"))
        if fives:
            reads = {RAW_BARS.name: bronze, BARS_1M.name: silver or 0} if whole else {}
            built[BARS_5M.name] = build(job, session, source, five_minute, BARS_5M, fives, reads)
            say(f"{BARS_5M.name} {_told(built[BARS_5M.name])}")
    return _summary(lake, built)


def _told(built: Built) -> str:
    m = built.merged
    counts = f"{m.inserted:,} new, {m.updated:,} corrected, {m.unchanged:,} as before, {built.refused:,} refused"
    return f"v{m.version}: {counts}"


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
