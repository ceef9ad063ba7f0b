"""Build what texts say of an asset: counts, decayed sentiment and mean embedding per window, and push it online.

Reads   silver texts_v1, gold text_embeddings_v1 and text_scores_v1 of the models that the settings name
Writes  gold text_features_v1; with --push also the online store, the newest rows per asset

Windows end on the five-minute grid, up to --end (default: now). Each task makes one month of window ends out of the
texts first seen up to a day before (`feature_store.text_windows`): a value depends on what was known, on nothing else.
"""

import time
from collections.abc import Iterator
from typing import Any

import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from feature_store.online_settings import open_store
from feature_store.text import TextSettings, encoder_name, sentiment_name
from feature_store.text_windows import online_view, text_features
from jobs import silver
from jobs.command import Job, main, parser
from jobs.lock import writing
from jobs.progress import Stages
from lake.intervals import Interval, to_datetime, to_us
from lake.settings import read_settings
from lake.spark import Merged, merge, spark_schema, spark_session
from lake.storage import Lake
from lake.table import Table
from lake.tables import TEXT_EMBEDDINGS, TEXT_FEATURES, TEXT_SCORES, TEXTS
from lake.tables.texts import FEATURE_STEP, WINDOWS

INPUTS: tuple[Table, ...] = (TEXTS, TEXT_EMBEDDINGS, TEXT_SCORES)
LOOKBACK = max(WINDOWS.values()) + FEATURE_STEP
KEEP_ONLINE = 64
"""Rows per asset and window."""

Versions = dict[str, int]


def texts_seen(lake: Lake, versions: Versions, models: tuple[str, str], unit: Interval) -> pl.DataFrame:
    """The texts that windows ending in the unit may hold, with their vector and score; those without are left out."""
    since = to_datetime(unit.start - LOOKBACK)
    texts = lake.scan(TEXTS, version=versions[TEXTS.name]).filter(
        pl.col("available_time").is_between(since, to_datetime(unit.end), closed="left")
    )
    said = [
        lake.scan(table, version=versions[table.name])
        .filter(pl.col("available_time") >= since, pl.col("model") == model)
        .select("text_id", column)
        for table, model, column in zip(INPUTS[1:], models, ("embedding", "score"), strict=True)
    ]
    texts = texts.select("text_id", "source", "channel", "available_time", "assets")
    return texts.join(said[0], on="text_id").join(said[1], on="text_id").collect()


def distribute(
    session: SparkSession, lake: Lake, versions: Versions, models: tuple[str, str], units: list[Interval]
) -> DataFrame:
    """Feature rows, one unit per task."""
    schema = TEXT_FEATURES.schema

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for at in batch.column(0).to_pylist():
                rows = text_features(texts_seen(lake, versions, models, units[at]), units[at], "+".join(models))
                yield from rows.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema).to_batches()

    return session.range(0, len(units), 1, len(units)).mapInArrow(work, spark_schema(schema))


def span_to_build(job: Job, versions: Versions, model: str) -> Interval | None:
    """The window ends whose rows may differ from what gold holds; None: there are none."""
    lake = job.lake
    first, last = _bounds(lake.scan(TEXTS, version=versions[TEXTS.name]), "available_time")
    now = job.end if job.end is not None else time.time_ns() // 1000
    end = min(now, last + LOOKBACK) // FEATURE_STEP * FEATURE_STEP + 1
    start = job.start if job.start is not None else _first_to_build(lake, versions, model, first)
    return Interval(start, end) if start < end else None


def _first_to_build(lake: Lake, versions: Versions, model: str, first: int) -> int:
    """The end of the last window held, or the earliest text that was not there when the table was built last."""
    if not lake.exists(TEXT_FEATURES):
        return first
    held = lake.scan(TEXT_FEATURES)
    if set(held.select("model").unique().collect()["model"]) != {model}:
        return first
    starts = [_bounds(held, "event_time")[1] + 1]
    for table in INPUTS[1:]:
        changed = lake.changed(table, lake.watermark(TEXT_FEATURES, table), versions[table.name])
        if changed is not None:
            starts.append(_bounds(lake.scan(table, changed, versions[table.name]), "available_time")[0])
    return min(starts)


def _bounds(rows: pl.LazyFrame, column: str) -> tuple[int, int]:
    first, last = rows.select(pl.col(column).min().alias("first"), pl.col(column).max().alias("last")).collect().row(0)
    return to_us(first), to_us(last)


def push(job: Job, model: str, end: int) -> int:
    """The newest rows of every asset and window into the online store; returns how many were news."""
    since = Interval(end - KEEP_ONLINE * FEATURE_STEP, end)
    pushed = 0
    with open_store(job.home) as store:
        for window in WINDOWS:
            rows = job.lake.scan(TEXT_FEATURES, since).filter(pl.col("window") == window).collect()
            width = max((len(vector) for vector in rows["embedding"]), default=0)
            if width:
                pushed += store.push_frame(online_view(window, model, width, KEEP_ONLINE), rows)
    return pushed


def run(job: Job) -> dict[str, Any]:
    lake, say, settings = job.lake, Stages(job.name), read_settings(TextSettings)
    models = encoder_name(settings), sentiment_name(settings)
    model = "+".join(models)
    with writing(job.home.home, TEXT_FEATURES):
        versions = {table.name: lake.version(table) for table in INPUTS}
        span = span_to_build(job, versions, model)
        built = silver.Built(Merged(lake.version(TEXT_FEATURES) if lake.exists(TEXT_FEATURES) else -1))
        if span is not None:
            session = spark_session(lake, job.name)
            say("Spark is up")
            rows = distribute(session, lake, versions, models, silver.pieces(span, "month")).persist()
            reads = versions if job.interval is None else {}
            built = silver.Built(merge(session, lake, TEXT_FEATURES, rows, span, job.run_id, reads), interval=span)
            rows.unpersist()
        say(silver.told(TEXT_FEATURES, built))
        asked = getattr(job.arguments, "push", False) and built.merged.version >= 0
        pushed = push(job, model, span.end if span else time.time_ns() // 1000) if asked else 0
    return silver.summary(TEXT_FEATURES, built) | {"model": model, "reads": versions, "pushed": pushed}


if __name__ == "__main__":
    arguments = parser("build_text_features", __doc__)
    arguments.add_argument("--push", action="store_true", help="push the newest rows into the online store")
    main("build_text_features", run, arguments)
