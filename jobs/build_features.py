"""Build gold features: the default feature service over five-minute bars, or the one with reference instruments.

Reads   silver bars_5m_v1
Writes  gold features_5m_v1, or features_ref_5m_v1 with --service default_ref_5m

A task takes one period (a week) of bars and the warm-up before it, and runs the same compiled scan that live feeds one
bar at a time; Spark distributes the periods and `lake.spark.merge` commits what is new or changed.

Without --start and --end the job takes every bar that gold has not seen: a changed bar moves the rows of its own period
from there on, and the next period's where it lies in its warm-up. When the service changed, everything is built anew.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from feature_store.alignment import Observations, widened
from feature_store.inputs import REFERENCES
from feature_store.scan import compute_period
from feature_store.service import DEFAULT, DEFAULT_REF, FeatureService, services
from jobs.command import Job, main, parser
from jobs.lock import writing
from jobs.progress import Stages
from lake.command import Parser
from lake.intervals import Interval, format_time, month_of, timeframe_us, to_datetime
from lake.spark import Merged, merge, spark_schema, spark_session
from lake.storage import Lake
from lake.tables import BARS_5M, FEATURES_5M
from lake.tables.features import FEATURES_REF_5M

TASKS_PER_CORE = 2
TABLES = {DEFAULT.name: FEATURES_5M, DEFAULT_REF.name: FEATURES_REF_5M}
BAR = ("open", "high", "low", "close", "volume")


def period_rows(service: FeatureService, bars: pl.DataFrame, period_start: int) -> pl.DataFrame:
    """Feature rows of one period, one per bar of it; columns of the service's gold table.

    Args:
        bars: rows of bars_5m_v1 of the period and its warm-up, any number of instruments, references among them.
    """
    held = {
        str(instrument): rows
        for (instrument,), rows in bars.sort("open_time").group_by("instrument", maintain_order=True)
    }
    parts = [_instrument_rows(service, held, name, period_start) for name in held]
    return pl.concat(parts) if parts else pl.DataFrame(schema=pl.Schema(TABLES[service.name].schema))


def _instrument_rows(
    service: FeatureService, held: dict[str, pl.DataFrame], instrument: str, period_start: int
) -> pl.DataFrame:
    bars = held[instrument]
    times = bars["open_time"].dt.epoch("us").to_numpy()
    names = reference_ids(service, (instrument,))
    observed = {name: _closes(held[other]) for name, other in names.items() if other in held}
    matrix, complete = widened(service, times, bars.select(BAR).to_numpy(), observed)
    values = compute_period(service, times, matrix, period_start)
    # A row is known when the last of the bars behind it is: a late correction in the warm-up delays it.
    own = pl.col("available_time").cum_max()
    if names:
        own = pl.max_horizontal(own, pl.Series(complete).cast(pl.Datetime("us", "UTC")))
    known = bars.with_columns(available_time=own).filter(
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
        .select(TABLES[service.name].schema.names)
    )


def reference_ids(service: FeatureService, instruments: Iterable[str]) -> dict[str, str]:
    """Instrument ids of the references that the service reads, by input name: same venue and quote."""
    found: dict[str, str] = {}
    for instrument in instruments:
        venue, _, symbol = instrument.partition(":")
        quote = symbol.partition("/")[2]
        found |= {r.name: f"{venue}:{r.base}/{quote}" for r in REFERENCES if r.name in service.extras}
    return found


def _closes(bars: pl.DataFrame) -> Observations:
    events, available = (bars[name].dt.epoch("us").to_numpy() for name in ("event_time", "available_time"))
    return Observations(events, available, bars["close"].to_numpy())


def bars_of_period(
    lake: Lake, version: int, service: FeatureService, period_start: int, names: tuple[str, ...]
) -> pl.DataFrame:
    """The bars that the rows of one period depend on, those of the references among them."""
    names = tuple(dict.fromkeys((*names, *(other for n in names for other in reference_ids(service, (n,)).values()))))
    interval = Interval(service.periods.scan_start(period_start), service.periods.end(period_start))
    first, last = (month_of(interval.start), month_of(interval.end - 1))
    return (
        lake.scan(BARS_5M, interval, version)
        .filter(pl.col("month").is_between(pl.lit(first), pl.lit(last)), pl.col("instrument").is_in(list(names)))
        .select("instrument", "open_time", "event_time", "available_time", "month", *BAR)
        .collect()
    )


def distribute(
    session: SparkSession, lake: Lake, version: int, interval: Interval, names: tuple[str, ...],
    service: FeatureService = DEFAULT,
) -> DataFrame:  # fmt: skip
    """Feature rows of the interval, a few neighbouring periods per task."""
    schema = TABLES[service.name].schema
    starts = list(service.periods.starts(interval.start, interval.end - 1))
    bounds = to_datetime(interval.start), to_datetime(interval.end)

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for at in batch.column(0).to_pylist():
                bars = bars_of_period(lake, version, service, starts[at], names)
                rows = period_rows(service, bars, starts[at])
                inside = pl.col("open_time") >= bounds[0], pl.col("open_time") < bounds[1]
                kept = rows.filter(*inside, pl.col("instrument").is_in(names))
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
    changed = lake.changed(BARS_5M, lake.watermark(TABLES[service.name], BARS_5M), version)
    if changed is None:
        return None
    periods = service.periods
    reach = periods.end(periods.start(changed.end - 1 + service.periods.start(0) - periods.scan_start(0)))
    return Interval(changed.start, min(end, reach))


def _other_service(lake: Lake, service: FeatureService) -> bool:
    """Whether gold holds rows of another version of the service."""
    table = TABLES[service.name]
    if not lake.exists(table):
        return False
    held = lake.scan(table).select(pl.col("service_hash").unique()).collect()["service_hash"]
    return set(held) - {service.content_hash} != set()


def run(job: Job) -> dict[str, Any]:
    lake, say = job.lake, Stages("build_features")
    service = services()[getattr(job.arguments, "service", DEFAULT.name)]
    table = TABLES[service.name]
    names = tuple(i.id for i in job.instruments)
    with writing(job.home.home, table):
        version = lake.version(BARS_5M)
        interval = interval_to_build(job, service, version)
        merged = Merged(lake.version(table) if lake.exists(table) else -1)
        if interval:
            session = spark_session(lake, "build_features")
            say("Spark is up")
            whole = job.interval is None and not job.arguments.instruments
            rows = distribute(session, lake, version, interval, names, service).persist()
            merged = merge(session, lake, table, rows, interval, job.run_id, {BARS_5M.name: version} if whole else {})
            say(f"{table.name} v{merged.version}: {merged.inserted:,} new, {merged.updated:,} changed")
    return {
        "table": table.name,
        "version": merged.version if merged.version >= 0 else None,
        "rows": merged.rows,
        "unchanged": merged.unchanged,
        "start": format_time(interval.start) if interval else None,
        "end": format_time(interval.end) if interval else None,
        "reads": {BARS_5M.name: version},
        "service_hash": service.content_hash,
    }


def arguments() -> Parser:
    """What every job takes, and the service."""
    options = parser("build_features", __doc__)
    options.add_argument("--service", choices=tuple(TABLES), default=DEFAULT.name, help=f"default {DEFAULT.name}")
    return options


if __name__ == "__main__":
    main("build_features", run, arguments())
