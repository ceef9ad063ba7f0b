"""Lockstep with an exchange that stands still until we acknowledge (`--speed lockstep` of the embedded one).

Both streams say `bitacora.standing` after everything that happened up to an instant: only when both have, all of it is
known here; then the strategy acts, and an acknowledgement lets market time go on. No other venue speaks this.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

STANDING = "bitacora.standing"
HOLD = '{"method":"bitacora.hold","id":"hold"}'
ADVANCE = '{"method":"bitacora.advance","id":"advance"}'


@dataclass(frozen=True, slots=True)
class Standing:
    """The market stands at this instant, µs; all that happened before was sent on this stream."""

    time: int


def standing_of(event: Any) -> Standing | None:
    """Read the event; None for any other message."""
    if not isinstance(event, dict) or event.get("e") != STANDING or not isinstance(event.get("T"), int):
        return None
    return Standing(event["T"])


class Reached:
    """How far the other stream has come."""

    def __init__(self) -> None:
        self.time = 0
        self._changed = asyncio.Event()

    def note(self, standing: Standing) -> None:
        self.time = max(self.time, standing.time)
        self._changed.set()

    async def wait(self, time: int) -> None:
        """Return once the stream has come to `time`."""
        while self.time < time:
            self._changed.clear()
            await self._changed.wait()
