"""Trades, aggregates and tickers, over REST and as streams, agree with the tape and with each other."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType
from served_exchange import Served, serving

from market.book import (
    TAPE_FIELDS,
    TAPE_ID,
    TAPE_INSTRUMENT,
    TAPE_LOTS,
    TAPE_PRICE,
    TAPE_TAKER_ORDER,
    TAPE_TIME,
    Integers,
)
from market.stream_events import Stream, parse_stream
from market.trades import AGG_FIRST, AGG_LAST, KEPT, TRADE_FIELDS, TRADE_ID, TRADE_LOTS, TRADE_TIME, Rows, TradeLog

Event = dict[str, Any]


@pytest.fixture
async def still() -> AsyncIterator[Served]:
    """Paused, two minutes into its present."""
    async with serving() as served:
        served.venue.clock.set_speed(600)
        await asyncio.sleep(0.3)
        served.venue.pause()
        yield served


# -- the log ------------------------------------------------------------------------------------------------------


def test_rows_page_by_id_by_time_and_from_the_end() -> None:
    rows = Rows(TRADE_FIELDS)
    table = np.arange(100)[:, None] * np.array([1, 10, 0, 0, 0])
    for part in np.array_split(table, 7):
        rows.append(part)
    ids = [row[TRADE_ID] for row in rows.page(5, None, None, None)]
    assert ids == [95, 96, 97, 98, 99]
    assert [row[0] for row in rows.page(3, 50, None, None)] == [50, 51, 52]
    assert [row[0] for row in rows.page(1000, None, 205, 240)] == [21, 22, 23, 24]
    assert [row[0] for row in rows.page(2, None, None, 240)] == [23, 24]
    assert rows.page(5, 100, None, None) == []


def test_rows_forget_the_oldest_and_stay_bounded() -> None:
    rows = Rows(TRADE_FIELDS, kept=2000)
    for start in range(0, 20_000, 500):
        rows.append(np.repeat(np.arange(start, start + 500)[:, None], TRADE_FIELDS, axis=1))
        held = rows.all[:, TRADE_ID]
        assert held[-1] == start + 499
        assert (np.diff(held) == 1).all()
        assert min(start + 500, 2000) <= len(held) <= 4000
    assert KEPT >= 10_000


def random_tape(rng: np.random.Generator, first_id: int, count: int) -> Integers:
    tape = np.zeros((count, TAPE_FIELDS), np.int64)
    tape[:, TAPE_INSTRUMENT] = rng.integers(0, 2, count)
    for i in range(2):
        own = tape[:, TAPE_INSTRUMENT] == i
        tape[own, TAPE_ID] = first_id + np.arange(own.sum())
    tape[:, TAPE_PRICE], tape[:, TAPE_LOTS] = rng.integers(1, 3, count), rng.integers(1, 9, count)
    tape[:, TAPE_TAKER_ORDER] = np.sort(rng.integers(0, count // 3, count))
    return tape


def test_aggregates_are_runs_of_one_taker_order_at_one_price() -> None:
    rng, log = np.random.default_rng(3), TradeLog(np.array([1, 1]))
    tape = random_tape(rng, 1, 600)
    made = log.record(tape)
    for i in range(2):
        rows = [row for row in tape.tolist() if row[TAPE_INSTRUMENT] == i]
        runs = [
            list(run) for _, run in groupby(rows, lambda r: (r[TAPE_TAKER_ORDER], r[TAPE_PRICE], r[TAPE_TIME]))
        ]  # fmt: skip
        found = log.aggregates[i].all.tolist()
        assert [row[TRADE_ID] for row in found] == list(range(1, 1 + len(runs)))
        assert [row[TRADE_LOTS] for row in found] == [sum(r[TAPE_LOTS] for r in run) for run in runs]
        assert [(row[AGG_FIRST], row[AGG_LAST]) for row in found] == [(r[0][TAPE_ID], r[-1][TAPE_ID]) for r in runs]
    assert len(made) == sum(len(aggregates.all) for aggregates in log.aggregates)


# -- over REST ----------------------------------------------------------------------------------------------------


async def test_aggregate_trades_are_made_of_the_trades(still: Served) -> None:
    _, trades = await still.get("trades", symbol="BTCUSDT", limit=1000)
    _, aggregates = await still.get("aggTrades", symbol="BTCUSDT", limit=1000)
    by_id = {trade["id"]: trade for trade in trades}
    assert len(aggregates) > 20
    assert all(later["f"] == earlier["l"] + 1 for earlier, later in pairwise(aggregates))
    for row in aggregates:
        parts = [by_id[number] for number in range(row["f"], row["l"] + 1) if number in by_id]
        if len(parts) == row["l"] - row["f"] + 1:
            assert {part["price"] for part in parts} == {row["p"]}
            assert sum(Decimal(part["qty"]) for part in parts) == Decimal(row["q"])
            assert {(part["isBuyerMaker"], part["time"]) for part in parts} == {(row["m"], row["T"])}


async def test_aggregate_trades_page_by_id_and_by_time(still: Served) -> None:
    _, everything = await still.get("aggTrades", symbol="ETHUSDT", limit=1000)
    middle = everything[len(everything) // 2]
    _, page = await still.get("aggTrades", symbol="ETHUSDT", fromId=middle["a"], limit=3)
    assert [row["a"] for row in page] == [middle["a"], middle["a"] + 1, middle["a"] + 2]
    _, span = await still.get("aggTrades", symbol="ETHUSDT", startTime=middle["T"], endTime=middle["T"] + 5000)
    assert span == [row for row in everything if middle["T"] <= row["T"] <= middle["T"] + 5000]
    _, refused = await still.get("aggTrades", symbol="ETHUSDT", fromId=1, startTime=1)
    assert refused["code"] == -1128
    _, old = await still.get("historicalTrades", symbol="ETHUSDT", fromId=everything[0]["f"], limit=2)
    assert [row["id"] for row in old] == [everything[0]["f"], everything[0]["f"] + 1]


async def test_the_day_ticker_adds_up_the_days_candles(still: Served) -> None:
    _, ticker = await still.get("ticker/24hr", symbol="SOLUSDT")
    _, bars = await still.get("klines", symbol="SOLUSDT", interval="1m", limit=1000)
    start = ticker["openTime"]
    _, early = await still.get("klines", symbol="SOLUSDT", interval="1m", startTime=start, limit=440)
    bars = early + [bar for bar in bars if bar[0] > early[-1][0]]
    assert len(bars) == 1440
    assert ticker["openPrice"] == bars[0][1]
    assert Decimal(ticker["highPrice"]) == max(Decimal(bar[2]) for bar in bars)
    assert Decimal(ticker["lowPrice"]) == min(Decimal(bar[3]) for bar in bars)
    assert ticker["lastPrice"] == bars[-1][4]
    assert Decimal(ticker["volume"]) == sum(Decimal(bar[5]) for bar in bars)
    assert Decimal(ticker["quoteVolume"]) == sum(Decimal(bar[7]) for bar in bars)
    assert ticker["count"] == sum(bar[8] for bar in bars) == ticker["lastId"] - ticker["firstId"] + 1
    change = Decimal(ticker["lastPrice"]) - Decimal(ticker["openPrice"])
    assert Decimal(ticker["priceChange"]) == change
    assert float(ticker["priceChangePercent"]) == pytest.approx(
        float(change / Decimal(ticker["openPrice"]) * 100), abs=6e-4
    )
    mean = Decimal(ticker["quoteVolume"]) / Decimal(ticker["volume"])
    assert Decimal(ticker["weightedAvgPrice"]) == pytest.approx(mean, abs=Decimal("1e-8"))
    _, best = await still.get("ticker/bookTicker", symbol="SOLUSDT")
    assert (ticker["bidPrice"], ticker["askQty"]) == (best["bidPrice"], best["askQty"])
    _, trades = await still.get("trades", symbol="SOLUSDT", limit=1)
    assert ticker["lastQty"] == trades[0]["qty"]


async def test_tickers_come_for_one_symbol_for_several_and_for_all(still: Served) -> None:
    assert len((await still.get("ticker/24hr"))[1]) == 6
    _, several = await still.get("ticker/24hr", symbols='["BTCUSDT","ADAUSDT"]', type="MINI")
    assert [row["symbol"] for row in several] == ["BTCUSDT", "ADAUSDT"]
    assert "priceChange" not in several[0]
    assert several[0]["lastPrice"]
    _, hour = await still.get("ticker", symbol="BTCUSDT", windowSize="1h")
    assert hour["closeTime"] - hour["openTime"] <= 3_600_000
    _, today = await still.get("ticker/tradingDay", symbol="BTCUSDT")
    assert today["openTime"] % 86_400_000 == 0
    assert (await still.get("ticker", symbol="BTCUSDT", windowSize="25h"))[1]["code"] == -1130
    assert (await still.get("ticker"))[1]["code"] == -1102
    assert (await still.get("ticker/24hr", type="HUGE"))[1]["code"] == -1139
    assert (await still.get("uiKlines", symbol="BTCUSDT", interval="1m", limit=1))[0] == 200


# -- as streams ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "stream"),
    [
        ("btcusdt@aggTrade", Stream("btcusdt", "aggTrade")),
        ("btcusdt@depth", Stream("btcusdt", "depth")),
        ("btcusdt@depth@1000ms", Stream("btcusdt", "depth")),
        ("btcusdt@depth@100ms", Stream("btcusdt", "depth", fast=True)),
        ("btcusdt@depth20@100ms", Stream("btcusdt", "levels", "20", fast=True)),
        ("btcusdt@depth5", Stream("btcusdt", "levels", "5")),
        ("btcusdt@kline_4h", Stream("btcusdt", "kline", "4h")),
        ("btcusdt@ticker_4h", Stream("btcusdt", "ticker", "4h")),
        ("!ticker@arr", Stream("", "ticker")),
        ("!ticker_1h@arr", Stream("", "ticker", "1h")),
        ("!miniTicker@arr", Stream("", "miniTicker")),
        ("btcusdt@depth7", None),
        ("btcusdt@depth@250ms", None),
        ("btcusdt@kline_7m", None),
        ("btcusdt@ticker_9h", None),
        ("!trade@arr", None),
        ("btcusdt", None),
    ],
)
def test_stream_names_are_taken_apart(name: str, stream: Stream | None) -> None:
    assert parse_stream(name) == stream


async def received(socket: ClientWebSocketResponse, seconds: float) -> list[Any]:
    loop, found = asyncio.get_running_loop(), []
    end = loop.time() + seconds
    while (left := end - loop.time()) > 0:
        try:
            message = await socket.receive(timeout=left)
        except TimeoutError:
            break
        assert message.type is WSMsgType.TEXT, message
        found.append(message.json())
    return found


async def test_aggregates_stream_without_gap_and_equal_the_query(served: Served) -> None:
    socket = await served.socket("/ws/btcusdt@aggTrade")
    events = await received(socket, 0.8)
    assert [event["a"] for event in events] == list(range(events[0]["a"], events[0]["a"] + len(events)))
    _, rows = await served.get("aggTrades", symbol="BTCUSDT", fromId=events[0]["a"], limit=len(events))
    assert [{key: event[key] for key in "apqflTmM"} for event in events] == rows


async def test_tickers_stream_every_second(served: Served) -> None:
    names = ("btcusdt@ticker", "btcusdt@miniTicker", "btcusdt@ticker_1h", "btcusdt@avgPrice", "!ticker@arr")
    socket = await served.socket("/stream?streams=" + "/".join(names))
    events: dict[str, Any] = {}
    while set(names) - events.keys():
        frame = await socket.receive_json(timeout=10)
        events[frame["stream"]] = frame["data"]
    assert [events[name]["e"] for name in names[:4]] == ["24hrTicker", "24hrMiniTicker", "1hTicker", "avgPrice"]
    assert set("eEspPwxcQbBaAohlvqOCFLn") == set(events[names[0]])
    assert {row["s"] for row in events["!ticker@arr"]} <= {
        "BTCUSDT",
        "ETHUSDT",
        "SOLUSDT",
        "BNBUSDT",
        "XRPUSDT",
        "ADAUSDT",
    }
    assert events[names[0]]["c"] == events[names[1]]["c"]


async def test_slow_depth_and_partial_books_agree_with_the_book(served: Served) -> None:
    socket = await served.socket("/stream?streams=btcusdt@depth/btcusdt@depth5@100ms/btcusdt@depth10")
    frames = await received(socket, 2.3)
    by_name = {name: [f["data"] for f in frames if f["stream"] == name] for name in {f["stream"] for f in frames}}
    slow = by_name["btcusdt@depth"]
    assert 1 <= len(slow) <= 3
    assert all(later["U"] == earlier["u"] + 1 for earlier, later in pairwise(slow))
    assert len(by_name["btcusdt@depth5@100ms"]) >= 8
    assert all(len(event["bids"]) == 5 for event in by_name["btcusdt@depth5@100ms"])
    assert all(len(event["asks"]) == 10 for event in by_name["btcusdt@depth10"])
    ids = [event["lastUpdateId"] for event in by_name["btcusdt@depth5@100ms"]]
    assert all(a < b for a, b in pairwise(ids))


async def test_a_frozen_hub_says_nothing_and_its_depth_goes_on_without_a_gap(served: Served) -> None:
    socket = await served.socket("/stream?streams=btcusdt@depth@100ms/btcusdt@trade")
    before = await received(socket, 0.4)
    served.venue.hub.frozen = True
    before += await received(socket, 0.1)
    assert await received(socket, 0.4) == []
    served.venue.hub.frozen = False
    after = await received(socket, 0.5)
    depth = [f["data"] for f in before + after if f["stream"].endswith("depth@100ms")]
    assert all(later["U"] == earlier["u"] + 1 for earlier, later in pairwise(depth))
    trades = [f["data"]["t"] for f in before + after if f["stream"].endswith("trade")]
    assert trades[-1] - trades[0] + 1 > len(trades)


def test_times_of_remembered_trades_rise() -> None:
    log = TradeLog(np.array([1, 1]))
    tape = random_tape(np.random.default_rng(1), 1, 50)
    log.record(tape)
    assert (np.diff(log.trades[0].all[:, TRADE_TIME]) >= 0).all()
