"""The lake without a JVM."""

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from lake.errors import Misconfigured, NothingStored
from lake.intervals import MINUTE, WEEK, Interval
from lake.settings import HomeSettings, LakeSettings
from lake.storage import Lake
from lake.tables import BARS_1M, DECISIONS, RAW_BARS
from tests.lake.raw_bars import BTC, START, bronze, kline, random_minutes, raw, store


def test_rows_come_back_in_the_declared_order_within_the_interval(lake: Lake) -> None:
    store(lake, random_minutes(10, [BTC]))
    found = lake.scan(RAW_BARS, Interval(START + 2 * MINUTE, START + 5 * MINUTE)).collect()
    assert (found.columns, found.height) == (RAW_BARS.schema.names, 3)
    assert lake.scan(RAW_BARS, version=0).collect().height == 10


def test_an_absent_table_says_so(lake: Lake) -> None:
    assert not lake.exists(RAW_BARS)
    assert lake.partitions(RAW_BARS, "stream") == set()
    assert lake.watermark(BARS_1M, RAW_BARS) is None
    with pytest.raises(NothingStored, match=r"raw_bars_v1.*Run the job that writes it"):
        lake.version(RAW_BARS)


def test_the_hash_is_of_content_alone(tmp_path: Path) -> None:
    first, second, other = (Lake(str(tmp_path / name)) for name in ("a", "b", "c"))
    row = raw(kline(START), START)
    store(first, bronze([row, raw(kline(START + MINUTE), START + MINUTE)]))
    store(second, bronze([raw(kline(START + MINUTE), START + MINUTE)]))  # two commits, another order
    store(second, bronze([row | {"run_id": "another", "received_time": START + WEEK}]))
    store(other, bronze([row, raw(kline(START + MINUTE, v="2.6"), START + MINUTE)]))
    assert first.content_hash(RAW_BARS) == second.content_hash(RAW_BARS) != other.content_hash(RAW_BARS)
    minute = Interval(START, START + MINUTE)
    assert first.content_hash(RAW_BARS, minute) == other.content_hash(RAW_BARS, minute)


def test_the_hash_tells_lists_apart(tmp_path: Path) -> None:
    hashes = set()
    for at, features in enumerate(([1.0, None], [1.0], [None, 1.0], [1.0, None])):
        lake = Lake(str(tmp_path / str(at)))
        values = {c.name: None if c.nullable else "x" for c in DECISIONS.columns}
        times = dict.fromkeys(("open_time", "event_time", "available_time"), START)
        row = values | times | {"features": features, "target_weight": 0.5, "prediction": None}
        lake.append(DECISIONS, pa.Table.from_pylist([row], schema=DECISIONS.schema))
        hashes.add(lake.content_hash(DECISIONS))
    assert len(hashes) == 3


def test_only_what_delta_rs_writes_is_appended_here(lake: Lake) -> None:
    with pytest.raises(ValueError, match="written by spark"):
        lake.append(BARS_1M, BARS_1M.schema.empty_table())


def test_changes_are_found_by_stream(lake: Lake) -> None:
    store(lake, bronze([raw(kline(START), START)]))
    store(lake, bronze([raw("{}", START + MINUTE, "ws:kline_5m")]))
    assert lake.partitions(RAW_BARS, "stream") == {"rest:klines_1m", "ws:kline_5m"}
    assert lake.changed(RAW_BARS, 0, 1, ("rest:klines_1m",)) is None
    found = lake.changed(RAW_BARS, 0, 1, ("ws:kline_5m",))
    assert found is not None
    assert found.start == START + MINUTE
    assert lake.changed(RAW_BARS, 99, 1) == lake.changed(RAW_BARS, None, 1)  # its log is gone: everything
    assert isinstance(lake.scan(RAW_BARS), pl.LazyFrame)


def test_hdfs_is_refused_with_the_reason_and_exit_78() -> None:
    with pytest.raises(Misconfigured, match=r"hdfs:// is refused: readers without a JVM.*s3a://") as refused:
        LakeSettings(uri="hdfs://namenode:8020/lake").root(HomeSettings())
    assert refused.value.exit_code == 78
