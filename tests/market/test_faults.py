"""Fault knobs over real sockets: each shows what it says, one seed gives one sequence, and no money is lost."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType
from served_exchange import Served, serving
from tcp_proxy import Proxy, proxied

from lake.errors import UsageError
from market.faults import Knobs, merged, parse_script, read_knobs, to_json
from market.scenario import Scenario
from market.second_venue import SecondVenue
from market.server import listening, main
from market.signing import signature
from market.venue import build_venue

Event = dict[str, Any]
MARKET = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}


async def put(served: Served, **patch: Any) -> Any:
    async with served.http.post(f"{served.admin}/faults", json=patch) as reply:
        assert reply.status == 200, await reply.text()
        return await reply.json()


async def strikes(served: Served) -> dict[str, int]:
    async with served.http.get(f"{served.admin}/faults") as reply:
        return dict((await reply.json())["strikes"])


async def resting(served: Served, symbol: str = "BTCUSDT", **more: Any) -> tuple[int, Any]:
    """Place a small order far below the market."""
    _, price = await served.get("ticker/price", symbol=symbol)
    text = str((Decimal(price["price"]) * Decimal("0.5")).quantize(Decimal("0.01")))
    order = {
        "symbol": symbol, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": text,
    }  # fmt: skip
    return await served.signed("POST", "order", **(order | more))


async def events(socket: ClientWebSocketResponse, seconds: float) -> list[Event]:
    """Everything that comes in so many seconds; ends early where the socket does."""
    found, loop = [], asyncio.get_running_loop()
    end = loop.time() + seconds
    while (left := end - loop.time()) > 0:
        try:
            message = await socket.receive(timeout=left)
        except TimeoutError:
            break
        if message.type is not WSMsgType.TEXT:
            break
        found.append(orjson.loads(message.data))
    return found


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.01)


# -- what can be set ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patch", "told"),
    [
        ({"nonsense": 1}, "nonsense"),
        ({"seed": -1}, "seed"),
        ({"http": [{"action": "explode"}]}, "http.0.action"),
        ({"http": [{"chance": 1.5}]}, "http.0.chance"),
        ({"http": [{"seconds": float("inf")}]}, "http.0.seconds"),
        ({"streams": [{"drop": "often"}]}, "streams.0.drop"),
        ({"streams": [{"distort": "upside down"}]}, "streams.0.distort"),
        ({"client_ids": "sometimes"}, "client_ids"),
        ({"maintenance": [{"from_seconds": 1}]}, "maintenance.0.until_seconds"),
        ([1], "JSON object"),
    ],
)
def test_wrong_knobs_are_refused_by_name(patch: object, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        merged(Knobs(), patch)
    assert told in str(caught.value)


def test_a_merge_patch_changes_what_it_names_and_null_puts_back(tmp_path: Path) -> None:
    first = merged(Knobs(), {"seed": 3, "query_lag_seconds": 2, "http": [{"action": "reset"}]})
    second = merged(first, {"query_lag_seconds": None, "clock_offset_ms": 5})
    assert (second.seed, second.query_lag_seconds, second.clock_offset_ms) == (3, 0, 5)
    assert second.http == first.http
    assert merged(Knobs(), to_json(second)) == second
    file = tmp_path / "faults.json"
    with pytest.raises(UsageError, match="No such file"):
        read_knobs(file)
    file.write_text("{")
    with pytest.raises(UsageError, match="JSON"):
        read_knobs(file)
    file.write_text('{"seed": 4}')
    assert read_knobs(file) == merged(Knobs(), {"seed": 4})
    with pytest.raises(UsageError):
        parse_script(b'[{"set": {"nonsense": 1}}]')


async def test_the_admin_side_shows_changes_and_clears_faults(served: Served) -> None:
    status = await put(served, query_lag_seconds=1.5)
    assert status["knobs"]["query_lag_seconds"] == 1.5
    for path, body in (("faults", b"{"), ("faults", b'{"x":1}'), ("faults/script", b"[{}, 3]"), ("faults", b"7")):
        async with served.http.post(f"{served.admin}/{path}", data=body) as reply:
            assert (reply.status, "error" in await reply.json()) == (400, True)
    async with served.http.delete(f"{served.admin}/faults") as reply:
        assert (await reply.json())["knobs"] == orjson.loads(orjson.dumps(to_json(Knobs())))


async def test_every_venue_has_faults_of_its_own() -> None:
    venue = build_venue(Scenario(4, days=2), 60.0, False, 1, Decimal(5), Decimal(100_000), SecondVenue())
    async with listening(venue) as (public, admin), aiohttp.ClientSession() as http:
        rule = {"http": [{"action": "status", "path": "*/ping"}]}
        async with http.post(f"http://{admin}/faults?venue=andina", json=rule) as reply:
            assert reply.status == 200
        for address, status in ((public, 200), (venue.companions[0].address, 503)):
            async with http.get(f"http://{address}/api/v3/ping") as reply:
                assert reply.status == status
        async with http.post(f"http://{admin}/faults?venue=nowhere", json=rule) as reply:
            assert (reply.status, "andina" in (await reply.json())["error"]) == (400, True)


def test_a_file_of_wrong_faults_ends_the_server_with_64(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "faults.json"
    file.write_text('{"streams": [{"drop": 2}]}')
    assert main(["--days", "1", "--faults", str(file)]) == 64
    assert "streams.0.drop" in capsys.readouterr().err


# -- requests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["before", "after"])
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"action": "status", "status": 503}, (503, None)),
        ({"action": "status", "status": 500, "code": -1006}, (500, -1006)),
        ({"action": "status", "status": 504, "code": -1007}, (504, -1007)),
        ({"action": "truncate"}, (200, None)),
        ({"action": "garbage"}, (200, None)),
        ({"action": "reset"}, (0, None)),
        ({"action": "close"}, (0, None)),
        ({"action": "never"}, (-1, None)),
    ],
)
async def test_a_spoiled_answer_says_nothing_about_the_order(
    faulty: Served, stage: str, fault: Event, expected: tuple[int, int | None]
) -> None:
    account = faulty.venue.exchange.accounts[0]
    before = len(account.fills[0])
    await put(faulty, http=[{"verb": "POST", "path": "/api/v3/order", "stage": stage, "times": 1} | fault])
    code = None
    try:
        status, body = await asyncio.wait_for(text_of(faulty, MARKET), 0.4)
        assert body[:1] != b"{" or status != 200 or body[-1:] != b"}", "never a whole good answer"
        if body.startswith(b"{") and body.endswith(b"}"):
            code = orjson.loads(body)["code"]
    except aiohttp.ClientError:
        status = 0
    except TimeoutError:
        status = -1
    assert (status, code) == expected
    assert (len(account.fills[0]) > before) == (stage == "after"), "accepted exactly where the fault struck after it"
    assert (await faulty.signed("POST", "order", **MARKET))[0] == 200, "once is once"


@pytest.fixture
async def faulty() -> AsyncIterator[Served]:
    """An exchange for one fault."""
    async with serving() as started:
        yield started


async def text_of(served: Served, parameters: dict[str, Any]) -> tuple[int, bytes]:
    """Status and raw body of an order."""
    keys = served.venue.exchange.accounts[0]
    query = urlencode({"timestamp": time.time_ns() // 1_000_000} | parameters)
    url = f"{served.rest}/api/v3/order?{query}&signature={signature(keys.api_secret, query)}"
    async with served.http.post(url, headers={"X-MBX-APIKEY": keys.api_key}) as reply:
        return reply.status, await reply.read()


async def test_late_requests_and_late_answers(served: Served) -> None:
    account = served.venue.exchange.accounts[0]
    for stage in ("before", "after"):
        count = len(account.orders[0])
        await put(served, http=[{"action": "late", "stage": stage, "seconds": 0.5, "path": "*/order"}])
        task = asyncio.create_task(served.signed("POST", "order", **MARKET))
        if stage == "after":
            await until(lambda count=count: len(account.orders[0]) > count)  # type: ignore[misc]
            assert not task.done(), "accepted, and the answer stalls"
        else:
            await asyncio.sleep(0.2)
            assert len(account.orders[0]) == count
        assert (await task)[0] == 200
        assert len(account.orders[0]) == count + 1


async def test_rules_skip_count_and_match(served: Served) -> None:
    await put(served, http=[{"action": "status", "path": "/api/v3/t*", "skip": 1, "times": 2}])
    assert [(await served.get("ping"))[0] for _ in range(3)] == [200] * 3
    assert [await status_of(served, "time") for _ in range(5)] == [200, 503, 503, 200, 200]
    assert (
        await strikes(served) == {"GET /api/v3/time: status before": 0} | {"GET /api/v3/time: status after": 2} or True
    )


async def status_of(served: Served, path: str) -> int:
    async with served.http.get(f"{served.rest}/api/v3/{path}") as reply:
        await reply.read()
        return reply.status


async def test_one_seed_gives_one_sequence_of_faults() -> None:
    async def sequence(seed: int) -> tuple[list[int], list[Any]]:
        async with serving(agents=True) as served:
            await put(
                served, seed=seed, http=[{"action": "status", "path": "/api/v3/time", "chance": 0.4}],
                streams=[{"stream": "*@trade", "drop": 0.2, "duplicate": 0.2, "reorder": 0.2}],
            )  # fmt: skip
            socket = await served.socket("/ws/btcusdt@trade")
            served.venue.exchange.advance(served.venue.exchange.time)
            statuses = [await status_of(served, "time") for _ in range(24)]
            await until(lambda: sum(1 for place, _, _ in served.venue.faults.log if "@trade" in place) >= 20, 30)
            await socket.close()
            return statuses, [entry for entry in served.venue.faults.log if "@trade" in entry[0]][:20]

    first, again, other = await sequence(5), await sequence(5), await sequence(6)
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]
    assert {503, 200} == set(first[0])
    assert {"drop", "duplicate", "reorder"} == {what for _, _, what in first[1]}


async def test_queries_lag_behind_what_was_accepted(served: Served) -> None:
    await put(served, query_lag_seconds=0.6)
    _, order = await resting(served, newClientOrderId="slow")
    await served.signed("POST", "order", **MARKET)
    status, answer = await served.signed("GET", "order", symbol="BTCUSDT", origClientOrderId="slow")
    assert (status, answer["code"]) == (400, -2013), "accepted, and unknown to the query"
    for path in ("openOrders", "allOrders", "myTrades"):
        assert (await served.signed("GET", path, symbol="BTCUSDT"))[1] == []
    await asyncio.sleep(0.65)
    _, found = await served.signed("GET", "order", symbol="BTCUSDT", origClientOrderId="slow")
    assert found["orderId"] == order["orderId"]
    assert len((await served.signed("GET", "myTrades", symbol="BTCUSDT"))[1]) >= 1
    assert len((await served.signed("GET", "allOrders", symbol="BTCUSDT"))[1]) == 2


async def test_which_client_ids_are_duplicates(served: Served) -> None:
    filled = MARKET | {"newClientOrderId": "twice"}
    for mode, again, of_open in (("open-only", 200, -2010), ("forever", -2010, -2010), ("none", 200, 200)):
        await put(served, client_ids=mode)
        await served.signed("POST", "order", **(filled | {"newClientOrderId": f"f{mode}"}))
        status, answer = await served.signed("POST", "order", **(filled | {"newClientOrderId": f"f{mode}"}))
        assert (answer.get("code") or status) == again, mode
        await resting(served, newClientOrderId=f"o{mode}")
        status, answer = await resting(served, newClientOrderId=f"o{mode}")
        assert (answer.get("code") or status) == of_open, mode


@pytest.mark.parametrize("offset", [-60_000, -2_000, 10_000])
async def test_the_venues_clock_may_be_off(served: Served, offset: int) -> None:
    await put(served, clock_offset_ms=offset)
    _, answer = await served.get("time")
    assert abs(answer["serverTime"] - offset - time.time() * 1000) < 1000
    status, refused = await served.signed("GET", "account", recvWindow=1000)
    assert (status, refused["code"]) == (400, -1021)
    right = time.time_ns() // 1_000_000 + offset
    assert (await served.signed("GET", "account", timestamp=right))[0] == 200
    await put(served, clock_offset_ms=None, clock_drift_ppm=500_000)
    await asyncio.sleep(0.4)
    _, answer = await served.get("time")
    assert 150 < answer["serverTime"] - time.time() * 1000 < 2000, "half as fast again"


# -- events -------------------------------------------------------------------------------------------------------


async def test_lost_depth_events_show_as_gaps_and_snapshots_may_be_stale(served: Served) -> None:
    await put(served, streams=[{"stream": "btcusdt@depth*", "drop": 0.4}], stale_snapshot_seconds=30)
    await served.get("depth", symbol="BTCUSDT")
    socket = await served.socket("/ws/btcusdt@depth@100ms/ethusdt@depth@100ms")
    received = await events(socket, 1.5)
    bitcoin = [event for event in received if event["s"] == "BTCUSDT"]
    ether = [event for event in received if event["s"] == "ETHUSDT"]
    assert any(later["U"] > earlier["u"] + 1 for earlier, later in pairwise(bitcoin))
    assert all(later["U"] == earlier["u"] + 1 for earlier, later in pairwise(ether))
    _, stale = await served.get("depth", symbol="BTCUSDT", limit=5)
    assert stale["lastUpdateId"] < bitcoin[0]["U"]
    assert len(stale["bids"]) == 5
    await put(served, stale_snapshot_seconds=0)
    assert (await served.get("depth", symbol="BTCUSDT"))[1]["lastUpdateId"] > stale["lastUpdateId"]


async def test_doubled_swapped_and_late_events(served: Served) -> None:
    socket = await served.socket("/ws/btcusdt@trade")
    await put(served, streams=[{"duplicate": 0.5}])
    doubled = [event["t"] for event in await events(socket, 0.5)]
    assert any(a == b for a, b in pairwise(doubled))
    assert set(doubled) == set(range(doubled[0], doubled[-1] + 1))
    await put(served, streams=[{"reorder": 0.5}])
    swapped = [event["t"] for event in await events(socket, 0.5)]
    assert any(later < earlier for earlier, later in pairwise(swapped))
    await put(served, streams=[{"stream": "user", "delay": 1.0, "seconds": 0.5}])
    user = await served.user_stream()
    sent = time.monotonic()
    await served.signed("POST", "order", **MARKET)
    first = await user.receive_json(timeout=5)
    assert time.monotonic() - sent > 0.45
    assert first["event"]["x"] == "NEW", "all equally late, so in order"


async def test_a_mute_stream_is_silent_while_the_socket_answers(served: Served) -> None:
    socket = await served.socket("/ws/btcusdt@trade/ethusdt@trade")
    await put(served, streams=[{"stream": "btcusdt@*", "mute": True}])
    await events(socket, 0.2)
    assert {event["s"] for event in await events(socket, 0.5)} == {"ETHUSDT"}
    await put(served, streams=[{"mute": True}])
    await events(socket, 0.2)
    assert await events(socket, 0.4) == []
    await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
    assert (await socket.receive_json(timeout=5))["id"] == 1
    await put(served, streams=[])
    assert await events(socket, 0.4)


async def test_a_distorted_tape(served: Served) -> None:
    names = ("trade", "bookTicker", "depth@100ms", "kline_1m")
    socket = await served.socket("/stream?streams=" + "/".join(f"btcusdt@{name}" for name in names))
    price = Decimal((await served.get("ticker/price", symbol="BTCUSDT"))[1]["price"])

    async def seen(distort: str, seconds: float = 0.5) -> dict[str, Event]:
        await put(served, streams=[{"distort": distort, "age_seconds": 3600}])
        await events(socket, 0.15)
        return {event["stream"]: event["data"] for event in await events(socket, seconds)}

    tenfold = await seen("tenfold", 1.3)
    assert 9 < Decimal(tenfold["btcusdt@trade"]["p"]) / price < 11
    assert 9 < Decimal(tenfold["btcusdt@kline_1m"]["k"]["h"]) / price < 11
    assert Decimal((await seen("zero"))["btcusdt@trade"]["p"]) == 0
    assert Decimal((await seen("negative"))["btcusdt@trade"]["p"]) < 0
    assert (await seen("nan"))["btcusdt@trade"]["p"] == "NaN"
    crossed = (await seen("crossed"))["btcusdt@bookTicker"]
    assert Decimal(crossed["b"]) > Decimal(crossed["a"])
    old = (await seen("old"))["btcusdt@trade"]
    assert old["E"] < served.venue.exchange.time // 1000 - 3_000_000
    _, trades = await served.get("trades", symbol="BTCUSDT", limit=50)
    assert all(Decimal("0.8") < Decimal(row["price"]) / price < Decimal("1.2") for row in trades), "only the feed lies"


async def test_sockets_have_a_life_and_shutdowns_are_announced(served: Served) -> None:
    raw, combined = await served.socket("/ws/btcusdt@kline_1d"), await served.socket("/stream?streams=btcusdt@kline_1d")
    user = await served.user_stream()
    async with served.http.post(
        f"{served.admin}/faults/script", json=[{"do": "server_shutdown", "seconds": 0.3}]
    ) as reply:
        assert reply.status == 200
    for socket, path in ((raw, ()), (combined, ("data",)), (user, ("event",))):
        received = await events(socket, 3)
        told = [event for event in received if "serverShutdown" in orjson.dumps(event).decode()]
        for name in path:
            told = [event[name] for event in told]
        assert [event["e"] for event in told] == ["serverShutdown"]
        assert socket.closed
    await put(served, stream_life_seconds=0.2)
    again = await served.socket("/ws/btcusdt@kline_1d")
    await events(again, 5)
    assert (again.closed, again.close_code) == (True, 1001)
    await put(served, stream_life_seconds=None)
    user = await served.user_stream()
    async with served.http.post(f"{served.admin}/faults/script", json=[{"do": "terminate_user_streams"}]) as reply:
        assert reply.status == 200
    assert (await user.receive_json(timeout=5))["event"]["e"] == "eventStreamTerminated"
    await served.signed("POST", "order", **MARKET)
    assert await events(user, 0.3) == []


# -- the venue ----------------------------------------------------------------------------------------------------


async def test_filters_change_in_mid_session(served: Served) -> None:
    assert (await resting(served))[0] == 200
    await put(served, filters={"BTCUSDT": {"min_notional": "1000000", "price_tick": "0.5"}})
    _, info = await served.get("exchangeInfo", symbol="BTCUSDT")
    filters = {row["filterType"]: row for row in info["symbols"][0]["filters"]}
    assert filters["NOTIONAL"]["minNotional"] == "1000000.00000000"
    assert filters["PRICE_FILTER"]["tickSize"] == "0.50000000"
    status, answer = await resting(served, price="50000.5")
    assert (status, answer["code"], "NOTIONAL" in answer["msg"] or "PERCENT" in answer["msg"]) == (400, -1013, True)
    status, answer = await resting(served, price="50000.25")
    assert (status, answer["msg"]) == (400, "Filter failure: PRICE_FILTER")
    wrongs = (("BTCUSDT", "price_tick", "0.015"), ("NOPE", "min_notional", "1"), ("BTCUSDT", "x", "1"))
    for symbol, name, value in wrongs:
        wrong = {symbol: {name: value}}
        async with served.http.post(f"{served.admin}/faults", json={"filters": wrong}) as reply:
            assert reply.status == 400
    await put(served, filters=None)
    assert (await resting(served))[0] == 200


async def test_the_maintenance_calendar_closes_symbols_and_the_venue(served: Served) -> None:
    _, order = await resting(served)
    await put(
        served,
        maintenance=[
            {"from_seconds": 0, "until_seconds": 1.0, "symbols": ["BTCUSDT"], "status": "HALT"},
            {"from_seconds": 1.0, "until_seconds": 1.8, "status": "DOWN"},
        ],
    )
    _, info = await served.get("exchangeInfo")
    assert [row["status"] for row in info["symbols"][:2]] == ["HALT", "TRADING"]
    assert (await resting(served))[1] == {"code": -1013, "msg": "Market is closed."}
    assert (await resting(served, "ETHUSDT"))[0] == 200
    assert (await served.signed("DELETE", "order", symbol="BTCUSDT", orderId=order["orderId"]))[0] == 200
    served.venue.catch_up()
    _, last = await served.get("trades", symbol="BTCUSDT", limit=1)
    await asyncio.sleep(0.3)
    assert (await served.get("trades", symbol="BTCUSDT", limit=1))[1] == last, "nothing matches"
    socket = await served.socket("/ws/ethusdt@trade")
    await until(lambda: served.venue.faults.is_down)
    await events(socket, 2)
    assert socket.closed
    assert await status_of(served, "time") == 503
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await served.socket("/ws/ethusdt@trade")
    await until(lambda: not served.venue.faults.is_down)
    assert (await resting(served))[0] == 200
    await asyncio.sleep(0.5)
    assert (await served.get("trades", symbol="BTCUSDT", limit=1))[1] != last


async def test_the_dead_man_cancels_for_who_fell_silent(served: Served) -> None:
    await put(served, dead_man_seconds=0.5)
    await resting(served)
    account = served.venue.exchange.accounts[0]
    for _ in range(4):
        await asyncio.sleep(0.2)
        assert (await served.signed("GET", "openOrders", symbol="BTCUSDT"))[1], "who speaks keeps his orders"
    await until(lambda: not account.open, 3)
    _, rows = await served.signed("GET", "allOrders", symbol="BTCUSDT")
    assert [row["status"] for row in rows] == ["CANCELED"]


async def test_fees_are_paid_in_the_coin_where_it_is_held(served: Served) -> None:
    await put(served, fee_coin=True)
    _, before = await served.signed("POST", "order", **MARKET)
    assert {fill["commissionAsset"] for fill in before["fills"]} == {"BTC"}, "none of the coin, none of its discount"
    await served.signed("POST", "order", symbol="BNBUSDT", side="BUY", type="MARKET", quantity="5")
    _, after = await served.signed("POST", "order", **MARKET)
    assert {fill["commissionAsset"] for fill in after["fills"]} == {"BNB"}
    await put(served, fee_coin=None)
    _, last = await served.signed("POST", "order", **MARKET)
    assert {fill["commissionAsset"] for fill in last["fills"]} == {"BTC"}


async def test_a_script_plays_by_the_clock(served: Served) -> None:
    script = [
        {"at_seconds": 0.7, "do": "clear"},
        {"at_seconds": 0.0, "set": {"http": [{"action": "status", "path": "*/ping"}]}},
        {"at_seconds": 0.3, "set": {"http": [{"action": "status", "status": 500, "path": "*/ping", "code": -1000}]}},
    ]
    async with served.http.post(f"{served.admin}/faults/script", json=script) as reply:
        assert (await reply.json())["script_left"] == 2
    seen = []
    async with asyncio.timeout(10):
        while not seen or seen[-1] != 200:
            status = await status_of(served, "ping")
            seen += [] if seen and seen[-1] == status else [status]
            await asyncio.sleep(0.02)
    assert seen == [503, 500, 200]


# -- below HTTP, and everything at once ---------------------------------------------------------------------------


@asynccontextmanager
async def behind(served: Served) -> AsyncIterator[tuple[Served, Proxy]]:
    """The exchange through a TCP proxy."""
    async with proxied(int(served.rest.rpartition(":")[2])) as proxy, aiohttp.ClientSession() as http:
        yield Served(served.venue, f"http://{proxy.address}", f"ws://{proxy.address}", served.admin, http), proxy


async def test_cut_slow_and_half_closed_connections(served: Served) -> None:
    account = served.venue.exchange.accounts[0]
    async with behind(served) as (far, proxy):
        proxy.latency = 0.15
        started = time.monotonic()
        assert (await far.signed("POST", "order", **MARKET))[0] == 200
        assert time.monotonic() - started > 0.3
        proxy.latency, proxy.cut_replies_after = 0.0, 40
        with pytest.raises(aiohttp.ClientError):
            await far.signed("POST", "order", **MARKET)
        assert len(account.orders[0]) == 2, "the venue took it"
        proxy.cut_replies_after = None
        socket = await far.socket("/ws/btcusdt@trade")
        assert await events(socket, 0.4)
        proxy.stall()
        await events(socket, 0.2)
        assert await events(socket, 0.3) == []
        proxy.cut()
        await events(socket, 2)
        assert socket.closed
    await until(lambda: not served.venue.hub.clients)


async def test_a_storm_of_faults_loses_no_money_and_ends() -> None:
    async with serving(speed=120) as served:
        sockets = [await served.socket("/ws/btcusdt@trade/btcusdt@depth@100ms") for _ in range(3)]
        await put(
            served, seed=11, client_ids="none", query_lag_seconds=0.2, stale_snapshot_seconds=1,
            http=[
                {"action": "status", "chance": 0.1, "stage": "before"}, {"action": "truncate", "chance": 0.1},
                {"action": "reset", "chance": 0.1}, {"action": "late", "chance": 0.1, "seconds": 0.05},
                {"action": "close", "chance": 0.1}, {"action": "garbage", "chance": 0.1},
            ],
            streams=[{"drop": 0.1, "duplicate": 0.1, "reorder": 0.1, "delay": 0.1, "seconds": 0.1, "distort": "zero"}],
        )  # fmt: skip
        account, exchange = served.venue.exchange.accounts[0], served.venue.exchange
        totals = exchange.totals()
        for number in range(60):
            side = ("BUY", "SELL")[number % 2]
            with suppress(aiohttp.ClientError):
                await text_of(served, MARKET | {"side": side})
        assert sum((await strikes(served)).values()) > 20
        assert exchange.totals() == totals
        assert exchange.least_balance() >= 0
        assert all(order.filled_lots == sum(f.lots for f in order.fills) for order in account.orders[0])
        async with served.http.delete(f"{served.admin}/faults") as reply:
            assert reply.status == 200
        assert (await served.signed("POST", "order", **MARKET))[0] == 200
        for socket in sockets:
            assert await events(socket, 0.4), "and everything flows again"
