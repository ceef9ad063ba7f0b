"""
### materialize: features to the online store, images of candles

**Reads** `features_5m_v1` and `bars_5m_v1`. **Writes** the online store (`ONLINE_STORE`; by default a file under
`BITACORA_HOME/online`) and `images_5m_v1`.

**Triggered by** an event of `features_5m_v1`. The store itself notes which table version it has read and the images
which version of the bars, so a missed, repeated or killed run heals with the next. Paused until the store has a reader.

**When it fails.** 65: `check_features` found no row or an instrument that fell silent, and nothing is served from
that; or gold holds rows of other code than the installed: run `features` over everything again. 69: there are no
features yet, or Redis does not answer. 75 is retried by itself.
"""

from airflow.sdk import DAG
from bitacora_airflow.assets import asset
from bitacora_airflow.defaults import DAG_DEFAULTS
from bitacora_airflow.job import Job
from bitacora_airflow.spark_job import SparkJob

from lake.tables.features import FEATURES_5M
from lake.tables.images import IMAGES_5M

with DAG(
    "materialize",
    schedule=[asset(FEATURES_5M)],
    doc_md=__doc__,
    tags=["tier-2", "features"],
    **(DAG_DEFAULTS | {"is_paused_upon_creation": True}),
):
    checked = Job(
        task_id="check_features",
        module="jobs.check_tables",
        arguments=["--quick", "--table", FEATURES_5M.name],
    )
    checked >> [
        Job(task_id="materialize", module="feature_store", arguments=["materialize"], owner="ml"),
        SparkJob(task_id="build_images", module="jobs.build_images", outlets=[asset(IMAGES_5M)], owner="ml"),
    ]
