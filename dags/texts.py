"""
### texts: posts and news, what models say of them, and what that means per asset

**Reads** every text source of `python -m lake.sources list` (SOURCES_<NAME>_KEY where it needs one). **Writes**
`raw_answers_v1`, `texts_v1`, `text_embeddings_v1`, `text_scores_v1`, `text_features_v1`, and the newest rows online.

**Interval.** Each source goes on where it stopped, with an overlap for what came late. A source asked again gives the
same texts again: they are held once, with the time of the first receipt.

**When it fails.** One source's failure does not hold up the others: the build runs when all have ended. 78: its key is
missing or refused; set it, or pause that task. 69: it does not answer. 75 (rate limit) is retried by itself. 65: an
answer breaks the contract; it is in the quarantine of `texts_v1`; or `check_texts` found no text, or a source fallen
silent. Paused upon creation: unpause it once keys are set. X's filtered stream is no DAG: `python -m
jobs.record_texts` runs beside it.
"""

from airflow.sdk import DAG, CronTriggerTimetable
from bitacora_airflow.assets import asset
from bitacora_airflow.defaults import DAG_DEFAULTS
from bitacora_airflow.job import Job
from bitacora_airflow.spark_job import SparkJob

from lake.sources.registry import sources
from lake.tables.observations import RAW_ANSWERS
from lake.tables.texts import TEXT_EMBEDDINGS, TEXT_FEATURES, TEXT_SCORES, TEXTS

with DAG(
    "texts",
    schedule=CronTriggerTimetable("*/15 * * * *", timezone="UTC"),
    doc_md=__doc__,
    tags=["tier-2", "texts"],
    **(DAG_DEFAULTS | {"is_paused_upon_creation": True}),
):
    answers = [
        Job(
            task_id=f"ingest_{name}",
            module="jobs.ingest_source",
            options={"--source": name},
            outlets=[asset(RAW_ANSWERS)],
            pool=RAW_ANSWERS.name,
        )
        for name, source in sources().items()
        if source.kind == "text"
    ]
    texts, embeddings, scores, features = (
        SparkJob(task_id=name, module=f"jobs.{name}", arguments=arguments, outlets=[asset(table)], trigger_rule=rule)
        for name, arguments, table, rule in (
            ("build_texts", [], TEXTS, "all_done"),
            ("build_text_embeddings", [], TEXT_EMBEDDINGS, "all_success"),
            ("build_text_scores", [], TEXT_SCORES, "all_success"),
            ("build_text_features", ["--push"], TEXT_FEATURES, "all_success"),
        )
    )
    checked = Job(task_id="check_texts", module="jobs.check_tables", arguments=["--quick", "--table", TEXTS.name])
    answers >> texts >> checked >> [embeddings, scores] >> features
