"""The one way into bronze, and into every table that delta-rs appends to: what is held is skipped, once and for all.

`store` reads which keys the newest version holds, and commits what is missing on exactly that version. If another run
committed in between, it reads again: two runs, a rerun, or a kill at any point leave each key once.
"""

import random
import time

import polars as pl
import pyarrow as pa

from lake.errors import Overtaken
from lake.storage import APPEND_ATTEMPTS, Lake
from lake.table import Table

FEW = 64
"""Distinct values of a key column up to which they narrow the search for held rows."""


def declared(rows: pl.DataFrame, table: Table) -> pa.Table:
    """The rows in the declared Arrow types: Delta and Spark do not know the string views that Polars prefers."""
    return rows.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(table.schema)


def store(lake: Lake, table: Table, rows: pa.Table | pl.DataFrame, run_id: str) -> int:
    """Append the rows whose key is not held yet, each once, in one commit; returns how many were new.

    Raises:
        Overtaken: other runs committed first, every time.
        LeaseLost: another run took over the table; nothing was committed.
    """
    frame = (rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(rows)).unique(
        list(table.key), keep="first", maintain_order=True
    )
    for attempt in range(APPEND_ATTEMPTS):
        base = lake.newest(table)
        new = frame if base is None else missing(lake, table, frame, base)
        if new.is_empty():
            return 0
        try:
            lake.append_onto(table, declared(new.select(table.schema.names), table), base, run_id)
            return new.height
        except Overtaken:
            if attempt == APPEND_ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0.5, 1.0) * min(0.01 * 2**attempt, 0.5))
    raise AssertionError("unreachable")


def missing(lake: Lake, table: Table, frame: pl.DataFrame, version: int) -> pl.DataFrame:
    """The rows whose key the table does not hold at that version; only files that could hold one are opened."""
    held = lake.scan(table, version=version).filter(_near(table, frame)).select(table.key).collect()
    return frame.join(held, on=list(table.key), how="anti", nulls_equal=True)


def _near(table: Table, frame: pl.DataFrame) -> pl.Expr:
    """What every held duplicate of a row satisfies, in terms that files' partitions and statistics can answer."""
    narrow = pl.lit(True)
    timed = table.time_column in table.key
    if timed:
        narrow &= pl.col(table.time_column).is_between(frame[table.time_column].min(), frame[table.time_column].max())
    for name in table.key:
        if frame.schema[name].is_integer():
            narrow &= pl.col(name).is_between(frame[name].min(), frame[name].max()) | pl.col(name).is_null()
    for name in dict.fromkeys((*table.partition, *table.key)):
        follows = name in table.key or (timed and name in ("month", "day"))  # the calendar follows the time
        if follows and frame.schema[name] == pl.String and frame[name].n_unique() <= FEW:
            narrow &= pl.col(name).is_in(frame[name].unique().to_list(), nulls_equal=True)
    return narrow
