"""The machinery of every silver table: units of work through a pure kernel, one validation, then three commits.

A silver table is a declaration (`lake/tables/`), a kernel and a job of a few lines that calls `build`. The kernel is
given a unit of work, reads it itself (Polars, pinned versions) and answers with an `outcome`: rows that stand, rows
that corrections replaced, rows refused. Spark distributes the units and commits; Great Expectations validates all rows
once. Quarantine and history are committed before the table, whose commit moves the watermark: after a kill the next run
finds the same work again. Equal input leaves equal content, however often and in whatever pieces it is built.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import quality
from jobs.command import Job
from jobs.lock import writing
from jobs.progress import Stages
from lake.intervals import DAY, Interval, format_time, to_datetime, to_us
from lake.revisions import SUPERSEDED
from lake.spark import Merged, merge, read, spark_schema, spark_session
from lake.storage import Lake
from lake.table import TIME, Table

BATCH_ROWS = 50_000
_REFUSED = ("reason", "instrument", "event_time", "row", "row_hash")

Unit = Any
"""What one task works on: an interval of the target, or whatever the job's `units` give; picklable."""

Kernel = Callable[[Lake, int, Unit], pl.DataFrame]
"""(lake, version of the source, unit) → the unit's `outcome`. Pure: the same version gives the same rows."""

Units = Callable[[Lake, int | None, int], Sequence[Unit]]
"""(lake, version of the source that was built last, version to build) → the units to do, none where nothing is new."""


@dataclass(frozen=True, slots=True)
class Built:
    """What became of one table."""

    merged: Merged
    refused: int = 0
    superseded: int = 0
    interval: Interval | None = None


def outcome(
    table: Table, standing: pl.DataFrame, refused: pl.DataFrame | None = None, superseded: pl.DataFrame | None = None
) -> pl.DataFrame:
    """One frame of the three kinds of rows, in `outcome_schema`.

    Args:
        standing: the table's columns, others are left out; unique by key.
        refused: as `refusals` makes them.
        superseded: the table's columns and `superseded_time`, as `lake.revisions.fold` gives them.
    """
    names = table.schema.names
    parts = [standing.select(names)]
    if refused is not None:
        parts.append(refused.select(_REFUSED))
    if superseded is not None:
        parts.append(superseded.select(*names, SUPERSEDED))
    return pl.concat(parts, how="diagonal_relaxed")


def refusals(rows: pl.DataFrame, received: Sequence[str], event_time: str = "event_time") -> pl.DataFrame:
    """Rows for the quarantine table out of candidates with a `reason`.

    Args:
        received: the columns that were received, kept as JSON; equal content and reason give the equal `row_hash`.
        event_time: the column that says when it happened, as received; it is kept in the JSON too.
    """
    texts, hashes = [], []
    for row in rows.select({"reason", event_time, *received}).iter_rows(named=True):  # others may hold absurd times
        content = {name: row[name] for name in received} | {"event_time": row[event_time]}
        plain = {k: v.isoformat() if hasattr(v, "isoformat") else v for k, v in content.items()}
        texts.append(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS, default=str).decode())
        hashes.append(hashlib.sha256(f"{row['reason']}\n{texts[-1]}".encode()).hexdigest())
    return rows.select(
        "reason",
        pl.col("instrument") if "instrument" in rows.columns else pl.lit(None, pl.String).alias("instrument"),
        pl.col(event_time).cast(pl.Datetime("us", "UTC")).alias("event_time"),
        pl.Series("row", texts, pl.String),
        pl.Series("row_hash", hashes, pl.String),
    )


def outcome_schema(table: Table) -> pa.Schema:
    """The table's columns, then what only refused and superseded rows have; everything may be null."""
    fields = {f.name: f.type for f in table.schema}
    fields |= {"instrument": pa.string(), "event_time": TIME, SUPERSEDED: TIME}
    fields |= dict.fromkeys(("reason", "row", "row_hash"), pa.string())
    return pa.schema([pa.field(name, kind) for name, kind in fields.items()])


def distribute(
    session: SparkSession, work: Callable[[Unit], pl.DataFrame], table: Table, units: Sequence[Unit]
) -> DataFrame:
    """Do the work of each unit in a task of its own; rows of `outcome_schema`."""
    schema = outcome_schema(table)

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for at in batch.column(0).to_pylist():
                rows = work(units[at])
                whole = pl.DataFrame(schema=pl.Schema(schema)) if rows.is_empty() else rows
                missing = [pl.lit(None).alias(n) for n in schema.names if n not in whole.columns]
                arrow = whole.with_columns(missing).select(schema.names).to_arrow(compat_level=pl.CompatLevel.oldest())
                yield from arrow.cast(schema).to_batches(max_chunksize=BATCH_ROWS)

    return session.range(0, len(units), 1, max(1, len(units))).mapInArrow(run, spark_schema(schema))


def make(
    job: Job,
    session: SparkSession,
    table: Table,
    work: Callable[[Unit], pl.DataFrame],
    units: Sequence[Unit],
    reads: dict[str, int],
) -> Built:
    """Do the units' work, validate the outcome, and commit quarantine, history and table, in this order.

    Raises:
        ContractViolated: the validation failed; nothing is committed.
    """
    result = distribute(session, work, table, units).persist()
    try:
        good = result.where(f"reason IS NULL AND {SUPERSEDED} IS NULL").select(table.schema.names)
        quality.validate(good, table).require()
        refused, superseded, span = _seen(result, table)
        if refused:
            quarantine(job, session, table, result.where("reason IS NOT NULL"))
        keep_history(job, session, table, good, result.where(f"{SUPERSEDED} IS NOT NULL"), superseded, span)
        merged = merge(session, job.lake, table, good, span, job.run_id, reads)
    finally:
        result.unpersist()
    return Built(merged, refused, superseded, span if span.end else None)


