"""
### maintenance: small files together, unreadable files away, nothing leased lost

**Reads** the Delta logs and `leases_v1`. **Writes** every table once more in fewer files; content stays equal, so no
asset event is sent. A version that a registered model was trained on keeps its files and its log until the lease ends
(`bitacora lake leases`).

**Every day at 03:30 UTC.** Give `tables` to maintain some only, `retention_days` to keep more or less.

**When it fails.** 75: a table is being written, it is retried by itself. Anything else changed no content: look at
the log and clear the task. A kill leaves at most files that the next run removes.
"""

from airflow.sdk import DAG, CronTriggerTimetable, Param
from bitacora_airflow.defaults import DAG_DEFAULTS
from bitacora_airflow.spark_job import SparkJob

PARAMS = {
    "tables": Param(None, type=["null", "string"], description="Comma-separated; empty: every table"),
    "retention_days": Param(30, type="number", minimum=7, description="Days that unleased versions stay readable"),
}

with DAG(
    "maintenance",
    schedule=CronTriggerTimetable("30 3 * * *", timezone="UTC"),
    doc_md=__doc__,
    tags=["tier-2", "lake"],
    params=PARAMS,
    **(DAG_DEFAULTS | {"is_paused_upon_creation": True}),
):
    SparkJob(
        task_id="maintain",
        module="jobs.maintain",
        options={"--tables": "{{ params.tables or '' }}", "--retention-days": "{{ params.retention_days }}"},
    )
