"""Join labels of any number with a service's features, as they were known at each decision; on Spark.

Reads   a file or folder of labels (parquet: instrument, decision_time, …), the service's gold table and its history
Writes  a folder of parquet: the labels and the service's columns, in no order

Spark cuts the labels into ranges of decision time. A task takes one range, reads from the lake only the feature rows
that its labels can see (their span and the lookback before it), and runs the very join of
`feature_store.offline`: so the result is the local one to the bit, no feature row is shuffled, and no row meets a label
it does not join. The work is linear in the labels, and the features are read about once.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame

from feature_store.errors import FileRefused, JoinRefused
from feature_store.offline import Source, join_sources
from feature_store.service import DEFAULT, FeatureService, service
from feature_store.stored import Versions, known_rows, table_of
from jobs.command import Job, main, parser
from jobs.progress import Stages
from lake.errors import UsageError
from lake.intervals import MINUTE, Interval, to_us
from lake.spark import spark_schema, spark_session
from lake.storage import Lake

LABELS_PER_TASK = 500_000
"""A task holds its labels and the feature rows of their span in memory."""

Read = Callable[[int, int], Sequence[Source]]
"""(first, last decision time, UTC µs) → every source with all rows that labels in this span may join."""


def join_on_spark(labels: DataFrame, read: Read, columns: Sequence[str], tasks: int) -> DataFrame:
    """The rows of `feature_store.offline.join_sources`, in no order.

    Args:
        labels: the entity columns and `decision_time` (TIMESTAMP), and anything else.
        read: called in the tasks; it must be picklable and answer alike every time.
        columns: the float64 columns of all sources, in order.
        tasks: ranges of decision time; each is held in memory at once.
    """
    if dict(labels.dtypes).get("decision_time") != "timestamp":
        raise JoinRefused(f"labels: expected a decision_time of type timestamp, found {dict(labels.dtypes)}.")
    plain = spark_schema(pa.schema([pa.field(name, pa.float64()) for name in columns]))
    schema = type(plain)(labels.schema.fields + plain.fields)

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        held = list(batches)
        if not any(batch.num_rows for batch in held):
            return
        frame = pl.DataFrame(pa.Table.from_batches(held))
        first, last = (to_us(at) for at in (frame["decision_time"].min(), frame["decision_time"].max()))  # type: ignore[arg-type]  # the column's type was checked
        joined = join_sources(frame, read(first, last)).to_arrow(compat_level=pl.CompatLevel.oldest())
        kinds = [*held[0].schema, *(pa.field(name, pa.float64()) for name in columns)]
        yield from joined.cast(pa.schema(kinds)).to_batches(max_chunksize=50_000)

    return labels.repartitionByRange(tasks, "decision_time").mapInArrow(work, schema)


def reader(lake: Lake, of: FeatureService, versions: Versions, lookback_us: int) -> Read:
    """Reads a service's rows from the lake at pinned versions, superseded ones included."""

    def read(first: int, last: int) -> Sequence[Source]:
        known = known_rows(lake, of, versions, Interval(first - lookback_us, last + 1))
        return [Source(known, of.feature_names, lookback_us)]

    return read


def run(job: Job) -> dict[str, Any]:
    arguments, say = job.arguments, Stages("point_in_time")
    of, out = service(arguments.service), Path(arguments.out)
    if out.exists():
        raise UsageError(f"--out {out}: exists already. Name a new folder.")
    versions = Versions.newest(job.lake, table_of(of))
    session = spark_session(job.lake, "point_in_time")
    say("Spark is up")
    try:
        labels = session.read.parquet(str(Path(arguments.labels).resolve()))
    except PySparkException as error:
        raise FileRefused(f"--labels {arguments.labels}: cannot read it as parquet: {error.getCondition()}") from None
    count = labels.count()
    tasks = max(session.sparkContext.defaultParallelism, -(-count // LABELS_PER_TASK))
    read = reader(job.lake, of, versions, arguments.lookback_minutes * MINUTE)
    join_on_spark(labels, read, of.feature_names, tasks).write.parquet(str(out.resolve()))
    say(f"{count:,} labels joined")
    return {
        "out": str(out), "rows": count, "service": of.name, "service_hash": of.content_hash,
        "reads": versions.named(table_of(of)),
    }  # fmt: skip


def _arguments() -> Any:
    result = parser("point_in_time", __doc__)
    result.add_argument("--labels", required=True, help="parquet: instrument, decision_time (UTC), …")
    result.add_argument("--service", default=DEFAULT.name, help=f"default {DEFAULT.name}")
    result.add_argument("--lookback-minutes", type=int, default=60, help="oldest usable row, default 60")
    result.add_argument("--out", required=True, help="a new folder for the joined rows")
    return result


if __name__ == "__main__":
    main("point_in_time", run, _arguments())
