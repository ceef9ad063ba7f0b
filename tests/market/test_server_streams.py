"""The WebSocket streams over real sockets: exact frames, prompt closes, continuous depth, misbehaving clients."""

import asyncio
import socket as sockets
import time
from decimal import Decimal
from itertools import pairwise
from statistics import median
from typing import Any

import orjson
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType
from served_exchange import Served, serving

from lake.wire.binance import kline_from_frame, kline_from_rest
from market import listeners
from market.signing import signature

Event = dict[str, Any]


async def frames(socket: ClientWebSocketResponse, seconds: float) -> list[tuple[float, Event]]:
    """Everything received in so many seconds, with the wall time of arrival."""
    loop, found = asyncio.get_running_loop(), []
    end = loop.time() + seconds
    while (left := end - loop.time()) > 0:
        try:
            message = await socket.receive(timeout=left)
        except TimeoutError:
            break
        assert message.type is WSMsgType.TEXT, message
        found.append((time.time(), orjson.loads(message.data)))
    return found


async def test_klines_come_every_second_and_close_promptly(served: Served) -> None:
    served.venue.clock.set_speed(120)
    socket = await served.socket("/ws/btcusdt@kline_1m")
    clock = served.venue.clock
    received = await frames(socket, 2.4)
    closes = [(at, event) for at, event in received if event["k"]["x"]]
    assert len(closes) >= 4
    opens = [event["k"]["t"] for _, event in closes]
    assert opens == list(range(opens[0], opens[0] + 60_000 * len(opens), 60_000))
    started = time.time() - clock.now() / 1e6 / clock.speed  # wall time at which market time would have been zero
    delays = [at - started - (event["k"]["T"] + 1) / 1e3 / clock.speed for at, event in closes]
    assert median(delays) < 0.1, delays
    assert max(delays) < 1, delays
    assert len([event for _, event in received if not event["k"]["x"]]) >= 2
    for _, event in closes:
        _, rows = await served.get("klines", symbol="BTCUSDT", interval="1m", startTime=event["k"]["t"], limit=1)
        frame, row = kline_from_frame(event), kline_from_rest(rows[0])
        assert frame == row
        assert event["k"]["L"] - event["k"]["f"] + 1 == event["k"]["n"]


async def test_a_bar_without_trades_still_closes() -> None:
    async with serving(agents=False, speed=120) as served:
        socket = await served.socket("/ws/adausdt@kline_1m")
        closes = [event["k"] for _, event in await frames(socket, 1.2) if event["k"]["x"]]
        assert len(closes) >= 2
        for k in closes:
            assert k["o"] == k["h"] == k["l"] == k["c"]
            assert (k["v"], k["n"], k["f"], k["L"]) == ("0.00000000", 0, -1, -1)


async def test_five_minute_bars_close_on_their_grid() -> None:
    async with serving(speed=600) as served:
        socket = await served.socket("/stream?streams=btcusdt@kline_5m/ethusdt@kline_5m")
        received = [event for _, event in await frames(socket, 1.6)]
        assert {event["stream"] for event in received} == {"btcusdt@kline_5m", "ethusdt@kline_5m"}
        closes = [e["data"]["k"] for e in received if e["data"]["k"]["x"] and e["stream"].startswith("btc")]
        assert len(closes) >= 2
        assert all(k["t"] % 300_000 == 0 and k["T"] == k["t"] + 299_999 for k in closes)
        assert [b["t"] - a["t"] for a, b in pairwise(closes)] == [300_000] * (len(closes) - 1)


async def test_trades_are_complete_and_in_order(served: Served) -> None:
    socket = await served.socket("/ws/ethusdt@trade")
    received = [event for _, event in await frames(socket, 1.0)]
    ids = [event["t"] for event in received]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert set(received[0]) == {"e", "E", "s", "t", "p", "q", "T", "m", "M"}
    assert all(event["T"] <= event["E"] for event in received)


async def test_depth_differences_rebuild_the_book() -> None:
    async with serving() as served:
        socket = await served.socket("/ws/btcusdt@depth@100ms")
        await frames(socket, 0.35)
        _, snapshot = await served.get("depth", symbol="BTCUSDT", limit=5000)
        book: dict[str, dict[str, str]] = {side: dict(snapshot[name]) for side, name in (("b", "bids"), ("a", "asks"))}
        events = [event for _, event in await frames(socket, 1.0)]
        served.venue.pause()
        served.venue.hub.publish_depth()
        events += [event for _, event in await frames(socket, 0.2)]
        assert len(events) >= 8
        assert all(later["U"] == earlier["u"] + 1 for earlier, later in pairwise(events))
        fresh = [event for event in events if event["u"] > snapshot["lastUpdateId"]]
        assert fresh[0]["U"] <= snapshot["lastUpdateId"] + 1
        for event in fresh:
            for side in ("b", "a"):
                book[side].update(event[side])
        _, now = await served.get("depth", symbol="BTCUSDT", limit=5000)
        for side, name in (("b", "bids"), ("a", "asks")):
            assert {p: q for p, q in book[side].items() if Decimal(q)} == dict(now[name])
        assert events[-1]["u"] == now["lastUpdateId"]


