"""The whole repair, against the embedded exchange: a hole planted in bronze is told, asked for again, and closed."""

from collections.abc import Iterator
from typing import Any

import pytest
from deltalake import DeltaTable

from jobs import repair_gaps
from jobs.find_gaps import open_gaps, times
from lake.gaps import coverage
from lake.intervals import DAY, HOUR, MINUTE, Interval, format_time, parse_time
from lake.storage import Lake
from lake.tables import BARS_1M, GAPS, RAW_BARS
from tests.lake.raw_bars import BTC, ETH
from tests.lake_fixtures import RunJob
from tests.live.exchange import Exchange, exchange


@pytest.fixture(scope="module")
def venue() -> Iterator[Exchange]:
    with exchange(speed=60, seed=5, days=3) as running:
        running.post("/pause")
        yield running


def dig(lake: Lake, hole: Interval) -> None:
    """Take an instrument's bars of the hole out of bronze, as if they had never come."""
    inside = f"event_time >= '{format_time(hole.start)}' AND event_time < '{format_time(hole.end)}'"
    DeltaTable(lake.uri(RAW_BARS)).delete(f"instrument = '{ETH}' AND {inside}")


@pytest.mark.spark
@pytest.mark.slow
def test_a_hole_in_bronze_is_told_asked_for_again_and_closed(
    spark: Any, venue: Exchange, lake: Lake, run_job: RunJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VENUE_REST", venue.rest)
    monkeypatch.setenv("VENUE_REQUESTS_PER_SECOND", "500")
    whole = run_job("ingest_bars", timeframe="1m", venue=None, instruments=f"{BTC},{ETH}")
    first = parse_time(str(whole["start"]))
    day = Interval(first, first + DAY)
    asked = {"start": format_time(day.start), "end": format_time(day.end)}
    hole = Interval(first + 2 * HOUR, first + 2 * HOUR + 37 * MINUTE)
    before = lake.scan(RAW_BARS, day).collect()
    dig(lake, hole)
    run_job("build_bars", **asked)
    assert times(lake, BARS_1M, None).height == 2 * 1440 - 37

    def in_process(name: str, *words: str) -> dict[str, Any]:
        """The same jobs without a process, and so a JVM, for each; the interval keeps them to one day."""
        told = dict(zip((word.removeprefix("--") for word in words[::2]), words[1::2], strict=True))
        extra = {"ingest_bars": {"timeframe": "1m"}, "build_bars": asked, "find_gaps": {"table": "bars_1m_v1"}}
        return run_job(name, **extra[name] | told)

    monkeypatch.setattr(repair_gaps, "command", in_process)
    told = run_job("find_gaps", table="bars_1m_v1")
    assert (told["open"], told["closed"]) == ({"not_recorded": 1}, 0)
    found = open_gaps(lake, BARS_1M).row(0, named=True)
    assert (found["instrument"], found["missing"], found["evidence"]) == (
        ETH,
        37,
        "the venue's other instruments went on",
    )

    done = run_job("repair_gaps", all=False)
    assert (done["asked"], done["rows"], done["missing_before"], done["missing_after"]) == (1, 37, 37, 0)
    assert open_gaps(lake, BARS_1M).is_empty()
    assert lake.scan(GAPS).collect()["state"].sort().to_list() == ["closed", "open"]
    assert coverage(times(lake, BARS_1M, None), MINUTE)["coverage"].to_list() == [1.0, 1.0]
    again = lake.scan(RAW_BARS, day).collect()
    key = ["instrument", "event_time", "payload"]
    assert again.select(key).sort(key).equals(before.select(key).sort(key)), "what came back is not what was there"
