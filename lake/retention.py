"""Which versions maintenance must keep: a registered model leases the versions it was trained on."""

import time
from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from lake.intervals import DAY, to_datetime
from lake.storage import Lake
from lake.table import Table
from lake.tables.leases import LEASES

LEASE_DAYS = 400
"""Long enough to train the model again a year later, from the same rows."""


def record(lake: Lake, versions: Mapping[str, int], model_name: str, model_version: int, days: int = LEASE_DAYS) -> int:
    """Lease table versions (name to version) for a registered model; a lease held already is left as it is.

    Returns:
        How many are new.
    """
    now = time.time_ns() // 1000
    mine = pl.col("model_name").eq(model_name) & pl.col("model_version").eq(model_version)
    held: set[tuple[str, int]] = set()
    if lake.exists(LEASES):
        held = set(lake.scan(LEASES).filter(mine).select("table", "version").collect().iter_rows())
    rows = [
        {
            "table": name, "version": version, "model_name": model_name, "model_version": model_version,
            "event_time": now, "available_time": now, "expiry_time": now + days * DAY,
        }
        for name, version in versions.items()
        if (name, version) not in held
    ]  # fmt: skip
    if rows:
        lake.append(LEASES, pa.Table.from_pylist(rows, schema=LEASES.schema))
    return len(rows)


def leases(lake: Lake, now: int | None = None) -> pl.DataFrame:
    """The leases that stand at `now` (UTC µs; None: this instant), by table and version."""
    if not lake.exists(LEASES):
        return pl.DataFrame(schema=pl.Schema(LEASES.schema))
    at = to_datetime(time.time_ns() // 1000 if now is None else now)
    return lake.scan(LEASES).filter(pl.col("expiry_time") > at).sort("table", "version").collect()


def leased(lake: Lake, table: Table, now: int | None = None) -> list[int]:
    """Versions of the table that somebody leases, ascending."""
    return leases(lake, now).filter(pl.col("table") == table.name)["version"].unique().sort().to_list()
