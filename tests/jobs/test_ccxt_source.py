"""`format("ccxt")` against the embedded exchange, behind a proxy that writes down what it was asked."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import polars as pl
import pyarrow as pa
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql.datasource import EqualTo, LessThan
from pyspark.sql.streaming.datasource import ReadAllAvailable, ReadMaxRows

from jobs.ccxt_source import COLUMNS, CcxtSource, Options, StreamReader, register
from lake.errors import UsageError
from lake.intervals import HOUR, MILLISECOND, MINUTE, SECOND, format_time, to_datetime
from tests.market.served_exchange import exchange_process

BTC, ETH = "BTC/USDT", "ETH/USDT"


@dataclass
class Watched:
    """The exchange's address, and each request made to it."""

    rest: str
    exchange: str
    http: httpx.Client
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def asked(self, path: str) -> list[dict[str, str]]:
        return [query for asked, query in self.requests if asked == f"/api/v3/{path}"]

    def klines(self, symbol: str, start_ms: int, limit: int = 1000) -> list[list[Any]]:
        query = {"symbol": symbol.replace("/", ""), "interval": "1m", "startTime": start_ms, "limit": limit}
        rows: list[list[Any]] = self.get("klines", **query)
        return rows

    def get(self, path: str, **query: Any) -> Any:
        """Past the proxy."""
        return self.http.get(f"{self.exchange}/api/v3/{path}", params=query).json()


