"""Build gold features: the default feature service over five-minute bars, or with --service another that is stored.

Reads   silver bars_5m_v1
Writes  gold features_5m_v1, or features_ref_5m_v1 with --service default_ref_5m

Reads   bars_5m_v1, silver funding_v1, marks_v1, open_interest_v1, gold option_surface_v1, text_features_v1
Writes  gold features_derivatives_5m_v1 with --service derivatives_5m

Reads   bars_5m_v1 as whole days, silver observations_v1
Writes  gold features_chain_1d_v1 with --service chain_1d

A task takes one period (a week; of days a year) of bars and the warm-up before it, and runs the same compiled scan
that live feeds one bar at a time; Spark distributes the periods and `lake.spark.merge` commits what is new or changed.

Without --start and --end the job takes every bar that gold has not seen: a changed bar moves the rows of its own period
from there on, and the next period's where it lies in its warm-up; so does a changed row of a series for as long as it
may count. A table that does not exist yet leaves nulls. When the service changed, everything is built anew.

A corrected bar moves rows that were known before: as they were known they stand in the table's history, so that
`Lake.as_of` answers for gold too.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from feature_store.alignment import Observations, observations, widened
from feature_store.inputs import reference_ids
from feature_store.period import Periods
from feature_store.scan import compute_period
from feature_store.service import DEFAULT, FeatureService, services
from feature_store.stored import table_of
from jobs.command import Job, main, parser
from jobs.corrections import first_known, no_history, said_before
from jobs.lock import writing
from jobs.progress import Stages
from jobs.series_rows import series_rows, tables_at, tables_read, versions_read
from jobs.silver import keep_history
from lake.command import Parser
from lake.intervals import MINUTE, Interval, format_time, month_of, to_datetime
from lake.presence import require_rows
from lake.spark import Merged, merge, spark_schema, spark_session
from lake.storage import Lake
from lake.table import Table
from lake.tables import BARS_5M
from lake.tables.features import SERVICE_TABLES

TASKS_PER_CORE = 2
SOURCE_STEP = 5 * MINUTE
STRETCH_ROWS = 200_000
"""Bars that a task reads at once, about: 20 MB."""
BAR = ("open", "high", "low", "close", "volume")
REPLACED = "superseded_time IS NOT NULL"


def period_rows(
    service: FeatureService, bars: pl.DataFrame, period_start: int, told: Mapping[str, pl.DataFrame] | None = None,
    references: pl.DataFrame | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Feature rows of one period, one per bar of it; columns of the service's gold table.

    Args:
        bars: in the service's timeframe, of the period and its warm-up, any number of instruments, references among
            them; the columns that `bars_of` gives.
        told: by instrument the rows of its series, as `series_rows` gives them.
        references: bars in which to look references up, as `first_known` gives them (default: `bars`).
    """
    bars = bars.sort("instrument", "open_time")
    beside = _by_instrument(bars if references is None else references) if service.extras else {}
    times, numbers = bars["open_time"].dt.epoch("us").to_numpy(), bars.select(BAR).to_numpy()
    parts, complete = [np.empty((0, len(service.feature_names)))], np.zeros(len(bars), np.int64)
    end = 0
    for name, count in bars.group_by("instrument", maintain_order=True).len().iter_rows():
        at, end = end, end + count
        others = reference_ids(service.extras, name)
        observed = {own: _closes(beside[other]) for own, other in others.items() if other in beside}
        observed |= observations(told[name], service, name) if told and name in told else {}
        matrix, known = widened(service, times[at:end], numbers[at:end], observed)
        parts.append(compute_period(service, times[at:end], matrix, period_start))
        complete[at:end] = known if others else 0
    # A row is known when the last of the bars behind it is: a late correction in the warm-up delays it.
    behind = pl.col("available_time").cum_max().over("instrument")
    arrived = pl.Series(complete).cast(pl.Datetime("us", "UTC"))
    inside = (times >= period_start) & (times < service.periods.end(period_start))
    known_rows = bars.select(
        "instrument", "open_time", "event_time", pl.max_horizontal(behind, arrived), "month",
        service_hash=pl.lit(service.content_hash),
    ).filter(pl.Series(inside))  # fmt: skip
    columns = pl.DataFrame(np.concatenate(parts), schema=list(service.feature_names), orient="row")
    columns = columns.with_columns(pl.all().cast(pl.Float64).fill_nan(None))
    return known_rows.hstack(columns).select(table_of(service).schema.names)


