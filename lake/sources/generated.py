"""The numbers of the loopback server: a smooth, seeded path per name, a pure function of name and time.

They look like the quantity (level, daily swing, noise) and mean nothing; what a test learns from them is the format.
"""

import hashlib
import math
from collections.abc import Iterator

from lake.intervals import DAY, Interval, to_datetime


def noise(name: str, at: int) -> float:
    """Uniform in [-1, 1), the same for the same name and time."""
    digest = hashlib.sha256(f"{name}@{at}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**47 - 1


def number(name: str, at: int, level: float, spread: float = 0.1) -> float:
    """Around `level`: waves of 400, 90 and 7 days and a tenth of noise, each at most `spread` of the level."""
    days, phase = at / DAY, noise(name, 0) * math.pi
    waves = sum(math.sin(phase * n + 2 * math.pi * days / length) for n, length in ((1, 400), (2, 90), (3, 7)))
    return level * (1 + spread * (waves / 3 + 0.1 * noise(name, at)))


def days(interval: Interval, step: int = DAY) -> Iterator[int]:
    """Starts of the whole periods that begin in the interval."""
    return iter(range(-(-interval.start // step) * step, interval.end, step))


def starts(first: int, end: int, now: int, step: int = DAY) -> list[int]:
    """Starts of the whole periods in [first, end) that are over by `now`."""
    return list(range(-(-first // step) * step, min(end, now - step + 1), step))


def date(at: int) -> str:
    """YYYY-MM-DD."""
    return to_datetime(at).strftime("%Y-%m-%d")
