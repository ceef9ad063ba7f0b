"""Feed and user stream over real sockets: mute, cut and refused connections are noticed and replaced."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from live import feed as feed_module
from live.clock import MarketClock
from live.errors import VenueUnavailable
from live.feed import Feed
from live.user_stream import UserStream
from live.venue import Credentials
from tests.live.fakes import BTC, TRADED

Serve = Callable[[web.WebSocketResponse], Awaitable[None]]


@asynccontextmanager
async def _websocket(path: str, serve: Serve) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    async def handler(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await serve(socket)
        return socket

    app = web.Application()
    app.router.add_get(path, handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession() as session:
            yield f"ws://127.0.0.1:{runner.addresses[0][1]}", session
    finally:
        await runner.cleanup()


async def _running(work: Any, until: Callable[[], bool]) -> None:
    task = asyncio.create_task(work)
    try:
        async with asyncio.timeout(10):
            while not until():  # noqa: ASYNC110 (the condition is the test's own)
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _kline(minutes: int, closed: bool) -> str:
    k = {
        "t": minutes * 60_000, "T": minutes * 60_000 + 299_999, "o": "1", "h": "2", "l": "1", "c": "1.5", "v": "1",
        "q": "1", "n": 1, "x": closed,
    }  # fmt: skip
    return orjson.dumps({"e": "kline", "E": minutes * 60_000 + 300_100, "s": "BTCUSDT", "k": k}).decode()


async def test_closed_bars_and_the_first_event_pass_and_open_ones_only_move_clock_and_price() -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        request = await socket.receive_json()
        assert request["params"] == ["btcusdt@kline_5m", "ethusdt@kline_5m"]
        await socket.send_str('{"result":null,"id":1}')
        for text in ("garbage", "[]", '{"e":"kline"}', '{"e":"kline","s":"BTCUSDT","k":{}}'):
            await socket.send_str(text)
        for minutes, closed in ((0, False), (0, False), (0, True), (5, False), (5, True)):
            await socket.send_str(_kline(minutes, closed))
        await asyncio.sleep(10)

    clock = MarketClock()
    async with _websocket("/ws", serve) as (url, session):
        feed = Feed(session, url, TRADED, clock)
        await _running(feed.run(), lambda: feed.frames.qsize() == 3)
    frames = [feed.frames.get_nowait() for _ in range(3)]
    assert [(f.kline.open_time // 60_000_000, f.kline.closed) for f in frames] == [(0, False), (0, True), (5, True)]
    assert frames[1].text == _kline(0, True)
    assert clock.now == 600_100_000
    assert str(feed.prices[BTC]) == "1.5"


async def test_a_mute_feed_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "SILENCE_SECONDS", 0.1)

    async def serve(socket: web.WebSocketResponse) -> None:
        await asyncio.sleep(10)

    async with _websocket("/ws", serve) as (url, session):
        feed = Feed(session, url, TRADED, MarketClock())
        await _running(feed.run(), lambda: feed.connects >= 2)


class Heard:
    """What a user stream told its owner."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.states: list[bool] = []
        self.catch_ups = 0
        self.down = False

    async def catch_up(self) -> None:
        self.catch_ups += 1
        if self.down:
            self.down = False
            raise VenueUnavailable("down")

    def stream(self, session: aiohttp.ClientSession, url: str) -> UserStream:
        keys = Credentials("key", "secret")
        return UserStream(
            session, url + "/ws-api/v3", keys, lambda: 7, self.events.append, self.catch_up, self.states.append
        )


async def _subscribed(socket: web.WebSocketResponse, status: int = 200) -> None:
    request = await socket.receive_json()
    assert request["method"] == "userDataStream.subscribe.signature"
    assert request["params"]["signature"] == Credentials("key", "secret").sign("apiKey=key&timestamp=7")
    result = {"result": {"subscriptionId": 0}} if status == 200 else {"error": {"code": -2015, "msg": "no"}}
    await socket.send_json({"id": request["id"], "status": status, **result})


async def test_events_come_unwrapped_and_orders_wait_for_the_catch_up() -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        await _subscribed(socket)
        await socket.send_json({"subscriptionId": 0, "event": {"e": "executionReport", "E": 1}})
        await socket.send_json({"e": "outboundAccountPosition", "E": 2})
        await asyncio.sleep(10)

    heard = Heard()
    async with _websocket("/ws-api/v3", serve) as (url, session):
        await _running(heard.stream(session, url).run(), lambda: len(heard.events) == 2)
    assert [event["E"] for event in heard.events] == [1, 2]
    assert (heard.catch_ups, heard.states) == (1, [True, False])


async def test_a_cut_stream_closes_the_gate_and_opens_it_after_the_next_catch_up() -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        await _subscribed(socket)

    heard = Heard()
    async with _websocket("/ws-api/v3", serve) as (url, session):
        await _running(heard.stream(session, url).run(), lambda: heard.states.count(True) == 2)
    assert heard.states[:3] == [True, False, True]
    assert heard.catch_ups == 2


@pytest.mark.parametrize("trouble", ["refused", "venue down", "not json"])
async def test_without_subscription_or_catch_up_the_gate_stays_closed_and_it_is_tried_again(trouble: str) -> None:
    tries = 0

    async def serve(socket: web.WebSocketResponse) -> None:
        nonlocal tries
        tries += 1
        if trouble == "not json":
            await socket.send_str("<html>")
        await _subscribed(socket, 401 if trouble == "refused" and tries == 1 else 200)
        await asyncio.sleep(10)

    heard = Heard()
    heard.down = trouble == "venue down"
    async with _websocket("/ws-api/v3", serve) as (url, session):
        wanted = 2 if trouble != "not json" else 0
        work = heard.stream(session, url).run()
        await _running(work, lambda: tries >= 2 and (True in heard.states or not wanted))
    assert heard.states[0] is False