def period_history(
    service: FeatureService, bars: pl.DataFrame, replaced: pl.DataFrame, period_start: int, standing: pl.DataFrame,
    told: Mapping[str, pl.DataFrame] | None = None,
) -> pl.DataFrame:  # fmt: skip
    """The period's rows as they were known before corrections of bars moved them; `standing`'s columns and
    `superseded_time` (`jobs.corrections.said_before`).

    Args:
        bars: silver's five-minute bars that stand, as `bars_of` gives them.
        replaced: those that corrections replaced, with `superseded_time`.
        standing: what `period_rows` gives for the bars that stand.
    """
    if replaced.is_empty():
        return no_history(standing)
    references = in_timeframe(service, first_known(bars, replaced))

    def rows(known: pl.DataFrame) -> pl.DataFrame:
        return period_rows(service, in_timeframe(service, known), period_start, told, references)

    found = [no_history(standing)]
    for name in standing["instrument"].unique(maintain_order=True):
        own = pl.col("instrument") == name
        known = said_before(
            bars.filter(own), replaced.filter(own), standing.filter(own), ("instrument", "open_time"), rows
        )
        found.append(known)
    return pl.concat(found)


def _by_instrument(bars: pl.DataFrame) -> dict[str, pl.DataFrame]:
    groups = bars.sort("open_time").group_by("instrument", maintain_order=True)
    return {str(instrument): rows for (instrument,), rows in groups}


def _closes(bars: pl.DataFrame) -> Observations:
    events, available = (bars[name].dt.epoch("us").to_numpy() for name in ("event_time", "available_time"))
    return Observations(events, available, bars["close"].to_numpy())


def longer_bars(bars: pl.DataFrame, step: int) -> pl.DataFrame:
    """One instrument's bars of `step` µs out of shorter ones; one whose last shorter bar is missing is left out.

    A hole further inside is the venue's. A bar is known when all of those within are.
    """
    opens = pl.col("open_time").dt.epoch("us")
    return (
        bars.sort("open_time")
        .group_by("instrument", (opens - opens % step).cast(pl.Datetime("us", "UTC")), maintain_order=True)
        .agg(
            pl.col("event_time").last(),
            pl.col("available_time").max(),
            pl.col("month").first(),
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
        )
        .filter(pl.col("event_time") - pl.col("open_time") == pl.duration(microseconds=step))
    )


def in_timeframe(service: FeatureService, bars: pl.DataFrame) -> pl.DataFrame:
    """Five-minute bars in the service's timeframe."""
    step = service.periods.bar_us
    if step == SOURCE_STEP:
        return bars
    parts = [longer_bars(part, step) for _, part in bars.group_by("instrument", maintain_order=True)]
    return pl.concat(parts) if parts else bars.clear()


