"""The point-in-time join on Spark beside the union-and-window one, and its growth with the labels.

Linear growth is a million more labels costing the same seconds at every size: `seconds_per_million_more`.

    python bench/join_spark.py [--labels N] [--rows N] [--tables N] [--skip-window]

Delta tables on disk, the joined rows into a noop sink. The union-and-window join is what one writes without a library:
labels and rows in one frame, `last(row, ignorenulls)` over each entity in the order of time, once per table.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import write_deltalake
from join import LOOKBACK, world
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from feature_store.offline import Source
from jobs.point_in_time import LABELS_PER_TASK, join_on_spark
from lake.intervals import to_datetime
from lake.spark import spark_session
from lake.storage import Lake

TIME = pl.Datetime("us", "UTC")


def stored(folder: Path, arguments: argparse.Namespace) -> list[Path]:
    """The tables, in the order of available_time."""
    _, tables = world(1, arguments.rows, arguments.tables, arguments.entities, 0.0)
    paths = []
    for number, frame in enumerate(tables):
        typed = frame.cast({"event_time": TIME, "available_time": TIME, "instrument": pl.String})
        paths.append(folder / f"t{number}")
        write_deltalake(str(paths[-1]), typed.to_arrow(compat_level=pl.CompatLevel.oldest()))
    return paths


def labels_file(folder: Path, count: int, arguments: argparse.Namespace) -> str:
    wanted, _ = world(count, arguments.rows, 0, arguments.entities, 0.0)
    path = folder / f"labels_{count}.parquet"
    wanted.cast({"decision_time": TIME, "instrument": pl.String}).write_parquet(path, row_group_size=250_000)
    return str(path)


class Reader:
    """Reads what labels of a span may see."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __call__(self, first: int, last: int) -> Sequence[Source]:
        at, start, end = pl.col("event_time"), to_datetime(first - LOOKBACK), to_datetime(last)
        frames = [pl.scan_delta(str(p)).filter(at >= start, at <= end).collect() for p in self.paths]
        return [Source(frame, tuple(frame.columns[3:]), LOOKBACK) for frame in frames]


def ours(session: SparkSession, file: str, paths: list[Path], count: int) -> DataFrame:
    columns = [f"t{i}_{j}" for i in range(len(paths)) for j in range(2)]
    tasks = max(session.sparkContext.defaultParallelism, -(-count // LABELS_PER_TASK))
    return join_on_spark(session.read.parquet(file), Reader(paths), columns, tasks)


def union_and_window(session: SparkSession, file: str, paths: list[Path]) -> DataFrame:
    joined = session.read.parquet(file).withColumn("id", F.monotonically_increasing_id())
    for number, path in enumerate(paths):
        values = [f"t{number}_{j}" for j in range(2)]
        rows = session.read.format("delta").load(str(path))
        side = rows.select("instrument", F.col("available_time").alias("at"), F.lit(0).alias("kind"), F.struct("event_time", *values).alias("row"))  # fmt: skip  # noqa: E501
        wanted = joined.select("instrument", F.col("decision_time").alias("at"), F.lit(1).alias("kind"), F.struct(*joined.columns).alias("label"))  # fmt: skip  # noqa: E501
        order = Window.partitionBy("instrument").orderBy("at", "kind").rowsBetween(Window.unboundedPreceding, 0)
        both = side.unionByName(wanted, allowMissingColumns=True)
        found = both.withColumn("row", F.last("row", ignorenulls=True).over(order)).where("kind = 1")
        fresh = F.unix_micros("at") - F.unix_micros("row.event_time") <= LOOKBACK
        joined = found.select("label.*", *(F.when(fresh, F.col(f"row.{v}")).alias(v) for v in values))
    return joined.drop("id")


def seconds(frame: DataFrame) -> float:
    began = time.perf_counter()
    frame.write.format("noop").mode("overwrite").save()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--tables", type=int, default=3)
    parser.add_argument("--entities", type=int, default=50)
    parser.add_argument("--skip-window", action="store_true", help="only ours")
    parser.add_argument("--times", default="1,4,16", help="multiples of --labels for ours")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="join-"))
    try:
        paths, session = stored(folder, arguments), spark_session(Lake(str(folder)), "bench")
        result: dict[str, Any] = {}
        before: tuple[int, float] | None = None
        file = labels_file(folder, arguments.labels, arguments)
        for _ in range(2):  # workers are up, the JVM has compiled: or the smallest size would pay for that
            seconds(ours(session, file, paths, arguments.labels))
        for times in map(int, arguments.times.split(",")):
            count = times * arguments.labels
            file = labels_file(folder, count, arguments)
            taken = min(seconds(ours(session, file, paths, count)) for _ in range(2))
            one = {"seconds": round(taken, 2), "labels_per_second": round(count / taken)}
            if before:
                one["seconds_per_million_more"] = round((taken - before[1]) / (count - before[0]) * 1e6, 2)
            before, result[f"{count} labels"] = (count, taken), one
            print(json.dumps({f"{count} labels": one}), flush=True)
        if not arguments.skip_window:
            file = labels_file(folder, arguments.labels, arguments)
            taken = seconds(union_and_window(session, file, paths))
            rate = arguments.labels / taken
            best = result.get(f"{arguments.labels} labels", {}).get("labels_per_second", 0.0)
            print(json.dumps({"union and window": {"labels_per_second": round(rate), "ratio": round(best / rate, 1)}}))
        session.stop()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
