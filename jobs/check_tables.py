"""Check stored tables against their declarations; exit 65 where nothing may be built on one of them.

Reads   --table NAME,NAME or all (every one that is stored), newest version, --start to --end (default: all of it)
Writes  nothing in the lake; with --docs BITACORA_HOME/data_docs, Great Expectations' pages of what was found

A table stops what follows where it holds no row in the interval, where a member that spoke until lately is missing from
it (`lake.presence`), where an expectation fails, or an anomaly check that stops (`lake.anomalies`). --quick leaves out
the expectations, which every build has run on what it commits, and needs no JVM.
"""

from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import SparkSession

from jobs import data_docs, quality
from jobs.command import Job, main, parser
from jobs.progress import Stages
from lake.anomalies import ANOMALIES, Anomaly
from lake.errors import ContractViolated
from lake.intervals import Interval, format_time
from lake.presence import missing
from lake.spark import read, spark_session
from lake.storage import Lake
from lake.table import Table
from lake.tables import TABLES
from lake.tables import table as table_named


@dataclass(slots=True)
class Checked:
    """What was found of one table; `problems` stop what follows."""

    version: int
    rows: int = 0
    expectations: int = 0
    anomalies: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def anomalies(lake: Lake, table: Table, interval: Interval | None, version: int) -> list[tuple[Anomaly, int]]:
    """The declared anomaly checks that found rows, and how many."""
    found = []
    for anomaly in ANOMALIES.get(table.name, ()):
        frames = [lake.scan(table, interval, version).select(anomaly.columns)]
        if anomaly.against:
            other, *columns = anomaly.against
            if not lake.exists(table_named(other)):
                continue
            frames.append(lake.scan(table_named(other)).select(columns))
        flags = anomaly.flags(*(frame.collect() for frame in frames))
        found.append((anomaly, int(flags.sum())))
    return [(anomaly, count) for anomaly, count in found if count]


def check(job: Job, table: Table, session: SparkSession | None) -> Checked:
    """All checks of one table; without a session those that need no Spark."""
    lake, interval = job.lake, job.interval
    found = Checked(lake.version(table))
    found.rows = count(lake, table, interval, found.version)
    if not found.rows:
        where = f" in {interval}" if interval else ""
        found.problems.append(f"expected rows{where}, found none; run the job that writes it")
    found.problems += [f"partial: {gone}" for gone in missing(lake, table, interval, found.version)]
    for anomaly, rows in anomalies(lake, table, interval, found.version):
        found.anomalies[anomaly.name] = rows
        if anomaly.severity == "stop":
            found.problems.append(f"{rows:,} rows with anomaly {anomaly.name}: {anomaly.why}")
    if session is not None:
        expect(job, session, table, found)
    return found


def count(lake: Lake, table: Table, interval: Interval | None, version: int) -> int:
    """Rows of the interval; of the whole table from its log."""
    if interval is None:
        return lake.delta(table, version).count()
    return int(lake.scan(table, interval, version).select(table.time_column).collect().height)


def expect(job: Job, session: SparkSession, table: Table, found: Checked) -> None:
    """Run the suite over the interval; with --docs the outcome is kept for the pages."""
    frame = read(session, job.lake, table, job.interval, found.version).select(table.schema.names).persist()
    try:
        report = quality.validate(frame, table)
    finally:
        frame.unpersist()
    found.expectations = report.evaluated
    found.problems += report.failures
    if job.arguments.docs:
        told = {"version": found.version, "rows": found.rows, "anomalies": found.anomalies, "problems": found.problems}
        data_docs.keep(job.home.home, table, report, **told)


def tables_asked(job: Job) -> list[Table]:
    """Raises:
    UsageError: no such table.
    """
    if job.arguments.table != "all":
        return [table_named(name.strip()) for name in job.arguments.table.split(",")]
    return [table for table in TABLES.values() if job.lake.exists(table)]


def run(job: Job) -> dict[str, Any]:
    """Raises:
    ContractViolated: a table must not be built on; the message names each, with what was expected and found.
    NothingStored: a table that was named does not exist.
    """
    asked, say, session = tables_asked(job), Stages("check_tables"), None
    for table in asked:
        job.lake.version(table)
    if not job.arguments.quick:
        library = quality.warm_up()
        session = spark_session(job.lake, "check_tables")
        library.join()
    found: dict[str, Checked] = {}
    for table in asked:
        one = found[table.name] = check(job, table, session)
        odd = "".join(f", {rows:,} with anomaly {name}" for name, rows in one.anomalies.items())
        bad = "".join(f"; {problem}" for problem in one.problems)
        say(f"{table.name} v{one.version}: {one.rows:,} rows, {one.expectations} expectations{odd}{bad}")
    pages = data_docs.write(job.home.home) if job.arguments.docs else None
    if wrong := [f"{name} v{one.version}: {'; '.join(one.problems)}" for name, one in found.items() if one.problems]:
        raise ContractViolated(f"{'. '.join(wrong)}. Nothing may be built on it: look at the rows, repair, run again.")
    return summary(job, found) | ({"docs": str(pages)} if pages else {})


def summary(job: Job, found: dict[str, Checked]) -> dict[str, Any]:
    """The job's last line: per table, and of the only one at the top as other jobs say it."""
    tables = {
        name: {"version": one.version, "rows": one.rows, "expectations": one.expectations, "anomalies": one.anomalies}
        for name, one in found.items()
    }
    alone: dict[str, Any] = {"table": name, **tables[name]} if len(tables) == 1 and (name := next(iter(tables))) else {}
    times = {"start": job.start, "end": job.end}
    return alone | {"tables": tables} | {k: None if v is None else format_time(v) for k, v in times.items()}


if __name__ == "__main__":
    arguments = parser("check_tables", __doc__)
    arguments.add_argument(
        "--table", required=True, help="names by commas, e.g. bars_5m_v1, or its _quarantine; or all"
    )
    arguments.add_argument("--quick", action="store_true", help="without the expectations: no JVM")
    arguments.add_argument("--docs", action="store_true", help="write the pages of expectations and results")
    main("check_tables", run, arguments)
