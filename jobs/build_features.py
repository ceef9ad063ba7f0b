"""Build gold features: the default feature service over five-minute bars.

Reads   silver bars_5m_v1
Writes  gold features_5m_v1

A task takes one period (a week) of bars and the warm-up before it, and runs the same compiled scan that live feeds one
bar at a time; Spark distributes the periods and `lake.spark.merge` commits what is new or changed.

Without --start and --end the job takes every bar that gold has not seen: a changed bar moves the rows of its own period
from there on, and the next period's where it lies in its warm-up. When the service changed, everything is built anew.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from feature_store.scan import compute_period
from feature_store.service import DEFAULT, FeatureService
from jobs.command import Job, main, parser
from jobs.lock import writing
from jobs.progress import Stages
from lake.intervals import Interval, format_time, month_of, timeframe_us, to_datetime
from lake.spark import Merged, merge, spark_schema, spark_session
from lake.storage import Lake
from lake.tables import BARS_5M, FEATURES_5M

TASKS_PER_CORE = 2
BAR = ("open", "high", "low", "close", "volume")


def period_rows(service: FeatureService, bars: pl.DataFrame, period_start: int) -> pl.DataFrame:
    """Feature rows of one period, one per bar of it; columns of features_5m_v1.

    Args:
        bars: rows of bars_5m_v1 of the period and its warm-up, any number of instruments.
    """
    parts = [
        _instrument_rows(service, rows, str(instrument), period_start)
        for (instrument,), rows in bars.sort("open_time").group_by("instrument", maintain_order=True)
    ]
    return pl.concat(parts) if parts else pl.DataFrame(schema=pl.Schema(FEATURES_5M.schema))


def _instrument_rows(service: FeatureService, bars: pl.DataFrame, instrument: str, period_start: int) -> pl.DataFrame:
    times = bars["open_time"].dt.epoch("us").to_numpy()
    values = compute_period(service, times, bars.select(BAR).to_numpy(), period_start)
    # A row is known when the last of the bars behind it is: a late correction in the warm-up delays it.
    known = bars.with_columns(pl.col("available_time").cum_max()).filter(
        pl.Series((times >= period_start) & (times < service.periods.end(period_start)))
    )
    columns = {
        name: pl.Series(np.ascontiguousarray(values[:, at])).fill_nan(None)
        for at, name in enumerate(service.feature_names)
    }
    return (
        known.select(
            "instrument",
            "open_time",
            "event_time",
            "available_time",
            "month",
            service_hash=pl.lit(service.content_hash),
        )
        .with_columns(**columns)
        .select(FEATURES_5M.schema.names)
    )


def bars_of_period(
    lake: Lake, version: int, service: FeatureService, period_start: int, names: tuple[str, ...]
) -> pl.DataFrame:
    """The bars that the rows of one period depend on."""
    interval = Interval(service.periods.scan_start(period_start), service.periods.end(period_start))
    first, last = (month_of(interval.start), month_of(interval.end - 1))
    return (
        lake.scan(BARS_5M, interval, version)
        .filter(pl.col("month").is_between(pl.lit(first), pl.lit(last)), pl.col("instrument").is_in(list(names)))
        .select("instrument", "open_time", "event_time", "available_time", "month", *BAR)
        .collect()
    )


def distribute(
    session: SparkSession, lake: Lake, version: int, interval: Interval, names: tuple[str, ...]
) -> DataFrame:
    """Feature rows of the interval, a few neighbouring periods per task."""
    schema, service = FEATURES_5M.schema, DEFAULT
    starts = list(service.periods.starts(interval.start, interval.end - 1))
    bounds = to_datetime(interval.start), to_datetime(interval.end)

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for at in batch.column(0).to_pylist():
                bars = bars_of_period(lake, version, service, starts[at], names)
                rows = period_rows(service, bars, starts[at])
                kept = rows.filter(pl.col("open_time") >= bounds[0], pl.col("open_time") < bounds[1])
                yield from kept.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema).to_batches()

    tasks = min(len(starts), TASKS_PER_CORE * session.sparkContext.defaultParallelism)
    return session.range(0, len(starts), 1, tasks).mapInArrow(work, spark_schema(schema))


def interval_to_build(job: Job, service: FeatureService, version: int) -> Interval | None:
    """The open times whose rows may differ from what gold holds; None where there are none."""
    lake = job.lake
    everything = lake.changed(BARS_5M, None, version)
    if everything is None:
        return None
    step = timeframe_us(service.timeframe)
    end = -(-everything.end // step) * step
    if job.interval is not None:
        start, end = max(everything.start, job.interval.start), min(end, job.interval.end)
        return Interval(start, end) if start < end else None
    if _other_service(lake, service):
        return Interval(everything.start, end)
    changed = lake.changed(BARS_5M, lake.watermark(FEATURES_5M, BARS_5M), version)
    if changed is None:
        return None
    periods = service.periods
    reach = periods.end(periods.start(changed.end - 1 + service.periods.start(0) - periods.scan_start(0)))
    return Interval(changed.start, min(end, reach))


def _other_service(lake: Lake, service: FeatureService) -> bool:
    """Whether gold holds rows of another version of the service."""
    if not lake.exists(FEATURES_5M):
        return False
    held = lake.scan(FEATURES_5M).select(pl.col("service_hash").unique()).collect()["service_hash"]
    return set(held) - {service.content_hash} != set()


def run(job: Job) -> dict[str, Any]:
    lake, say = job.lake, Stages("build_features")
    names = tuple(i.id for i in job.instruments)
    with writing(job.home.home, FEATURES_5M):
        version = lake.version(BARS_5M)
        interval = interval_to_build(job, DEFAULT, version)
        merged = Merged(lake.version(FEATURES_5M) if lake.exists(FEATURES_5M) else -1)
        if interval:
            session = spark_session(lake, "build_features")
            say("Spark is up")
            whole = job.interval is None and not job.arguments.instruments
            rows = distribute(session, lake, version, interval, names).persist()
            merged = merge(
                session, lake, FEATURES_5M, rows, interval, job.run_id, {BARS_5M.name: version} if whole else {}
            )
            say(f"{FEATURES_5M.name} v{merged.version}: {merged.inserted:,} new, {merged.updated:,} changed")
    return {
        "table": FEATURES_5M.name,
        "version": merged.version if merged.version >= 0 else None,
        "rows": merged.rows,
        "unchanged": merged.unchanged,
        "start": format_time(interval.start) if interval else None,
        "end": format_time(interval.end) if interval else None,
        "reads": {BARS_5M.name: version},
        "service_hash": DEFAULT.content_hash,
    }


if __name__ == "__main__":
    main("build_features", run, parser("build_features", __doc__))