@pytest.fixture(scope="module")
def served() -> Iterator[Watched]:
    with exchange_process("--speed", "60", "--days", "2", "--limits", "off") as (_, ready), httpx.Client() as http:
        watched = Watched("", ready["rest"], http)

        class Proxy(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                watched.requests.append((parts.path, {k: v[0] for k, v in parse_qs(parts.query).items()}))
                reply = http.get(watched.exchange + self.path)
                self.send_response(reply.status_code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(reply.content)))
                self.end_headers()
                self.wfile.write(reply.content)

            def log_message(self, *told: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
            watched.rest = f"http://127.0.0.1:{proxy.server_port}"
            Thread(target=proxy.serve_forever, daemon=True).start()
            yield watched
            proxy.shutdown()


@pytest.fixture
def exchange(served: Watched) -> Watched:
    served.requests.clear()
    return served


def options(exchange: Watched, **more: str) -> dict[str, str]:
    return {"rest": exchange.rest, "symbols": f"{BTC},{ETH}", "requests_per_second": "500", **more}


def stream_reader(asked: dict[str, str]) -> StreamReader:
    source = CcxtSource(asked)
    return source.streamReader(source.schema())


def rows(reader: Any, partitions: Any) -> pl.DataFrame:
    return pl.DataFrame(pa.Table.from_batches([batch for part in partitions for batch in reader.read(part)]))


def now(exchange: Watched) -> int:
    """The market's newest minute, µs."""
    return int(exchange.get("klines", symbol="BTCUSDT", interval="1m", limit=1)[0][0]) * MILLISECOND


@pytest.mark.spark
def test_a_batch_equals_the_exchanges_bars_and_filters_become_fewer_requests(spark: Any, exchange: Watched) -> None:
    register(spark)
    whole: DataFrame = spark.read.format("ccxt").options(**options(exchange), days_per_partition="1").load()
    assert whole.columns == [column.name for column in COLUMNS["bars"]]
    assert dict(whole.dtypes)["close"] == "double" and dict(whole.dtypes)["event_time"] == "timestamp"

    found = pl.from_arrow(whole.toArrow())
    assert isinstance(found, pl.DataFrame)
    everything = len(exchange.asked("klines"))
    for symbol in (BTC, ETH):
        mine = found.filter(pl.col("symbol") == symbol).sort("open_time")
        first = int(mine["open_time"].dt.epoch("ms")[0])
        told = [row for at in range(0, len(mine), 1000) for row in exchange.klines(symbol, first + at * 60_000)]
        told = told[: len(mine)]
        assert len(mine) >= 2 * 1_440 and mine["open_time"].dt.epoch("ms").to_list() == [row[0] for row in told]
        for place, name in enumerate(("open", "high", "low", "close", "volume"), 1):
            assert mine[name].to_list() == [float(row[place]) for row in told]
        assert set(mine["instrument"]) == {f"binance:{symbol}"} and set(mine["unit"]) == {"base"}
    assert (found["event_time"] - found["open_time"]).unique().to_list() == [timedelta(minutes=1)]
    assert (found["available_time"] - found["event_time"]).unique().to_list() == [timedelta(seconds=1)]

    exchange.requests.clear()
    middle = found["open_time"].sort()[len(found) // 2]
    start, end = format_time(int(middle.timestamp() * SECOND)), format_time(int(middle.timestamp() * SECOND) + HOUR)
    narrow = whole.where(f"symbol = '{ETH}' AND open_time >= '{start}' AND open_time < '{end}'")
    assert narrow.count() == 60
    pages = [query for query in exchange.asked("klines") if "startTime" in query]
    assert [(page["symbol"], page["limit"]) for page in pages] == [("ETHUSDT", "60")]
    assert len(exchange.asked("klines")) == 2 < everything, "one asks for the newest bar"

    exchange.requests.clear()
    by_close = whole.where(f"instrument IN ('binance:{BTC}', 'okx:{ETH}') AND event_time = '{end}'")
    assert [row["close"] for row in by_close.collect()] and len(exchange.asked("klines")) == 2


@pytest.mark.spark
def test_a_stream_goes_in_steps_and_a_restart_loses_and_doubles_nothing(
    spark: Any, exchange: Watched, tmp_path: Path
) -> None:
    register(spark)
    start = now(exchange) - 10 * HOUR
    table, checkpoint = str(tmp_path / "bars"), tmp_path / "checkpoint"
    asked = options(exchange, start=format_time(start), rows_per_batch="500")

    def run() -> list[int]:
        stream = spark.readStream.format("ccxt").options(**asked).load()
        writer = stream.writeStream.format("delta").option("checkpointLocation", str(checkpoint))
        query = writer.trigger(availableNow=True).start(table)
        assert query.awaitTermination(240), "it ends by itself"
        return [progress["numInputRows"] for progress in query.recentProgress if progress["numInputRows"]]

    steps = run()
    assert len(steps) >= 3 and max(steps) <= 500 and sum(steps) >= 1_200
    commits = sorted((checkpoint / "commits").glob("[0-9]*"), key=lambda path: int(path.name))
    commits[-1].unlink()  # as a kill after the write and before the commit leaves it
    (checkpoint / "commits" / f".{commits[-1].name}.crc").unlink(missing_ok=True)
    run()

    found = pl.read_delta(table)
    assert len(found) > sum(steps), "new bars came"
    for symbol in (BTC, ETH):
        times = found.filter(pl.col("symbol") == symbol)["open_time"].dt.epoch("us").sort()
        assert times.to_list() == list(range(start, int(times[-1]) + MINUTE, MINUTE))


def test_each_step_of_trades_can_be_read_again_and_together_they_are_the_tape(exchange: Watched) -> None:
    while any(len(exchange.get("aggTrades", symbol=name, limit=100)) < 100 for name in ("BTCUSDT", "ETHUSDT")):
        time.sleep(0.1)
    start = now(exchange) - 30 * MINUTE
    reader = stream_reader(options(exchange, kind="trades", start=format_time(start), page_rows="50"))
    reader.prepareForTriggerAvailableNow()
    offset, steps = reader.initialOffset(), []
    while (end := reader.latestOffset(offset, ReadMaxRows(100))) != offset:
        found = rows(reader, reader.partitions(offset, end))
        assert found.equals(rows(reader, reader.partitions(offset, end)))
        steps.append(found)
        offset = end
    tape = pl.concat(steps)
    assert len(steps) > 1 and max(map(len, steps)) <= 120
    assert offset == reader.latestOffset(reader.initialOffset(), ReadAllAvailable())
    for (symbol,), mine in tape.group_by("symbol"):
        ids = mine["trade_id"].cast(pl.Int64).sort()
        told = exchange.get("aggTrades", symbol=str(symbol).replace("/", ""), fromId=int(ids[0]), limit=1000)
        final = [row for row in told if row["T"] * MILLISECOND < offset[str(symbol)]]
        assert ids.to_list()[:1000] == [row["a"] for row in final]
        assert ids.is_unique().all()
    assert set(tape["symbol"]) == {BTC, ETH} and set(tape["side"]) <= {"buy", "sell"}


def test_a_symbol_that_joins_begins_at_the_start_and_one_that_left_keeps_its_place(exchange: Watched) -> None:
    start = now(exchange) - HOUR
    reader = stream_reader(options(exchange, symbols=BTC, start=format_time(start)))
    offset = reader.latestOffset({ETH: 7}, ReadMaxRows(10))
    assert offset == {ETH: 7, BTC: start + 10 * MINUTE}
    assert len(rows(reader, reader.partitions({ETH: 7}, offset))) == 10


def test_a_row_limit_is_shared_by_all_symbols(exchange: Watched) -> None:
    start = now(exchange) - HOUR
    reader = stream_reader(options(exchange, start=format_time(start)))
    first = reader.latestOffset(reader.initialOffset(), ReadMaxRows(5))
    assert sorted(first.values()) == [start + 2 * MINUTE, start + 3 * MINUTE]
    assert sorted(reader.latestOffset(first, ReadMaxRows(1)).values()) == [start + 3 * MINUTE] * 2


def test_tasks_share_the_pace_and_filters_without_a_row_make_no_task(exchange: Watched) -> None:
    source = CcxtSource(options(exchange, days_per_partition="1", tasks="3"))
    tasks: list[Any] = source.reader(source.schema()).partitions()
    assert len(tasks) >= 4 and {task.sharing for task in tasks} == {3}
    reader = source.reader(source.schema())
    filters = [EqualTo(("symbol",), BTC), LessThan(("open_time",), to_datetime(0))]
    assert reader.pushFilters(filters) is filters, "Spark applies them again"
    assert reader.partitions() == []
    assert list(reader.read(None)) == []


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"symbols": " "}, "option symbols: expected symbols like BTC/USDT"),
        ({"exchange": "mtgox"}, "option exchange: expected a ccxt id .* found 'mtgox'"),
        ({"exchange": "kraken"}, "option rest: expected exchange binance"),
        ({"kind": "gossip"}, "option kind: expected bars or trades, found 'gossip'"),
        ({"timeframe": "7m"}, "unknown timeframe '7m'"),
        ({"speed": "high"}, "option 'speed': expected one of days_per_partition, end, exchange"),
        ({"page_rows": "5000"}, "option page_rows: expected a whole number from 1 to 1,000, found '5000'"),
        ({"tasks": "0"}, "option tasks: expected a whole number from 1, found '0'"),
        ({"requests_per_second": "fast"}, "option requests_per_second: expected a number from 0, found 'fast'"),
        ({"start": "2024-01-02", "end": "2024-01-01"}, "interval ends before it starts"),
    ],
)
def test_a_wrong_option_is_refused(asked: dict[str, str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        Options.read({"rest": "http://127.0.0.1:1", "symbols": BTC} | asked)


def test_an_unknown_symbol_and_trades_without_a_start_are_refused(exchange: Watched) -> None:
    with pytest.raises(UsageError, match=r"option symbols: binance trades BTC/USDT, …; found 'BTC/MOON'"):
        stream_reader(options(exchange, symbols="BTC/MOON")).initialOffset()
    with pytest.raises(UsageError, match="option start: expected a time with kind=trades"):
        stream_reader(options(exchange, kind="trades")).initialOffset()


@pytest.mark.spark
def test_spark_shows_the_complaint(spark: Any, exchange: Watched) -> None:
    register(spark)
    with pytest.raises(PySparkException, match="option 'speed': expected one of"):
        spark.read.format("ccxt").options(**options(exchange, speed="high")).load()
