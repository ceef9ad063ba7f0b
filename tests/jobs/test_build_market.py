"""Captures into bronze, bronze into silver through Spark: each once, however often and in whatever pieces."""

import gzip
from pathlib import Path

import pytest

from lake.errors import BadInput, UsageError
from lake.storage import Lake
from lake.tables import RAW_FRAMES, TRADES
from tests.lake_fixtures import RunJob


@pytest.fixture
def file(shared_data: Path, tmp_path: Path) -> Path:
    with gzip.open(shared_data / "orderbook/binance_usdm_btcusdt_20240808.jsonl.gz") as stream:
        lines = [next(stream) for _ in range(6_000)]
    path = tmp_path / "capture.jsonl"
    path.write_bytes(b"".join(lines) + b'1723161260000000000 {"stream":"btcusdt@trade","data":{"e":"trade","s":\n')
    return path


def test_a_capture_is_imported_once_and_a_half_import_completed(
    run_job: RunJob, lake: Lake, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"file": str(file), "feed": "binance_usdm", "symbol": "BTCUSDT"}
    monkeypatch.setattr("jobs.import_frames.CHUNK", 2_500)
    first = run_job("import_frames", **asked)
    assert (first["rows"], first["held"]) == (6_001, 0)
    again = run_job("import_frames", **asked)
    assert (again["rows"], again["held"], again["version"]) == (0, 6_001, first["version"])
    lake.delta(RAW_FRAMES).delete("sequence >= 2500")  # as if the import had been killed after its first commit
    assert run_job("import_frames", **asked)["rows"] == 3_501
    stored = lake.scan(RAW_FRAMES).sort("sequence").collect()
    payloads = [line.split(b" ", 1)[1].decode() for line in file.read_bytes().splitlines()]
    assert stored["payload"].to_list() == payloads
    assert (stored["event_time"] != stored["market_time"]).any(), "a frame tells its own time"


def test_a_file_that_is_no_capture_is_refused(run_job: RunJob, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_bytes(b"")
    for path, feed in ((tmp_path / "absent", None), (empty, None)):
        with pytest.raises(BadInput, match=path.name):
            run_job("import_frames", file=str(path), feed=feed, symbol=None)
    with pytest.raises(UsageError, match="unknown feed 'mtgox'"):
        run_job("import_frames", file=str(empty), feed="mtgox", symbol="BTCUSD")


@pytest.mark.spark
def test_frames_become_trades_and_a_rerun_changes_nothing(
    spark: object, run_job: RunJob, lake: Lake, file: Path
) -> None:
    run_job("import_frames", file=str(file), feed="binance_usdm", symbol="BTCUSDT")
    texts = lake.scan(RAW_FRAMES).select("payload").collect()["payload"]
    built = run_job("build_market", table="trades_v1")
    expected = texts.str.contains('"e":"trade"') & texts.str.contains('"X":"MARKET"')
    assert built["inserted"] == lake.count(TRADES) == expected.sum() > 100
    assert built["refused"] == 1, "the damaged frame, and no other"
    kept = lake.scan(TRADES.quarantine()).collect().row(0, named=True)
    assert kept["reason"] == "trade does not parse"
    before = lake.content_hash(TRADES)
    again = run_job("build_market", table="trades_v1", start="2024-08-08", end="2024-08-10")
    assert (again["inserted"], again["updated"], again["version"]) == (0, 0, built["version"])
    assert lake.content_hash(TRADES) == before
    assert run_job("build_market", table="trades_v1")["start"] is None, "nothing new: nothing to build"


def test_an_unknown_table_is_refused(run_job: RunJob) -> None:
    with pytest.raises(UsageError, match="expected all, or some of trades_v1"):
        run_job("build_market", table="bars_1m_v1")
