"""After trading: live's journal into the lake, bars and features built again from bronze, by the jobs."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bitacora import processes
from bitacora.demo.follow import LinkBroken
from bitacora.home import REPOSITORY, Home
from bitacora.services import environment


def run_job(home: Home, module: str, settings: Mapping[str, str], words: Sequence[str] = ()) -> dict[str, Any]:
    """Run a job to its end and return its summary.

    Raises:
        LinkBroken: it exited with anything but 0, or printed no summary; the message ends with its last lines.
    """
    log = home.log(module)
    with log.open("wb") as output:
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            env={**environment.base(home), **settings},
            stdout=subprocess.PIPE,
            stderr=output,
            check=False,
            cwd=REPOSITORY,
        )
        output.write(done.stdout)
    summary = _last_json(done.stdout)
    if done.returncode or summary is None:
        raise LinkBroken(
            f"{module}: expected exit code 0 and a JSON summary, found {done.returncode}. "
            f"{log} ends:\n{processes.tail(log)}"
        )
    return summary


def _last_json(output: bytes) -> dict[str, Any] | None:
    for line in reversed(output.splitlines()):
        if line.startswith(b"{") and line.endswith(b"}"):
            found: dict[str, Any] = orjson.loads(line)
            return found
    return None


def rows(summary: dict[str, Any]) -> str:
    """What a job's summary says it wrote."""
    tables = summary.get("tables") or {summary["table"]: summary}
    return ", ".join(f"{name} v{entry['version']} ({entry['rows']:,} rows)" for name, entry in tables.items())
