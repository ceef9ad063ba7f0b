"""What a model says of every text: read the texts it has not read yet, a few hundred per Spark task.

The model is loaded once per Python worker and used for all of its tasks. A text that a model has read is never read
again by the same model, so a run costs what is new; another model (another name) reads all of them beside the first.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import polars as pl
import pyarrow as pa

from jobs import silver
from jobs.command import Job
from jobs.lock import writing
from jobs.progress import Stages
from lake.intervals import Interval, to_us
from lake.spark import Merged, merge, spark_schema, spark_session
from lake.storage import Lake
from lake.table import Table
from lake.tables import TEXTS

TASK_TEXTS = 256

Read = Callable[[Sequence[str]], list[Any]]
"""From texts to one value of the table's output column each; picklable, loads its model at the first call."""
Slice = tuple[str, str, str]
"""A task's texts: month, first and last text_id."""


def pending(
    lake: Lake, table: Table, model: str, texts: int, held: int | None, interval: Interval | None
) -> list[Slice]:
    """The texts of version `texts` that version `held` of the table lacks for this model, in slices for tasks."""
    rows = _unread(lake, table, model, lake.scan(TEXTS, interval, texts), held)
    found = rows.select("month", "text_id").sort("month", "text_id").collect()
    slices = []
    for (month,), group in found.group_by("month", maintain_order=True):
        for part in group["text_id"].to_frame().iter_slices(TASK_TEXTS):
            slices.append((str(month), part.item(0, 0), part.item(-1, 0)))
    return slices


def _unread(lake: Lake, table: Table, model: str, texts: pl.LazyFrame, held: int | None) -> pl.LazyFrame:
    if held is None:
        return texts
    read = lake.scan(table, version=held).filter(pl.col("model") == model).select("text_id")
    return texts.join(read, on="text_id", how="anti")


def answers(
    lake: Lake, table: Table, model: str, read: Read, part: Slice, versions: tuple[int, int | None]
) -> pl.DataFrame:
    """The table's rows for one slice."""
    month, first, last = part
    texts = lake.scan(TEXTS, version=versions[0]).filter(
        pl.col("month") == month, pl.col("text_id").is_between(pl.lit(first), pl.lit(last))
    )
    rows = _unread(lake, table, model, texts, versions[1]).sort("text_id").collect()
    whole = [f"{title}\n{text}".strip() for title, text in rows.select("title", "text").iter_rows()]
    output = next(c.name for c in table.columns if c.name not in TEXTS.schema.names and c.name != "model")
    said = rows.with_columns(pl.lit(model).alias("model"), pl.Series(output, read(whole)))
    return said.select(table.schema.names)


def build(job: Job, table: Table, model: str, read: Read) -> dict[str, Any]:
    """Bring the table up to the texts: the whole of a job's `run`."""
    lake, say = job.lake, Stages(job.name)
    with writing(job.home.home, table):
        version = lake.version(TEXTS)
        held = lake.version(table) if lake.exists(table) else None
        slices = pending(lake, table, model, version, held, job.interval)
        built = silver.Built(Merged(-1 if held is None else held))
        if slices:
            session = spark_session(lake, job.name)
            say(f"Spark is up; {len(slices)} slices of at most {TASK_TEXTS} texts for {model}")
            schema, versions = table.schema, (version, held)

            def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
                for batch in batches:
                    for at in batch.column(0).to_pylist():
                        rows = answers(lake, table, model, read, slices[at], versions)
                        yield from rows.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema).to_batches()

            rows = session.range(0, len(slices), 1, len(slices)).mapInArrow(work, spark_schema(schema)).persist()
            reads = {TEXTS.name: version} if job.interval is None else {}
            span = _span(lake, version)
            built = silver.Built(merge(session, lake, table, rows, span, job.run_id, reads), interval=span)
            rows.unpersist()
        say(silver.told(table, built))
    return silver.summary(table, built) | {"model": model, "reads": {TEXTS.name: version}}


def _span(lake: Lake, version: int) -> Interval:
    """All times in which texts were written."""
    times = lake.scan(TEXTS, version=version).select(pl.col("event_time").min().alias("a"), pl.col("event_time").max())
    first, last = times.collect().row(0)
    return Interval(to_us(first), to_us(last) + 1)
