"""Rows of the lake's series tables by hand: the columns a test names, and something harmless in the others."""

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from lake.table import Table
from lake.tables import FUNDING, MARKS, OBSERVATIONS, OPEN_INTEREST, OPTION_SURFACE, TEXT_FEATURES
from tests.lake.raw_bars import BTC, START

PERPETUAL = f"{BTC}:USDT"
TIME = pl.Datetime("us", "UTC")


def rows(table: Table, events: Any, delays: Any, **columns: Any) -> pl.DataFrame:
    """Rows of the table: event times in µs, how much later each was available, and what the test says of them."""
    count = len(events)
    times = {"event_time": np.asarray(events), "available_time": np.asarray(events) + np.asarray(delays)}
    frame = pl.DataFrame([pl.Series(name, one, pl.Int64).cast(TIME) for name, one in times.items()])
    given = {
        k: pl.Series(k, v if hasattr(v, "__len__") and not isinstance(v, str) else [v] * count)
        for k, v in columns.items()
    }
    frame = frame.with_columns(**given).with_columns(
        day=pl.col("event_time").dt.strftime("%Y-%m-%d"), month=pl.col("event_time").dt.strftime("%Y-%m")
    )
    types = pl.Schema(table.schema)
    for column in table.columns:
        if column.name not in frame.columns:
            plain = None if column.nullable else "x" if column.type == pa.string() else 1
            value = pl.lit([], types[column.name]) if pa.types.is_list(column.type) else pl.lit(plain)
            frame = frame.with_columns(value.cast(types[column.name]).alias(column.name))
    return frame.select(pl.col(name).cast(types[name]) for name in table.schema.names)


def derivatives(count: int, step: int, delay: Any = 0, seed: int = 3) -> dict[str, pl.DataFrame]:
    """Every table that `derivatives_5m` reads, about BTC: a row per step, from the end of the first on."""
    rng = np.random.default_rng(seed)
    events = START + step * np.arange(1, count + 1)

    def some() -> Any:
        return 1.0 + rng.random(count)

    at = {"events": events, "delays": delay}
    surface = {"instrument": "deribit:BTC"} | {name: some() / 2 for name in ("atm_iv", "skew_25d", "term_slope")}
    return {
        FUNDING.name: rows(FUNDING, **at, instrument=PERPETUAL, rate=some() / 1e4),
        MARKS.name: rows(MARKS, **at, instrument=PERPETUAL, mark_price=some(), index_price=some()),
        OPEN_INTEREST.name: rows(OPEN_INTEREST, **at, instrument=PERPETUAL, quantity=some(), unit="base"),
        OPTION_SURFACE.name: pl.concat(
            [
                rows(OPTION_SURFACE, **at, **surface, tenor="30d"),
                rows(OPTION_SURFACE, **at, **(surface | {"term_slope": some() / 9}), tenor="90d"),
            ]
        ),
        TEXT_FEATURES.name: rows(
            TEXT_FEATURES, **at, entity="BTC", window="24h", texts=rng.integers(0, 99, count), sentiment=some() - 1.0
        ),
    }


def observed(metric: str, entity: str, events: Any, delays: Any, values: Any) -> pl.DataFrame:
    """Rows of observations_v1 of one series."""
    return rows(OBSERVATIONS, events, delays, source="test", metric=metric, entity=entity, value=values)
