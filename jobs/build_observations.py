"""Build silver observations from the answers of REST sources and from imported series.

Reads   bronze raw_answers_v1, without the sources of texts
Writes  silver observations_v1, its quarantine and its history

Each task reads every answer about one entity of one source, parses, checks and folds them (`jobs.observation_rows`):
the first number told counts from its event plus the metric's publication delay, a later one is a correction and counts
from when it was told. Entities that were answered about since the last run are built again; --start and --end choose
by the time of the answers.
"""

from functools import partial
from typing import Any

import polars as pl

from jobs import quality
from jobs.command import Job, main, parser
from jobs.lock import writing
from jobs.observation_rows import kernel
from jobs.progress import Stages
from jobs.silver import Built, make, summary, told
from lake.intervals import Interval
from lake.sources.files import FORMS, PREFIX
from lake.sources.registry import sources
from lake.spark import Merged, spark_session
from lake.storage import Lake
from lake.tables import OBSERVATIONS, RAW_ANSWERS


def ours() -> pl.Expr:
    """Answers that tell numbers: another job reads the texts."""
    told = [name for name, source in sources().items() if source.kind == "observations"]
    files = pl.col("endpoint").is_in([PREFIX + form for form in FORMS])
    return files | (pl.col("source").is_in(told) & ~pl.col("endpoint").str.starts_with(PREFIX))


def entities(job: Job, version: int) -> list[tuple[str, str]]:
    """Source and entity of every answer that silver has not seen, or of those asked for."""
    since = job.lake.watermark(OBSERVATIONS, RAW_ANSWERS) if job.interval is None else None
    changed = job.lake.changed(RAW_ANSWERS, since, version)
    if changed is None:
        return []
    rows = job.lake.scan(RAW_ANSWERS, job.interval or changed, version).filter(ours())
    return list(rows.select("source", "entity").unique().sort("source", "entity").collect().iter_rows())


def work(lake: Lake, version: int, units: list[tuple[str, str]], at: Interval) -> pl.DataFrame:
    """The outcome of the units numbered `at`."""
    answers = lake.scan(RAW_ANSWERS, None, version).filter(ours())
    parts = [
        kernel(answers.filter(pl.col("source") == source, pl.col("entity") == entity).collect())
        for source, entity in units[at.start : at.end]
    ]
    return pl.concat(parts, how="diagonal_relaxed")


def run(job: Job) -> dict[str, Any]:
    lake, say = job.lake, Stages("build_observations")
    with writing(job.home.home, OBSERVATIONS):
        version = lake.version(RAW_ANSWERS)
        units = entities(job, version)
        built = Built(Merged(lake.version(OBSERVATIONS) if lake.exists(OBSERVATIONS) else -1))
        if units:
            library = quality.warm_up()
            session = spark_session(lake, "build_observations")
            library.join()
            reads = {RAW_ANSWERS.name: version} if job.interval is None else {}
            size = -(-len(units) // (2 * session.sparkContext.defaultParallelism))  # each task writes a file a month
            numbered = [Interval(n, min(n + size, len(units))) for n in range(0, len(units), size)]
            built = make(job, session, OBSERVATIONS, partial(work, lake, version, units), numbered, reads)
        say(told(OBSERVATIONS, built))
    return summary(OBSERVATIONS, built) | {"entities": len(units), "start": None, "end": None}


if __name__ == "__main__":
    main("build_observations", run, parser("build_observations", __doc__))
