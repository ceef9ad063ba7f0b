"""
### train: one training run, registered as challenger

**Reads** `features_5m_v1` and `bars_5m_v1` by a point-in-time join. **Writes** an MLflow run and a model version
(a bundle: ONNX and a hash-pinned manifest), alias `challenger`. The task's button *MLflow run* leads to it.

**Triggered by** an event of `features_5m_v1`. Trigger by hand with another `model` or `seed` to compare.

**When it fails.** 65: too little history for the walk-forward (it needs 55 + 120 days), or the export disagrees with
the model. 69: the registry does not answer. A retry logs a new run; the old one stays as it was.
"""

from airflow.sdk import DAG, Param
from bitacora_airflow.assets import CHALLENGER, asset, model_asset
from bitacora_airflow.defaults import DAG_DEFAULTS
from bitacora_airflow.job import Job

from lake.tables.features import FEATURES_5M

with DAG(
    "train",
    schedule=[asset(FEATURES_5M)],
    doc_md=__doc__,
    tags=["tier-2", "models"],
    params={
        "model": Param("gbm", enum=["gbm", "bilstm"], title="Model", description="A file of training/models"),
        "seed": Param(None, type=["null", "integer"], title="Seed", description="Empty: the model's default"),
    },
    **DAG_DEFAULTS,
):
    Job(
        task_id="train",
        module="training.train",
        options={"--model": "{{ params.model }}", "--seed": "{{ '' if params.seed is none else params.seed }}"},
        outlets=[model_asset(CHALLENGER)],
        pool="training",
        owner="ml",
    )
