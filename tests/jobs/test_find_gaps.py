"""Holes of a stored table: kept once, closed when filled, asked for again by instrument and month."""

from datetime import UTC, datetime

import polars as pl
import pytest
from deltalake import write_deltalake

from jobs.find_gaps import open_gaps
from jobs.repair_gaps import command, requests
from lake.errors import Unavailable, UsageError
from lake.intervals import MINUTE, SECOND, to_datetime
from lake.storage import Lake
from lake.tables import BARS_1M, GAPS
from tests.lake.raw_bars import BTC, ETH, START
from tests.lake_fixtures import RunJob


def store_minutes(lake: Lake, instrument: str, minutes: range) -> None:
    times = [START + at * MINUTE for at in minutes]
    shared = {"instrument": instrument, "month": "2024-01", "payload_hash": "", "trade_count": 1}
    numbers = dict.fromkeys(("open", "high", "low", "close", "volume", "quote_volume"), 1.0)
    rows = [
        shared | numbers | {"open_time": t, "event_time": t + MINUTE, "available_time": t + MINUTE + SECOND}
        for t in map(int, times)
    ]
    frame = pl.DataFrame(rows).cast(
        {n: pl.Datetime("us", "UTC") for n in ("open_time", "event_time", "available_time")}
    )
    arrow = frame.select(BARS_1M.schema.names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(BARS_1M.schema)
    write_deltalake(lake.uri(BARS_1M), arrow, partition_by=["month"], mode="append")


def test_a_hole_is_told_once_and_closed_when_it_is_filled(lake: Lake, run_job: RunJob) -> None:
    store_minutes(lake, BTC, range(30))
    store_minutes(lake, ETH, range(10))
    store_minutes(lake, ETH, range(14, 30))
    first = run_job("find_gaps", table="bars_1m_v1")
    assert (first["rows"], first["open"], first["closed"]) == (1, {"not_recorded": 1}, 0)
    assert first["coverage"] == round(56 / 2880, 6)
    assert run_job("find_gaps", table="bars_1m_v1")["rows"] == 0

    store_minutes(lake, ETH, range(10, 12))
    second = run_job("find_gaps", table="bars_1m_v1")
    assert (second["rows"], second["open"], second["closed"]) == (2, {"not_recorded": 1}, 1)
    left = open_gaps(lake, BARS_1M)
    assert left.select("instrument", "event_time", "missing").rows() == [(ETH, to_datetime(START + 12 * MINUTE), 2)]
    assert lake.scan(GAPS).collect().height == 3


def test_a_table_without_a_grid_is_refused(lake: Lake, run_job: RunJob) -> None:
    with pytest.raises(UsageError, match="time grid"):
        run_job("find_gaps", table="decisions_v1")


def test_holes_of_one_instrument_and_month_are_one_request() -> None:
    def hole(instrument: str, day: int, reason: str) -> dict[str, object]:
        start = datetime(2024, 1, day, tzinfo=UTC)
        times = {"event_time": start, "end_time": start.replace(hour=1), "missing": 60, "month": "2024-01"}
        return {"instrument": instrument, "reason": reason} | times

    gaps = pl.DataFrame([hole(BTC, 3, "not_recorded"), hole(BTC, 1, "unknown"), hole(ETH, 2, "venue_outage")])
    found = requests(gaps).select("instrument", "start", "end", "missing").rows()
    assert found == [(BTC, datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 3, 1, tzinfo=UTC), 120)]


def test_a_failing_job_stops_the_repair() -> None:
    with pytest.raises(Unavailable, match=r"jobs.find_gaps --table none exited 64"):
        command("find_gaps", "--table", "none")