def _seen(result: DataFrame, table: Table) -> tuple[int, int, Interval]:
    """How many rows were refused and superseded, and the span of the others on the table's time column."""
    time = F.when(F.col("reason").isNull(), F.unix_micros(table.time_column))
    counted = result.agg(
        F.count_if(F.col("reason").isNotNull()), F.count_if(F.col(SUPERSEDED).isNotNull()), F.min(time), F.max(time)
    ).first()
    assert counted is not None
    refused, superseded, first, last = counted
    return refused, superseded, Interval(0, 0) if first is None else Interval(first, last + 1)


def quarantine(job: Job, session: SparkSession, table: Table, bad: DataFrame) -> None:
    """Keep refused rows, each once."""
    rows = bad.withColumn("received_time", F.current_timestamp()).dropDuplicates(["row_hash"])
    merge(session, job.lake, table.quarantine(), rows, None, job.run_id)


def keep_history(
    job: Job, session: SparkSession, table: Table, good: DataFrame, replaced: DataFrame, count: int, span: Interval
) -> None:
    """Make the history of the keys in `good` equal to `replaced`: what a late arrival overtook is taken out again."""
    history = table.history()
    if not count and not job.lake.exists(history):
        return
    merge(session, job.lake, history, replaced, span, job.run_id)
    held = read(session, job.lake, history, span).select(*history.key)
    stale = held.join(good, list(table.key), "left_semi").join(replaced, list(history.key), "left_anti").persist()
    if not stale.isEmpty():
        same = " AND ".join(f"target.{name} = source.{name}" for name in history.key)
        target = DeltaTable.forPath(session, job.lake.uri(history)).alias("target")
        target.merge(stale.alias("source"), same).whenMatchedDelete().execute()
    stale.unpersist()


def build(
    job: Job,
    source: Table,
    target: Table,
    kernel: Kernel,
    margin: timedelta = timedelta(0),
    units: Units | None = None,
    session: SparkSession | None = None,
) -> dict[str, Any]:
    """Bring `target` up to its source: the whole of a job's `run`.

    Without `--start` and `--end` the interval spans every row of `source` that `target` has not seen. It is cut at the
    target's partition (`day` or `month`), and each piece is a unit of the kernel, which gives the rows whose time
    column lies in the unit, and those alone.

    Args:
        margin: how far the time column of a source row may lie from that of the rows made of it; the kernel reads
            `around(unit, margin)`.
        units: for sources whose rows spread over unbounded target times; a unit must see every candidate of the keys
            it emits. Then `--start` and `--end` are not looked at.
        session: Spark, where the caller has it already.

    Returns:
        The job's summary: table, version, rows, start, end, inserted, updated, unchanged, refused, superseded.
    """
    lake, say = job.lake, Stages(job.name)
    with writing(job.home.home, target):
        version = lake.version(source)
        work = (units or partial(pieces_to_build, job, source, target, margin))(
            lake, lake.watermark(target, source) if job.interval is None else None, version
        )
        built = Built(Merged(lake.version(target) if lake.exists(target) else -1))
        if work:
            library = quality.warm_up()
            session = session or spark_session(lake, job.name)
            library.join()
            say("Spark and Great Expectations are up")
            whole = not job.arguments.instruments and (job.interval is None or units is not None)
            reads = {source.name: version} if whole else {}
            built = make(job, session, target, partial(kernel, lake, version), work, reads)
        say(told(target, built))
    return summary(target, built)


def pieces_to_build(
    job: Job, source: Table, target: Table, margin: timedelta, lake: Lake, since: int | None, version: int
) -> list[Interval]:
    """Pieces of the interval that the target has not seen, or that was asked for, widened by the margin."""
    changed = lake.changed(source, since, version)
    if changed is None:
        return []
    changed = around(changed, margin)
    asked = job.interval or changed
    start, end = max(changed.start, asked.start), min(changed.end, asked.end)
    unit = "day" if "day" in target.partition else "month"
    return pieces(Interval(start, end), unit) if start < end else []


def around(interval: Interval, margin: timedelta) -> Interval:
    """The interval and `margin` on both sides."""
    by = margin // timedelta(microseconds=1)
    return Interval(interval.start - by, interval.end + by)


def pieces(interval: Interval, unit: str) -> list[Interval]:
    """The interval cut at the ends of months or days: one task, and one partition of the table, each."""
    cuts = [interval.start]
    while cuts[-1] < interval.end:
        midnight = cuts[-1] - cuts[-1] % DAY
        following = midnight + DAY
        if unit == "month":
            first = to_datetime(midnight).replace(day=1)
            following = to_us((first + timedelta(days=32)).replace(day=1))
        cuts.append(min(following, interval.end))
    return [Interval(a, b) for a, b in pairwise(cuts)]


def told(table: Table, built: Built) -> str:
    """One line of a log."""
    m, at = built.merged, f"v{built.merged.version}" if built.merged.version >= 0 else "not made yet"
    counts = f"{m.inserted:,} new, {m.updated:,} corrected, {m.unchanged:,} as before, {built.refused:,} refused"
    return f"{table.name} {at}: {counts}"


def summary(table: Table, built: Built) -> dict[str, Any]:
    """What a job prints of one table."""
    merged, interval = built.merged, built.interval
    return {
        "table": table.name,
        "version": merged.version if merged.version >= 0 else None,
        "rows": merged.rows,
        "start": format_time(interval.start) if interval else None,
        "end": format_time(interval.end) if interval else None,
        "inserted": merged.inserted,
        "updated": merged.updated,
        "unchanged": merged.unchanged,
        "refused": built.refused,
        "superseded": built.superseded,
    }
