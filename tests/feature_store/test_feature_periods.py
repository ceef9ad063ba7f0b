"""Where scans begin, for every timeframe."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store.period import SPANS, WARM_UP_BARS, Periods
from lake.intervals import TIMEFRAMES, format_time, parse_time


@pytest.mark.parametrize(
    ("timeframe", "start", "end"),
    [
        ("1m", "2024-02-29", "2024-03-01"),
        ("5m", "2024-02-26", "2024-03-04"),
        ("15m", "2024-02-26", "2024-03-04"),
        ("1h", "2024-01-01", "2024-04-01"),
        ("4h", "2024-01-01", "2024-04-01"),
        ("1d", "2024-01-01", "2025-01-01"),
    ],
)
def test_a_period_holds_its_instant(timeframe: str, start: str, end: str) -> None:
    periods = Periods(timeframe)
    found = periods.start(parse_time("2024-02-29T13:05"))
    assert (format_time(found)[:10], format_time(periods.end(found))[:10]) == (start, end)


@given(st.sampled_from(list(SPANS)), st.integers(0, 4_000_000_000_000_000))
def test_periods_follow_each_other_without_gap(timeframe: str, time: int) -> None:
    periods = Periods(timeframe)
    start = periods.start(time)
    end = periods.end(start)
    assert start <= time < end
    assert periods.start(end) == end
    assert periods.start(end - 1) == periods.start(start) == start
    assert periods.scan_start(time) == start - WARM_UP_BARS * TIMEFRAMES[timeframe]
    assert list(periods.starts(time, end)) == [start, end]


def test_every_timeframe_has_a_period() -> None:
    assert set(SPANS) == set(TIMEFRAMES)
