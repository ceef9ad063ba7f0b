"""The recorder against real sockets: the embedded exchange, killed and started again, and a venue that misbehaves."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
import zstandard
from aiohttp import web

from jobs.market_rows import outcome_of
from jobs.recorder import Plan, Recorder
from lake.errors import UsageError
from lake.intervals import Interval
from lake.storage import Lake
from lake.tables import RAW_FRAMES, TRADES
from lake.wire.books import rebuild
from lake.wire.feeds import FEEDS
from lake.wire.frames import parse
from lake.wire.subscriptions import SUBSCRIPTIONS, subscription, venue_symbol
from tests.lake_fixtures import RunJob
from tests.market.served_exchange import exchange_process


def stored(lake: Lake) -> pl.DataFrame:
    return lake.scan(RAW_FRAMES).sort("connection", "sequence").collect()


def said(frames: pl.DataFrame) -> list[dict[str, Any]]:
    """What the recorder told of itself, in the order of time."""
    own = frames.filter(pl.col("stream") == "recorder").sort("received_time", "sequence")
    return [orjson.loads(text) for text in own["payload"]]


def wait_for(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def test_a_killed_recorder_goes_on_and_says_what_is_missing(home: Path, lake: Lake) -> None:
    options = ("--speed", "20", "--days", "2", "--derivatives")
    command = [
        sys.executable, "-m", "jobs.record", "--instruments", "binance:BTC/USDT,binance:ETH/USDT", "--every", "0.3",
        "--streams", "trades,book,quotes,bars",
    ]  # fmt: skip
    with exchange_process(*options) as (_, ready):
        env = os.environ | {"BITACORA_HOME": str(home), "VENUE_REST": ready["rest"]}
        killed = subprocess.Popen(command, env=env, stdout=subprocess.PIPE)
        wait_for(lambda: lake.exists(RAW_FRAMES) and lake.version(RAW_FRAMES) >= 3)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        before = stored(lake)["connection"].unique().to_list()
        second = subprocess.Popen(command, env=env, stdout=subprocess.PIPE)
        version = lake.version(RAW_FRAMES)
        wait_for(lambda: lake.version(RAW_FRAMES) >= version + 3)
        second.terminate()
        summary = json.loads(second.communicate(timeout=20)[0].splitlines()[-1])
    frames = stored(lake)
    assert (second.returncode, summary["dropped"]) == (0, 0)
    assert summary["rows"] == len(frames.filter(~pl.col("connection").is_in(before)))
    events = said(frames)
    assert [e["e"] for e in events] == ["connected", "gap", "connected"]
    assert events[1]["reason"] == "not recorded"
    assert events[1]["until"] > events[1]["since"]
    dense = frames.group_by("connection").agg(pl.col("sequence").max() - pl.len() + 1)
    assert dense["sequence"].to_list() == [0] * len(dense), "no frame is missing within a connection"
    assert frames["event_time"].dt.year().max() < 2025, "market time, not the wall's"  # type: ignore[operator]
    assert (frames["market_time"] >= frames["event_time"]).all()
    market = frames.filter(pl.col("stream") != "recorder")
    parsed = parse(FEEDS["binance"], market)
    assert parsed.problems.is_empty() and set(parsed.events) == {"trade", "book", "quote", "bar"}
    for _, part in market.group_by("connection", maintain_order=True):
        books = parse(FEEDS["binance"], part).of("book")
        for _, events_of in books.group_by("symbol", maintain_order=True):
            applied = [book.crossed for _, book in rebuild("binance", events_of)]
            assert len(applied) > 1 and not any(applied)
    trades = outcome_of(TRADES, market, Interval(0, 10**16))
    assert len(trades) > 0 and not trades.select("instrument", "trade_id").is_duplicated().any()


def diff(first: int, last: int) -> str:
    text = '{"e":"depthUpdate","E":%d,"s":"BTCUSDT","U":%d,"u":%d,"b":[["10","1"]],"a":[]}'
    return text % (1_723_161_257_440 + last, first, last)


class Venue:
    """A venue that sends what it is told to each connection in turn, then closes it or stays silent."""

    def __init__(self, *scripts: list[str]) -> None:
        self.scripts, self.asked, self.snapshots = list(scripts), list[Any](), 0
        self.failing, self.newest = 0, 10

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.asked.append(orjson.loads(await socket.receive_str()))
        script = self.scripts.pop(0) if self.scripts else []
        for text in script:
            await socket.send_str(text)
            self.newest = max(self.newest, orjson.loads(text).get("u", 0))
            await asyncio.sleep(0.02)
        if self.scripts:
            await socket.close()
        else:
            await socket.receive()
        return socket

    async def depth(self, request: web.Request) -> web.Response:
        self.snapshots += 1
        if self.snapshots <= self.failing:
            return web.json_response({"lastUpdateId": 1, "bids": [], "asks": []})  # older than what is held
        return web.json_response({"lastUpdateId": self.newest, "bids": [["9", "1"]], "asks": [["12", "1"]]})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.add_routes([web.get("/stream", self.stream), web.get("/api/v3/depth", self.depth)])
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


def record(venue: Venue, lake: Lake, until: Callable[[Recorder], bool], **plan: Any) -> Recorder:
    """Record from the venue until the condition holds, then stop as at a signal."""

    async def work() -> Recorder:
        async with venue.serving() as host:
            asked = Plan(
                "binance", ("BTCUSDT",), ("book",), f"ws://{host}", f"http://{host}", True, every_seconds=0.05, **plan
            )
            recorder = Recorder(asked, SUBSCRIPTIONS["binance"], lake, "0123456789abcdef")
            running = asyncio.create_task(recorder.run())
            async with asyncio.timeout(15):
                while not until(recorder):  # noqa: ASYNC110  # the recorder has no event for it
                    await asyncio.sleep(0.02)
            recorder.stop()
            await running
            return recorder

    return asyncio.run(work())


def test_a_break_in_the_chain_is_recorded_and_a_new_snapshot_fetched(lake: Lake) -> None:
    changes = [diff(9, 10), diff(11, 11), diff(14, 15), *(diff(n, n) for n in range(16, 30))]
    venue = Venue(changes, [])
    venue.scripts.pop()
    recorder = record(venue, lake, lambda r: r.counts["snapshots"] >= 2)
    gaps = [e for e in said(stored(lake)) if e["e"] == "gap"]
    assert gaps == [{"e": "gap", "reason": "a book's chain broke", "symbol": "BTCUSDT", "expected": 12, "found": 14}]
    assert recorder.counts["gaps"] == 1 and venue.snapshots >= 2
    assert venue.asked[0]["params"] == ["btcusdt@depth@100ms"]
    texts = stored(lake).filter(pl.col("stream") == "ws")["payload"].to_list()
    assert texts == changes[: len(texts)], "as received, in the order of receipt"


def test_a_cut_connection_is_made_again_and_told(lake: Lake) -> None:
    recorder = record(Venue([diff(9, 10)], [diff(20, 21)], [diff(30, 31)]), lake, lambda r: r.counts["connects"] >= 3)
    frames = stored(lake)
    events = [e["e"] for e in said(frames)]
    assert events.count("lost") >= 2 and events.count("connected") >= 2
    assert recorder.counts["dropped"] == 0
    books = frames.filter(pl.col("payload").str.contains("depthUpdate"))
    assert books["connection"].n_unique() == len(books), "the chain of a connection is its own"


def test_a_snapshot_older_than_the_first_change_is_asked_for_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.recorder.random.uniform", lambda low, high: 0.01)
    venue = Venue([diff(9, 10)])
    venue.failing = 2
    record(venue, lake, lambda r: r.counts["snapshots"] == 1)
    kept = stored(lake).filter(pl.col("stream") == "rest:depth:BTCUSDT")
    assert venue.snapshots == 3
    assert [orjson.loads(text)["lastUpdateId"] for text in kept["payload"]] == [10]


@pytest.mark.parametrize("when", ["later", "at once"])
def test_an_overrun_is_counted_and_recorded_never_silent(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """`at once`: it is stopped while frames are being dropped, and none comes after them that could tell of it."""
    changes = [diff(n, n) for n in range(1, 41)]
    until: dict[str, Callable[[Recorder], bool]] = {
        "later": lambda r: r.counts["frames"] > 10 and r.counts["commits"] > 3,
        "at once": lambda r: r.counts["dropped"] > 2,
    }

    async def slow(*_: object) -> int:
        await asyncio.sleep(0.4)
        return 0

    original, calls = asyncio.to_thread, list[int]()

    async def first_is_slow(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            await slow()
        return await original(*arguments)

    monkeypatch.setattr("jobs.recorder.asyncio.to_thread", first_is_slow)
    recorder = record(Venue(changes), lake, until[when], most_waiting=5)
    frames = stored(lake)
    told = [e for e in said(frames) if e["e"] == "overrun"]
    assert sum(e["dropped"] for e in told) == recorder.counts["dropped"] > 0
    sequences = frames["sequence"].to_list()
    assert max(sequences) + 1 - len(sequences) == recorder.counts["dropped"], "each missing number is a dropped frame"


def test_a_missing_frame_where_frames_are_counted_makes_a_new_connection(lake: Lake) -> None:
    def frame(number: int) -> str:
        return f'{{"channel":"heartbeats","timestamp":"2026-08-09T21:05:48.1Z","sequence_num":{number},"events":[]}}'

    venue = Venue([frame(0), frame(1), frame(3), *(frame(n) for n in range(4, 40))], [frame(0)])

    async def work() -> Recorder:
        async with venue.serving() as host:
            asking = SUBSCRIPTIONS["coinbase"]
            plan = Plan("coinbase", ("BTC-USD",), ("trades",), f"ws://{host}/stream", "", False, every_seconds=0.05)
            recorder = Recorder(plan, asking, lake, "0123456789abcdef")
            running = asyncio.create_task(recorder.run())
            async with asyncio.timeout(15):
                while recorder.counts["connects"] < 2:  # noqa: ASYNC110  # the recorder has no event for it
                    await asyncio.sleep(0.02)
            recorder.stop()
            await running
            return recorder

    recorder = asyncio.run(work())
    gaps = [e for e in said(stored(lake)) if e["e"] == "gap"]
    assert gaps[0] == {"e": "gap", "reason": "a book's chain broke", "symbol": None, "expected": 2, "found": 3}
    assert recorder.counts["gaps"] == 1


def test_connects_stay_within_their_budget(monkeypatch: pytest.MonkeyPatch, lake: Lake) -> None:
    clock, slept = [0.0], list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr("jobs.recorder.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("jobs.recorder.asyncio.sleep", sleep)
    plan = Plan("binance", ("BTCUSDT",), ("book",), "ws://127.0.0.1:9", "http://127.0.0.1:9", True)

    async def storm() -> None:
        recorder = Recorder(plan, SUBSCRIPTIONS["binance"], lake, "0" * 32)
        for _ in range(200):
            await recorder._within_budget()
            clock[0] += 0.1

    asyncio.run(storm())
    assert clock[0] >= 3 * 300.0 - 60.0, "200 connects take at least three windows of five minutes"


@pytest.mark.parametrize(
    ("file", "feed", "kinds", "path"),
    [
        ("BYBIT", "bybit_spot", ("book", "trades", "bars"), "/v5/public/spot"),
        ("OKX", "okx", ("quotes", "book", "trades"), "/ws/v5/public"),
        ("COINBASE", "coinbase", ("trades", "bars", "quotes", "book"), ""),
        ("KRAKEN", "kraken", ("trades", "quotes", "book"), ""),
        ("KRAKEN_FUTURES", "kraken_futures", ("book", "trades", "quotes"), "/ws/v1"),
    ],
)
def test_requests_are_those_that_real_recordings_were_made_with(
    shared_data: Path, file: str, feed: str, kinds: tuple[str, ...], path: str
) -> None:
    text = zstandard.ZstdDecompressor().stream_reader(
        (shared_data / f"wire/cryptofeed_{file}.jsonl.zst").open("rb")
    ).read()  # fmt: skip
    lines = [orjson.loads(line) for line in text.splitlines()]
    addresses = {r["conn"]: r["addr"] for r in lines if r["t"] == "connect"}
    asking = subscription(feed)
    socket = next(s for s in asking.sockets if s.path == path)
    assert asking.ws + path in addresses.values()
    sent = [orjson.loads(r["data"]) for r in lines if r["t"] == "send" and addresses[r["conn"]] == asking.ws + path]
    symbols = {
        "bybit_spot": ["BTCUSDT", "ETHUSDT"], "okx": ["BTC-USD-220527", "UNI-USD-SWAP", "BTC-USDT"],
    }.get(feed) or sent[0].get("product_ids") or sent[0]["pair"]  # fmt: skip
    ours = [orjson.loads(text) for text in asking.messages(socket, kinds, symbols)]
    assert _wishes(ours) <= _wishes(sent), "we ask for nothing in another shape than what was answered"
    assert len(_wishes(ours)) >= len(kinds)


def _wishes(messages: list[dict[str, Any]]) -> set[str]:
    """Every single thing asked for, whatever message it came in."""
    found = set()
    for message in messages:
        rest = {key: value for key, value in message.items() if key != "args"}
        found |= {orjson.dumps([rest, arg]).decode() for arg in message.get("args", [None])}
    return found


@pytest.mark.parametrize(
    ("feed", "instrument", "symbol"),
    [
        ("binance", "binance:BTC/USDT", "BTCUSDT"),
        ("binance_usdm", "binance:BTC/USDT:USDT", "BTCUSDT"),
        ("binance_coinm", "binance:BTC/USD:BTC", "BTCUSD_PERP"),
        ("binance_coinm", "binance:DOT/USD:DOT-240628", "DOTUSD_240628"),
        ("okx", "okx:BTC/USDT:USDT", "BTC-USDT-SWAP"),
        ("coinbase", "coinbase:BTC/USD", "BTC-USD"),
        ("kraken", "kraken:BTC/EUR", "XBT/EUR"),
        ("kraken_futures", "kraken:BTC/USD:BTC", "PI_XBTUSD"),
        ("deribit", "deribit:BTC/USD:BTC", "BTC-PERPETUAL"),
        ("bybit_linear", "bybit:BTC/USDC:USDC", "BTCPERP"),
    ],
)
def test_an_instrument_gets_the_spelling_that_its_feed_reads_back(feed: str, instrument: str, symbol: str) -> None:
    assert venue_symbol(feed, instrument) == symbol


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"venue": "mtgox"}, "--venue mtgox"),
        ({"instruments": "kraken:BTC/USDT"}, "none of the feed binance"),
        ({"instruments": ""}, "found none"),
        ({"streams": "trades,gossip"}, "'gossip'"),
        ({"streams": "liquidations"}, "for binance"),
    ],
)
def test_a_wrong_request_is_refused(run_job: RunJob, asked: dict[str, str], complaint: str) -> None:
    whole = {"venue": "binance", "instruments": "binance:BTC/USDT", "streams": "trades", "minutes": 0.0, "every": 1.0}
    with pytest.raises(UsageError, match=complaint):
        run_job("record", **(whole | asked))
