"""Tables without a JVM: read, append, versions, content hash; through delta-rs and Polars.

Spark writes what jobs transform (lake/spark.py); tables whose declaration says `delta-rs` are written here.
"""

import hashlib
import os
import random
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from lake import lease
from lake.errors import ContractViolated, NothingStored, Overtaken
from lake.intervals import MILLISECOND, Interval, to_datetime, to_us
from lake.table import Table

APPEND_ATTEMPTS = 40
_TIME = pl.Datetime("us", "UTC")


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

        A nullable column that was declared after the rows were written is null in them.

        Raises:
            NothingStored: the table has no commit yet.
        """
        delta = self.delta(table, version)
        held = {field.name for field in delta.schema().fields}
        later = [c for c in table.columns if c.nullable and c.name not in held]
        nulls = [pl.lit(None).cast(pl.Schema(pa.schema([(c.name, c.type)]))[c.name]).alias(c.name) for c in later]
        frame = pl.scan_delta(delta).with_columns(nulls).select(table.schema.names)
        if interval is None:
            return frame
        time = pl.col(table.time_column)
        return frame.filter(time >= to_datetime(interval.start), time < to_datetime(interval.end))

    def newest(self, table: Table) -> int | None:
        """The newest version; None where the table does not exist."""
        return self.version(table) if self.exists(table) else None

    def as_of(self, table: Table, time: int, interval: Interval | None = None) -> pl.LazyFrame:
        """Lazy rows as they were known at `time` (UTC µs): no row, and no correction, that became available later.

        Bronze goes by its source's clock. Where nothing was ever corrected there is no history to look at.

        Raises:
            NothingStored: the table has no commit yet.
        """
        known = pl.col(table.known_column) <= to_datetime(time)
        standing = self.scan(table, interval).filter(known)  # first: history is committed before what it makes room for
        history = table.history()
        if table.known_column != "available_time" or not self.exists(history):
            return standing
        ended = self.scan(history, interval).filter(known, pl.col("superseded_time") > to_datetime(time))
        before = ended.select(table.schema.names)
        return pl.concat([standing.join(before, on=list(table.key), how="anti"), before])

    def append(self, table: Table, rows: pa.Table, run_id: str = "") -> int:
        """Append rows in one commit, onto whatever is newest, and return the version.

        Only for tables that delta-rs writes; the caller has left out what is already held (`jobs.bronze.store` does,
        and stays right when others write at the same time).

        Raises:
            Overtaken: other runs committed first, every time.
            LeaseLost: another run took over the table.
        """
        for attempt in range(APPEND_ATTEMPTS):
            try:
                return self.append_onto(table, rows, self.newest(table), run_id)
            except Overtaken:
                if attempt == APPEND_ATTEMPTS - 1:
                    raise
                time.sleep(random.uniform(0.5, 1.0) * min(0.01 * 2**attempt, 0.5))
        raise AssertionError("unreachable")

    def append_onto(self, table: Table, rows: pa.Table, base: int | None, run_id: str = "") -> int:
        """Append rows in one commit that stands only as version `base` + 1; `base` None: it makes the table.

        Compare and set: of two writers on one base only the first commits. The commit carries a random id, by which a
        writer whose answer was lost finds its own, and a Delta transaction that names the base.

        Raises:
            Overtaken: another writer committed since; nothing was written.
            LeaseLost: another run took over the table; nothing was written.
        """
        if table.writer != "delta-rs":
            raise ValueError(f"{table.name} is written by {table.writer}")
        uri, commit = self._rs_uri(table), uuid.uuid4().hex
        if not self.is_remote:
            Path(uri).mkdir(parents=True, exist_ok=True)
        lease.require(self.root, table.name)
        try:
            write_deltalake(
                uri if base is None else self.delta(table, base),
                rows.select(table.schema.names).cast(table.schema),
                partition_by=list(table.partition) or None,
                mode="error" if base is None else "append",
                schema_mode=None if base is None else "merge",  # a nullable column declared since
                configuration=table.properties if base is None else None,
                storage_options=self.storage_options(),
                commit_properties=CommitProperties(
                    custom_metadata={"run_id": run_id, "commit": commit},
                    max_commit_retries=0,  # delta-rs would try the next version, and lets two creators both win
                    app_transactions=[Transaction(f"bitacora/{table.name}", (-1 if base is None else base) + 1)],
                ),
            )
        except (DeltaError, OSError) as error:
            newest = self.newest(table)
            if newest is None or newest == base:
                raise  # nobody was faster: a real failure
            if not self._holds_commit(table, commit, since=-1 if base is None else base):
                raise Overtaken(f"{table.name}: version {newest} was committed meanwhile ({error}).") from None
        return self.version(table)

    def count(self, table: Table) -> int:
        """Rows in the newest version, from the log alone where it carries statistics."""
        return self.delta(table).count()

    def history(self, table: Table, limit: int = 50) -> list[dict[str, Any]]:
        return self.delta(table).history(limit)

    def committed(self, table: Table, commit: str, since: int) -> bool:
        """Whether a commit after version `since` carries this mark in its user metadata."""
        return any(commit in str(entry.get("userMetadata", "")) for entry in self._newer(table, since))

    def watermark(self, table: Table, source: Table) -> int | None:
        """The version of `source` up to which `table` was last built, from the newest commit that says so."""
        if not self.exists(table):
            return None
        for entry in self.delta(table).history():
            note = entry.get("userMetadata")
            reads = orjson.loads(note).get("reads", {}) if note else {}
            if source.name in reads:
                return int(reads[source.name])
        return None

    def changed(self, table: Table, since: int | None, until: int, streams: tuple[str, ...] = ()) -> Interval | None:
        """The span of the time column over the files added after version `since`; None where there are none.

        `streams` narrows it to those partitions. A version whose log is gone counts as the very beginning. Spark cuts
        the times in a file's statistics to milliseconds, so the end may lie up to one after the last row.
        """
        new = self._files(table, until)
        if since is not None:
            with suppress(DeltaError):  # the log may not reach back so far
                new = self._added(table, since, until)
        if streams:
            new = new.filter(pl.col("partition.stream").is_in(streams))
        if new.is_empty():
            return None
        bounds = new.select(pl.col(f"min.{table.time_column}").min(), pl.col(f"max.{table.time_column}").max()).row(0)
        if None in bounds:
            raise ContractViolated(f"{table.name}: a file holds no statistics of {table.time_column}. Rewrite it.")
        start, last = (to_us(moment) for moment in bounds)
        return Interval(start, last + MILLISECOND)

    def file_maxima(self, table: Table, *columns: str) -> pl.DataFrame:
        """Per data file the greatest value of each time column, in UTC µs, from the log alone; null where it says none.

        Spark cuts the times of a file's statistics to milliseconds.
        """
        files = self._files(table, None)
        held = [pl.col(f"max.{n}") if f"max.{n}" in files.columns else pl.lit(None, _TIME) for n in columns]
        return files.select(c.cast(_TIME).dt.epoch("us").alias(n) for c, n in zip(held, columns, strict=True))

    def partitions(self, table: Table, column: str, version: int | None = None) -> set[str]:
        """Values of a partition column that hold any file; empty where the table does not exist."""
        if not self.exists(table):
            return set()
        return set(self._files(table, version)[f"partition.{column}"])

    def row_counts(self, table: Table, column: str, version: int | None = None) -> dict[str, int]:
        """Rows per value of a partition column, from the log alone; a file without statistics counts for nothing."""
        files = self._files(table, version)
        counted = files.group_by(f"partition.{column}").agg(pl.col("num_records").sum())
        return {str(value): int(rows) for value, rows in counted.iter_rows()}

    def _added(self, table: Table, since: int, until: int) -> pl.DataFrame:
        """Files with new rows after version `since`; a compaction, which only moves rows, is stepped over."""
        moves = [e["version"] for e in self._newer(table, since) if e.get("operation") == "OPTIMIZE"]
        marks = [since, *(at for move in sorted(moves) if move <= until for at in (move - 1, move)), until]
        spans = zip(marks[::2], marks[1::2], strict=True)
        added = [self._files(table, b).join(self._files(table, a), on="path", how="anti") for a, b in spans]
        return pl.concat(added, how="diagonal_relaxed")

    def files(self, table: Table, version: int) -> set[str]:
        """Paths within the table of the data files that a version refers to."""
        return set(self._files(table, version)["path"])

    def _files(self, table: Table, version: int | None) -> pl.DataFrame:
        return pl.DataFrame(self.delta(table, version).get_add_actions(flatten=True))

    def _holds_commit(self, table: Table, commit: str, since: int) -> bool:
        """Whether a commit of delta-rs after version `since` carries this id."""
        return any(entry.get("commit") == commit for entry in self._newer(table, since))

    def _newer(self, table: Table, since: int) -> list[dict[str, Any]]:
        delta = self.delta(table)
        return [entry for entry in delta.history(max(1, delta.version() - since)) if entry["version"] > since]

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
