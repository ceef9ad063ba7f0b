"""Bars of any exchange: paged whatever the exchange looks back to, stored once, and made into silver like any other."""

from collections.abc import Iterator
from typing import Any

import orjson
import polars as pl
import pytest

from jobs.exchanges import Exchange, exchange_of, ohlcv_pages
from lake.errors import BadInput, UsageError
from lake.instruments import is_id
from lake.intervals import MILLISECOND, MINUTE, Interval
from lake.storage import Lake
from lake.tables import BARS_1M, RAW_BARS
from lake.wire.bars import bar_from_payload, parse_payloads
from tests.lake.raw_bars import START
from tests.lake_fixtures import RunJob
from tests.market.served_exchange import exchange_process

PERPETUAL = "binance:BTC/USDT:USDT"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with exchange_process("--speed", "1", "--days", "2", "--derivatives", "--limits", "off") as (_, ready):
        yield ready["rest"]


@pytest.fixture
def at_the_exchange(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("VENUE_REST", address)
    monkeypatch.setenv("VENUE_REQUESTS_PER_SECOND", "500")


@pytest.mark.usefixtures("at_the_exchange")
def test_a_perpetuals_bars_come_from_ccxt_and_reach_silver(run_job: RunJob, lake: Lake) -> None:
    asked = {"venue": "binanceusdm", "instruments": PERPETUAL, "timeframe": "1m"}
    first = run_job("ingest_bars", **asked)
    raw = lake.scan(RAW_BARS).collect()
    assert first["rows"] == raw.height >= 2 * 1440
    assert set(raw["stream"]) == {"rest:ohlcv_1m"} and set(raw["venue"]) == {"binance"}
    assert all(len(orjson.loads(payload)) == 6 for payload in raw["payload"].head(50))
    assert raw["event_time"].sort().diff().drop_nulls().n_unique() == 1, "a bar is missing or doubled"
    again = run_job("ingest_bars", **asked, start=str(first["start"]), end=str(first["end"]))
    assert again["rows"] == 0

    built = run_job("build_bars")
    bars = lake.scan(BARS_1M).collect()
    assert built["tables"]["bars_1m_v1"]["refused"] == 0
    assert bars.height == raw.height and set(bars["instrument"]) == {PERPETUAL}
    assert bars["quote_volume"].null_count() == bars["trade_count"].null_count() == bars.height, "ccxt tells neither"
    at, opened, *_ = orjson.loads(raw.sort("event_time")["payload"][7])
    found = bars.filter(pl.col("open_time").dt.epoch("ms") == at)
    assert found["open"].to_list() == [opened]


@pytest.mark.usefixtures("at_the_exchange")
@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"venue": "mtgox"}, "expected a ccxt id"),
        ({"venue": "kraken"}, "only binance, binanceusdm, deribit"),
        ({"venue": "binanceusdm"}, "expected ids like binance:BTC/USDT, found none"),
        ({"venue": "binanceusdm", "instruments": "binance:MOON/USDT:USDT"}, "binanceusdm trades no such instrument"),
        ({"venue": "binanceusdm", "instruments": "BTCUSDT"}, "expected venue:BASE/QUOTE"),
        ({"venue": "binanceusdm", "instruments": PERPETUAL, "timeframe": "10s"}, "timeframe"),
    ],
)
def test_what_cannot_be_fetched_is_said(run_job: RunJob, asked: dict[str, str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        run_job("ingest_bars", **{"timeframe": "1m"} | asked)


def test_a_volume_in_contracts_is_no_volume_in_base(run_job: RunJob, monkeypatch: pytest.MonkeyPatch) -> None:
    market = {"id": "BTC-USDT-SWAP", "symbol": "BTC/USDT:USDT", "contract": True, "linear": True, "contractSize": 0.01}
    market |= {"base": "BTC", "quote": "USDT", "spot": False, "type": "swap"}
    monkeypatch.setattr("ccxt.okx.load_markets", lambda self: self.set_markets([market]))
    with pytest.raises(UsageError, match="tells its volume in contracts"):
        run_job("ingest_bars", venue="okx", instruments="okx:BTC/USDT:USDT", timeframe="1m")


class Remembering:
    """An exchange's pages: rows from `since` on, at most `most`, no more than `ahead` bars ahead, of the newest
    `held` only."""

    def __init__(self, times: list[int], most: int, ahead: int = 10**9, held: int = 10**9) -> None:
        self.times, self.most, self.ahead = times[-held:], most, ahead
        self.lasting = held < len(times)
        self.requests = 0

    def feature_value(self, *asked: Any) -> int:
        return self.most

    def fetch_ohlcv(self, symbol: str, timeframe: str, since: int, limit: int) -> list[list[float]]:
        self.requests += 1
        later = [t for t in self.times if t >= since] or (self.times if self.lasting else [])
        near = [t for t in later if self.lasting or t < since + self.ahead * 60_000]
        return [[t, 1.0, 1.0, 1.0, 1.0, 1.0] for t in near[: self.most]]


@pytest.mark.parametrize(("ahead", "held"), [(10**9, 10**9), (30, 10**9), (10**9, 50)])
def test_pages_cover_the_interval_whatever_an_exchange_looks_at(ahead: int, held: int) -> None:
    first = START // MILLISECOND
    minutes = [first + 60_000 * n for n in range(400) if not 100 <= n < 220]  # two hours are missing
    client = Remembering(minutes, 30, ahead, held)
    asked = Exchange("some", client, "here", market_clock=False)
    end = START + 380 * MINUTE
    got = [row[0] for page in ohlcv_pages(asked, "BTC/USD", "1m", Interval(START, end)) for row in page]
    wanted = [t for t in minutes[-held:] if t * MILLISECOND < end]
    assert got == wanted
    assert client.requests <= 400 // 30 + 12


def test_a_bar_of_ccxt_has_no_quote_volume() -> None:
    at = START // MILLISECOND
    whole, odd = f"[{at},1.5,2.0,1.0,1.75,null]", f"[{at},1.5,2.0]"
    bar = bar_from_payload("rest:ohlcv_5m", whole)
    assert (bar.open_time, bar.close_time, bar.close, bar.volume) == (START, START + 5 * MINUTE, 1.75, None)
    with pytest.raises(BadInput, match="not \\[ms, open"):
        bar_from_payload("rest:ohlcv_5m", odd)
    found = parse_payloads("rest:ohlcv_5m", pl.Series([whole, odd, "{}", "x", None, "[9e99,1,1,1,1,1]"]))
    assert found["problem"].is_null().to_list() == [True, False, False, False, False, False]


@pytest.mark.parametrize(
    ("instrument", "expected"),
    [
        ("binance:BTC/USDT", "binance"), (PERPETUAL, "binanceusdm"), ("binance:BTC/USD:BTC", "binancecoinm"),
        ("binance:BTC/USD:BTC-241227", "binancecoinm"), ("kraken:BTC/USD", "kraken"),
        ("kraken:BTC/USD:USD", "krakenfutures"), ("okx:BTC/USDT:USDT", "okx"),
    ],
)  # fmt: skip
def test_an_instrument_names_the_exchange_that_trades_it(instrument: str, expected: str) -> None:
    assert exchange_of(instrument) == expected
    assert is_id(instrument)


@pytest.mark.parametrize(
    "text", ["BTC/USDT", "binance:BTCUSDT", "binance:BTC/USDT:", "Binance:BTC/USDT", "a:b/c d", ""]
)
def test_what_is_no_id(text: str) -> None:
    assert not is_id(text)
