"""Streams of derivatives: diffs that rebuild the book, events with the fields of recorded ones, user data in order."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from served_futures import ServedFutures, serving_futures

from lake.wire.binance_futures import liquidation_from_frame, mark_price_from_frame
from market import clearing

WIRE = Path(__file__).parents[3] / "shared/data/wire"
PERPETUAL = "BTCUSDT"


@pytest.fixture
async def market() -> AsyncIterator[ServedFutures]:
    async with serving_futures() as served:
        yield served


@pytest.fixture
async def empty() -> AsyncIterator[ServedFutures]:
    async with serving_futures(agents=False) as served:
        yield served


async def frames(socket: aiohttp.ClientWebSocketResponse) -> list[Any]:
    """Everything that has arrived, up to a moment of silence."""
    found = []
    while True:
        try:
            found.append(await socket.receive_json(timeout=0.3))
        except TimeoutError:
            return found


async def listen(served: ServedFutures, *streams: str) -> aiohttp.ClientWebSocketResponse:
    socket = await served.http.ws_connect(f"{served.ws}/market/stream?streams={'/'.join(streams)}")
    await asyncio.sleep(0.05)
    return socket


async def test_depth_events_chain_and_rebuild_the_book(market: ServedFutures) -> None:
    socket = await market.http.ws_connect(f"{market.ws}/public/ws/btcusdt@depth@100ms")
    await asyncio.sleep(0.05)
    book = await market.get("/fapi/v1/depth", symbol=PERPETUAL, limit=1000)
    sides = {name: {p: q for p, q in book[name]} for name in ("bids", "asks")}  # noqa: C416 - pairs come as lists
    for _ in range(6):
        market.pass_time(0.5)
    events = await frames(socket)
    assert len(events) == 6
    for before, event in zip([None, *events], events, strict=False):
        assert event["e"] == "depthUpdate"
        assert event["U"] <= event["u"]
        assert event["pu"] == (before["u"] if before else book["lastUpdateId"])
        for name, letter in (("bids", "b"), ("asks", "a")):
            for price, quantity in event[letter]:
                sides[name].pop(f"{float(price):.1f}", None)
                if float(quantity):
                    sides[name][f"{float(price):.1f}"] = f"{float(quantity):.3f}"
    now = await market.get("/fapi/v1/depth", symbol=PERPETUAL, limit=1000)
    for name in sides:
        assert sides[name] == {p: q for p, q in now[name]}  # noqa: C416


async def test_every_public_stream_says_something(market: ServedFutures) -> None:
    names = [
        "btcusdt@aggTrade", "btcusdt@trade", "btcusdt@markPrice@1s", "!markPrice@arr@1s", "btcusdt@kline_1m",
        "btcusdt@bookTicker", "!bookTicker", "btcusdt@miniTicker", "!ticker@arr", "btcusdt@depth5@100ms",
            ]  # fmt: skip
    names += [f"{c.venue_symbol.lower()}@markPrice" for c in market.desk.world.contracts[-1:]]
    socket = await listen(market, *names)
    for _ in range(5):
        market.pass_time(2)
    heard = {frame["stream"] for frame in await frames(socket)}
    assert heard == set(names)


async def test_fields_are_those_of_recorded_frames(market: ServedFutures) -> None:
    samples = _samples()
    socket = await listen(market, "btcusdt@aggTrade", "btcusdt@markPrice", "btcusdt@bookTicker", "btcusdt@kline_1m")
    for _ in range(4):
        market.pass_time(2)
    seen = {}
    for frame in await frames(socket):
        seen[frame["data"]["e"]] = frame["data"]
    recorded = {"aggTrade": "agg_trade_stream", "markPriceUpdate": "mark_price_stream",
                "bookTicker": "book_ticker_stream", "kline": "kline_stream_open"}  # fmt: skip
    for event, sample in recorded.items():
        assert set(samples[f"futures/market_data_json/{sample}.json"]) <= set(seen[event]) | {"st", "ap", "ps"}
    mark = mark_price_from_frame(seen["markPriceUpdate"])
    assert float(mark.mark_price) == pytest.approx(float(mark.index_price), rel=0.01)


async def test_user_events_have_recorded_fields_and_come_in_order(empty: ServedFutures) -> None:
    samples = _samples()
    socket = await empty.user_stream()
    await empty.signed("POST", "/fapi/v1/leverage", symbol=PERPETUAL, leverage=3)
    mark = float((await empty.get("/fapi/v1/premiumIndex", symbol=PERPETUAL))["markPrice"])
    await empty.order("BUY", "LIMIT", price=f"{mark:.1f}", quantity="0.02", timeInForce="GTC")
    await empty.order("SELL", "MARKET", 1, quantity="0.01")
    events = await frames(socket)
    assert [event["e"] for event in events] == [
        "ACCOUNT_CONFIG_UPDATE", "ORDER_TRADE_UPDATE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE",
    ]  # fmt: skip
    assert [(e["o"]["x"], e["o"]["X"]) for e in events[1:3]] == [("NEW", "NEW"), ("TRADE", "PARTIALLY_FILLED")]
    assert set(samples["futures/user_data_json/order_update_trade.json"]["o"]) - {"AP", "cr"} <= set(events[2]["o"])
    recorded = samples["futures/user_data_json/account_update.json"]["a"]
    assert set(recorded["B"][0]) <= set(events[3]["a"]["B"][0])
    assert set(recorded["P"][0]) <= set(events[3]["a"]["P"][0])
    assert float(events[3]["a"]["P"][0]["pa"]) == 0.01
    assert float(events[3]["a"]["B"][0]["wb"]) < 100_000


async def test_algo_orders_send_algo_updates(empty: ServedFutures) -> None:
    samples, socket = _samples(), await empty.user_stream()
    mark = float((await empty.get("/fapi/v1/premiumIndex", symbol=PERPETUAL))["markPrice"])
    made = await empty.signed(
        "POST", "/fapi/v1/algoOrder", algoType="CONDITIONAL", symbol=PERPETUAL, side="SELL", type="STOP_MARKET",
        quantity="0.01", triggerPrice=f"{mark * 0.99:.1f}",
    )  # fmt: skip
    await empty.signed("DELETE", "/fapi/v1/algoOrder", algoId=made["algoId"])
    events = await frames(socket)
    assert [(e["e"], e["o"]["X"]) for e in events] == [("ALGO_UPDATE", "NEW"), ("ALGO_UPDATE", "CANCELED")]
    assert set(samples["futures/user_data_json/algo_update_new.json"]["o"]) <= set(events[0]["o"]) | {"rm"}


async def test_funding_reaches_the_holder(empty: ServedFutures) -> None:
    socket = await empty.user_stream()
    mark = float((await empty.get("/fapi/v1/premiumIndex", symbol=PERPETUAL))["markPrice"])
    await empty.order("BUY", "LIMIT", price=f"{mark:.1f}", quantity="0.1", timeInForce="GTC")
    await empty.order("SELL", "MARKET", 1, quantity="0.1")
    exchange, first = empty.venue.exchange, empty.desk.world.first
    exchange.engine = clearing.with_room(exchange.engine)
    clearing.pay_funding(exchange.engine, first, 50_000, exchange.time)  # 0.05 %
    exchange.settle()
    empty.venue.publish()
    fee = [e for e in await frames(socket) if e["e"] == "ACCOUNT_UPDATE" and e["a"]["m"] == "FUNDING_FEE"]
    assert float(fee[0]["a"]["B"][0]["bc"]) == pytest.approx(-mark * 0.1 * 0.0005, rel=1e-3)
    paid, got = [await empty.signed("GET", "/fapi/v1/income", n, incomeType="FUNDING_FEE") for n in (0, 1)]
    assert float(paid[0]["income"]) == pytest.approx(-float(got[0]["income"]), abs=1e-7)


async def test_liquidations_are_called_before_and_shown_after(empty: ServedFutures) -> None:
    user, public = await empty.user_stream(), await listen(empty, "btcusdt@forceOrder", "!forceOrder@arr")
    await empty.signed("POST", "/fapi/v1/leverage", symbol=PERPETUAL, leverage=100)
    mark = float((await empty.get("/fapi/v1/premiumIndex", symbol=PERPETUAL))["markPrice"])
    await empty.order("BUY", "LIMIT", price=f"{mark:.1f}", quantity="15", timeInForce="GTC")
    await empty.order("SELL", "MARKET", 1, quantity="15")
    exchange, first = empty.venue.exchange, empty.desk.world.first
    near = (100_360 - 0.09 * mark) / 14.91  # there the maintenance margin is five sixths of what is left
    for loss in (near, 100_000 / 15):
        exchange.engine = clearing.with_room(exchange.engine)
        clearing.set_mark(exchange.engine, first, round((mark - loss) * 10), exchange.time)
        empty.desk._watch_margins(exchange.time // 1_000_000 * 1_000_000)
        exchange.settle()
    empty.venue.publish()
    told = [e["e"] for e in await frames(user)]
    assert "MARGIN_CALL" in told
    shown = await frames(public)
    assert {frame["stream"] for frame in shown} == {"btcusdt@forceOrder", "!forceOrder@arr"}
    forced = liquidation_from_frame(shown[0]["data"])
    assert (forced.symbol, forced.side) == (PERPETUAL, "SELL")


async def test_unknown_streams_and_keys_are_refused(empty: ServedFutures) -> None:
    for path in ("/market/ws/btcusdt@nothing", "/public/stream?streams=dogeusdt@aggTrade", "/private/ws?listenKey=x"):
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await empty.http.ws_connect(f"{empty.ws}{path}")
    socket = await empty.http.ws_connect(f"{empty.ws}/market/ws")
    await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@markPrice"], "id": 1})
    await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 2})
    await socket.send_json({"method": "SUBSCRIBE", "params": ["x@y"], "id": 3})
    answers = await frames(socket)
    assert [answer.get("result", "error") for answer in answers] == [None, ["btcusdt@markPrice"], "error"]


async def test_a_listen_key_runs_out_and_says_so(empty: ServedFutures) -> None:
    now = [10.0]
    empty.desk._now = lambda: now[0]
    socket = await empty.user_stream()
    now[0] += 3601
    empty.venue.publish()
    assert [event["e"] for event in await frames(socket)] == ["listenKeyExpired"]


def _samples() -> dict[str, Any]:
    """Recorded and documented messages, by name."""
    path = WIRE / "nautilus_binance_rest_ws_samples.jsonl.zst"
    if not path.exists():
        pytest.skip("needs ../shared/data/wire (recorded messages)")
    text = subprocess.run(["zstdcat", str(path)], capture_output=True, check=True).stdout
    rows = [orjson.loads(line) for line in text.splitlines()]
    return {row["path"]: orjson.loads(row["body"]) for row in rows if row["path"].startswith("futures/")}
