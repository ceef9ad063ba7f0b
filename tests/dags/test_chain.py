"""The real scheduler, database and server: an event of one DAG starts the next, with the Delta version attached."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitacora import processes
from bitacora.airflow_api import AirflowApi
from bitacora.home import Home
from bitacora.services import airflow

_DAGS = '''"""Three links."""
from airflow.sdk import DAG, CronTriggerTimetable
from bitacora_airflow.assets import asset
from bitacora_airflow.defaults import DAG_DEFAULTS
from bitacora_airflow.job import Job
from lake.tables.bars import BARS_5M, RAW_BARS

CRON = CronTriggerTimetable("5 * * * *", timezone="UTC", run_immediately=True)
with DAG("first", schedule=CRON, **(DAG_DEFAULTS | {"is_paused_upon_creation": None})):
    Job(task_id="one", module="stand_in", arguments=["raw_bars_v1"], outlets=[asset(RAW_BARS)], pool="raw_bars_v1")
with DAG("second", schedule=[asset(RAW_BARS)], **DAG_DEFAULTS):
    Job(task_id="two", module="stand_in", arguments=["bars_5m_v1"], outlets=[asset(BARS_5M)])
with DAG("third", schedule=[asset(BARS_5M)], **DAG_DEFAULTS):
    Job(task_id="three", module="stand_in", arguments=["none"])
'''
_JOB = """
import json, sys
print("working", file=sys.stderr)
print(json.dumps({"job": "stand_in", "table": sys.argv[1], "version": 3, "rows": 5}))
"""


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[AirflowApi, Home]]:
    """Airflow over a folder of three small DAGs whose jobs are a stand-in module."""
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "links.py").write_text(_DAGS)
    (tmp_path / "stand_in.py").write_text(_JOB)
    home, port = Home(tmp_path / "home"), processes.free_port()
    home.logs.mkdir(parents=True)
    airflow.migrate(home, port)
    started = airflow.start(home, port, {"PYTHONPATH": str(tmp_path)}, tmp_path / "dags")
    try:
        yield airflow.wait(home, started), home
    finally:
        for service in reversed(started):
            processes.stop(home, service)
    assert not any(processes.marked(service.mark) for service in started)
    assert not processes.listening(port)


def _wait_for(api: AirflowApi, dag_id: str, seconds: float = 60) -> dict[str, str]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        runs = api.runs(dag_id)
        if runs and runs[0]["state"] in ("success", "failed"):
            found: dict[str, str] = runs[0]
            return found
        time.sleep(0.2)
    raise AssertionError(f"{dag_id} did not finish: {api.runs(dag_id)}")


@pytest.mark.slow
def test_an_event_of_one_dag_starts_the_next_and_carries_the_version(scheduler: tuple[AirflowApi, Home]) -> None:
    api, _ = scheduler
    deadline = time.monotonic() + 30
    while len(api.dags()) < 3 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert api.import_errors() == {}
    api.set_pool("raw_bars_v1", 1, "lease")
    api.set_pool("raw_bars_v1", 1, "lease, set again")
    assert api.runs("first") == []  # paused until somebody says go

    api.pause("first", False)

    kinds = {dag_id: _wait_for(api, dag_id) for dag_id in ("first", "second", "third")}
    assert {dag_id: run["state"] for dag_id, run in kinds.items()} == dict.fromkeys(kinds, "success")
    assert [run["run_type"] for run in kinds.values()] == ["scheduled", "asset_triggered", "asset_triggered"]
    events = {event["name"]: event["extra"]["delta_version"] for event in api.asset_events()}
    assert events == {"raw_bars_v1": 3, "bars_5m_v1": 3}
