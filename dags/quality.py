"""
### quality: every table against its declaration, holes, late tables, and the pages of it

**Reads** every table that is stored. **Writes** `gaps_v1`, `anomalies_v1` and the data docs
(`BITACORA_HOME/data_docs/index.html`: what each table promises, what was found). Every build has validated what it
commits; this looks at the whole once more, above all for what no build can see: what did *not* come.

**Every day at 04:15 UTC.** The tasks do not wait for one another; each failure is a finding. Paused at first.

**When it fails.** 65 of `check_tables`: rows that break a contract, an empty table, a member that fell silent; the
page and the log name them. 65 of `freshness`: late tables, with expected and found; run what writes them. 69: nothing
is stored yet. `find_gaps` does not fail for holes: `bitacora lake gaps` shows them, `jobs.repair_gaps` asks for them
again.
"""

from airflow.sdk import DAG, CronTriggerTimetable
from bitacora_airflow.assets import asset
from bitacora_airflow.defaults import DAG_DEFAULTS
from bitacora_airflow.job import Job
from bitacora_airflow.spark_job import SparkJob

from lake.tables.anomalies import FLAGS
from lake.tables.gaps import GAPS

with DAG(
    "quality",
    schedule=CronTriggerTimetable("15 4 * * *", timezone="UTC"),
    doc_md=__doc__,
    tags=["tier-2", "lake"],
    **(DAG_DEFAULTS | {"is_paused_upon_creation": True}),
):
    SparkJob(task_id="check_tables", module="jobs.check_tables", arguments=["--table", "all", "--docs"])
    Job(task_id="freshness", module="bitacora", arguments=["lake", "freshness"])
    Job(task_id="find_gaps", module="jobs.find_gaps", outlets=[asset(GAPS)], pool=GAPS.name)
    Job(task_id="find_anomalies", module="jobs.find_anomalies", outlets=[asset(FLAGS)], pool=FLAGS.name)
