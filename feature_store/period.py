"""Where scans begin. A feature value is a pure function of one fixed set of bars: those of its period and the
`WARM_UP_BARS` bars' time before it. Every scan of a period starts empty there, in batch and in live alike.

Periods by timeframe: a day for 1m, a week from Monday 00:00 UTC for 5m and 15m, a quarter for 1h and 4h, a year for 1d.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from lake.intervals import DAY, WEEK, timeframe_us, to_datetime, to_us, week_start

WARM_UP_BARS: Final = 500
"""Bars' time before a period; by then the first average of an EMA or of Wilder's weighs less than 1e-15."""

Span = Literal["day", "week", "quarter", "year"]
SPANS: Final[dict[str, Span]] = {
    "1m": "day", "5m": "week", "15m": "week", "1h": "quarter", "4h": "quarter", "1d": "year",
}  # fmt: skip
_MONTHS = {"quarter": 3, "year": 12}


@dataclass(frozen=True, slots=True)
class Periods:
    """The periods of one timeframe. All times are UTC microseconds."""

    timeframe: str

    @property
    def bar_us(self) -> int:
        return timeframe_us(self.timeframe)

    @property
    def warm_up_us(self) -> int:
        return WARM_UP_BARS * self.bar_us

    def start(self, open_time: int) -> int:
        """Start of the period that holds `open_time`."""
        span = SPANS[self.timeframe]
        if span == "day":
            return open_time - open_time % DAY
        if span == "week":
            return week_start(open_time)
        moment, months = to_datetime(open_time), _MONTHS[span]
        return to_us(datetime(moment.year, (moment.month - 1) // months * months + 1, 1, tzinfo=UTC))

    def end(self, period_start: int) -> int:
        """Start of the period after the one that starts at `period_start`."""
        span = SPANS[self.timeframe]
        if span == "day":
            return period_start + DAY
        if span == "week":
            return period_start + WEEK
        return self.start(period_start + _MONTHS[span] * 31 * DAY)

    def edges(self, period_start: int) -> tuple[int, int, int]:
        """Where the scan of the period begins, where the period does, and where it ends."""
        return period_start - self.warm_up_us, period_start, self.end(period_start)

    def scan_start(self, open_time: int) -> int:
        """The first open time that the value at `open_time` can depend on."""
        return self.start(open_time) - self.warm_up_us

    def starts(self, first: int, last: int) -> Iterator[int]:
        """Starts of the periods from the one that holds `first` to the one that holds `last`."""
        start = self.start(first)
        while start <= last:
            yield start
            start = self.end(start)
