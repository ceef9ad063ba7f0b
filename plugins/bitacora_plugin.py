"""The one file Airflow's plugin loader runs; what it registers lives in `bitacora_airflow/`.

The loader imports every file under its bare name, so a `plugins/lake.py` would shadow the package `lake`:
`.airflowignore` hides everything else from it. DAGs import from `bitacora_airflow`; this folder is on their path.
"""

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin
from bitacora_airflow.links import MlflowRunLink


class BitacoraPlugin(AirflowPlugin):
    """Registers the operators' links with the web interface."""

    name = "bitacora"
    operator_extra_links: ClassVar[list[Any]] = [MlflowRunLink()]
