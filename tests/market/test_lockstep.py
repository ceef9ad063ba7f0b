"""Market time at the clients' pace: nothing moves unacknowledged, and at full speed requests are still answered."""

import asyncio
from typing import Any

import aiohttp
import pytest
from served_exchange import Served, serving

from lake.errors import UsageError
from lake.intervals import MINUTE
from market.clock import MarketClock, parse_speed
from market.lockstep import ADMIN, Lockstep, parse_advance


async def post(served: Served, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
    async with served.http.post(f"{served.admin}{path}", json=body) as reply:
        return reply.status, await reply.json()


async def market_time(served: Served) -> int:
    async with served.http.get(f"{served.admin}/clock") as reply:
        return int((await reply.json())["market_time"])


async def until(socket: aiohttp.ClientWebSocketResponse, event: str) -> list[dict[str, Any]]:
    """Messages up to the first of that kind, it included."""
    seen = [await socket.receive_json(timeout=5)]
    while seen[-1].get("e") != event and seen[-1].get("event", {}).get("e") != event:
        seen.append(await socket.receive_json(timeout=5))
    return seen


def test_the_slowest_participant_and_the_next_stop_bound_every_move() -> None:
    lockstep = Lockstep(step=100_000)
    assert lockstep.target(5) == 5, "without participants nothing moves"
    lockstep.allow("a", 1_000_000)
    assert (lockstep.target(5), lockstep.target(100_000)) == (100_000, 200_000)
    lockstep.allow("b", 150_000)
    assert (lockstep.target(100_000), lockstep.target(150_000)) == (150_000, 150_000)
    lockstep.allow("b", 10)
    assert lockstep.target(100_000) == 150_000, "what was allowed is not taken back"
    lockstep.leave("b")
    assert lockstep.target(150_000) == 200_000
    lockstep.clients_wanted = 2
    assert lockstep.target(150_000) == 150_000
    lockstep.allow(ADMIN, 1_000_000)
    assert lockstep.target(150_000) == 150_000, "the admin port is no client"


def test_bodies_of_advance_and_speeds_are_checked() -> None:
    assert parse_advance(b'{"bars": 2, "timeframe": "5m"}', 7 * MINUTE).to == 15 * MINUTE
    assert parse_advance(b'{"to": 9, "clients": 1, "wait": 0}', 5).clients == 1
    for body in (b'{"bars": 1, "timeframe": "7m"}', b'{"to": 1, "wait": -1}'):
        with pytest.raises(UsageError):
            parse_advance(body, 0)
    assert [parse_speed(text) for text in ("2", "max", "lockstep")] == [2.0, "max", "lockstep"]
    for text in ("fast", "0", "nan"):
        with pytest.raises(UsageError, match="speed"):
            parse_speed(text)


def test_wall_time_does_not_move_a_clock_in_lockstep() -> None:
    wall = [0]
    clock = MarketClock(100, "lockstep", lambda: wall[0])
    clock.start()
    wall[0] = 10**12
    assert (clock.now(), clock.seconds_until(200)) == (100, float("inf"))
    clock.move_to(150)
    clock.set_speed(2.0)
    wall[0] += 1_000_000
    assert clock.now() == 150 + 2_000


async def test_the_market_stands_until_each_client_has_acknowledged() -> None:
    async with serving(speed="lockstep") as served:
        start = served.venue.exchange.time
        first, second = await served.socket("/ws/btcusdt@kline_1m"), await served.socket("/ws")
        for socket in (first, second):
            await socket.send_json({"method": "bitacora.hold", "id": 1})
            assert (await until(socket, "bitacora.standing"))[-1]["T"] == start
        await first.send_json({"method": "bitacora.advance", "id": 2})
        await asyncio.sleep(0.2)
        assert await market_time(served) == start
        await second.send_json({"method": "bitacora.advance", "id": 2})
        seen = await until(first, "bitacora.standing")
        closed = [e["k"] for e in seen if e.get("e") == "kline" and e["k"]["x"]]
        assert closed[-1]["T"] == start // 1000 + 60_000 - 1, "the bar comes before the standing"
        assert seen[-1]["T"] == start + MINUTE
        await second.close()  # who leaves is waited for no longer
        await first.send_json({"method": "bitacora.advance", "params": {"to": start + 3 * MINUTE}, "id": 3})
        assert (await until(first, "bitacora.standing"))[-1]["T"] == start + 2 * MINUTE
        assert (await until(first, "bitacora.standing"))[-1]["T"] == start + 3 * MINUTE


async def test_an_order_placed_while_the_market_stands_bears_that_instant() -> None:
    async with serving(speed="lockstep") as served:
        start = served.venue.exchange.time
        user = await served.user_stream()
        _, order = await served.signed("POST", "order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01")
        assert order["transactTime"] == start // 1000
        assert (await post(served, "/advance", bars=2))[1]["reached"]
        assert served.venue.exchange.time == start + 2 * MINUTE
        seen = await until(user, "bitacora.standing")
        assert seen[0]["event"]["T"] == start, "said on subscribing"
        kinds = [message["event"]["e"] for message in await until(user, "bitacora.standing")]
        assert kinds[0] == "executionReport" and kinds[-1] == "bitacora.standing"


async def test_the_admin_port_waits_for_clients_and_says_when_it_cannot() -> None:
    async with serving(speed="lockstep") as served:
        start = served.venue.exchange.time
        status, answer = await post(served, "/advance", bars=1, clients=1, wait=0.1)
        assert (status, answer["reached"], answer["market_time"]) == (200, False, start)
        socket = await served.socket("/ws")
        await socket.send_json({"method": "bitacora.advance", "params": {"to": start + 10 * MINUTE}, "id": 1})
        assert (await post(served, "/advance", to=start + 3 * MINUTE, clients=1))[1]["reached"]
        assert await market_time(served) == start + 3 * MINUTE
        assert (await post(served, "/advance", bars="many"))[0] == 400
        await post(served, "/speed", speed=60)
        assert (await post(served, "/advance", bars=1))[0] == 409
        await socket.send_json({"method": "bitacora.hold", "id": 7})
        seen = await until_id(socket, 7)
        assert "lockstep" in seen["error"]["msg"]


async def until_id(socket: aiohttp.ClientWebSocketResponse, number: int) -> dict[str, Any]:
    while (message := await socket.receive_json(timeout=5)).get("id") != number:
        pass
    return dict(message)


async def test_at_full_speed_requests_are_answered_and_time_runs_ahead_of_any_number() -> None:
    async with serving(speed="max") as served:
        first = await market_time(served)
        _, order = await served.signed("POST", "order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01")
        assert order["status"] == "FILLED"
        await asyncio.sleep(0.3)
        assert await market_time(served) - first > 5 * MINUTE
        await post(served, "/pause")
        stood = await market_time(served)
        await asyncio.sleep(0.1)
        assert await market_time(served) == stood
