"""Time: UTC microseconds as integers inside, aware datetimes at the edges, half-open intervals everywhere."""

from dataclasses import dataclass
from datetime import UTC, datetime

from lake.errors import UsageError

MICROSECOND = 1
MILLISECOND = 1_000
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY

TIMEFRAMES: dict[str, int] = {
    "1m": MINUTE,
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "1h": HOUR,
    "4h": 4 * HOUR,
    "1d": DAY,
}

END_OF_TIME = 253_402_214_400 * SECOND
"""9999-12-31: where an open interval ends."""

# 1970-01-05 was the first Monday of the epoch.
_FIRST_MONDAY = 4 * DAY


def timeframe_us(timeframe: str) -> int:
    """Length of a timeframe in microseconds.

    Raises:
        UsageError: the timeframe is not one of `TIMEFRAMES`.
    """
    try:
        return TIMEFRAMES[timeframe]
    except KeyError:
        raise UsageError(f"unknown timeframe {timeframe!r}: expected one of {', '.join(TIMEFRAMES)}") from None


def week_start(time_us: int) -> int:
    """Monday 00:00 UTC at or before `time_us`."""
    return time_us - (time_us - _FIRST_MONDAY) % WEEK


def to_datetime(time_us: int) -> datetime:
    """An aware UTC datetime; exact to the microsecond."""
    seconds, micros = divmod(time_us, SECOND)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)


def month_of(time_us: int) -> str:
    """The month partition of a time, YYYY-MM."""
    return to_datetime(time_us).strftime("%Y-%m")


def to_us(moment: datetime) -> int:
    """Microseconds since the epoch of an aware datetime."""
    if moment.tzinfo is None:
        raise ValueError(f"naive datetime {moment!r}: attach a time zone")
    delta = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds


def parse_time(text: str) -> int:
    """Microseconds from ISO 8601 (UTC if no zone is written) or from an integer of milliseconds.

    Raises:
        UsageError: neither form fits.
    """
    if text.isdigit():
        return int(text) * MILLISECOND
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"cannot read time {text!r}: expected e.g. 2024-01-31, 2024-01-31T12:00Z or ms") from None
    return to_us(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def format_time(time_us: int) -> str:
    """ISO 8601 with a Z, microseconds only where there are any."""
    return to_datetime(time_us).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Interval:
    """Half-open `[start, end)` in UTC microseconds."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise UsageError(f"interval ends before it starts: {self}")

    @classmethod
    def parse(cls, start: str, end: str) -> "Interval":
        return cls(parse_time(start), parse_time(end))

    @classmethod
    def open(cls, start: int | None, end: int | None) -> "Interval":
        """An interval without a start or an end reaches as far as time does."""
        return cls(start or 0, END_OF_TIME if end is None else end)

    def __str__(self) -> str:
        return f"[{format_time(self.start)}, {format_time(self.end)})"

    def __contains__(self, time_us: int) -> bool:
        return self.start <= time_us < self.end
