"""
### sources: what REST sources tell, as received, and the observations in it

**Reads** every source of numbers of `python -m lake.sources list`, one task each: on-chain, DeFi, fundamentals, index,
macro (texts have a DAG of their own). **Writes** `raw_answers_v1`, then `observations_v1` with its quarantine and
history. A new source is a new file in `lake/sources/` and appears here by itself.

**Interval.** Each entity goes on where it stopped, less the source's overlap for late corrections. Give `start` and
`end` to ask again; what is held already is skipped. The DAG starts paused: it asks the world outside.

**When it fails.** A source that fails stops no other one, and what the others told is built. 75 (rate limit) is
retried by itself. 78: the key is missing or refused, set `SOURCES_<NAME>_KEY`. 69: the source does not answer or says
no. A killed task goes on in the middle of its pages. 65 of `check_observations` names a source that fell silent.
Answers that cannot be read are in `observations_v1_quarantine`.
"""

from airflow.sdk import DAG, CronTriggerTimetable, Param
from bitacora_airflow.assets import asset
from bitacora_airflow.defaults import DAG_DEFAULTS
from bitacora_airflow.job import Job
from bitacora_airflow.spark_job import SparkJob

from lake.sources.registry import sources
from lake.tables.observations import OBSERVATIONS, RAW_ANSWERS

PARAMS = {name: Param(None, type=["null", "string"], description="Empty: watermark") for name in ("start", "end")}
TIMES = {f"--{name}": f"{{{{ params.{name} or '' }}}}" for name in PARAMS}

with DAG(
    "sources",
    schedule=CronTriggerTimetable("30 13 * * *", timezone="UTC"),
    doc_md=__doc__,
    tags=["tier-2", "sources"],
    params=PARAMS,
    **(DAG_DEFAULTS | {"is_paused_upon_creation": True}),
):
    asked = [
        Job(
            task_id=f"ingest_{name}",
            module="jobs.ingest_source",
            options={"--source": name, **TIMES},
            outlets=[asset(RAW_ANSWERS)],
            pool=RAW_ANSWERS.name,
        )
        for name, source in sources().items()
        if source.kind == "observations"
    ]
    built = SparkJob(
        task_id="build_observations",
        module="jobs.build_observations",
        outlets=[asset(OBSERVATIONS)],
        trigger_rule="all_done",
    )
    check = Job(
        task_id="check_observations",
        module="jobs.check_tables",
        arguments=["--quick", "--table", OBSERVATIONS.name],
    )
    asked >> built >> check
