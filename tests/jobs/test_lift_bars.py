"""Bars out of recorded frames: the same numbers as by REST, each once, and silver takes both."""

import os
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from jobs.bar_rows import typed_rows
from jobs.lift_bars import closed_bars
from jobs.raw_frames import raw_frames
from lake.errors import NothingStored
from lake.intervals import MINUTE
from lake.storage import Lake
from lake.tables import BARS_1M, BARS_5M, RAW_BARS, RAW_FRAMES
from lake.wire.bars import parse_payloads
from lake.wire.captures import read_capture
from tests.jobs.test_record import wait_for
from tests.lake.raw_bars import START, frame
from tests.lake_fixtures import RunJob
from tests.market.served_exchange import exchange_process

ASKED = "binance:BTC/USDT,binance:ETH/USDT"
NUMBERS = ["instrument", "open", "high", "low", "close", "volume", "quote_volume", "trade_count"]


def numbers(lake: Lake, stream: str) -> pl.DataFrame:
    """What bronze's payloads of a stream say, per instrument and open time."""
    rows = lake.scan(RAW_BARS).filter(pl.col("stream") == stream).collect()
    said = parse_payloads(stream, rows["payload"])
    assert said["problem"].null_count() == said.height
    return pl.concat([rows.select("instrument"), said], how="horizontal").sort("open_time", "instrument")


def test_recorded_bars_say_what_rest_says_and_reach_silver(
    home: Path, lake: Lake, run_job: RunJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    with exchange_process("--speed", "300", "--days", "1", "--limits", "off") as (_, ready):
        monkeypatch.setenv("VENUE_REST", ready["rest"])
        monkeypatch.setenv("VENUE_REQUESTS_PER_SECOND", "500")
        command = [sys.executable, "-m", "jobs.record", "--instruments", ASKED, "--every", "0.3", "--streams", "bars"]
        recorder = subprocess.Popen(command, env=os.environ | {"BITACORA_HOME": str(home)}, stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: lake.exists(RAW_FRAMES))
            wait_for(lambda: (run_job("lift_bars"), lake.exists(RAW_BARS))[1])
            began = time.monotonic()
            wait_for(lambda: time.monotonic() > began + 2)
        finally:
            recorder.terminate()
            recorder.wait(timeout=20)
        first = numbers(lake, "ws:bars_1m")
        told = run_job("lift_bars")
        whole = numbers(lake, "ws:bars_1m")
        assert told["rows"] == whole.height - first.height > 0 == told["not_in_base"]
        assert run_job("lift_bars")["rows"] == run_job("lift_bars", start="2020-01-01")["rows"] == 0
        assert not whole.select("instrument", "open_time").is_duplicated().any()
        run_job("ingest_bars", timeframe="1m", venue=None, instruments=ASKED)
    both = whole.join(numbers(lake, "rest:klines_1m"), on="open_time", how="inner", suffix="_rest")
    both = both.filter(pl.col("instrument") == pl.col("instrument_rest"))
    assert both.height == whole.height > 10
    for name in NUMBERS:
        assert both[name].equals(both[f"{name}_rest"], check_names=False), name
    built = run_job("build_bars")["tables"]["bars_1m_v1"]
    assert (built["refused"], built["superseded"]) == (0, 0)
    assert built["rows"] == lake.scan(BARS_1M).select(pl.len()).collect().item() >= whole.height


def test_an_open_bar_and_one_in_contracts_are_left() -> None:
    texts = [frame(START, closed=False), frame(START), frame(START + 5 * MINUTE)]
    said = pl.DataFrame(
        {"venue": "binance", "connection": "a", "sequence": range(3), "market_us": START + 11 * MINUTE,
         "received_us": START + 11 * MINUTE, "stream": "ws", "payload": texts},
    )  # fmt: skip
    rows, left = closed_bars(raw_frames(said, "run"), "run")
    assert (rows.height, left) == (2, 0) and set(rows["stream"]) == {"ws:bars_5m"}
    assert typed_rows(rows, BARS_5M)["reason"].null_count() == 2
    _, left = closed_bars(raw_frames(said.with_columns(venue=pl.lit("binance_coinm")), "run"), "run")
    assert left == 2


@pytest.mark.parametrize(("name", "count"), [("BINANCE_FUTURES", 4), ("BYBIT", 6), ("COINBASE", 198)])
def test_the_closed_bars_of_a_capture_are_typed_bars(shared_data: Path, name: str, count: int) -> None:
    file = shared_data / f"wire/cryptofeed_{name}.jsonl.zst"
    held = read_capture(file).with_columns(
        connection=pl.lit("file"), sequence=pl.int_range(pl.len(), dtype=pl.Int64), market_us=pl.lit(None, pl.Int64)
    )
    found = 0
    for _, part in raw_frames(held, "run").group_by("venue"):
        rows, left = closed_bars(part, "run")
        found += rows.height
        assert left == 0
        for stream, table in (("ws:bars_1m", BARS_1M), ("ws:bars_5m", BARS_5M)):
            typed = typed_rows(rows.filter(pl.col("stream") == stream), table)
            assert typed["reason"].null_count() == typed.height, typed["reason"].unique()
    assert found == count


def test_without_frames_it_says_how_to_get_them(run_job: RunJob) -> None:
    with pytest.raises(NothingStored, match="no frames yet"):
        run_job("lift_bars")
