"""Flags of odd bars: found in real data, kept once, and never known before they could be told."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from jobs.find_anomalies import flagged
from lake.anomalies import ANOMALIES
from lake.errors import UsageError
from lake.intervals import parse_time, to_datetime
from lake.storage import Lake
from lake.tables import BARS_1M, FLAGS
from tests.jobs.test_find_gaps import store_minutes
from tests.lake.raw_bars import BTC
from tests.lake.test_anomalies import bitfinex
from tests.lake_fixtures import RunJob

SPIKE = next(check for check in ANOMALIES[BARS_1M.name] if check.name == "spike")


def known(bars: pl.DataFrame) -> pl.DataFrame:
    close = pl.col("open_time") + timedelta(minutes=1)
    return bars.with_columns(event_time=close, available_time=close + timedelta(seconds=1))


def test_a_flag_of_a_bad_tick_counts_from_when_its_future_was_known(shared_data: Path) -> None:
    tick = to_datetime(parse_time("2013-04-16T04:38"))
    bars = known(bitfinex(shared_data, "BTC-USD_1m_2013"))
    around = bars.filter(pl.col("open_time").is_between(tick - timedelta(hours=1), tick + timedelta(hours=1)))
    flags = flagged(BARS_1M, SPIKE, around)
    assert flags["event_time"].to_list() == [tick + timedelta(minutes=1)]
    assert "2013-04-16T04:38" in flags["row_key"][0]
    assert flags["available_time"][0] == around["available_time"].max()

    at_the_tick = around.filter(pl.col("open_time") <= tick)
    early = flagged(BARS_1M, SPIKE, at_the_tick)
    assert (early["available_time"] >= at_the_tick["available_time"].max()).all()
    for minutes in range(1, 20):  # whatever the stretch that is judged, no flag is known before the rows it rests on
        part = around.filter(pl.col("open_time") <= tick + timedelta(minutes=minutes))
        assert (flagged(BARS_1M, SPIKE, part)["available_time"] == part["available_time"].max()).all()


def test_flags_are_kept_once_with_their_first_time(lake: Lake, run_job: RunJob) -> None:
    store_minutes(lake, BTC, range(40))
    assert run_job("find_anomalies", table="bars_1m_v1")["flagged"] == {"spike": 0, "diverged": 0}
    assert not lake.exists(FLAGS)
    spike_at(lake, 60)
    store_minutes(lake, BTC, range(61, 70))
    first = run_job("find_anomalies", table="bars_1m_v1")
    assert (first["rows"], first["flagged"]["spike"]) == (1, 1)
    before = lake.scan(FLAGS).collect()
    store_minutes(lake, BTC, range(70, 90))
    assert run_job("find_anomalies", table="bars_1m_v1")["rows"] == 0
    assert lake.scan(FLAGS).collect().equals(before)
    with pytest.raises(UsageError, match="flagged"):
        run_job("find_anomalies", table="decisions_v1")


def spike_at(lake: Lake, minute: int) -> None:
    """A bar a ninth of the market's level, in the middle of even ones."""
    from deltalake import DeltaTable

    store_minutes(lake, BTC, range(40, minute + 1))
    when = f"open_time = '{to_datetime(parse_time('2024-01-29T01:00')).isoformat()}'"
    DeltaTable(lake.uri(BARS_1M)).update(predicate=when, updates={"low": "0.1"})
