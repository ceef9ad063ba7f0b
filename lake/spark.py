"""Spark over the lake: the session, schemas from the declarations, and the one way a job writes a table.

`merge` makes a table's interval equal to what a job computed from its inputs: new keys are inserted, changed content is
replaced (the older value stays in the Delta history), equal content is left alone and makes no commit. Every commit
compares and sets: it carries the version it was computed on as a Delta transaction, and whoever was overtaken computes
again, so runs at the same time, or after a kill, leave the same content.
"""

import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import reduce

import orjson
import polars as pl
import pyarrow as pa
from delta.tables import DeltaTable
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from lake import lease
from lake.errors import TryAgain
from lake.intervals import Interval, month_of
from lake.spark_conf import spark_conf
from lake.storage import Lake
from lake.table import Table

ATTEMPTS = 6
_USER_METADATA = "spark.databricks.delta.commitInfo.userMetadata"
_APP, _APP_VERSION = "spark.databricks.delta.write.txnAppId", "spark.databricks.delta.write.txnVersion"


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge did; `version` is the table's newest, whether or not this merge made it."""

    version: int
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0

    @property
    def rows(self) -> int:
        """Rows that were written."""
        return self.inserted + self.updated


def spark_session(lake: Lake, app_name: str) -> SparkSession:
    """Start Spark, or join the one that `spark-submit` started, with the lake's settings.

    Raises:
        Misconfigured: there is no Java, or `make setup` has not fetched the jars.
    """
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    builder = SparkSession.builder.appName(app_name)
    for name, value in spark_conf(lake).items():
        builder = builder.config(name, value)
    session: SparkSession = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def spark_schema(schema: pa.Schema) -> StructType:
    """The declared Arrow schema in Spark's types, nullability included; UTC times become TIMESTAMP."""
    return from_arrow_schema(schema)


def read(
    session: SparkSession, lake: Lake, table: Table, interval: Interval | None = None, version: int | None = None
) -> DataFrame:
    """The table's rows of the interval on its time column, at a version; the partitions outside are not opened."""
    reader = session.read.format("delta")
    if version is not None:
        reader = reader.option("versionAsOf", version)
    frame = reader.load(lake.uri(table))
    return frame if interval is None else frame.where(in_interval(table, interval))


def in_interval(table: Table, interval: Interval) -> Column:
    """The interval as a filter, with the months that prune the partitions."""
    bound = (F.timestamp_micros(F.lit(at)) for at in (interval.start, interval.end))
    start, end = bound
    condition = (F.col(table.time_column) >= start) & (F.col(table.time_column) < end)
    if "month" in table.partition:
        first, last = months_bounds(interval)
        condition = condition & F.col("month").between(first, last)
    return condition


def months_bounds(interval: Interval) -> tuple[str, str]:
    """First and last month of an interval as YYYY-MM."""
    return month_of(interval.start), month_of(max(interval.start, interval.end - 1))


def create(session: SparkSession, lake: Lake, table: Table) -> None:
    """Create the table from its declaration, checks as Delta constraints included; does nothing where it exists."""
    if lake.exists(table):
        return
    builder = DeltaTable.createIfNotExists(session).location(lake.uri(table)).addColumns(spark_schema(table.schema))
    if table.partition:
        builder = builder.partitionedBy(*table.partition)
    properties = {"delta.dataSkippingStatsColumns": ",".join(_statistics(table)), **table.properties}
    properties |= {f"delta.constraints.check_{i}": check.sql for i, check in enumerate(table.checks)}
    for name, value in properties.items():
        builder = builder.property(name, value)
    try:
        builder.execute()
    except PySparkException:
        if not lake.exists(table):  # else another run created it first
            raise


def _statistics(table: Table) -> list[str]:
    """Columns worth minimum and maximum per file: keys and times. Delta keeps none of booleans."""
    names = [*table.key, *(c.name for c in table.columns if pa.types.is_timestamp(c.type))]
    unfit = {*table.partition, *(c.name for c in table.columns if pa.types.is_boolean(c.type))}
    return [name for name in dict.fromkeys(names) if name not in unfit]


