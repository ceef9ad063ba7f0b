"""Whether the whole chain held: what is expected at the end of the main job, and what was found."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bitacora import lineage, reconcile, skew, venue
from bitacora.airflow_api import AirflowApi
from bitacora.home import Home
from bitacora.journal_export import journal_file, read
from bitacora.registry import open_registry
from bitacora.up import DAG_IDS
from lake.errors import BitacoraError
from lake.settings import HomeSettings, LakeSettings, read_settings
from lake.storage import Lake
from lake.tables import table
from lake.tables.trading import ORDERS

MIN_FILLED_ORDERS = 20


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold."""

    name: str
    ok: bool
    expected: str
    found: str


def check(name: str, expected: str, ask: Callable[[], tuple[bool, str]]) -> Check:
    """Ask; an error of ours is a failed check that says why."""
    try:
        ok, found = ask()
    except BitacoraError as error:
        ok, found = False, str(error)
    return Check(name, ok, expected, found)


def airflow_checks(client: AirflowApi) -> list[Check]:
    """What the scheduler did: while it still runs."""
    lake = Lake(read_settings(LakeSettings).root(read_settings(HomeSettings)))
    return [
        check("runs by the scheduler", "one per DAG; four triggered by an asset", lambda: _runs(client)),
        check("tasks", "every task success, none skipped", lambda: _tasks(client)),
        check("asset events", "each with a Delta version that exists", lambda: _events(client, lake)),
    ]


def _runs(client: AirflowApi) -> tuple[bool, str]:
    kinds = {dag_id: sorted({run["run_type"] for run in client.runs(dag_id)}) for dag_id in DAG_IDS}
    expected = {dag_id: ["scheduled" if dag_id == "ingest" else "asset_triggered"] for dag_id in DAG_IDS}
    return kinds == expected, ", ".join(f"{dag_id} {'+'.join(found) or 'none'}" for dag_id, found in kinds.items())


def _tasks(client: AirflowApi) -> tuple[bool, str]:
    states = {
        f"{dag_id}.{task['task_id']}": task["state"]
        for dag_id in DAG_IDS
        for run in client.runs(dag_id)
        for task in client.tasks(dag_id, run["dag_run_id"])
    }
    other = [f"{name} {state}" for name, state in states.items() if state != "success"]
    return bool(states) and not other, ", ".join(other) or f"{len(states)} tasks, all success"


def _events(client: AirflowApi, lake: Lake) -> tuple[bool, str]:
    events = client.asset_events()
    problems = []
    for event in events:
        name, version = event["extra"].get("table"), event["extra"].get("delta_version")
        try:
            lake.delta(table(str(name)), version if isinstance(version, int) else -1)
        except Exception as error:  # delta-rs raises its own errors for a version that is not there
            problems.append(f"{event.get('name')}: {name} version {version}: {error}")
    return bool(events) and not problems, "; ".join(problems) or f"{len(events)} events"


def champion_check(home: Home, model_name: str = "bitacora") -> Check:
    """Ask the registry for the champion."""

    def ask() -> tuple[bool, str]:
        found = open_registry(home).by_alias(model_name, "champion")
        return True, f"{found.name} version {found.version}"

    return check("champion", "at least one", ask)


def trading_checks(home: Home) -> list[Check]:
    """Orders, books, skew and lineage, from the lake."""
    return [
        check("filled orders", f"at least {MIN_FILLED_ORDERS}", _filled),
        check("reconcile", "venue = journal = gold, exactly", lambda: _reconcile(home)),
        check("skew", f"at most {skew.TOLERANCE}", _skew),
        check("lineage --all --verify", "every chain holds, recomputed from bronze", _lineage),
    ]


def _filled() -> tuple[bool, str]:
    import polars as pl

    lake = Lake(read_settings(LakeSettings).root(read_settings(HomeSettings)))
    states = dict(lake.scan(ORDERS).group_by("status").agg(pl.len()).collect().iter_rows())
    return states.get("filled", 0) >= MIN_FILLED_ORDERS, ", ".join(f"{n} {s}" for s, n in states.items()) or "no orders"


def _reconcile(home: Home) -> tuple[bool, str]:
    result = reconcile.compare(read(journal_file(home)), reconcile.gold_fills(), venue.account(home))
    return result["ok"], "; ".join(result["problems"]) or _exact(result)


def _exact(result: dict[str, Any]) -> str:
    counts = ", ".join(f"{place} {count}" for place, count in result["fills"].items())
    return f"fills: {counts}; {len(result['assets'])} assets exact"


def _skew() -> tuple[bool, str]:
    result = skew.compare()
    missing = len(result["missing_in_gold"])
    return result["ok"], (
        f"{result['max']} over {result['compared']} of {result['decisions']} decisions"
        + (f"; {missing} missing in gold, e.g. {result['missing_in_gold'][0]}" if missing else "")
        + (f"; offending {', '.join(result['offending'])}" if result["offending"] else "")
    )


def _lineage() -> tuple[bool, str]:
    chains = lineage.trace(None, verify=True)
    broken = [chain for chain in chains if not chain["ok"]]
    first = f": order {broken[0]['client_order_id']}: {broken[0]['problems'][0]}" if broken else ""
    return not broken, f"{len(chains) - len(broken)} of {len(chains)} chains{first}"


def describe(found: Check) -> dict[str, Any]:
    return {"name": found.name, "ok": found.ok, "expected": found.expected, "found": found.found}
