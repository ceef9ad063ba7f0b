"""Two clocks. Market time is read from the venue's payloads and never from here; wall time signs and times out."""

import time


class MarketClock:
    """The newest market time seen in any payload, UTC microseconds; 0 before the first one."""

    def __init__(self) -> None:
        self.now = 0

    def observe(self, time_us: int) -> int:
        """Move forward to `time_us`, never back; returns the clock."""
        self.now = max(self.now, time_us)
        return self.now


def wall_ms() -> int:
    return time.time_ns() // 1_000_000
