"""REST ingestion with the real ccxt clients against the embedded exchange: spot, perpetuals and options."""

import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

from jobs.market_rows import outcome_of
from lake.errors import UsageError
from lake.intervals import Interval
from lake.storage import Lake
from lake.table import Table
from lake.tables import (
    BOOK_CHANGES,
    FUNDING,
    MARKS,
    OPEN_INTEREST,
    OPTION_QUOTES,
    QUOTES,
    RAW_FRAMES,
    TRADES,
)  # fmt: skip
from lake.wire.ccxt_frames import unit
from tests.lake_fixtures import RunJob
from tests.market.served_exchange import exchange_process

BTC, PERPETUAL = "binance:BTC/USDT", "binance:BTC/USDT:USDT"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with exchange_process("--speed", "60", "--days", "3", "--derivatives", "--limits", "off") as (_, ready):
        for path in ("api", "fapi"):
            while not traded(f"{ready['rest']}/{path}"):
                time.sleep(0.05)
        yield ready["rest"]


def traded(address: str) -> bool:
    """Whether the venue has trades of its own already, beside its history."""
    version = "v3" if address.endswith("/api") else "v1"
    with urllib.request.urlopen(f"{address}/{version}/trades?symbol=BTCUSDT") as reply:
        return len(json.load(reply)) > 0


@pytest.fixture
def ingest(run_job: RunJob, address: str, monkeypatch: pytest.MonkeyPatch) -> RunJob:
    monkeypatch.setenv("VENUE_REST", address)
    monkeypatch.setenv("VENUE_REQUESTS_PER_SECOND", "500")
    return lambda **asked: run_job("ingest_market", **asked)  # type: ignore[misc]


def rows(lake: Lake, table: Table) -> pl.DataFrame:
    found = outcome_of(table, lake.scan(RAW_FRAMES).collect(), Interval(0, 10**16))
    assert "reason" not in found.columns or found["reason"].null_count() == len(found), found["reason"].unique()
    return found


def test_trades_go_on_by_id_where_the_last_run_stopped(ingest: RunJob, lake: Lake) -> None:
    asked = {"venue": "binance", "kind": "trades", "instruments": BTC}
    first = ingest(**asked)["rows"]
    middle = rows(lake, TRADES)["trade_id"].cast(pl.Int64).sort()
    second = ingest(**asked)["rows"]
    found = rows(lake, TRADES)
    ids = found["trade_id"].cast(pl.Int64).sort()
    assert first == len(middle) > 0 and second == len(ids) - len(middle)
    assert (ids.diff().drop_nulls() == 1).all(), "none is missing, none is there twice"
    assert found["aggregate"].all() and set(found["unit"]) == {"base"} and set(found["instrument"]) == {BTC}
    delay = (found["available_time"] - found["event_time"]).dt.total_milliseconds()
    assert delay.unique().to_list() == [1_000], "history counts from its declared delay, not from when it was fetched"


def test_an_interval_fetched_again_adds_nothing(ingest: RunJob, lake: Lake) -> None:
    ingest(venue="binance", kind="trades", instruments=BTC)
    times = lake.scan(RAW_FRAMES).select("event_time").collect()["event_time"].sort()
    span = {"start": times[0].isoformat(), "end": times[-1].isoformat()}
    assert ingest(venue="binance", kind="trades", instruments=BTC, **span)["rows"] == 0


@pytest.mark.parametrize(
    ("venue", "kind", "instrument", "table"),
    [
        ("binance", "books", BTC, BOOK_CHANGES),
        ("binance", "tickers", BTC, QUOTES),
        ("binanceusdm", "trades", PERPETUAL, TRADES),
        ("binanceusdm", "marks", PERPETUAL, MARKS),
        ("binanceusdm", "funding", PERPETUAL, FUNDING),
        ("binanceusdm", "open_interest", PERPETUAL, OPEN_INTEREST),
    ],
)
def test_every_kind_reaches_its_table(
    ingest: RunJob, lake: Lake, venue: str, kind: str, instrument: str, table: Table
) -> None:
    stored = ingest(venue=venue, kind=kind, instruments=instrument)["rows"]
    found = rows(lake, table)
    assert stored > 0 and len(found) > 0
    assert set(found["instrument"]) == {instrument}
    assert found["event_time"].dt.year().max() < 2025, "market time"  # type: ignore[operator]
    if table is MARKS:
        expected = found["mark_price"] / found["index_price"] - 1
        assert found["basis"].to_list() == pytest.approx(expected.to_list())


def test_a_whole_option_chain_is_fetched_once_per_state(ingest: RunJob, lake: Lake) -> None:
    stored = ingest(venue="deribit", kind="options", instruments="BTC")["rows"]
    found = rows(lake, OPTION_QUOTES)
    assert stored == len(found) > 20
    assert set(found["underlying"]) == {"BTC"} and found["mark_iv"].is_between(0.05, 5).all()


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"venue": "mtgox"}, "expected a ccxt id"),
        ({"venue": "kraken"}, "only binance, binanceusdm, deribit"),
        ({"kind": "gossip"}, "--kind gossip"),
        ({"instruments": "binance:NO/SUCH"}, "trades no such instrument"),
        ({"instruments": " "}, "found none"),
        ({"kind": "options"}, "expected --venue deribit"),
    ],
)
def test_a_wrong_request_is_refused(ingest: RunJob, asked: dict[str, str], complaint: str) -> None:
    whole: dict[str, Any] = {"venue": "binance", "kind": "trades", "instruments": BTC}
    with pytest.raises(UsageError, match=complaint):
        ingest(**(whole | asked))


def test_quantities_of_contracts_are_named_as_such() -> None:
    assert unit({"spot": True, "contract": False}) == "base"
    assert unit({"contract": True, "linear": True, "contractSize": 1}) == "base"
    assert unit({"contract": True, "linear": True, "contractSize": 0.01}) == "contracts"
    assert unit({"contract": True, "inverse": True, "contractSize": 100}) == "contracts"
