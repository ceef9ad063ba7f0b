"""Tables without a JVM: read, append, versions, content hash; through delta-rs and Polars.

Spark writes what jobs transform (lake/spark.py); tables whose declaration says `delta-rs` are written here.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import TableNotFoundError

from lake.errors import NothingStored
from lake.intervals import Interval, to_datetime
from lake.table import Table


@dataclass(frozen=True, slots=True)
class Lake:
    """A lake at `root`: an absolute folder or s3a://bucket/prefix."""

    root: str

    @property
    def is_remote(self) -> bool:
        return "://" in self.root

    def uri(self, table: Table) -> str:
        return f"{self.root}/{table.path}"

    def storage_options(self) -> dict[str, str]:
        """For delta-rs and Polars: the standard AWS_* variables; plain HTTP only for a loopback endpoint."""
        if not self.is_remote:
            return {}
        options = {k: v for k, v in os.environ.items() if k.startswith("AWS_")}
        if options.get("AWS_ENDPOINT_URL", "").startswith("http://127.0.0.1:"):
            options["AWS_ALLOW_HTTP"] = "true"
        return options

    def delta(self, table: Table, version: int | None = None) -> DeltaTable:
        """Raises:
        NothingStored: the table has no commit yet.
        """
        try:
            return DeltaTable(self._rs_uri(table), version=version, storage_options=self.storage_options())
        except TableNotFoundError:
            raise NothingStored(
                f"{table.name}: nothing stored in {self.root} yet. Run the job that writes it."
            ) from None

    def exists(self, table: Table) -> bool:
        return DeltaTable.is_deltatable(self._rs_uri(table), storage_options=self.storage_options())

    def version(self, table: Table) -> int:
        return self.delta(table).version()

    def scan(self, table: Table, interval: Interval | None = None, version: int | None = None) -> pl.LazyFrame:
        """Lazy rows of the interval on the table's time column; every column, in the declared order.

        Raises:
            NothingStored: the table has no commit yet.
        """
        frame = pl.scan_delta(self.delta(table, version)).select(table.schema.names)
        if interval is None:
            return frame
        time = pl.col(table.time_column)
        return frame.filter(time >= to_datetime(interval.start), time < to_datetime(interval.end))

    def append(self, table: Table, rows: pa.Table, run_id: str = "") -> int:
        """Append rows in one commit and return the version.

        Only for tables that delta-rs writes; the caller has left out what is already held.
        """
        if table.writer != "delta-rs":
            raise ValueError(f"{table.name} is written by {table.writer}")
        uri = self._rs_uri(table)
        if not self.is_remote:
            Path(uri).mkdir(parents=True, exist_ok=True)
        write_deltalake(
            uri,
            rows.select(table.schema.names).cast(table.schema),
            partition_by=list(table.partition) or None,
            mode="append",
            storage_options=self.storage_options(),
            commit_properties=CommitProperties(custom_metadata={"run_id": run_id}),
        )
        return self.version(table)

    def history(self, table: Table, limit: int = 50) -> list[dict[str, Any]]:
        return self.delta(table).history(limit)

    def content_hash(self, table: Table, interval: Interval | None = None) -> str:
        """SHA-256 over the content columns of the interval, in key order: equal content, equal hash.

        Received times and run ids are left out, so running a job twice changes nothing.
        """
        frame = self.scan(table, interval).select(table.content_columns).sort(table.key).collect()
        digest = hashlib.sha256()
        for name in sorted(frame.columns):
            digest.update(name.encode())
            digest.update(frame[name].hash(0).to_numpy().tobytes())
        digest.update(str(frame.height).encode())
        return digest.hexdigest()

    def _rs_uri(self, table: Table) -> str:
        return self.uri(table).replace("s3a://", "s3://")