async def test_depth_comes_ten_times_a_second(served: Served) -> None:
    socket = await served.socket("/ws/btcusdt@depth@100ms")
    assert 10 <= len(await frames(socket, 2.0)) <= 22


async def test_best_prices_are_sent_when_they_change(served: Served) -> None:
    socket = await served.socket("/ws/solusdt@bookTicker")
    received = [event for _, event in await frames(socket, 0.7)]
    assert received
    assert all(Decimal(event["b"]) < Decimal(event["a"]) for event in received)
    texts = [(e["b"], e["B"], e["a"], e["A"]) for e in received]
    assert all(a != b for a, b in pairwise(texts))


async def test_streams_are_subscribed_listed_and_unsubscribed_by_message(served: Served) -> None:
    socket = await served.socket("/ws/0")
    await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@trade", "btcusdt@kline_1m"], "id": 1})
    assert await socket.receive_json(timeout=2) == {"result": None, "id": 1}
    await socket.send_json({"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": 2})
    await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 3})
    answers = [event for _, event in await frames(socket, 0.3) if "e" not in event]
    assert answers == [{"result": None, "id": 2}, {"result": ["btcusdt@kline_1m"], "id": 3}]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("not json", 3),
        ("[]", 3),
        ('{"method":"SUBSCRIBE","params":["btcusdt@nothing"],"id":1}', 2),
        ('{"method":"SUBSCRIBE","params":["nousdt@trade"],"id":1}', 2),
        ('{"method":"SUBSCRIBE","params":[7],"id":1}', 2),
        ('{"method":"EXPLODE","id":1}', 2),
    ],
)
async def test_bad_messages_are_answered_and_the_connection_lives(served: Served, text: str, code: int) -> None:
    socket = await served.socket("/ws")
    await socket.send_str(text)
    assert (await socket.receive_json(timeout=2))["error"]["code"] == code
    await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 9})
    assert (await socket.receive_json(timeout=2))["result"] == []


# -- user data ----------------------------------------------------------------------------------------------------


async def test_an_order_reports_its_life_on_the_user_stream(served: Served) -> None:
    socket = await served.user_stream()
    _, order = await served.signed(
        "POST", "order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01", newClientOrderId="life"
    )
    events = [await socket.receive_json(timeout=2) for _ in range(2 + len(order["fills"]))]
    assert {event["subscriptionId"] for event in events} == {0}
    new, trade, position = events[0]["event"], events[1]["event"], events[-1]["event"]
    assert (new["e"], new["x"], new["X"], new["c"], new["i"]) == (
        "executionReport", "NEW", "NEW", "life", order["orderId"],
    )  # fmt: skip
    fill = order["fills"][0]
    assert (trade["x"], trade["t"], trade["L"], trade["l"], trade["n"], trade["N"], trade["m"]) == (
        "TRADE", fill["tradeId"], fill["price"], fill["qty"], fill["commission"], "BTC", False,
    )  # fmt: skip
    assert trade["T"] == order["transactTime"]
    assert position["e"] == "outboundAccountPosition"
    _, account = await served.signed("GET", "account")
    balances = {row["asset"]: row for row in account["balances"]}
    for row in position["B"]:
        assert (row["f"], row["l"]) == (balances[row["a"]]["free"], balances[row["a"]]["locked"])


async def test_a_cancellation_is_reported_with_both_client_ids(served: Served) -> None:
    socket = await served.user_stream()
    _, ticker = await served.get("ticker/bookTicker", symbol="ETHUSDT")
    price = str((Decimal(ticker["bidPrice"]) * Decimal("0.9")).quantize(Decimal("0.01")))
    await served.signed(
        "POST", "order", symbol="ETHUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.1", price=price,
        newClientOrderId="first",
    )  # fmt: skip
    await served.signed("DELETE", "order", symbol="ETHUSDT", origClientOrderId="first", newClientOrderId="second")
    events = [event["event"] for _, event in await frames(socket, 0.4)]
    assert [(e["e"], e.get("x")) for e in events] == [
        ("executionReport", "NEW"), ("outboundAccountPosition", None),
        ("executionReport", "CANCELED"), ("outboundAccountPosition", None),
    ]  # fmt: skip
    assert (events[2]["c"], events[2]["C"], events[2]["X"]) == ("second", "first", "CANCELED")
    assert all(Decimal(row["l"]) == 0 for row in events[3]["B"])


