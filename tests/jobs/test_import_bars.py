"""A person's file into bronze and silver."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lake.errors import BadInput, UnknownInstrument, UsageError
from lake.storage import Lake
from lake.tables import BARS_5M, RAW_BARS
from tests.lake.raw_bars import BTC
from tests.lake_fixtures import RunJob

HEADER = "ts,open,high,low,close,volume\n"


def lines(*rows: str) -> str:
    return HEADER + "".join(row + "\n" for row in rows)


@pytest.fixture
def import_file(tmp_path: Path, run_job: RunJob) -> Any:
    def call(text: str, instrument: str = BTC, timeframe: str = "5m") -> dict[str, Any]:
        path = tmp_path / "bars.csv"
        path.write_text(text)
        return run_job("import_bars", file=str(path), instrument=instrument, timeframe=timeframe)

    return call


@pytest.mark.spark
def test_good_rows_are_kept_and_bad_ones_quarantined(spark: Any, lake: Lake, import_file: Any) -> None:
    soon = (datetime.now(UTC) + timedelta(days=400)).strftime("%Y-%m-%dT00:00")
    text = lines(
        "2024-01-01T00:00,100,101,99,100.5,2",
        "2024-01-01T00:05,100,101,99,100.5,2",
        "2024-01-01T00:05,100,101,99,100.5,2",  # a duplicate
        "2024-01-01T00:10,100,90,99,100.5,2",  # high below low
        "2024-01-01T00:15,-5,101,-6,100.5,2",  # a negative price
        "2024-01-01T00:21,100,101,99,100.5,2",  # off the grid
        "2024-01-01T00:25,100,101,99,100.5,",  # no volume
        # 00:30 is missing
        "2024-01-01T00:35,100,101,99,100.5,2",
        f"{soon},100,101,99,100.5,2",  # in the future
    )
    summary = import_file(text)
    assert summary["tables"]["raw_bars_v1"]["rows"] == 8
    silver = summary["tables"]["bars_5m_v1"]
    assert (silver["inserted"], silver["refused"], silver["missing"]) == (3, 5, 5)
    reasons = " | ".join(lake.scan(BARS_5M.quarantine()).collect()["reason"].sort())
    for expected in ("high is below", "a price is", "off the 300 s grid", "volume is missing", "future"):
        assert expected in reasons
    bars = lake.scan(BARS_5M).sort("open_time").collect()
    assert bars["source"].unique().to_list() == ["file:bars_5m"]
    assert bars["quote_volume"].null_count() == bars.height

    before = lake.content_hash(RAW_BARS), lake.content_hash(BARS_5M)
    again = import_file(text)
    assert again["tables"]["raw_bars_v1"]["rows"] == again["tables"]["bars_5m_v1"]["rows"] == 0
    assert (lake.content_hash(RAW_BARS), lake.content_hash(BARS_5M)) == before


@pytest.mark.spark
def test_a_real_file_passes_whole(spark: Any, lake: Lake, run_job: RunJob, shared_data: Path, tmp_path: Path) -> None:
    part = pl.read_parquet(shared_data / "ohlcv" / "binance_spot_SOL-USDT_5m.parquet").head(2000)
    part.write_parquet(tmp_path / "sol.parquet")
    summary = run_job("import_bars", file=str(tmp_path / "sol.parquet"), instrument="binance:SOL/USDT", timeframe="5m")
    silver = summary["tables"]["bars_5m_v1"]
    assert (silver["inserted"], silver["refused"]) == (2000, 0)
    bars = lake.scan(BARS_5M).sort("open_time").collect()
    assert bars["close"].to_list() == part["close"].to_list()
    checked = run_job("check_tables", table="bars_5m_v1", quick=False, docs=False)
    assert (checked["rows"], checked["version"]) == (2000, lake.version(BARS_5M))
    assert checked["expectations"] > 20


def test_a_refused_file_stores_nothing(lake: Lake, import_file: Any) -> None:
    with pytest.raises(BadInput, match="row 2, column close: expected a number"):
        import_file(lines("2024-01-01T00:00,1,1,1,1,1", "2024-01-01T00:05,1,1,1,x,1"))
    with pytest.raises(BadInput, match="--timeframe 5m"):
        import_file(lines("2024-01-01T00:00,1,1,1,1,1", "2024-01-01T00:01,1,1,1,1,1", "2024-01-01T00:02,1,1,1,1,1"))
    with pytest.raises(UnknownInstrument, match="expected one of"):
        import_file(lines("2024-01-01T00:00,1,1,1,1,1"), instrument="binance:DOGE/USDT")
    with pytest.raises(UsageError, match="expected one of 1m, 5m"):
        import_file(lines("2024-01-01T00:00,1,1,1,1,1"), timeframe="1h")
    assert not lake.exists(RAW_BARS)