def merge(
    session: SparkSession,
    lake: Lake,
    table: Table,
    rows: DataFrame,
    interval: Interval | None,
    run_id: str,
    reads: Mapping[str, int] | None = None,
) -> Merged:
    """Bring the table's interval to `rows`, which hold every declared column and each key once.

    Rows of the table whose key is not among `rows` stay. `reads` (input table to version) goes into the commit, where
    `watermark` finds it.

    Raises:
        TryAgain: other runs committed first, six times in a row.
        LeaseLost: another run took over the table; nothing was committed.
    """
    create(session, lake, table)
    rows = rows.select(*table.schema.names)
    for attempt in range(ATTEMPTS):
        base = lake.version(table)
        pending, counts, free = _pending(session, lake, table, rows, interval, base)
        commit = uuid.uuid4().hex
        note = orjson.dumps({"run_id": run_id, "commit": commit, "reads": dict(reads or {})}).decode()
        try:
            if not counts.rows:
                return counts
            lease.require(lake.root, table.name)
            _commit(session, lake, table, pending, counts, base, note)
            if lake.committed(table, commit, since=base):
                return replace(counts, version=lake.version(table))
        except PySparkException as error:
            if "Concurrent" not in type(error).__name__ and "CONCURRENT" not in str(error):
                raise
        finally:
            free()
        time.sleep(0.2 * 2**attempt)
    raise TryAgain(f"{table.name}: other runs committed first, {ATTEMPTS} times in a row.")


def _pending(
    session: SparkSession, lake: Lake, table: Table, rows: DataFrame, interval: Interval | None, base: int
) -> tuple[DataFrame, Merged, Callable[[], object]]:
    """The rows that are new or changed against version `base`, how many there are of each, and what frees them."""
    held = lake.scan(table, interval, base).select(pl.len()).collect().item()
    if not held:
        return rows, Merged(base, inserted=rows.count()), lambda: None
    keys, rest = list(table.key), [c for c in table.content_columns if c not in table.key]
    target = read(session, lake, table, interval, base).select(*keys, F.struct(*rest).alias("held"))
    same = [F.col(f"held.{name}").eqNullSafe(F.col(name)) for name in rest]
    status = F.when(F.col("held").isNull(), "new").when(reduce(Column.__and__, same), "same").otherwise("changed")
    judged = rows.join(target, keys, "left").withColumn("status", status).drop("held")
    other = judged.where("status <> 'same'").persist()  # not the rest, which may be all of a large interval
    found = {row["status"]: row["count"] for row in other.groupBy("status").count().collect()}
    new, changed = found.get("new", 0), found.get("changed", 0)
    counts = Merged(base, new, changed, rows.count() - new - changed)
    return _one_file_each(table, other.select(*table.schema.names)), counts, other.unpersist


def _one_file_each(table: Table, rows: DataFrame) -> DataFrame:
    """Rows in the order of the key, those of a partition together: a join has scattered them over many files."""
    together = rows.repartition(*table.partition) if table.partition else rows.coalesce(1)
    return together.sortWithinPartitions(*table.partition, *(c for c in table.key if c not in table.partition))


def _commit(
    session: SparkSession, lake: Lake, table: Table, pending: DataFrame, counts: Merged, base: int, note: str
) -> None:
    """Write in one commit, which Delta leaves out if another one was made on the same `base`."""
    settings = {_USER_METADATA: note, _APP: f"bitacora/{table.name}", _APP_VERSION: str(base + 1)}
    for name, value in settings.items():
        session.conf.set(name, value)
    try:
        if not counts.updated:
            pending.write.format("delta").mode("append").save(lake.uri(table))
            return
        keys = [*table.key, *(p for p in table.partition if p not in table.key)]
        condition = " AND ".join(f"target.{name} = source.{name}" for name in keys)
        target = DeltaTable.forPath(session, lake.uri(table)).alias("target")
        target.merge(pending.alias("source"), condition).whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()
    finally:
        for name in settings:
            session.conf.unset(name)
