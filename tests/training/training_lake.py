"""A lake for tests with silver bars and gold features, written without Spark: delta-rs from a simulated market."""

from pathlib import Path

import numpy as np
import polars as pl
from deltalake import write_deltalake
from simulated_markets import five_minute_bars

from feature_store.scan import compute
from feature_store.service import DEFAULT
from lake.intervals import MINUTE
from lake.storage import Lake
from lake.table import Table
from lake.tables.bars import BARS_5M, PUBLICATION_DELAY
from lake.tables.features import FEATURES_5M
from market.scenario import Scenario, simulate_history


def write(lake: Lake, table: Table, rows: pl.DataFrame) -> None:
    """Append rows with the table's schema, whoever its writer is."""
    path = lake.uri(table)
    Path(path).mkdir(parents=True, exist_ok=True)
    write_deltalake(
        path, rows.select(table.schema.names).to_arrow().cast(table.schema),
        mode="append", partition_by=list(table.partition) or None,
    )  # fmt: skip


def _times(open_times: np.ndarray) -> pl.DataFrame:
    time = pl.Series("open_time", open_times, pl.Int64).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame({"open_time": time}).with_columns(
        event_time=pl.col("open_time") + pl.duration(microseconds=5 * MINUTE),
        available_time=pl.col("open_time") + pl.duration(microseconds=5 * MINUTE + PUBLICATION_DELAY),
        month=pl.col("open_time").dt.strftime("%Y-%m"),
    )


def bar_rows(instrument: str, open_times: np.ndarray, bars: np.ndarray) -> pl.DataFrame:
    """Rows of bars_5m_v1."""
    prices = pl.DataFrame(bars, schema=["open", "high", "low", "close", "volume"], orient="row")
    return _times(open_times).with_columns(
        *prices,
        instrument=pl.lit(instrument), quote_volume=pl.lit(None, pl.Float64), trade_count=pl.lit(None, pl.Int64),
        source=pl.lit("test"), payload_hash=pl.lit("00"),
    )  # fmt: skip


def feature_rows(instrument: str, open_times: np.ndarray, bars: np.ndarray) -> pl.DataFrame:
    """Rows of features_5m_v1."""
    values = pl.DataFrame(compute(DEFAULT, open_times, bars), schema=list(DEFAULT.feature_names), orient="row")
    return _times(open_times).with_columns(
        *values.fill_nan(None), instrument=pl.lit(instrument), service_hash=pl.lit(DEFAULT.content_hash)
    )


def build_lake(root: Path, seed: int, instruments: int = 3, days: int = 180) -> Lake:
    """A lake holding the first instruments of a simulated market."""
    lake = Lake(str(root))
    history = simulate_history(Scenario(seed=seed, days=days))
    named = [(name, *five_minute_bars(history, i)) for i, name in enumerate(history.instruments[:instruments])]
    write(lake, BARS_5M, pl.concat([bar_rows(*row) for row in named]))
    write(lake, FEATURES_5M, pl.concat([feature_rows(*row) for row in named]))
    return lake
