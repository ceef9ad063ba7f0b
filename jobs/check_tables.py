"""Check a stored table against its declaration: one Great Expectations run over an interval, exit 65 if it fails.

Reads   --table NAME, its newest version, the interval of --start and --end (default: all of it)
Writes  nothing
"""

from typing import Any

from jobs import quality
from jobs.command import Job, main, parser
from jobs.progress import Stages
from lake.intervals import format_time
from lake.spark import read, spark_session
from lake.tables import table as table_named


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
    say(f"{table.name} v{version}: {rows:,} rows keep all {report.evaluated} expectations")
    return {
        "table": table.name,
        "version": version,
        "rows": rows,
        "expectations": report.evaluated,
        "start": format_time(job.start) if job.start is not None else None,
        "end": format_time(job.end) if job.end is not None else None,
    }


if __name__ == "__main__":
    arguments = parser("check_tables", __doc__)
    arguments.add_argument("--table", required=True, help="e.g. bars_5m_v1, or its _quarantine")
    main("check_tables", run, arguments)
