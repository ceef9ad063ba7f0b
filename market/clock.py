"""The market clock: where market time stands for a given wall time.

It runs at any speed and can be paused. With the paces `max` and `lockstep` wall time does not move it: market time is
where matching has come to, and whoever runs the exchange says so with `move_to`.
"""

import time
from collections.abc import Callable
from typing import Literal, TypeAlias

from lake.errors import UsageError

NANOSECONDS_PER_MICROSECOND = 1_000
Speed: TypeAlias = float | Literal["max", "lockstep"]
"""Market seconds per wall second; as fast as matching allows; or as fast as the clients acknowledge."""
PACES = ("max", "lockstep")


class MarketClock:
    """Market time = a known instant + speed × wall time since then; monotonic, whatever the wall clock does.

    It stands still until `start`.
    """

    def __init__(self, market_time: int, speed: Speed, wall_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """Stand at `market_time`, in µs."""
        self._speed = _checked(speed)
        self._wall_ns = wall_ns
        self._anchor_market, self._anchor_wall = market_time, wall_ns()
        self._paused = True

    @property
    def speed(self) -> Speed:
        return self._speed

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def runs_by_itself(self) -> bool:
        """Whether wall time moves it."""
        return not isinstance(self._speed, str)

    def now(self) -> int:
        """Market time in µs."""
        if self._paused or isinstance(self._speed, str):
            return self._anchor_market
        elapsed = self._wall_ns() - self._anchor_wall
        return self._anchor_market + int(elapsed * self._speed) // NANOSECONDS_PER_MICROSECOND

    def seconds_until(self, market_time: int) -> float:
        """Wall seconds until the clock shows `market_time`; infinite while paused or while nothing is known of it."""
        if self._paused or isinstance(self._speed, str):
            return float("inf")
        return (market_time - self.now()) / 1e6 / self._speed

    def move_to(self, market_time: int) -> None:
        """Show the time that matching has come to; for the paces that wall time does not drive."""
        self._anchor_market, self._anchor_wall = max(market_time, self._anchor_market), self._wall_ns()

    def start(self) -> None:
        """Run, from where the clock stands."""
        if self._paused:
            self._anchor_wall, self._paused = self._wall_ns(), False

    def pause(self) -> None:
        """Stand still."""
        self._anchor_market, self._paused = self.now(), True

    def set_speed(self, speed: Speed) -> None:
        """Run faster or slower, or at another pace, from now on.

        Raises:
            UsageError: neither a positive number nor a pace.
        """
        speed = _checked(speed)
        self._anchor_market, self._anchor_wall = self.now(), self._wall_ns()
        self._speed = speed


def parse_speed(text: str) -> Speed:
    """A number, `max` or `lockstep`.

    Raises:
        UsageError: neither.
    """
    if text == "max":
        return "max"
    if text == "lockstep":
        return "lockstep"
    try:
        speed = float(text)
    except ValueError:
        raise _refusal(text) from None
    return _checked(speed)


def _checked(speed: Speed) -> Speed:
    if isinstance(speed, str):
        if speed not in PACES:
            raise _refusal(speed)
        return speed
    if not 0 < speed <= 100_000:
        raise _refusal(speed)
    return float(speed)


def _refusal(found: object) -> UsageError:
    return UsageError(f"--speed: expected max, lockstep or a number above 0 and at most 100000, found {found}.")
