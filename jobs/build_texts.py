"""Build silver texts: what text sources and archives told, cleaned, author-free, one row per content.

Reads   bronze raw_answers_v1, the answers of text sources (`lake.sources`, kind text) and imported archives
Writes  silver texts_v1 and its quarantine

Each task parses one month of answers (`lake.texts.rows`). Copies of one text are then collapsed over all months and
against what silver holds: the copy that reached us first stands, with its times; a later one changes nothing. So silver
is a pure function of bronze, in whatever pieces it is built.
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial, reduce
from typing import Any

import polars as pl
from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from jobs import quality, silver
from jobs.command import Job, main, parser
from jobs.lock import writing
from jobs.progress import Stages
from lake.intervals import Interval, month_of
from lake.sources.registry import sources
from lake.spark import Merged, merge, read, spark_session
from lake.storage import Lake
from lake.tables import RAW_ANSWERS, TEXTS
from lake.texts.rows import ARCHIVE, ORDER, archived, candidates, first_seen
from lake.texts.text import TextParser
from lake.texts.x_stream import STREAM, streamed


def parsers() -> dict[str, TextParser]:
    """Parser by source name: every registered text source, and X's filtered stream."""
    return {s.name: s.parse for s in sources().values() if s.kind == "text"} | {STREAM: streamed}


def parsed(lake: Lake, version: int, unit: Interval) -> pl.DataFrame:
    """The texts of a month's answers, and the refusals; copies within the month are collapsed already."""
    known = parsers()
    raw = (
        lake.scan(RAW_ANSWERS, unit, version)
        .filter(pl.col("month") == month_of(unit.start))
        .filter(pl.col("source").is_in(list(known)) | pl.col("source").str.starts_with(ARCHIVE))
        .collect()
    )
    archives = {name: archived for name in raw["source"].unique() if name.startswith(ARCHIVE)}
    rows = candidates(raw, known | archives)
    good = pl.col("reason").is_null()
    return pl.concat([first_seen(rows.filter(good)), rows.filter(~good)])


def standing(session: SparkSession, lake: Lake, rows: DataFrame) -> DataFrame:
    """One row per text: the first seen over all months, unless silver holds an earlier copy."""
    rank = F.row_number().over(Window.partitionBy(*TEXTS.key).orderBy(*ORDER))
    first = rows.withColumn("rank", rank).where("rank = 1").drop("rank")
    if not lake.exists(TEXTS):
        return first
    held = read(session, lake, TEXTS).select(*TEXTS.key, F.struct(*ORDER).alias("held"))
    kept = first.join(held, list(TEXTS.key), "left").where(F.col("held").isNull() | (F.struct(*ORDER) <= F.col("held")))
    return kept.drop("held").select(*TEXTS.schema.names)


def drop_moved(session: SparkSession, lake: Lake, rows: DataFrame) -> None:
    """Take out held rows whose earlier copy, found late, belongs into another month; the merge inserts it there."""
    if not lake.exists(TEXTS):
        return
    held = read(session, lake, TEXTS).select(*TEXTS.key, F.col("month").alias("held_month"))
    moved = rows.join(held, list(TEXTS.key)).where("month <> held_month").select(*TEXTS.key).persist()
    if not moved.isEmpty():
        same: Column = reduce(Column.__and__, (F.col(f"target.{k}") == F.col(f"source.{k}") for k in TEXTS.key))
        target = DeltaTable.forPath(session, lake.uri(TEXTS)).alias("target")
        target.merge(moved.alias("source"), same).whenMatchedDelete().execute()
    moved.unpersist()


def make(
    job: Job, session: SparkSession, units: Sequence[Interval], version: int, reads: dict[str, int]
) -> silver.Built:
    """Parse, collapse, validate, then commit quarantine and table.

    Raises:
        ContractViolated: the validation failed; nothing is committed.
    """
    result = silver.distribute(session, partial(parsed, job.lake, version), TEXTS, units).persist()
    bad = result.where("reason IS NOT NULL")
    good = standing(session, job.lake, result.where("reason IS NULL").select(*TEXTS.schema.names)).persist()
    try:
        quality.validate(good, TEXTS).require()
        refused = bad.count()
        if refused:
            silver.quarantine(job, session, TEXTS, bad.select("reason", "instrument", "event_time", "row", "row_hash"))
        drop_moved(session, job.lake, good)
        merged = merge(session, job.lake, TEXTS, good, _span(good), job.run_id, reads)
    finally:
        good.unpersist()
        result.unpersist()
    return silver.Built(merged, refused, 0, Interval(units[0].start, units[-1].end))


def _span(rows: DataFrame) -> Interval:
    """The times in which the rows were written."""
    first, last = rows.select(F.min(F.unix_micros("event_time")), F.max(F.unix_micros("event_time"))).first() or (0, 0)
    return Interval(0, 0) if first is None else Interval(first, last + 1)


def run(job: Job) -> dict[str, Any]:
    lake, say = job.lake, Stages(job.name)
    with writing(job.home.home, TEXTS):
        version = lake.version(RAW_ANSWERS)
        since = lake.watermark(TEXTS, RAW_ANSWERS) if job.interval is None else None
        units = silver.pieces_to_build(job, RAW_ANSWERS, TEXTS, timedelta(0), lake, since, version)
        built = silver.Built(Merged(lake.version(TEXTS) if lake.exists(TEXTS) else -1))
        if units:
            library = quality.warm_up()
            session = spark_session(lake, job.name)
            library.join()
            say("Spark and Great Expectations are up")
            built = make(job, session, units, version, {RAW_ANSWERS.name: version} if job.interval is None else {})
        say(silver.told(TEXTS, built))
    return silver.summary(TEXTS, built)


if __name__ == "__main__":
    main("build_texts", run, parser("build_texts", __doc__))
