"""What each process sees of the environment: its own settings, and no other's secrets."""

import os
import sys
from pathlib import Path

from bitacora.home import Home

BIN = Path(sys.executable).parent
_DROPPED = ("AIRFLOW", "MLFLOW_", "LIVE_", "_AIRFLOW", "SUPERVISED_BY", "PYTHONWARNINGS", "PYTHONDONTWRITE")


def base(home: Home) -> dict[str, str]:
    """The caller's environment without anybody's settings but BITACORA_, LAKE_, VENUE_, AWS_ and SPARK_ ones.

    `.venv/bin` comes first on PATH: Airflow's Spark operator looks for `spark-submit` there.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_DROPPED)}
    return kept | {
        "BITACORA_HOME": str(home.root),
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight more processes of 280 MB, for jobs nobody has
        "DO_NOT_TRACK": "true",
    }
