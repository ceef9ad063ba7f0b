"""What the lake's tables tell of the series that feature services read, as long rows like those of observations_v1.

Without Spark. Rows that a correction replaced stand among a table's rows: `alignment.newest_known` goes by
available_time, so that each row of a feature sees what was said by then and a correction never reaches earlier.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

from feature_store.inputs import SERIES
from feature_store.service import FeatureService
from lake.intervals import Interval, to_datetime
from lake.storage import Lake
from lake.table import Table
from lake.tables import FUNDING, MARKS, OBSERVATIONS, OPEN_INTEREST, OPTION_SURFACE, TEXT_FEATURES

PARTITIONS: Final = {"day": "%Y-%m-%d", "month": "%Y-%m"}
COLUMNS: Final = ("source", "entity", "metric", "event_time", "available_time", "value")
TOLD: Final[dict[str, tuple[Table, pl.Expr, pl.Expr]]] = {
    "funding_rate": (FUNDING, pl.col("rate"), pl.lit(True)),
    "mark_price": (MARKS, pl.col("mark_price"), pl.lit(True)),
    "index_price": (MARKS, pl.col("index_price"), pl.lit(True)),
    "open_interest": (OPEN_INTEREST, pl.col("quantity"), pl.col("unit") == "base"),
    "atm_iv": (OPTION_SURFACE, pl.col("atm_iv"), pl.col("tenor") == "30d"),
    "skew_25d": (OPTION_SURFACE, pl.col("skew_25d"), pl.col("tenor") == "30d"),
    "term_slope": (OPTION_SURFACE, pl.col("term_slope"), pl.col("tenor") == "90d"),
    "texts": (TEXT_FEATURES, pl.col("texts").cast(pl.Float64), pl.col("window") == "24h"),
    "sentiment": (TEXT_FEATURES, pl.col("sentiment"), pl.col("window") == "24h"),
}
"""Where a metric stands: table, column, which of its rows. Every other metric is a row of observations_v1, which is not
asked for these: a history's daily mean of funding is no settled rate."""


def perpetual_of(instrument: str) -> str:
    """The linear perpetual of the same venue, base and quote; an instrument with a settlement is its own."""
    quote = instrument.partition("/")[2]
    return instrument if ":" in quote else f"{instrument}:{quote}"


def series_rows(tables: Mapping[str, pl.LazyFrame], instrument: str) -> pl.LazyFrame:
    """The series of one instrument, in an order that does not depend on that of the tables; nulls are left out.

    Funding, marks and open interest are those of its own perpetual: venues do not mix. Surfaces and texts are the base
    asset's, whichever venue told them.

    Args:
        tables: rows by table name, those of the history among them; a table that is absent tells nothing.
    """
    base = instrument.partition(":")[2].partition("/")[0]
    parts = [pl.LazyFrame(schema=pl.Schema(OBSERVATIONS.schema)).select(COLUMNS)]
    for metric, (table, value, which) in TOLD.items():
        if table.name in tables:
            source, own = _about(table, instrument, base)
            told = {"source": source, "entity": pl.lit(base), "metric": pl.lit(metric), "value": value}
            parts.append(tables[table.name].filter(own, which).with_columns(**told).select(COLUMNS))
    if OBSERVATIONS.name in tables:
        elsewhere = pl.col("metric").is_in(list(TOLD))
        entities = pl.col("entity").is_in([series.entity_of(instrument) for series in SERIES])
        parts.append(tables[OBSERVATIONS.name].filter(entities, ~elsewhere).select(COLUMNS))
    return (
        pl.concat(parts).drop_nulls("value").sort("entity", "metric", "available_time", "event_time", "source", "value")
    )


def _about(table: Table, instrument: str, base: str) -> tuple[pl.Expr, pl.Expr]:
    """Who told a row of the table, and whether it is about the instrument."""
    if table is TEXT_FEATURES:
        return pl.lit("texts"), pl.col("entity") == base
    venue = pl.col("instrument").str.split(":").list.first()
    if table is OPTION_SURFACE:
        return venue, pl.col("instrument").str.ends_with(f":{base}")
    return venue, pl.col("instrument") == perpetual_of(instrument)


def tables_read(service: FeatureService) -> list[tuple[Table, int]]:
    """The tables that tell the service's series, and for how long after its event time a row of each may count, µs."""
    found: dict[str, tuple[Table, int]] = {}
    for series in SERIES:
        if series.name in service.extras:
            table = TOLD[series.metric][0] if series.metric in TOLD else OBSERVATIONS
            found[table.name] = table, max(series.max_age_us, found.get(table.name, (table, 0))[1])
    return list(found.values())


def versions_read(lake: Lake, service: FeatureService) -> dict[str, int]:
    """The newest versions of those tables and their histories, by name; what has no commit yet is absent."""
    # A correction moves the old row into history first: read in this order, it is in at least one of the two.
    tables = [one for table, _ in tables_read(service) for one in (table, table.history())]
    return {table.name: version for table in tables if (version := lake.newest(table)) is not None}


def tables_at(
    lake: Lake, versions: Mapping[str, int], service: FeatureService, bars: Interval
) -> dict[str, pl.LazyFrame]:
    """Lazy rows of those tables, their histories' among them, that may count by the close of a bar of the interval."""
    found = {}
    for table, age in tables_read(service):
        events = Interval(bars.start - age, bars.end + 1)
        parts = [
            _partitions(table, lake.scan(one, events, versions[one.name]), events).select(table.schema.names)
            for one in (table, table.history())
            if one.name in versions
        ]
        if parts:
            found[table.name] = pl.concat(parts)
    return found


def _partitions(table: Table, rows: pl.LazyFrame, events: Interval) -> pl.LazyFrame:
    (name,) = table.partition
    first, last = (to_datetime(at).strftime(PARTITIONS[name]) for at in (events.start, events.end))
    return rows.filter(pl.col(name).is_between(pl.lit(first), pl.lit(last)))
