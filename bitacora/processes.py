"""Start, watch and stop the platform's processes.

Each service leads its own session and carries a mark in its environment; everything it starts inherits both. So
stopping finds all of them, also what changed its group, lost its parent, left the session, or wrote its title over its
environment (as Airflow's workers do), and nothing else.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson
import psutil

from bitacora.home import REPOSITORY, Home
from lake.errors import TryAgain, Unavailable

MARK = "SUPERVISED_BY"
TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class Service:
    """A running process of ours, as kept in run/<name>.json."""

    name: str
    pid: int
    created: float
    """Start time by the kernel: the same pid later is another process."""
    mark: str
    log: str
    ports: list[int] = field(default_factory=list)
    urls: dict[str, str] = field(default_factory=dict)

    def process(self) -> psutil.Process | None:
        """The process while it lives."""
        with contextlib.suppress(psutil.Error):
            found = psutil.Process(self.pid)
            if abs(found.create_time() - self.created) < 1 and found.status() != psutil.STATUS_ZOMBIE:
                return found
        return None


def free_port(preferred: int = 0) -> int:
    """The preferred port if nobody listens there, else any free one; loopback."""
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise Unavailable("no free port on 127.0.0.1")


def start(
    home: Home,
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    ports: Sequence[int] = (),
    urls: Mapping[str, str] | None = None,
) -> Service:
    """Start a service in its own group, output to logs/<name>.log, and record it.

    Raises:
        TryAgain: one of that name is running.
    """
    if (running := load(home, name)) and running.process():
        raise TryAgain(f"{name} is running already (pid {running.pid}) in {home.root}: `bitacora down` stops it")
    for folder in (home.run, home.logs):
        folder.mkdir(parents=True, exist_ok=True)
    log = home.log(name)
    mark = f"{name}@{home.root}"
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=REPOSITORY,
            env={**environment, MARK: mark},
            start_new_session=True,
        )
    created = psutil.Process(process.pid).create_time()
    service = Service(name, process.pid, created, mark, str(log), list(ports), dict(urls or {}))
    save(home, service)
    _CHILDREN[process.pid] = process
    return service


_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}
"""Those this process started: they must be waited for, or they stay as zombies."""


def save(home: Home, service: Service) -> None:
    path = home.run / f"{service.name}.json"
    path.write_bytes(orjson.dumps(asdict(service)))
    path.chmod(0o600)


def load(home: Home, name: str) -> Service | None:
    """The record of a service, running or not."""
    try:
        return Service(**orjson.loads((home.run / f"{name}.json").read_bytes()))
    except (OSError, orjson.JSONDecodeError, TypeError):
        return None


def services(home: Home) -> list[Service]:
    """Every recorded service, in the order they were started."""
    found = [load(home, path.stem) for path in home.run.glob("*.json")]
    return sorted((s for s in found if s is not None), key=lambda s: s.created)


def tail(path: Path | str, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, indented."""
    try:
        text = Path(path).read_text(errors="replace")
    except OSError:
        return "    (no output)"
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (no output)"


def wait_ready(service: Service, ready: Callable[[], bool], seconds: float) -> float:
    """Wait until `ready`, and return how long it took.

    Raises:
        Unavailable: the process ended or the time is up; the message ends with its last lines.
    """
    began = time.monotonic()
    while not ready():
        waited = time.monotonic() - began
        reap()
        if service.process() is None:
            raise Unavailable(f"{service.name} ended while starting. {service.log} ends:\n{tail(service.log)}")
        if waited > seconds:
            raise Unavailable(
                f"{service.name} is not ready after {seconds:.0f} s. {service.log} ends:\n{tail(service.log)}"
            )
        time.sleep(0.1)
    return time.monotonic() - began


def reap() -> None:
    """Collect children that ended."""
    for pid, process in list(_CHILDREN.items()):
        if process.poll() is not None:
            _CHILDREN.pop(pid, None)  # several threads stop services at once


def marked(mark: str) -> list[psutil.Process]:
    """Every live process that carries the mark."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return [p for p in found if p.pid != os.getpid()]


def members(service: Service) -> list[psutil.Process]:
    """Every live process that carries the service's mark or belongs to its session."""
    found = {process.pid: process for process in marked(service.mark)}
    leader = psutil.Process(service.pid) if psutil.pid_exists(service.pid) else None
    if leader is not None and abs(leader.create_time() - service.created) >= 1:
        return list(found.values())  # the number belongs to somebody else by now, and so does its session
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == service.pid and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = process
    return list(found.values())


def stop(home: Home, service: Service, grace_seconds: float = 10.0) -> bool:
    """Ask the service to end, then end all that is left of it; returns whether it went by itself.

    Raises:
        Unavailable: a process or a port outlived SIGKILL.
    """
    main = service.process()
    if main is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            main.send_signal(signal.SIGTERM)
    gone = _wait_gone(lambda: service.process() is None, grace_seconds)
    _end_rest(service)
    if members(service) or not _wait_gone(lambda: not any(map(listening, service.ports)), 3.0):
        held = [p.pid for p in members(service)]
        raise Unavailable(f"{service.name} left processes {held} or one of its ports {service.ports} behind")
    (home.run / f"{service.name}.json").unlink(missing_ok=True)
    return gone


def _end_rest(service: Service) -> None:
    """SIGTERM, then SIGKILL, whatever still carries the mark."""
    for sign, seconds in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0)):
        rest = members(service)
        for process in rest:
            with contextlib.suppress(psutil.Error):
                process.send_signal(sign)
        if not rest or _wait_gone(lambda: not members(service), seconds):
            return


def _wait_gone(gone: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        reap()
        if gone():
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)


def listening(port: int) -> bool:
    """Whether somebody accepts connections on the loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0
