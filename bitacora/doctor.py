"""`bitacora doctor`: what this machine lacks and how to get it. Exit 78 if something needed is wrong."""

import contextlib
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import psutil

from bitacora import processes, show, web
from bitacora.home import Home
from bitacora.services import exchange
from bitacora.up import PORTS
from lake.errors import BitacoraError, Misconfigured
from lake.settings import HomeSettings, LakeSettings, read_settings

JAVA_VERSIONS = (17, 21)
CLOCK_SECONDS = 1.0
FREE_GIB = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `needed` findings that are not ok make the doctor exit 78."""

    name: str
    ok: bool
    found: str
    fix: str = ""
    needed: bool = True


def java() -> Finding:
    """A JDK that Spark runs on."""
    fix = "install a JDK 17 (Debian: apt-get install openjdk-17-jdk-headless) and put `java` on PATH"
    if not (path := shutil.which("java")):
        return Finding("java", False, "no `java` on PATH", fix)
    said = subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    version = int(found.group(1)) if found else 0
    return Finding("java", version in JAVA_VERSIONS, f"{path}, version {version or said[:60]}", fix)


def jars() -> Finding:
    """Spark's jars, by checksum."""
    from lake.jars import JAR_FOLDER, problems

    found = problems()
    return Finding("jars", not found, "; ".join(found) or f"as pinned, in {JAR_FOLDER}", "run `make setup`")


def storage() -> Finding:
    """The lake's root: a folder we may write, or a bucket that refuses a second conditional PUT."""
    root = read_settings(LakeSettings).root(read_settings(HomeSettings))
    if "://" in root:
        from lake import s3

        return _probed(root, s3.probe)
    folder = Home.read().root
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free / 2**30
    ok = os.access(folder, os.W_OK) and free >= FREE_GIB
    return Finding(
        "storage", ok, f"folder {root}, {free:.0f} GiB free", f"make {folder} writable, free {FREE_GIB:g} GiB"
    )


def _probed(root: str, probe: Callable[[str], Any]) -> Finding:
    fix = "check AWS_ENDPOINT_URL, the keys and the bucket; the store must honour `If-None-Match: *`"
    try:
        probe(root)
    except BitacoraError as error:
        return Finding("storage", False, f"{root}: {error}", fix)
    return Finding("storage", True, f"{root}: conditional writes hold (probed)")


def databases() -> Finding:
    """Airflow's and MLflow's SQLite files, where they exist."""
    home, said = Home.read(), []
    ok = True
    for path in (home.airflow / "airflow.db", home.mlflow / "mlflow.db"):
        if not path.exists():
            said.append(f"{path.name} not made yet")
            continue
        try:
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
                answer = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        except sqlite3.Error as error:
            answer = str(error)
        ok = ok and answer == "ok"
        said.append(f"{path.name} {answer}")
    return Finding("databases", ok, ", ".join(said), "restore the file from a copy, or move it away to begin anew")


def clock() -> Finding:
    """The wall clock against the venue's, where one is reachable: signed requests depend on it."""
    running = exchange.running(Home.read())
    rest = running.rest if running else os.environ.get("LIVE_REST_URL", "")
    if not rest:
        now = time.time()
        return Finding(
            "clock", now > 1.7e9, f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(now))}, no venue to ask"
        )
    before = time.time()
    try:
        venue = web.json_of("GET", f"{rest}/api/v3/time")["serverTime"] / 1000
    except BitacoraError as error:
        return Finding("clock", False, str(error), "check the venue's address", needed=False)
    skew = venue - (before + time.time()) / 2
    return Finding("clock", abs(skew) <= CLOCK_SECONDS, f"{skew:+.3f} s from {rest}", "synchronise it (chrony, ntpd)")


def gpu() -> Finding:
    """Whether training finds an accelerator; without one it uses the CPU."""
    path = shutil.which("nvidia-smi")
    if not path:
        return Finding("gpu", True, "none: training uses the CPU", needed=False)
    query = [path, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    said = subprocess.run(query, capture_output=True, text=True, check=False)
    return Finding(
        "gpu", said.returncode == 0, said.stdout.strip() or said.stderr.strip()[:100], "check the driver", False
    )


def ports() -> Finding:
    """The ports `bitacora up` prefers; a taken one only means another number."""
    ours = {port for service in processes.services(Home.read()) for port in service.ports}
    taken = {name: port for name, port in PORTS.items() if port not in ours and _taken(port)}
    holders = ", ".join(f"{port} ({name}): {_holder(port)}" for name, port in taken.items())
    return Finding(
        "ports", not taken, holders or "free", "`bitacora up` takes others where these are taken", needed=False
    )


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _holder(port: int) -> str:
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                return f"pid {connection.pid} {psutil.Process(connection.pid).name()}" if connection.pid else "taken"
    return "taken"


CHECKS: dict[str, Callable[[], Finding]] = {
    "java": java, "jars": jars, "storage": storage, "databases": databases, "clock": clock, "gpu": gpu, "ports": ports,
}  # fmt: skip


def examine(names: Iterable[str] = tuple(CHECKS)) -> list[Finding]:
    return [CHECKS[name]() for name in names]


def require(names: Iterable[str]) -> None:
    """Raises:
    Misconfigured: one of the checks does not hold; says how to fix it.
    """
    if bad := [finding for finding in examine(names) if finding.needed and not finding.ok]:
        raise Misconfigured("; ".join(f"{finding.name}: {finding.found}: {finding.fix}" for finding in bad))


def command(as_json: bool) -> int:
    """Print every finding; 78 if a needed one is wrong."""
    findings = examine()
    if as_json:
        names = Finding.__dataclass_fields__
        show.print_json([{name: getattr(finding, name) for name in names} for finding in findings])
    else:
        for finding in findings:
            mark = "ok  " if finding.ok else "FIX " if finding.needed else "note"
            print(f"{mark} {finding.name:<10} {finding.found}" + (f"\n     {finding.fix}" if not finding.ok else ""))
    return os.EX_OK if all(finding.ok or not finding.needed for finding in findings) else os.EX_CONFIG
