"""Starting and stopping: nothing of a service outlives it, and a start that fails says why."""

import sys
import time
from pathlib import Path

import psutil
import pytest

from bitacora import processes
from bitacora.home import Home, fresh, made_by
from lake.errors import Misconfigured, TryAgain, Unavailable

_FAMILY = """
import os, subprocess, sys, time
stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", stubborn], start_new_session=True)
print("ready", child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def place(tmp_path: Path) -> Home:
    return Home(tmp_path / "var")


def start(place: Home, code: str, name: str = "one") -> processes.Service:
    return processes.start(place, name, [sys.executable, "-c", code], {"PATH": "/usr/bin"})


def said(place: Home, word: str, name: str = "one") -> bool:
    return word in place.log(name).read_text()


def test_stopping_ends_children_that_left_the_group_and_ignore_sigterm(place: Home) -> None:
    service = start(place, _FAMILY)
    processes.wait_ready(service, lambda: said(place, "ready"), 20)
    child = int(place.log("one").read_text().split()[1])
    time.sleep(0.3)
    assert processes.stop(place, service, 5)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    assert processes.load(place, "one") is None


def test_stopping_ends_children_whose_environment_cannot_be_read(place: Home) -> None:
    unmarked = _FAMILY.replace("start_new_session=True", "env={}")
    service = start(place, unmarked)
    processes.wait_ready(service, lambda: said(place, "ready"), 20)
    child = int(place.log("one").read_text().split()[1])
    time.sleep(0.3)
    processes.stop(place, service, grace_seconds=2)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_start_that_fails_shows_the_last_lines(place: Home) -> None:
    service = start(place, "print('the port is taken'); raise SystemExit(3)")
    with pytest.raises(Unavailable, match="the port is taken"):
        processes.wait_ready(service, lambda: False, 20)


def test_a_start_that_takes_too_long_is_unavailable(place: Home) -> None:
    service = start(place, "import time; time.sleep(60)")
    with pytest.raises(Unavailable, match="not ready after 0 s"):
        processes.wait_ready(service, lambda: False, 0.3)
    processes.stop(place, service)


def test_a_running_service_is_not_started_twice(place: Home) -> None:
    service = start(place, "import time; time.sleep(60)")
    with pytest.raises(TryAgain, match="running already"):
        start(place, "pass")
    processes.stop(place, service)


def test_a_recycled_pid_is_not_taken_for_the_service() -> None:
    mine = psutil.Process()
    assert processes.Service("x", mine.pid, mine.create_time(), "m", "log").process() is not None
    assert processes.Service("x", mine.pid, mine.create_time() - 100, "m", "log").process() is None


def test_a_port_is_taken_only_when_it_is_free() -> None:
    port = processes.free_port()
    assert processes.free_port(port) == port
    import socket

    with socket.socket() as held:
        held.bind(("127.0.0.1", port))
        held.listen()
        assert processes.listening(port)
        assert processes.free_port(port) != port


def test_a_demo_clears_only_what_a_demo_left(place: Home) -> None:
    assert made_by(place) == "nobody"
    assert fresh(place, "demo") == ""
    (place.root / "lake").mkdir()
    (place.root / "notes.txt").write_text("mine")
    assert "removed" in fresh(place, "demo")
    assert not (place.root / "lake").exists()
    assert (place.root / "notes.txt").read_text() == "mine"


def test_what_up_made_is_moved_aside_and_not_removed(place: Home) -> None:
    fresh(place, "up")
    (place.root / "lake").mkdir()
    (place.root / "lake" / "rows").write_text("1")
    assert "moved" in fresh(place, "demo")
    assert [p.read_text() for p in place.root.glob("earlier/*/lake/rows")] == ["1"]


def test_state_that_neither_made_is_left_alone(place: Home) -> None:
    (place.root / "live").mkdir(parents=True)
    with pytest.raises(Misconfigured, match="left as it is"):
        fresh(place, "demo")
    assert (place.root / "live").exists()
