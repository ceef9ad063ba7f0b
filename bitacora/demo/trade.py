"""Live for some minutes, counted from the moment it trades with a champion."""

import time
from collections import Counter

from bitacora import processes
from bitacora.demo.follow import LinkBroken
from bitacora.demo.progress import Stage
from bitacora.home import Home
from bitacora.journal_export import journal_file
from lake.errors import Unavailable
from lake.journal import read_journal

POLL_SECONDS = 3.0
SWAP_SECONDS = 30.0
"""How long loading kernels, history and the champion may take, wall clock."""


def counts(home: Home) -> Counter[str]:
    """What the journal holds: records by kind; decisions by reason and orders by last status, as `kind:word`."""
    path = journal_file(home)
    found: Counter[str] = Counter()
    status: dict[str, str] = {}
    for record in read_journal(path)[0] if path.is_file() else []:
        found[record["kind"]] += 1
        if record["kind"] == "decision":
            found[f"decision:{record['reason']}"] += 1
        if record["kind"] == "model":
            found[f"model:{record['action']}"] += 1
        if record["kind"] == "order":
            status[record["client_order_id"]] = record["status"]
    found.update(f"order:{word}" for word in status.values())
    return found


def wait_for_champion(home: Home, service: processes.Service, stage: Stage) -> None:
    """Wait until live has loaded the champion.

    Raises:
        LinkBroken: it does not within half a minute.
    """
    deadline = time.monotonic() + SWAP_SECONDS
    while not counts(home)["model:load"]:
        _alive(service)
        stage.say("waiting for live to load the champion")
        if time.monotonic() > deadline:
            raise LinkBroken(
                f"live: expected the champion within {SWAP_SECONDS:.0f} s, found none loaded. "
                f"{service.log} ends:\n{processes.tail(service.log)}"
            )
        time.sleep(0.5)


def trade(home: Home, service: processes.Service, minutes: float, stage: Stage) -> None:
    """Let live trade, showing what it does.

    Raises:
        Unavailable: live ended.
    """
    deadline = time.monotonic() + minutes * 60
    while (left := deadline - time.monotonic()) > 0:
        _alive(service)
        stage.say(f"{tally(counts(home))}; {left:.0f} s left")
        time.sleep(min(POLL_SECONDS, left))
    stage.note = tally(counts(home))


def tally(found: Counter[str]) -> str:
    return f"{found['decision:model']} decisions by the model, {found['intent']} orders, {found['fill']} fills"


def _alive(service: processes.Service) -> None:
    if service.process() is None:
        raise Unavailable(f"live ended while it should trade. {service.log} ends:\n{processes.tail(service.log)}")
