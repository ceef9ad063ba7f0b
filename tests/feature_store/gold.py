"""Gold features without Spark: rows of the default service in a Delta table, for tests of what reads them."""

from pathlib import Path

import numpy as np
import polars as pl
from deltalake import write_deltalake

from feature_store.service import DEFAULT
from lake.intervals import MINUTE, to_datetime
from lake.storage import Lake
from lake.table import Table
from lake.tables import FEATURES_5M

START = 1_704_067_200_000_000  # 2024-01-01, a Monday
STEP = 5 * MINUTE
TIME = pl.Datetime("us", "UTC")


def gold_rows(
    instrument: str, count: int, first: int = 0, seed: int = 0, service_hash: str = DEFAULT.content_hash
) -> pl.DataFrame:
    """Random values in the table's columns, one row per bar, known a second after its close."""
    opens = START + STEP * (first + np.arange(count))
    values = np.random.default_rng([seed, first]).normal(size=(count, len(DEFAULT.feature_names)))
    times = {"open_time": opens, "event_time": opens + STEP, "available_time": opens + STEP + 1_000_000}
    frame = pl.DataFrame({name: pl.Series(at).cast(TIME) for name, at in times.items()})
    columns = {name: values[:, i] for i, name in enumerate(DEFAULT.feature_names)}
    return frame.with_columns(
        instrument=pl.lit(instrument),
        service_hash=pl.lit(service_hash),
        month=pl.col("open_time").dt.strftime("%Y-%m"),
        **{name: pl.Series(column) for name, column in columns.items()},
    ).select(FEATURES_5M.schema.names)


def put(lake: Lake, rows: pl.DataFrame, table: Table = FEATURES_5M, mode: str = "append") -> None:
    arrow = rows.select(table.schema.names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(table.schema)
    Path(lake.uri(table)).mkdir(parents=True, exist_ok=True)
    write_deltalake(lake.uri(table), arrow, mode=mode, partition_by=list(table.partition))  # type: ignore[call-overload]


def labels(instruments: list[str], times: list[int]) -> pl.DataFrame:
    """Every instrument at every time, UTC µs."""
    rows = [(name, to_datetime(at), float(at % 7)) for name in instruments for at in times]
    return pl.DataFrame(rows, {"instrument": pl.String, "decision_time": TIME, "label": pl.Float64}, orient="row")
