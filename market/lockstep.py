"""Lockstep: market time passes only as far as everyone who takes part has agreed to.

The exchange stops at every multiple of `step` (one minute: at every closed bar). There it has sent everything that
happened, says so (`bitacora.standing`), and stands still until each participant has answered with `bitacora.advance`.
Whatever a participant does before its answer happens at that instant of market time. A participant is a WebSocket
connection that said `bitacora.hold` or `bitacora.advance`, or the admin port once it has asked for an advance; one
whose connection ends takes part no longer. Without participants nothing moves.
"""

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass

import orjson

from lake.errors import UsageError
from lake.intervals import MILLISECOND, MINUTE, timeframe_us

LEAST_STEP = MILLISECOND
ADMIN = "admin"


class Lockstep:
    """Who takes part, and how far each lets the market run. Times are market µs."""

    def __init__(self, step: int = MINUTE) -> None:
        if step < LEAST_STEP:
            raise UsageError(f"step: expected at least 1 ms of market time, found {step} µs.")
        self.step = step
        self.clients_wanted = 0
        """The market stands while fewer connections than this take part."""
        self.allowed: dict[Hashable, int] = {}
        """How far each participant lets the market run."""
        self._changed = asyncio.Event()
        self.news = asyncio.Event()
        """Set once, at the next stop or acknowledgement; then there is a new one."""

    @property
    def participants(self) -> frozenset[Hashable]:
        return frozenset(self.allowed)

    def next_stop(self, time: int) -> int:
        """The first stop after `time`."""
        return (time // self.step + 1) * self.step

    def allow(self, who: Hashable, until: int) -> None:
        """Let the market run until then, as far as `who` is concerned; never takes back what was allowed."""
        self.allowed[who] = max(until, self.allowed.get(who, 0))
        self._tell()

    def leave(self, who: Hashable) -> None:
        """Take part no longer."""
        if self.allowed.pop(who, None) is not None:
            self._tell()

    def note_stop(self) -> None:
        """The market has come to a stop: wake who waits for it."""
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self.news.set()
        self.news = asyncio.Event()

    def acknowledged(self, time: int) -> bool:
        """Whether every client that takes part has let the market go on beyond `time`: it is done with all before."""
        return all(until > time for who, until in self.allowed.items() if who != ADMIN)

    def target(self, time: int) -> int:
        """How far the market may go in one move from `time`: to the next stop at most, nowhere while someone holds."""
        clients = len(self.allowed) - (ADMIN in self.allowed)
        if not self.allowed or clients < self.clients_wanted:
            return time
        return max(time, min(self.next_stop(time), *self.allowed.values()))

    async def permission(self, time: int) -> int:
        """Wait until the market may leave `time`; returns how far."""
        while (target := self.target(time)) == time:
            self._changed.clear()
            await self._changed.wait()
        return target


def parse_step(text: str) -> int:
    """Market µs of a timeframe's name, or of so many milliseconds.

    Raises:
        UsageError: neither.
    """
    return int(text) * MILLISECOND if text.isdecimal() and int(text) else timeframe_us(text)


@dataclass(frozen=True, slots=True)
class Advance:
    """What the admin port was asked for: run to that market µs, wait for so many clients, answer after so long."""

    to: int
    clients: int
    wait: float


def parse_advance(body: bytes, now: int) -> Advance:
    """Read the body of POST /advance; bars are counted from the one that is open at `now`.

    Raises:
        UsageError, or what parsing JSON raises: not a body of that form.
    """
    fields = orjson.loads(body or b"{}")
    if "to" in fields:
        to = int(fields["to"])
    else:
        length = timeframe_us(str(fields.get("timeframe", "1m")))
        to = (now // length + int(fields["bars"])) * length
    clients, wait = int(fields.get("clients", 0)), float(fields.get("wait", 30.0))
    if clients < 0 or not 0 <= wait <= 600:
        raise UsageError(f"clients: expected 0 or more, wait: 0 to 600 s; found {clients} and {wait}.")
    return Advance(to, clients, wait)
