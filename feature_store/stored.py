"""Which table of the lake holds a service's rows, and what was known of it when."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from feature_store.errors import HashMismatch
from feature_store.service import FeatureService
from lake.errors import UsageError
from lake.intervals import Interval, to_datetime
from lake.storage import Lake
from lake.table import Table
from lake.tables.features import SERVICE_TABLES


@dataclass(frozen=True, slots=True)
class Versions:
    """The Delta versions that a read is pinned to; a table's history counts as part of it."""

    table: int
    history: int | None = None

    @classmethod
    def newest(cls, lake: Lake, table: Table) -> "Versions":
        """Raises:
        NothingStored: the table has no commit yet.
        """
        # A correction moves the old row into history first: read in this order, it is in at least one of the two.
        version = lake.version(table)
        return cls(version, lake.newest(table.history()))

    def named(self, table: Table) -> dict[str, int]:
        held = {table.name: self.table}
        return held if self.history is None else held | {table.history().name: self.history}

    @classmethod
    def of(cls, table: Table, named: Mapping[str, int]) -> "Versions":
        return cls(named[table.name], named.get(table.history().name))


def table_of(service: FeatureService) -> Table:
    """The gold table of a service.

    Raises:
        UsageError: no job stores this service; the message lists those that are.
    """
    if service.name not in SERVICE_TABLES:
        raise UsageError(
            f"service {service.name}: no table of the lake holds it, expected one of {', '.join(SERVICE_TABLES)}. "
            "Compute it from files: python -m feature_store compute."
        )
    return SERVICE_TABLES[service.name]


def known_rows(lake: Lake, service: FeatureService, versions: Versions, events: Interval) -> pl.DataFrame:
    """Every row of the events' interval that ever stood, corrected ones beside what replaced them, by available_time.

    Columns: instrument, event_time, available_time and the service's.

    Raises:
        HashMismatch: rows that other code computed.
    """
    table = table_of(service)
    parts = [lake.scan(table, None, versions.table)]
    if versions.history is not None:
        parts.append(lake.scan(table.history(), None, versions.history))
    time = pl.col("event_time")
    names = ("instrument", "event_time", "available_time", "service_hash", *service.feature_names)
    wanted = [part.filter(time >= to_datetime(events.start), time < to_datetime(events.end)) for part in parts]
    rows = pl.concat([part.select(names) for part in wanted]).collect()
    require_hash(service, rows["service_hash"], table.name)
    return rows.drop("service_hash").sort("available_time", "event_time", "instrument")


def require_hash(service: FeatureService, hashes: pl.Series, where: str) -> None:
    """Raises:
    HashMismatch: rows that other code computed.
    """
    others = sorted(set(hashes.unique()) - {service.content_hash})
    if others:
        raise HashMismatch(
            f"{where}: expected rows of {service.name} {service.content_hash[:12]}, found "
            f"{', '.join(one[:12] for one in others)}. Run jobs.build_features again."
        )
