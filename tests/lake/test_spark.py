"""The session, and the one way a job writes: compare, set, and never twice."""

import threading
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from lake.intervals import Interval
from lake.spark import create, merge, read, spark_schema
from lake.spark_conf import spark_conf
from lake.storage import Lake
from lake.table import TIME, Check, Column, Table
from lake.tables import TABLES

pytestmark = pytest.mark.spark

POINTS = Table(
    name="points_v1",
    layer="silver",
    description="A small table.",
    owner="tests",
    columns=(
        Column("id", pa.string(), "Key."),
        Column("time", TIME, "Time."),
        Column("value", pa.float64(), "Content.", nullable=True),
        Column("month", pa.string(), "Partition."),
        Column("seen_by", pa.string(), "Not content.", content=False),
    ),
    key=("id", "time"),
    time_column="time",
    partition=("month",),
    checks=(Check("value is negative", "value IS NULL OR value >= 0"),),
)


def points(spark: Any, *values: tuple[str, int, float | None], seen_by: str = "a") -> Any:
    rows = {
        "id": [v[0] for v in values],
        "time": [v[1] for v in values],
        "value": [v[2] for v in values],
        "month": ["1970-01"] * len(values),
        "seen_by": [seen_by] * len(values),
    }
    return spark.createDataFrame(pa.table(rows, schema=POINTS.schema))


def stored(lake: Lake) -> list[tuple[Any, ...]]:
    frame = lake.scan(POINTS).sort("id", "time").with_columns(pl.col("time").dt.epoch("us"))
    return frame.select("id", "time", "value", "seen_by").collect().rows()


def test_merge_inserts_updates_and_leaves_equal_content_alone(spark: Any, lake: Lake) -> None:
    first = merge(spark, lake, POINTS, points(spark, ("a", 1, 1.0), ("b", 1, None)), None, "run")
    assert (first.version, first.inserted) == (1, 2)
    again = merge(spark, lake, POINTS, points(spark, ("a", 1, 1.0), ("b", 1, None), seen_by="z"), None, "run")
    assert (again.version, again.rows, again.unchanged) == (1, 0, 2)
    third = merge(spark, lake, POINTS, points(spark, ("b", 1, 2.0), ("c", 1, float("nan")), seen_by="z"), None, "run")
    assert (third.version, third.inserted, third.updated) == (2, 1, 1)
    assert repr(stored(lake)) == repr([("a", 1, 1.0, "a"), ("b", 1, 2.0, "z"), ("c", 1, float("nan"), "z")])


def test_a_merge_looks_no_further_than_its_interval(spark: Any, lake: Lake) -> None:
    merge(spark, lake, POINTS, points(spark, ("a", 1, 1.0), ("a", 9, 9.0)), None, "run")
    done = merge(spark, lake, POINTS, points(spark, ("a", 2, 2.0)), Interval(2, 5), "run")
    assert (done.inserted, done.unchanged) == (1, 0)
    assert read(spark, lake, POINTS, Interval(1, 3)).count() == 2


def test_the_declared_checks_hold_in_the_table_itself(spark: Any, lake: Lake) -> None:
    create(spark, lake, POINTS)
    with pytest.raises(Exception, match=r"(?i)check constraint"):
        points(spark, ("a", 1, -1.0)).write.format("delta").mode("append").save(lake.uri(POINTS))
    assert lake.version(POINTS) == 0
    assert lake.scan(POINTS).collect().is_empty()


def test_runs_at_the_same_time_insert_each_row_once(spark: Any, lake: Lake) -> None:
    create(spark, lake, POINTS)
    failures: list[BaseException] = []

    def run(at: int) -> None:
        try:
            session = spark.newSession()
            for name in ("spark.sql.caseSensitive", "spark.sql.session.timeZone"):
                session.conf.set(name, spark.conf.get(name))
            merge(session, lake, POINTS, points(session, ("same", 1, 1.0), (f"own{at}", 1, 2.0)), None, f"run{at}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(at,)) for at in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [row[0] for row in stored(lake)] == ["own0", "own1", "own2", "same"]
    assert lake.version(POINTS) == 3


def test_a_commit_says_what_it_read_and_the_watermark_finds_it(spark: Any, lake: Lake) -> None:
    source = Table("inputs_v1", "bronze", "", "tests", POINTS.columns, POINTS.key, "time")
    assert lake.watermark(POINTS, source) is None
    merge(spark, lake, POINTS, points(spark, ("a", 1, 1.0)), None, "run", {"inputs_v1": 7})
    merge(spark, lake, POINTS, points(spark, ("b", 1, 1.0)), None, "run")
    assert lake.watermark(POINTS, source) == 7


def test_changed_spans_the_files_added_since_a_version(spark: Any, lake: Lake) -> None:
    merge(spark, lake, POINTS, points(spark, ("a", 1000, 1.0), ("a", 2000, 1.0)), None, "run")
    merge(spark, lake, POINTS, points(spark, ("a", 3001, 1.0)), None, "run")
    assert lake.changed(POINTS, None, 2) == Interval(1000, 4000)
    assert lake.changed(POINTS, 1, 2) == Interval(3000, 4000)
    assert lake.changed(POINTS, 2, 2) is None


@pytest.mark.parametrize("table", [t for t in TABLES.values() if t.writer == "spark"], ids=lambda t: t.name)
def test_every_table_opens_with_each_reader(spark: Any, lake: Lake, table: Table) -> None:
    create(spark, lake, table)
    create(spark, lake, table)  # again: nothing
    protocol = DeltaTable(lake.uri(table)).protocol()
    assert protocol.min_reader_version == 1
    assert not protocol.reader_features
    assert lake.scan(table).collect().schema == pl.DataFrame(schema=pl.Schema(table.schema)).schema
    assert read(spark, lake, table).schema.names == table.schema.names
    found = {field.name: field.nullable for field in read(spark, lake, table).schema}
    assert found == {column.name: True for column in table.columns} or found == {
        column.name: column.nullable for column in table.columns
    }
    delta_fields = {f.name: f.nullable for f in DeltaTable(lake.uri(table)).schema().fields}
    assert delta_fields == {column.name: column.nullable for column in table.columns}


def test_arrow_types_become_sparks() -> None:
    found = {field.name: field.dataType.simpleString() for field in spark_schema(POINTS.schema)}
    assert found == {"id": "string", "time": "timestamp", "value": "double", "month": "string", "seen_by": "string"}


def test_an_s3_lake_is_configured_from_the_standard_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:7070")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    conf = spark_conf(Lake("s3a://bucket/prefix"))
    assert conf["spark.hadoop.fs.s3a.endpoint"] == "http://127.0.0.1:7070"
    assert conf["spark.delta.logStore.s3a.impl"] == "bitacora.ConditionalLogStore"
    assert "canary" not in str(conf)
    assert "spark.hadoop.fs.s3a.endpoint" not in spark_conf(Lake("/somewhere"))
