"""Maintenance moves rows and loses none; a leased version stays readable, another one goes."""

from pathlib import Path
from typing import Any

import pytest

from jobs.bronze import store
from jobs.maintain import log_days
from lake.intervals import DAY
from lake.retention import LEASE_DAYS, leased, leases, record
from lake.storage import Lake
from lake.tables import BARS_1M, RAW_BARS
from tests.lake.raw_bars import BTC, random_minutes
from tests.lake_fixtures import RunJob

ALL = {"tables": RAW_BARS.name, "retention_days": 0.0, "target_mb": 128.0}


@pytest.fixture
def many(lake: Lake) -> Lake:
    """Bronze in six commits of two rows: versions 0 to 5."""
    rows = random_minutes(12, [BTC])
    for at in range(0, 12, 2):
        store(lake, RAW_BARS, rows.slice(at, 2), "test")
    return lake


def test_small_files_become_one_and_the_content_stays(many: Lake, run_job: RunJob) -> None:
    before = many.content_hash(RAW_BARS)
    done = run_job("maintain", **ALL)["tables"][RAW_BARS.name]
    assert (done["files"], done["removed"]) == (1, 6)
    assert many.content_hash(RAW_BARS) == before
    assert run_job("maintain", **ALL)["tables"][RAW_BARS.name]["removed"] == 0
    with pytest.raises(OSError):
        many.scan(RAW_BARS, version=2).collect()


def test_a_leased_version_stays_readable_until_its_lease_ends(many: Lake, run_job: RunJob) -> None:
    held = many.scan(RAW_BARS, version=2).collect()
    assert record(many, {RAW_BARS.name: 2, BARS_1M.name: 7}, "bitacora", 3) == 2
    assert record(many, {RAW_BARS.name: 2}, "bitacora", 3) == 0
    done = run_job("maintain", **ALL)["tables"][RAW_BARS.name]
    assert (done["leased"], done["removed"]) == ([2], 3)
    assert many.scan(RAW_BARS, version=2).collect().equals(held)
    expiry = int(leases(many)["event_time"].dt.epoch("us").max()) + LEASE_DAYS * DAY  # type: ignore[arg-type,operator]
    assert leased(many, RAW_BARS, expiry - 1) == [2]
    assert leased(many, RAW_BARS, expiry) == []


def test_the_log_is_kept_as_long_as_the_oldest_leased_version(many: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    assert log_days(many, RAW_BARS, []) == log_days(many, RAW_BARS, [1]) == 30
    later = many.history(RAW_BARS)[0]["timestamp"] / 1000 + 90 * 86_400
    monkeypatch.setattr("jobs.maintain.time.time", lambda: later)
    assert log_days(many, RAW_BARS, [1]) in (92, 93)


def test_a_compaction_is_no_news_and_hides_none(many: Lake, run_job: RunJob) -> None:
    seen = many.version(RAW_BARS)
    run_job("maintain", **ALL)
    assert many.changed(RAW_BARS, seen, many.version(RAW_BARS)) is None
    late = random_minutes(14, [BTC], start=0)
    store(many, RAW_BARS, late.slice(12, 2), "late")
    whole = many.changed(RAW_BARS, seen, many.version(RAW_BARS))
    run_job("maintain", **ALL)  # the new rows move into a file with the old ones
    assert whole is not None
    assert whole == many.changed(RAW_BARS, seen, many.version(RAW_BARS))
    assert whole.end - whole.start < DAY


@pytest.mark.spark
def test_spark_tables_keep_leased_versions_too(spark: Any, lake: Lake, run_job: RunJob) -> None:
    from lake.spark import merge

    for at in range(3):
        rows = random_bars(spark, at)
        merge(spark, lake, BARS_1M, rows, None, "test")
    first = lake.scan(BARS_1M, version=1).collect()
    before = lake.content_hash(BARS_1M)
    record(lake, {BARS_1M.name: 1}, "bitacora", 1)
    asked = {"tables": BARS_1M.name, "retention_days": 0.0, "target_mb": 128.0}
    done = run_job("maintain", **asked)["tables"][BARS_1M.name]
    assert (done["files"], done["removed"]) == (2, 2)
    assert lake.content_hash(BARS_1M) == before
    assert lake.scan(BARS_1M, version=1).collect().equals(first)
    with pytest.raises(OSError):
        lake.scan(BARS_1M, version=2).collect()
    assert Path(lake.uri(BARS_1M)).exists()


def random_bars(spark: Any, at: int) -> Any:
    """One bar of minute `at`."""
    import pyarrow as pa

    time = 1_706_486_400_000_000 + at * 60_000_000
    row: dict[str, Any] = dict.fromkeys(("open", "high", "low", "close", "volume", "quote_volume"), 1.0)
    row |= {"instrument": BTC, "open_time": time, "event_time": time + 60_000_000, "available_time": time + 61_000_000}
    row |= {"trade_count": 1, "month": "2024-01"}
    texts = {c.name: "x" for c in BARS_1M.columns if c.name not in row}
    return spark.createDataFrame(pa.Table.from_pylist([row | texts], schema=BARS_1M.schema)).coalesce(1)
