"""Airflow on SQLite: api-server, scheduler and dag-processor, three processes, tuned for two cores.

The database is `BITACORA_HOME/airflow/airflow.db`; the password of `admin` is in `passwords.json` beside it. No
triggerer: nothing here defers (an approval waits without one).
"""

import json
import os
import secrets
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bitacora import processes, web
from bitacora.airflow_api import AirflowApi
from bitacora.home import REPOSITORY, Home
from bitacora.services import environment
from lake.errors import Unavailable

NAMES = ("airflow-api", "airflow-scheduler", "airflow-dag-processor")
USER = "admin"


def password(home: Home) -> str:
    """The admin's password, made at the first call."""
    path = home.airflow / "passwords.json"
    if not path.exists():
        home.airflow.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps({USER: secrets.token_urlsafe(12)}))
    return str(json.loads(path.read_text())[USER])


def settings(home: Home, port: int, dags: Path = REPOSITORY / "dags") -> dict[str, str]:
    """Airflow's own settings, as AIRFLOW__SECTION__KEY."""
    key_file = home.airflow / "secret.key"
    if not key_file.exists():
        key_file.touch(mode=0o600)
        key_file.write_text(secrets.token_hex(32))
    key = key_file.read_text()
    url = f"http://127.0.0.1:{port}"
    sections: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": dags,
            "plugins_folder": REPOSITORY / "plugins",
            "load_examples": False,
            "executor": "LocalExecutor",
            "parallelism": 2,
            "simple_auth_manager_users": f"{USER}:admin",
            "simple_auth_manager_passwords_file": home.airflow / "passwords.json",
            "execution_api_server_url": f"{url}/execution/",
            "fernet_key": "",
        },
        "database": {"sql_alchemy_conn": f"sqlite:///{home.airflow / 'airflow.db'}"},
        "api": {"host": "127.0.0.1", "port": port, "base_url": url, "workers": 1, "secret_key": key},
        "api_auth": {"jwt_secret": key},
        "logging": {"base_log_folder": home.logs / "airflow", "logging_level": "INFO"},
        "scheduler": {"scheduler_idle_sleep_time": 0.3, "scheduler_heartbeat_sec": 2, "job_heartbeat_sec": 3},
        "dag_processor": {"refresh_interval": 60, "min_file_process_interval": 60, "parsing_processes": 1},
        "usage_data_collection": {"enabled": False},
    }
    return {
        f"AIRFLOW__{section.upper()}__{name.upper()}": str(value)
        for section, values in sections.items()
        for name, value in values.items()
    }


def full_environment(
    home: Home, port: int, jobs: Mapping[str, str], dags: Path = REPOSITORY / "dags"
) -> dict[str, str]:
    """Airflow's environment; `jobs` are the settings the jobs it starts read (venue, tracking address, policy)."""
    master = os.environ.get("SPARK_MASTER", "local[*]")
    return environment.base(home) | settings(home, port, dags) | {
        "AIRFLOW_HOME": str(home.airflow),
        "AIRFLOW_CONN_SPARK_BITACORA": json.dumps({"conn_type": "spark", "host": master}),
        **jobs,
    }  # fmt: skip


def migrate(home: Home, port: int) -> None:
    """Create or upgrade the database.

    Raises:
        Unavailable: the migration failed; the message carries its last lines.
    """
    password(home)
    log = home.log("airflow-migrate")
    with log.open("wb") as output:
        code = subprocess.run(
            [environment.BIN / "airflow", "db", "migrate"],
            env=full_environment(home, port, {}), stdout=output, stderr=subprocess.STDOUT, check=False, cwd=REPOSITORY,
        ).returncode  # fmt: skip
    if code:
        raise Unavailable(f"airflow db migrate exited with {code}. {log} ends:\n{processes.tail(log)}")


def start(home: Home, port: int, jobs: Mapping[str, str], dags: Path = REPOSITORY / "dags") -> list[processes.Service]:
    """Start the three processes, after `migrate`."""
    variables = full_environment(home, port, jobs, dags)
    commands = {
        "airflow-api": ["api-server"],
        "airflow-scheduler": ["scheduler", "--skip-serve-logs"],
        "airflow-dag-processor": ["dag-processor"],
    }
    airflow = str(environment.BIN / "airflow")
    url = f"http://127.0.0.1:{port}"
    return [
        processes.start(
            home, name, [airflow, *words], variables,
            [port] if name == "airflow-api" else [], {"url": url} if name == "airflow-api" else {},
        )
        for name, words in commands.items()
    ]  # fmt: skip


def wait(home: Home, started: list[processes.Service], seconds: float = 90.0) -> AirflowApi:
    """Wait until the server answers and scheduler and dag-processor report in; log in.

    Raises:
        Unavailable: one of them ended or did not get ready.
    """
    api, scheduler, processor = started
    url = api.urls["url"]
    processes.wait_ready(api, lambda: web.answers(f"{url}/api/v2/monitor/health"), seconds)
    client = AirflowApi(url, USER, password(home))
    processes.wait_ready(scheduler, lambda: client.healthy("scheduler"), seconds)
    processes.wait_ready(processor, lambda: client.healthy("dag_processor"), seconds)
    return client
