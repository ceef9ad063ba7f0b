"""Keep what the anomaly checks flag: odd rows of bars, each from the moment at which it could be told.

Reads   bars_1m_v1 or bars_5m_v1 (--table), the interval of --start and --end (default: all of it)
Writes  gold anomalies_v1, each flag once

A check looks at a row's past and future. So a flag counts from when the newest row of the stretch was known, never from
the row's own time: who joins it by `available_time` learns of a bad tick when it could be learnt. What was flagged once
keeps its first time.
"""

from datetime import UTC, datetime
from typing import Any

import orjson
import polars as pl

from jobs.bronze import store
from jobs.command import Job, main, parser
from jobs.lock import writing
from lake.anomalies import ANOMALIES, Anomaly
from lake.errors import UsageError
from lake.table import Table
from lake.tables import BARS_1M, BARS_5M, FLAGS
from lake.tables import table as table_named

OBSERVED = (BARS_1M.name, BARS_5M.name)


def flagged(table: Table, anomaly: Anomaly, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of anomalies_v1, without `found_time`.

    Args:
        rows: a stretch of the table with its key, both clocks and what the check reads.
    """
    odd = rows.filter(anomaly.flags(rows))
    keys = [orjson.dumps(row, option=orjson.OPT_UTC_Z).decode() for row in odd.select(table.key).iter_rows(named=True)]
    return odd.select(
        pl.lit(table.name).alias("observed"),
        pl.lit(anomaly.name).alias("anomaly"),
        "instrument",
        "event_time",
        pl.lit(rows["available_time"].max(), rows.schema["available_time"]).alias("available_time"),
        pl.Series("row_key", keys, pl.String),
        pl.lit(anomaly.why).alias("why"),
        pl.col("event_time").dt.strftime("%Y-%m").alias("month"),
    )


def run(job: Job) -> dict[str, Any]:
    """Raises:
    UsageError: no check flags rows of that table.
    """
    table, lake = table_named(job.arguments.table), job.lake
    checks = [check for check in ANOMALIES.get(table.name, ()) if check.severity == "flag"]
    if table.name not in OBSERVED:
        raise UsageError(f"--table {table.name}: expected one whose rows are flagged: {', '.join(OBSERVED)}.")
    columns = dict.fromkeys(
        (*table.key, "event_time", "available_time", *(name for check in checks for name in check.columns))
    )
    rows = lake.scan(table, job.interval).select(columns.keys()).collect()
    found = [flagged(table, check, rows) for check in checks]
    with writing(job.home.home, FLAGS):
        new = store(lake, FLAGS, pl.concat(found).with_columns(found_time=pl.lit(datetime.now(UTC))), job.run_id)
    return {
        "table": FLAGS.name,
        "version": lake.version(FLAGS) if lake.exists(FLAGS) else None,
        "rows": new,
        "flagged": {check.name: part.height for check, part in zip(checks, found, strict=True)},
    }


if __name__ == "__main__":
    arguments = parser("find_anomalies", __doc__)
    arguments.add_argument("--table", default=BARS_1M.name, help="bars_1m_v1 (default) or bars_5m_v1")
    main("find_anomalies", run, arguments)
