"""Ingestion against the real embedded exchange, through the real ccxt client."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import polars as pl
import pytest

from lake.storage import Lake
from lake.tables import RAW_BARS
from tests.live.exchange import Exchange, exchange

BTC, ETH = "binance:BTC/USDT", "binance:ETH/USDT"


@pytest.fixture(scope="module")
def venue() -> Iterator[Exchange]:
    with exchange(speed=60, seed=5, days=3) as running:
        running.post("/pause")
        yield running


def ingest(home: Path, rest: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"BITACORA_HOME": str(home), "VENUE_REST": rest, "VENUE_REQUESTS_PER_SECOND": "500"}
    return subprocess.run(
        [sys.executable, "-m", "jobs.ingest_bars", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def summary(run: subprocess.CompletedProcess[str]) -> dict[str, object]:
    assert run.returncode == 0, run.stderr
    last: dict[str, object] = orjson.loads(run.stdout.splitlines()[-1])
    return last


def test_every_closed_bar_is_stored_once_as_sent(venue: Exchange, home: Path) -> None:
    first = summary(ingest(home, venue.rest, "--instruments", f"{BTC},{ETH}"))
    lake = Lake(str(home / "lake"))
    rows = lake.scan(RAW_BARS).collect()
    assert first["rows"] == rows.height >= 2 * 3 * 1440
    grid = rows.group_by("instrument").agg(pl.col("event_time").diff().drop_nulls().n_unique())
    assert grid["event_time"].to_list() == [1, 1], "bars are missing or doubled"
    assert (rows["event_time"].dt.offset_by("1m") <= rows["market_time"]).all(), "an open bar was stored"
    assert all(len(orjson.loads(p)) == 12 for p in rows["payload"].head(50))

    before = lake.content_hash(RAW_BARS)
    again = summary(ingest(home, venue.rest, "--instruments", f"{BTC},{ETH}", "--start", "2023-01-01"))
    assert again["rows"] == 0
    assert lake.content_hash(RAW_BARS) == before


def test_it_goes_on_where_it_stopped(venue: Exchange, home: Path) -> None:
    whole = summary(ingest(home, venue.rest, "--instruments", BTC))
    start, end = str(whole["start"]), str(whole["end"])
    other = home.parent / "other"
    summary(ingest(other, venue.rest, "--instruments", BTC, "--end", start.replace("T00", "T07")))
    summary(ingest(other, venue.rest, "--instruments", BTC, "--end", end))
    hashes = [Lake(str(h / "lake")).scan(RAW_BARS).collect()["payload_hash"].sort().to_list() for h in (home, other)]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--instruments", "binance:DOGE/EUR"], 64, "unknown instrument"),
        (["--start", "2024-02-01", "--end", "2024-01-01"], 64, "is not after"),
        (["--start", "yesterday"], 64, "cannot read time"),
        (["--timeframe", "7m"], 64, "unknown timeframe"),
    ],
)
def test_wrong_usage_is_said(venue: Exchange, home: Path, arguments: list[str], code: int, said: str) -> None:
    run = ingest(home, venue.rest, *arguments)
    assert (run.returncode, said in run.stderr) == (code, True), run.stderr
    assert "Traceback" not in run.stderr


def test_an_unreachable_exchange_is_said_with_exit_code_69(home: Path) -> None:
    run = ingest(home, "http://127.0.0.1:9", "--instruments", BTC)
    assert run.returncode == 69
    assert "did not answer" in run.stderr
    assert "Traceback" not in run.stderr


def test_an_unknown_setting_is_refused_with_exit_code_78(
    venue: Exchange, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VENUE_RESTT", "x")
    run = ingest(home, venue.rest)
    assert run.returncode == 78
    assert "VENUE_RESTT" in run.stderr
