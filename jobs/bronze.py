"""What bronze holds already: a payload is stored once."""

import polars as pl
import pyarrow as pa

from lake.storage import Lake
from lake.table import Table
from lake.tables import RAW_BARS


def declared(rows: pl.DataFrame, table: Table) -> pa.Table:
    """The rows in the declared Arrow types: Delta and Spark do not know the string views that Polars prefers."""
    return rows.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(table.schema)


def not_held(lake: Lake, rows: pa.Table) -> pa.Table:
    """The rows whose venue, stream, instrument, time and payload bronze does not hold yet, each once."""
    new = pl.DataFrame(rows).unique(list(RAW_BARS.key), keep="first", maintain_order=True)
    if not lake.exists(RAW_BARS) or new.is_empty():
        return declared(new, RAW_BARS)
    times = new["event_time"]
    held = (
        lake.scan(RAW_BARS)
        .filter(
            pl.col("month").is_in(new["month"].unique().to_list()),
            pl.col("stream").is_in(new["stream"].unique().to_list()),
            pl.col("event_time").is_between(times.min(), times.max()),
        )
        .select(RAW_BARS.key)
        .collect()
    )
    return declared(new.join(held, on=list(RAW_BARS.key), how="anti"), RAW_BARS)
