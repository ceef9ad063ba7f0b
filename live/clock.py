"""Two clocks. Market time is read from the venue's payloads and never from here; wall time signs and times out."""

import os
import time
from pathlib import Path


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


def process_age_seconds() -> float:
    """Seconds since this process was started, imports included (Linux)."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started
