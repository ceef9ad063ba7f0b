"""
### services: the other stored feature services over five-minute bars

**Reads** `bars_5m_v1` and whatever a service reads beside it: references, funding, marks, open interest, option
surface, texts, observations. **Writes** the gold table of each service but the default one (`features` builds that):
`features_ref_5m_v1`, `features_derivatives_5m_v1`, `features_chain_1d_v1`. A service that gets a table in
`lake/tables/features.py` appears here by itself.

**Triggered by** an event of `features_5m_v1`, so that the default service comes first, or of `observations_v1`; a
service none of whose inputs changed writes nothing. Give `start`/`end` to build an interval again. The DAG starts
paused: the main job needs none of these tables.

**When it fails.** One service's failure stops no other. 69: there are no bars yet, run `bars`. 65: the result breaks
the table's declaration. 75 is retried by itself.
"""

from airflow.sdk import DAG, AssetAny, Param
from bitacora_airflow.assets import asset
from bitacora_airflow.defaults import DAG_DEFAULTS
from bitacora_airflow.spark_job import SparkJob

from lake.tables.features import FEATURES_5M, SERVICE_TABLES
from lake.tables.observations import OBSERVATIONS

PARAMS = {name: Param(None, type=["null", "string"], description="Empty: watermark") for name in ("start", "end")}
TIMES = {f"--{name}": f"{{{{ params.{name} or '' }}}}" for name in PARAMS}

with DAG(
    "services",
    schedule=AssetAny(asset(FEATURES_5M), asset(OBSERVATIONS)),
    doc_md=__doc__,
    tags=["tier-2", "features"],
    params=PARAMS,
    **(DAG_DEFAULTS | {"is_paused_upon_creation": True}),
):
    for service, table in SERVICE_TABLES.items():
        if table is not FEATURES_5M:
            SparkJob(
                task_id=f"build_{service}",
                module="jobs.build_features",
                options={"--service": service, **TIMES},
                outlets=[asset(table)],
            )
