"""
### ingest: the venue's closed bars, as received, into bronze

**Reads** the venue's REST klines through ccxt. **Writes** `raw_bars_v1` (append only, a payload held is skipped).

**Interval.** Empty `start`/`end` mean the watermark: from the last bar held (or the venue's first) to its last
closed bar, by the venue's market clock. Give both to fetch an interval again; that is safe at any time.

**When it fails.** Exit 75 (rate limit, connection lost) is retried by itself. 69: the venue does not answer; see that
it is up, then clear the task. 65: the venue sent what does not parse; the log shows the payload. Nothing stored is
lost: every chunk is committed on its own and a rerun goes on behind it.

**Backfill.** Trigger with `start` and `end`; `bars` and what follows are triggered by the asset.
"""

from airflow.sdk import DAG, CronTriggerTimetable, Param
from bitacora_airflow.assets import asset
from bitacora_airflow.defaults import DAG_DEFAULTS
from bitacora_airflow.job import Job

from lake.tables.bars import RAW_BARS

PARAMS = {
    "start": Param(None, type=["null", "string"], title="Start", description="2024-01-31 or 2024-01-31T12:00Z"),
    "end": Param(None, type=["null", "string"], title="End", description="Exclusive; empty: the last closed bar"),
    "instruments": Param(None, type=["null", "string"], title="Instruments", description="Comma-separated; empty: all"),
}

with DAG(
    "ingest",
    schedule=CronTriggerTimetable("5 * * * *", timezone="UTC", run_immediately=True),
    doc_md=__doc__,
    tags=["tier-1", "market-data"],
    params=PARAMS,
    **(DAG_DEFAULTS | {"is_paused_upon_creation": None}),
):
    Job(
        task_id="ingest_bars",
        module="jobs.ingest_bars",
        options={f"--{name}": f"{{{{ params.{name} or '' }}}}" for name in PARAMS},
        outlets=[asset(RAW_BARS)],
        pool=RAW_BARS.name,
    )