def bars_of(
    lake: Lake, versions: Mapping[str, int], service: FeatureService, interval: Interval, names: tuple[str, ...]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The five-minute bars of the instruments and their references: those that stand, and those that corrections
    replaced, with `superseded_time`."""
    others = (other for name in names for other in reference_ids(service.extras, name).values())
    names = tuple(dict.fromkeys((*names, *others)))
    months = pl.col("month").is_between(pl.lit(month_of(interval.start)), pl.lit(month_of(interval.end - 1)))
    columns = ("instrument", "open_time", "event_time", "available_time", "month", *BAR)

    def read(table: Table, *more: str) -> pl.DataFrame:
        rows = lake.scan(table, interval, versions[table.name])
        return rows.filter(months, pl.col("instrument").is_in(list(names))).select(*columns, *more).collect()

    bars, history = read(BARS_5M), BARS_5M.history()
    if history.name not in versions:
        return bars, no_history(bars)
    return bars, read(history, "superseded_time")


def stretches(starts: Sequence[int], service: FeatureService, instruments: int) -> Iterator[list[int]]:
    """Neighbouring periods to read at once: a file holds a month of bars, and opening it for each week costs more."""
    bars = (service.periods.end(starts[0]) - starts[0]) // SOURCE_STEP if starts else 1
    most = max(1, STRETCH_ROWS // (bars * instruments))
    for first in range(0, len(starts), most):
        yield list(starts[first : first + most])


def _scanned(service: FeatureService, period_start: int) -> Interval:
    return Interval(service.periods.scan_start(period_start), service.periods.end(period_start))


def _within(interval: Interval) -> pl.Expr:
    return pl.col("open_time").is_between(to_datetime(interval.start), to_datetime(interval.end), closed="left")


def distribute(
    session: SparkSession, lake: Lake, versions: Mapping[str, int], interval: Interval, names: tuple[str, ...],
    service: FeatureService = DEFAULT,
) -> DataFrame:  # fmt: skip
    """Feature rows of the interval, a few neighbouring periods per task; `superseded_time` where they stand no more."""
    nullable = pa.schema([field.with_nullable(True) for field in table_of(service).history().schema])
    starts = list(service.periods.starts(interval.start, interval.end - 1))

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        mine = [starts[at] for batch in batches for at in batch.column(0).to_pylist()]
        for stretch in stretches(mine, service, len(names)):
            reach = Interval(_scanned(service, stretch[0]).start, _scanned(service, stretch[-1]).end)
            read = bars_of(lake, versions, service, reach, names)
            for start in stretch:
                scanned = _scanned(service, start)
                bars, replaced = (rows.filter(_within(scanned)) for rows in read)
                tables = tables_at(lake, versions, service, scanned)
                told = {name: series_rows(tables, name).collect() for name in names} if tables else None
                beside = in_timeframe(service, first_known(bars, replaced))
                rows = period_rows(service, in_timeframe(service, bars), start, told, beside)
                before = period_history(service, bars, replaced, start, rows, told)
                rows = pl.concat([rows, before], how="diagonal")
                kept = rows.filter(_within(interval), pl.col("instrument").is_in(names))
                yield from kept.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(nullable).to_batches()

    tasks = min(len(starts), TASKS_PER_CORE * session.sparkContext.defaultParallelism)
    return session.range(0, len(starts), 1, tasks).mapInArrow(work, spark_schema(nullable))


def interval_to_build(job: Job, service: FeatureService, versions: Mapping[str, int]) -> Interval | None:
    """The open times whose rows may differ from what gold holds; None where there are none."""
    lake = job.lake
    everything = lake.changed(BARS_5M, None, versions[BARS_5M.name])
    if everything is None:
        return None
    step = service.periods.bar_us
    start, end = everything.start // step * step, -(-everything.end // step) * step
    if job.interval is not None:
        start, end = max(start, job.interval.start), min(end, job.interval.end)
    elif not _other_service(lake, service):
        moved = _moved(lake, service, versions)
        if not moved:
            return None
        start, end = max(start, min(one.start for one in moved)), min(end, max(one.end for one in moved))
    return Interval(start, end) if start < end else None


def _moved(lake: Lake, service: FeatureService, versions: Mapping[str, int]) -> list[Interval]:
    """Per input that changed since gold was built: the open times of the rows that it may move."""
    gold, periods, moved = table_of(service), service.periods, []
    told = [
        (one, table_age, periods.bar_us)
        for table, table_age in tables_read(service)
        for one in (table, table.history())
    ]
    for table, age, before in [(BARS_5M, 0, 0), (BARS_5M.history(), 0, 0), *told]:
        if table.name not in versions:
            continue
        changed = lake.changed(table, lake.watermark(gold, table), versions[table.name])
        if changed is not None:
            moved.append(_reach(periods, changed.start - before, changed.end - 1 + age))
    return moved


def _reach(periods: Periods, first: int, last: int) -> Interval:
    """From the bar at `first` to the end of the last period that has `last` in its warm-up."""
    return Interval(first // periods.bar_us * periods.bar_us, periods.end(periods.start(last + periods.warm_up_us)))


def _other_service(lake: Lake, service: FeatureService) -> bool:
    """Whether gold holds rows of another version of the service."""
    table = table_of(service)
    if not lake.exists(table):
        return False
    held = lake.scan(table).select(pl.col("service_hash").unique()).collect()["service_hash"]
    return set(held) - {service.content_hash} != set()


def run(job: Job) -> dict[str, Any]:
    lake, say = job.lake, Stages("build_features")
    service = services()[getattr(job.arguments, "service", DEFAULT.name)]
    table = table_of(service)
    names = job.names
    with writing(job.home.home, table):
        require_rows(lake, BARS_5M)
        # A correction moves the old row into history first: read in this order, it is in at least one of the two.
        held = {one.name: lake.newest(one) for one in (BARS_5M, BARS_5M.history())}
        versions = {name: at for name, at in held.items() if at is not None} | versions_read(lake, service)
        interval = interval_to_build(job, service, versions)
        merged = Merged(lake.version(table) if lake.exists(table) else -1)
        if interval:
            session = spark_session(lake, "build_features")
            say("Spark is up")
            whole = job.interval is None and not job.arguments.instruments
            rows = distribute(session, lake, versions, interval, names, service).persist()
            standing, before = rows.where(f"NOT ({REPLACED})").drop("superseded_time"), rows.where(REPLACED)
            keep_history(job, session, table, standing, before, before.count(), interval)
            merged = merge(session, lake, table, standing, interval, job.run_id, versions if whole else {})
            say(f"{table.name} v{merged.version}: {merged.inserted:,} new, {merged.updated:,} changed")
    return {
        "table": table.name,
        "version": merged.version if merged.version >= 0 else None,
        "rows": merged.rows,
        "unchanged": merged.unchanged,
        "start": format_time(interval.start) if interval else None,
        "end": format_time(interval.end) if interval else None,
        "reads": versions,
        "service_hash": service.content_hash,
    }


def arguments() -> Parser:
    """What every job takes, and the service."""
    options = parser("build_features", __doc__)
    options.add_argument(
        "--service", choices=tuple(SERVICE_TABLES), default=DEFAULT.name, help=f"default {DEFAULT.name}"
    )
    return options


if __name__ == "__main__":
    main("build_features", run, arguments())
