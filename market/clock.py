"""The market clock: where market time stands for a given wall time. It runs at any speed and can be paused."""

import time
from collections.abc import Callable

from lake.errors import UsageError

NANOSECONDS_PER_MICROSECOND = 1_000


class MarketClock:
    """Market time = a known instant + speed × wall time since then; monotonic, whatever the wall clock does.

    It stands still until `start`.
    """

    def __init__(self, market_time: int, speed: float, wall_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """Stand at `market_time`, in µs."""
        self._speed = _checked(speed)
        self._wall_ns = wall_ns
        self._anchor_market, self._anchor_wall = market_time, wall_ns()
        self._paused = True

    @property
    def speed(self) -> float:
        return self._speed

    @property
    def paused(self) -> bool:
        return self._paused

    def now(self) -> int:
        """Market time in µs."""
        if self._paused:
            return self._anchor_market
        elapsed = self._wall_ns() - self._anchor_wall
        return self._anchor_market + int(elapsed * self._speed) // NANOSECONDS_PER_MICROSECOND

    def seconds_until(self, market_time: int) -> float:
        """Wall seconds until the clock shows `market_time`; infinite while paused."""
        return float("inf") if self._paused else (market_time - self.now()) / 1e6 / self._speed

    def start(self) -> None:
        """Run, from where the clock stands."""
        if self._paused:
            self._anchor_wall, self._paused = self._wall_ns(), False

    def pause(self) -> None:
        """Stand still."""
        self._anchor_market, self._paused = self.now(), True

    def set_speed(self, speed: float) -> None:
        """Run faster or slower from now on.

        Raises:
            UsageError: the speed is not a positive number.
        """
        speed = _checked(speed)
        self._anchor_market, self._anchor_wall = self.now(), self._wall_ns()
        self._speed = speed


def _checked(speed: float) -> float:
    if not 0 < speed <= 100_000:
        raise UsageError(f"speed: expected a number above 0 and at most 100000, found {speed}.")
    return float(speed)
