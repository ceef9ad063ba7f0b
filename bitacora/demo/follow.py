"""Watch a DAG's first run to its end, and say what broke where it did not succeed."""

import time
from pathlib import Path
from typing import Any

from bitacora import processes
from bitacora.airflow_api import AirflowApi
from bitacora.demo.progress import Stage
from bitacora.home import Home
from lake.errors import ContractViolated, Unavailable

ENDED = ("success", "failed")
POLL_SECONDS = 0.5


class LinkBroken(ContractViolated):
    """A link of the chain did not hold: names it, what was expected, what was found, and the log."""


def follow(home: Home, client: AirflowApi, dag_id: str, stage: Stage, seconds: float) -> dict[str, Any]:
    """Wait until the DAG's first run has succeeded; returns the run.

    Raises:
        LinkBroken: a task failed or was skipped; the message ends with the task's last lines.
        Unavailable: time is up, or the scheduler is gone.
    """
    deadline = time.monotonic() + seconds
    while True:
        runs = client.runs(dag_id)
        tasks = client.tasks(dag_id, runs[0]["dag_run_id"]) if runs else []
        if runs and runs[0]["state"] in ENDED:
            _require_success(home, runs[0], tasks)
            return runs[0]
        stage.say(_waiting_for(dag_id, runs, tasks))
        if time.monotonic() > deadline:
            raise Unavailable(f"DAG {dag_id}: expected a finished run within {seconds:.0f} s, found {_states(tasks)}")
        scheduler = processes.load(home, "airflow-scheduler")
        if scheduler is None or scheduler.process() is None:
            raise Unavailable(f"the scheduler ended. Its log:\n{processes.tail(home.log('airflow-scheduler'))}")
        time.sleep(POLL_SECONDS)


def _require_success(home: Home, run: dict[str, Any], tasks: list[dict[str, Any]]) -> None:
    for task in tasks:
        if task["state"] != "success":
            log = task_log(home, task)
            raise LinkBroken(
                f"DAG {run['dag_id']}, task {task['task_id']}: expected success, found {task['state']}. "
                f"{log} ends:\n{log_tail(log)}"
            )
    if run["state"] != "success" or not tasks:
        raise LinkBroken(f"DAG {run['dag_id']}: expected a successful run with tasks, found {run['state']}, {tasks}")


def task_log(home: Home, task: dict[str, Any]) -> Path:
    """Airflow's log file of a task's last try."""
    folder = home.logs / "airflow" / f"dag_id={task['dag_id']}" / f"run_id={task['dag_run_id']}"
    return folder / f"task_id={task['task_id']}" / f"attempt={max(1, task['try_number'])}.log"


def log_tail(log: Path) -> str:
    """The last events of a task's log, which Airflow writes as one JSON object per line."""
    import orjson

    lines = []
    try:
        for line in log.read_bytes().splitlines():
            try:
                lines.append(str(orjson.loads(line).get("event", "")))
            except orjson.JSONDecodeError:
                lines.append(line.decode(errors="replace"))
    except OSError:
        return "    (no log)"
    return "\n".join(f"    {line}" for line in lines[-processes.TAIL_LINES :])


def _waiting_for(dag_id: str, runs: list[dict[str, Any]], tasks: list[dict[str, Any]]) -> str:
    return _states(tasks) if runs else f"waiting for the scheduler to start {dag_id}"


def _states(tasks: list[dict[str, Any]]) -> str:
    return ", ".join(f"{task['task_id']} {task['state'] or 'scheduled'}" for task in tasks) or "no task yet"


def rows_note(events: list[dict[str, Any]], dag_id: str) -> str:
    """What a DAG's events say it stored: table, version, rows."""
    mine = [e for e in events if e.get("source_dag_id") == dag_id]
    return ", ".join(
        f"{e['extra'].get('table')} v{e['extra'].get('delta_version')} ({e['extra'].get('rows', 0):,} rows)"
        for e in mine
    )
