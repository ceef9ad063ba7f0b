"""
### features: the default feature service over five-minute bars

**Reads** `bars_5m_v1`. **Writes** `features_5m_v1`, one row per bar. Spark runs the compiled scan of
`feature_store` per instrument and week, each with its own warm-up, so a value never depends on what was built before.

**Triggered by** an event of `bars_5m_v1`; it builds the periods whose bars changed. Give `start`/`end` to build an
interval again, for instance after a feature view got a new version.

**When it fails.** 69: there are no bars yet, run `bars`. 65: `bars_5m_v1` is empty, or the result breaks its own
declaration. 75 is retried by itself.
"""

from airflow.sdk import DAG, Param
from bitacora_airflow.assets import asset
from bitacora_airflow.defaults import DAG_DEFAULTS
from bitacora_airflow.spark_job import SparkJob

from lake.tables.bars import BARS_5M
from lake.tables.features import FEATURES_5M

PARAMS = {name: Param(None, type=["null", "string"], description="Empty: watermark") for name in ("start", "end")}

with DAG(
    "features",
    schedule=[asset(BARS_5M)],
    doc_md=__doc__,
    tags=["tier-1", "features"],
    params=PARAMS,
    **DAG_DEFAULTS,
):
    SparkJob(
        task_id="build_features",
        module="jobs.build_features",
        options={f"--{name}": f"{{{{ params.{name} or '' }}}}" for name in PARAMS},
        outlets=[asset(FEATURES_5M)],
    )
