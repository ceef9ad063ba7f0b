"""A button on a task that leads to the MLflow run it made."""

import os
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator


class MlflowRunLink(BaseOperatorLink):
    """Shown where the job's summary names a run."""

    name = "MLflow run"

    def get_link(self, operator: "BaseOperator", *, ti_key: Any) -> str:
        summary = XCom.get_value(ti_key=ti_key, key="return_value")
        run_id = summary.get("run_id") if isinstance(summary, dict) else None
        address = os.environ.get("TRAINING_TRACKING_URI", "")
        if not run_id or not address.startswith("http"):
            return ""
        return f"{address}/#/runs/{run_id}"
