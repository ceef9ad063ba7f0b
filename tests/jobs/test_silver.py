"""Corrections through the whole machinery: no build, in whatever order, lets one reach an earlier time."""

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from lake.intervals import HOUR, MINUTE, SECOND, to_datetime
from lake.query import query
from lake.storage import Lake
from lake.tables import BARS_1M, BARS_5M, RAW_BARS
from tests.lake.raw_bars import BTC, START, bronze, kline, random_minutes, raw, store
from tests.lake_fixtures import RunJob

pytestmark = pytest.mark.spark

TABLES = (BARS_1M, BARS_1M.history(), BARS_5M, BARS_5M.history())
CLOSES = ["close", "available_time"]


def sent(hours: int, close: str, minute: int = 4) -> dict[str, Any]:
    at = START + minute * MINUTE
    return raw(kline(at, c=close), at, market_time=START + hours * HOUR)


def on_time(minutes: int) -> pa.Table:
    """Minutes of BTC, each sent at its close."""
    rows = random_minutes(minutes, [BTC])
    times = [time + MINUTE for time in pl.DataFrame(rows)["event_time"].dt.epoch("us")]
    at = rows.schema.get_field_index("market_time")
    return rows.set_column(at, RAW_BARS.schema.field("market_time"), pa.array(times, rows.schema.field(at).type))


def test_late_arrivals_leave_what_a_clean_build_leaves_and_time_travel_is_honest(
    spark: Any, lake: Lake, run_job: RunJob, tmp_path: Path
) -> None:
    minutes, corrections = on_time(10), [sent(9, "101.2"), sent(6, "101.1"), sent(3, "101.2")]
    store(lake, minutes)
    for late in corrections[:2]:
        store(lake, bronze([late]))
    summary = run_job("build_bars")
    assert [summary["tables"][t.name]["superseded"] for t in (BARS_1M, BARS_5M)] == [2, 2]
    store(lake, bronze(corrections[2:]))  # sent first, received last: the states since then are told anew
    run_job("build_bars")

    clean = Lake(str(tmp_path / "clean"))
    store(clean, bronze(reversed(corrections)))
    store(clean, minutes)
    run_job("build_bars", in_lake=clean)
    assert [lake.content_hash(t) for t in TABLES] == [clean.content_hash(t) for t in TABLES]

    close = START + 5 * MINUTE
    edges = [START + hours * HOUR + by for hours in (3, 6, 9) for by in (-1, 0)]
    closes: dict[str, list[int]] = {t.name: [] for t in (BARS_1M, BARS_5M)}
    for time in (close, close + SECOND, *edges):
        for table in (BARS_1M, BARS_5M):
            known = lake.as_of(table, time).collect()
            assert (known["available_time"] <= to_datetime(time)).all()
            assert known.select(table.key).is_unique().all()
            assert query(lake, f"SELECT * FROM {table.name}", as_of=time).sort(table.key).equals(known.sort(table.key))
            closes[table.name].append(known.filter(pl.col("close") > 101).height)
    original = lake.scan(BARS_1M.history()).sort("available_time").first().collect()
    assert original["available_time"].to_list() == [to_datetime(START + 5 * MINUTE + SECOND)]
    assert closes == {t.name: [0, 0, 0, 1, 1, 1, 1, 1] for t in (BARS_1M, BARS_5M)}
    states = lake.scan(BARS_1M.history()).sort("available_time").select("close", "superseded_time").collect()
    assert states["close"].to_list()[1:] == [101.2, 101.1]
    assert states["superseded_time"].to_list() == [to_datetime(START + h * HOUR) for h in (3, 6, 9)]


def test_as_of_equals_a_build_from_bronze_cut_at_that_time(
    spark: Any, lake: Lake, run_job: RunJob, tmp_path: Path
) -> None:
    store(lake, on_time(15))
    store(lake, bronze([sent(3, "101.2"), sent(6, "101.1"), sent(4, "99.9", minute=7)]))
    run_job("build_bars")
    time = START + 5 * HOUR
    cut = Lake(str(tmp_path / "cut"))
    rows = lake.as_of(RAW_BARS, time).collect()
    assert rows.height == 17
    store(cut, pl.DataFrame(rows).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(RAW_BARS.schema))
    run_job("build_bars", in_lake=cut)
    for table in (BARS_1M, BARS_5M):
        now = cut.scan(table).sort(table.key).collect()
        assert lake.as_of(table, time).sort(table.key).collect().equals(now)
        assert not lake.scan(table).sort(table.key).collect().equals(now)
