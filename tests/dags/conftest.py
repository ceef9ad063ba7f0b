"""Airflow reads its settings when it is imported: they are set here, before any test of this folder imports it."""

import os
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
_HOME = tempfile.mkdtemp(prefix="airflow-tests-")

os.environ.update(
    AIRFLOW_HOME=_HOME,
    AIRFLOW__CORE__DAGS_FOLDER=str(REPOSITORY / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(REPOSITORY / "plugins"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{_HOME}/airflow.db",
    AIRFLOW_CONN_SPARK_BITACORA='{"conn_type": "spark", "host": "local[1]"}',
)
sys.path.append(str(REPOSITORY / "plugins"))