async def test_accounts_do_not_hear_of_each_other(served: Served) -> None:
    mine, other = await served.user_stream(0), await served.user_stream(1)
    await served.signed("POST", "order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01")
    assert len(await frames(mine, 0.3)) >= 3
    assert await frames(other, 0.3) == []


async def test_logon_then_subscribe_works_and_bad_signatures_do_not(served: Served) -> None:
    socket = await served.socket("/ws-api/v3")

    async def ask(method: str, **parameters: Any) -> Event:
        await socket.send_json({"id": method, "method": method, "params": parameters})
        return dict(await socket.receive_json(timeout=2))

    assert (await ask("ping"))["result"] == {}
    assert (await ask("userDataStream.subscribe"))["status"] == 400
    keys = served.venue.exchange.accounts[0]
    now = time.time_ns() // 1_000_000
    refused = await ask("userDataStream.subscribe.signature", apiKey=keys.api_key, timestamp=now, signature="00")
    assert (refused["status"], refused["error"]["code"]) == (400, -1022)
    unknown = await ask("userDataStream.subscribe.signature", apiKey="x", timestamp=now, signature="00")
    assert (unknown["status"], unknown["error"]["code"]) == (401, -2015)
    signed = signature(keys.api_secret, f"apiKey={keys.api_key}&timestamp={now}")
    assert (await ask("session.logon", apiKey=keys.api_key, timestamp=now, signature=signed))["status"] == 200
    assert (await ask("userDataStream.subscribe"))["result"] == {"subscriptionId": 0}
    assert (await ask("userDataStream.unsubscribe", subscriptionId=0))["result"] == {}
    assert (await ask("order.place"))["status"] == 400


# -- clients that misbehave ---------------------------------------------------------------------------------------


async def test_disconnect_drops_every_socket_at_once(served: Served) -> None:
    opened = [await served.socket("/ws/btcusdt@trade"), await served.user_stream()]
    async with served.http.post(f"{served.admin}/disconnect") as reply:
        assert await reply.json() == {"disconnected": 2}
    for socket in opened:
        while (message := await socket.receive(timeout=2)).type is WSMsgType.TEXT:
            pass
        assert message.type in (WSMsgType.CLOSED, WSMsgType.CLOSE, WSMsgType.ERROR)
    await asyncio.sleep(0.05)
    assert served.venue.hub.clients == set()


async def test_a_client_that_never_reads_is_cut_off_and_delays_nobody(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "MOST_QUEUED", 50)
    served.venue.clock.set_speed(600)
    host, port = served.ws.removeprefix("ws://").split(":")
    deaf = sockets.create_connection((host, int(port)))
    deaf.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 1024)
    names = "/".join(
        f"{i.venue_symbol.lower()}@{kind}"
        for i in served.venue.exchange.instruments
        for kind in ("trade", "depth@100ms")
    )
    deaf.sendall(
        f"GET /ws/{names} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    good = await served.socket("/ws/btcusdt@depth@100ms")
    try:
        worst, last = 0.0, time.time()
        for _ in range(60):
            for at, _ in await frames(good, 0.25):
                worst, last = max(worst, at - last), at
            if len(served.venue.hub.clients) == 1 and last - time.time() < 1:
                break
        assert len(served.venue.hub.clients) == 1, "the deaf client is gone, the good one is not"
        assert worst < 0.6
    finally:
        deaf.close()


async def test_pings_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("market.sockets.PING_SECONDS", 0.2)
    async with serving() as served, served.http.ws_connect(f"{served.ws}/ws", autoping=False) as socket:
        message = await socket.receive(timeout=2)
        assert message.type is WSMsgType.PING


async def test_nothing_is_subscribed_after_clients_have_left(served: Served) -> None:
    for path in ("/ws/btcusdt@trade/btcusdt@depth@100ms/btcusdt@kline_1m", "/stream?streams=ethusdt@bookTicker"):
        await (await served.socket(path)).close()
    await (await served.user_stream()).close()
    await asyncio.sleep(0.1)
    hub = served.venue.hub
    assert (hub.clients, hub._listeners, hub._depths) == (set(), {}, {})
    assert not any(hub._users.values())
