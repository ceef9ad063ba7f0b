"""
### bars: bronze to silver, checked

**Reads** `raw_bars_v1`. **Writes** `bars_1m_v1` and `bars_5m_v1`, one Spark application for both: typed, deduplicated,
merged by key, checked by one Great Expectations run per table. Rows that break the contract go to
`<table>_quarantine` with the reason and block nothing.

**Triggered by** an event of `raw_bars_v1`; it takes every bronze row that silver does not hold yet, so a missed or
failed run heals with the next. Give `start`/`end` to build an interval again; equal input changes nothing.

**When it fails.** 65: a stop check failed, nothing downstream runs; read the reasons in the log and the quarantine
table. 75 is retried by itself. Two runs never overlap: the pool `spark` has one slot.
"""

from airflow.sdk import DAG, Param
from bitacora_airflow.assets import asset
from bitacora_airflow.defaults import DAG_DEFAULTS
from bitacora_airflow.spark_job import SparkJob

from lake.tables.bars import BARS_1M, BARS_5M, RAW_BARS

PARAMS = {name: Param(None, type=["null", "string"], description="Empty: watermark") for name in ("start", "end")}

with DAG(
    "bars",
    schedule=[asset(RAW_BARS)],
    doc_md=__doc__,
    tags=["tier-1", "market-data"],
    params=PARAMS,
    **DAG_DEFAULTS,
):
    SparkJob(
        task_id="build_bars",
        module="jobs.build_bars",
        options={f"--{name}": f"{{{{ params.{name} or '' }}}}" for name in PARAMS},
        outlets=[asset(BARS_1M), asset(BARS_5M)],
    )
