"""Check a stored table against its declaration: one Great Expectations run over an interval, then the
declared anomaly checks (`lake.anomalies`); exit 65 if one that stops fails, or if there is no row at all.

Reads   --table NAME, its newest version, the interval of --start and --end (default: all of it)
Writes  nothing
"""

from typing import Any

from jobs import quality
from jobs.command import Job, main, parser
from jobs.progress import Stages
from lake.anomalies import ANOMALIES, Anomaly
from lake.errors import ContractViolated
from lake.intervals import Interval, format_time
from lake.spark import read, spark_session
from lake.storage import Lake
from lake.table import Table
from lake.tables import table as table_named


def anomalies(lake: Lake, table: Table, interval: Interval | None, version: int) -> list[tuple[Anomaly, int]]:
    """The declared anomaly checks that found rows, and how many."""
    found = []
    for anomaly in ANOMALIES.get(table.name, ()):
        flags = anomaly.flags(lake.scan(table, interval, version).select(anomaly.columns).collect())
        found.append((anomaly, int(flags.sum())))
    return [(anomaly, count) for anomaly, count in found if count]


def run(job: Job) -> dict[str, Any]:
    table, say = table_named(job.arguments.table), Stages("check_tables")
    version = job.lake.version(table)
    library = quality.warm_up()
    session = spark_session(job.lake, "check_tables")
    library.join()
    frame = read(session, job.lake, table, job.interval, version).select(table.schema.names).persist()
    rows = frame.count()
    report = quality.validate(frame, table)
    for failure in report.failures:
        say(f"{table.name}: {failure}")
    report.require()
    if not rows:
        raise ContractViolated(
            f"{table.name} v{version}: expected rows{f' in {job.interval}' if job.interval else ''}, found none. "
            "Run the job that writes it; nothing may be built on an empty table."
        )
    odd = anomalies(job.lake, table, job.interval, version)
    for anomaly, count in odd:
        say(f"{table.name}: {count:,} rows with anomaly {anomaly.name} ({anomaly.severity}): {anomaly.why}")
    if worst := [anomaly.name for anomaly, _ in odd if anomaly.severity == "stop"]:
        raise ContractViolated(f"{table.name} v{version}: anomalies that stop: {', '.join(worst)}. Look at the rows.")
    say(f"{table.name} v{version}: {rows:,} rows keep all {report.evaluated} expectations")
    return {
        "table": table.name,
        "version": version,
        "rows": rows,
        "expectations": report.evaluated,
        "anomalies": {anomaly.name: count for anomaly, count in odd},
        "start": format_time(job.start) if job.start is not None else None,
        "end": format_time(job.end) if job.end is not None else None,
    }


if __name__ == "__main__":
    arguments = parser("check_tables", __doc__)
    arguments.add_argument("--table", required=True, help="e.g. bars_5m_v1, or its _quarantine")
    main("check_tables", run, arguments)
