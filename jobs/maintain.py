"""Keep tables quick and small: compact small files, drop files that nobody can read any more, cut the log.

Reads   the Delta logs, leases_v1 (versions that registered models were trained on)
Writes  the same rows in fewer files; no content changes

A file goes when no version younger than --retention-days refers to it and no leased version does. The log is kept for
as long as the oldest leased version is old, so every leased version can be opened. Each table is compacted by the stack
that writes it, under its write lease. Safe to repeat, or to kill.
"""

import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from jobs.command import Job, main, parser
from jobs.lock import writing
from jobs.progress import Stages
from lake import s3
from lake.errors import UsageError
from lake.retention import leased
from lake.spark import spark_session
from lake.storage import Lake
from lake.table import Table
from lake.tables import TABLES
from lake.tables import table as table_named

TARGET_BYTES = 128 * 1024 * 1024
"""Compacted files: large enough for S3, small enough for a task."""
RETENTION_DAYS = 30
LOG_DAYS = 30
"""Delta's own default; longer where a lease is older."""
_LOG_RETENTION = "delta.logRetentionDuration"
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Policy:
    """What a run keeps."""

    retention_hours: int
    target_bytes: int


def stored(lake: Lake, names: tuple[str, ...]) -> list[Table]:
    """The named tables, or every declared one with its quarantine and history, as far as they exist."""
    declared = [table_named(name) for name in names]
    every = [made for table in TABLES.values() for made in (table, table.quarantine(), table.history())]
    return [table for table in declared or every if lake.exists(table)]


def log_days(lake: Lake, table: Table, versions: list[int]) -> int:
    """Days of log that keep every leased version readable, and never less than `LOG_DAYS`."""
    if not versions:
        return LOG_DAYS
    times = {entry["version"]: entry["timestamp"] / 1000 for entry in lake.delta(table).history()}
    oldest = min(times.get(version, 0.0) for version in versions)
    return max(LOG_DAYS, int((time.time() - oldest) // _DAY_SECONDS) + 2)


def log_interval(lake: Lake, table: Table, versions: list[int]) -> str | None:
    """The log retention to set; None where the table has it already."""
    text = f"interval {log_days(lake, table, versions)} days"
    held = lake.delta(table).metadata().configuration.get(_LOG_RETENTION, f"interval {LOG_DAYS} days")
    return None if held == text else text


def by_delta_rs(lake: Lake, table: Table, keep: list[int], policy: Policy) -> None:
    """Compact a table that delta-rs writes, and set how long its log is kept."""
    delta = lake.delta(table)
    delta.optimize.compact(target_size=policy.target_bytes)
    if text := log_interval(lake, table, keep):
        delta.alter.set_table_properties({_LOG_RETENTION: text})


def by_spark(session: SparkSession, lake: Lake, table: Table, keep: list[int], policy: Policy) -> None:
    """Compact a table that Spark writes, and set how long its log is kept."""
    name, size = f"delta.`{lake.uri(table)}`", "spark.databricks.delta.optimize.maxFileSize"
    session.conf.set(size, str(policy.target_bytes))
    try:
        session.sql(f"OPTIMIZE {name}")
        if text := log_interval(lake, table, keep):
            session.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ('{_LOG_RETENTION}' = '{text}')")
    finally:
        session.conf.unset(size)


def vacuum(lake: Lake, table: Table, keep: list[int], hours: int) -> int:
    """Drop the files that neither a recent nor a leased version needs, then cut the log; returns how many went.

    By delta-rs for every table: Spark's VACUUM knows no versions to keep. The two commits it makes change no row.
    """
    before = inventory(lake, table)
    lake.delta(table).vacuum(hours, dry_run=False, enforce_retention_duration=False, keep_versions=keep or None)
    delta = lake.delta(table)
    delta.create_checkpoint()
    delta.cleanup_metadata()
    return len(before) - len(inventory(lake, table))


def inventory(lake: Lake, table: Table) -> list[str]:
    """The table's data files, by path within the table; the log is left out."""
    if not lake.is_remote:
        root = Path(lake.uri(table))
        return [str(p.relative_to(root)) for p in root.rglob("*.parquet") if "_delta_log" not in p.parts]
    bucket, prefix = s3.split(lake.uri(table))
    pages = s3.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix + "/")
    keys = [entry["Key"].removeprefix(prefix + "/") for page in pages for entry in page.get("Contents", [])]
    return [key for key in keys if key.endswith(".parquet") and not key.startswith("_delta_log/")]


def run(job: Job) -> dict[str, Any]:
    words = job.arguments
    if words.retention_days < 0 or words.target_mb <= 0:
        raise UsageError("--retention-days is at least 0 and --target-mb above it.")
    policy = Policy(int(timedelta(days=words.retention_days).total_seconds() // 3600), int(words.target_mb * 2**20))
    say, session, tables = Stages("maintain"), None, {}
    names = tuple(name for name in (words.tables or "").split(",") if name)
    for table in stored(job.lake, names):
        with writing(job.home.home, table):
            before, keep = len(inventory(job.lake, table)), leased(job.lake, table)
            if table.writer == "delta-rs":
                by_delta_rs(job.lake, table, keep, policy)
            else:
                session = session or spark_session(job.lake, "maintain")
                by_spark(session, job.lake, table, keep, policy)
            gone = vacuum(job.lake, table, keep, policy.retention_hours)
            after = len(inventory(job.lake, table))
        say(f"{table.name}: {before} files, now {after}; leased versions {keep or 'none'}")
        tables[table.name] = {
            "version": job.lake.version(table),
            "rows": 0,
            "files": after,
            "removed": gone,
            "leased": keep,
        }
    return {"tables": tables}


def arguments() -> Any:
    result = parser("maintain", __doc__)
    result.add_argument("--tables", metavar="A,B", help="table names (default: every table that exists)")
    result.add_argument("--retention-days", type=float, default=RETENTION_DAYS, help="how long unleased versions stay")
    result.add_argument("--target-mb", type=float, default=TARGET_BYTES / 2**20, help="size of compacted files")
    return result


if __name__ == "__main__":
    main("maintain", run, arguments())
