"""The demo's parts: what it waits for, what it says when a link breaks, and what it leaves alone."""

import fcntl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import psutil
import pytest

from bitacora import processes
from bitacora.demo import checks, follow, run, settle, trade
from bitacora.demo.progress import Progress
from bitacora.home import Home
from lake.errors import NothingStored, TryAgain, Unavailable
from lake.journal import encode


class FakeAirflow:
    """Answers as Airflow's API would, one snapshot per call."""

    def __init__(self, *snapshots: tuple[str, str], kind: str = "asset_triggered") -> None:
        self.snapshots, self.kind, self.calls = list(snapshots), kind, 0

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        state = self.snapshots[min(self.calls, len(self.snapshots) - 1)][0]
        self.calls += 1
        return [{"dag_id": dag_id, "dag_run_id": "r1", "state": state, "run_type": self.kind}] if state else []

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        state = self.snapshots[min(self.calls, len(self.snapshots)) - 1][1]
        return [{"dag_id": dag_id, "dag_run_id": run_id, "task_id": "work", "state": state, "try_number": 1}]


@pytest.fixture
def place(tmp_path: Path) -> Home:
    """A home in which this very process plays the scheduler."""
    home = Home(tmp_path / "var")
    home.run.mkdir(parents=True)
    home.logs.mkdir()
    me = psutil.Process()
    processes.save(home, processes.Service("airflow-scheduler", me.pid, me.create_time(), "m", "log"))
    return home


def followed(place: Home, airflow: FakeAirflow, seconds: float = 5.0) -> dict[str, Any]:
    with Progress().stage("DAG bars") as stage:
        return follow.follow(place, airflow, "bars", stage, seconds)  # type: ignore[arg-type]  # a fake


def test_a_run_is_followed_to_its_success(place: Home, capsys: pytest.CaptureFixture[str]) -> None:
    found = followed(place, FakeAirflow(("", ""), ("running", "running"), ("success", "success")))
    assert found["state"] == "success"
    assert capsys.readouterr().out.startswith("✓ DAG bars")


@pytest.mark.parametrize("state", ["failed", "skipped", "upstream_failed"])
def test_a_task_that_did_not_succeed_breaks_the_link_and_shows_its_log(place: Home, state: str) -> None:
    folder = place.logs / "airflow" / "dag_id=bars" / "run_id=r1" / "task_id=work"
    folder.mkdir(parents=True)
    (folder / "attempt=1.log").write_bytes(orjson.dumps({"event": "error: high is below low"}) + b"\nplain\n")
    with pytest.raises(follow.LinkBroken, match=f"task work: expected success, found {state}") as broken:
        followed(place, FakeAirflow(("failed" if state != "skipped" else "success", state)))
    assert "error: high is below low\n    plain" in str(broken.value)


def test_waiting_ends_when_time_is_up_or_the_scheduler_is_gone(place: Home) -> None:
    with pytest.raises(Unavailable, match="work running"):
        followed(place, FakeAirflow(("running", "running")), seconds=0.0)
    (place.run / "airflow-scheduler.json").unlink()
    with pytest.raises(Unavailable, match="the scheduler ended"):
        followed(place, FakeAirflow(("running", "running")))


def test_live_is_counted_from_its_journal(place: Home) -> None:
    records = [
        {"kind": "start"}, {"kind": "model", "action": "load"}, {"kind": "decision", "reason": "model"},
        {"kind": "decision", "reason": "warming"}, {"kind": "intent"}, {"kind": "fill"},
        {"kind": "order", "client_order_id": "a", "status": "open"},
        {"kind": "order", "client_order_id": "a", "status": "filled"},
    ]  # fmt: skip
    path = place.live / "journal" / "journal.log"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(encode({"seq": n, **record}) for n, record in enumerate(records)))
    found = trade.counts(place)
    assert (found["model:load"], found["decision:model"], found["order:filled"], found["order:open"]) == (1, 1, 1, 0)
    assert trade.tally(found) == "1 decisions by the model, 1 orders, 1 fills"


def test_a_champion_that_never_comes_breaks_the_link(place: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trade, "SWAP_SECONDS", 0.0)
    service = processes.load(place, "airflow-scheduler")
    assert service is not None
    with Progress().stage("live") as stage, pytest.raises(follow.LinkBroken, match="expected the champion"):
        trade.wait_for_champion(place, service, stage)


def test_a_job_that_fails_breaks_the_link_with_its_last_lines(place: Home) -> None:
    with pytest.raises(follow.LinkBroken, match="expected exit code 0 and a JSON summary, found 1") as broken:
        settle.run_job(place, "no_such_module", {})
    assert "No module named no_such_module" in str(broken.value)


def test_a_second_demo_in_the_same_home_is_refused(place: Home) -> None:
    with (place.root / ".demo.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TryAgain, match="another demo is running"), run._alone(place):
            pass


def test_a_check_that_cannot_be_made_has_failed() -> None:
    def ask() -> tuple[bool, str]:
        raise NothingStored("orders_v1: nothing stored")

    found = checks.check("filled orders", "at least 20", ask)
    assert (found.ok, found.found) == (False, "orders_v1: nothing stored")


def test_the_checks_of_airflow_name_what_is_missing(place: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKE_URI", str(place.root / "lake"))
    airflow = FakeAirflow(("success", "success"))
    event = {"name": "raw_bars_v1", "extra": {"table": "raw_bars_v1", "delta_version": 7}}
    client = SimpleNamespace(runs=airflow.runs, tasks=airflow.tasks, asset_events=lambda: [event])
    runs, tasks, events = checks.airflow_checks(client)  # type: ignore[arg-type]  # a fake
    assert not runs.ok and "ingest asset_triggered" in runs.found
    assert tasks.ok
    assert not events.ok and "raw_bars_v1 version 7" in events.found
