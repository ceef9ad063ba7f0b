"""Whatever a client sends, it is answered in Binance's form and never with a 5xx; nobody holds the server for ever."""

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import WSMsgType, web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served_exchange import Served, serving

from market import gate, listeners
from market.limits import MESSAGES_PER_SECOND
from market.orders import Account
from market.signing import signature

REQUESTS = int(os.environ.get("BITACORA_FUZZ", "40"))
"""Generated requests per endpoint; `BITACORA_FUZZ=500` for the full count."""
TOGETHER = 10
"""Requests of one example, pipelined."""
FORM = "application/x-www-form-urlencoded"


class Wire:
    """A keep-alive connection that sends exactly the given bytes."""

    def __init__(self, served: Served) -> None:
        self._port = int(served.rest.rpartition(":")[2])
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, *requests: bytes) -> list[tuple[int, bytes]]:
        """Send them together and read one answer each; a connection that the server closed is opened anew."""
        if self._reader is None or self._reader.at_eof():
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        assert self._writer is not None
        self._writer.write(b"".join(requests))
        return [await asyncio.wait_for(self._answer(self._reader), 20) for _ in requests]

    @staticmethod
    async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        return int(head[9:12]), await reader.readexactly(length)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()


def http(verb: str, target: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b"") -> bytes:
    lines = [f"{verb} {target} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers)]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


async def alive(served: Served) -> None:
    assert await served.get("ping") == (200, {})


# -- generated requests -------------------------------------------------------------------------------------------

NAMES = (
    "symbol", "symbols", "side", "type", "timeInForce", "quantity", "quoteOrderQty", "price", "newClientOrderId",
    "newOrderRespType", "stopPrice", "trailingDelta", "icebergQty", "selfTradePreventionMode", "orderId",
    "origClientOrderId", "cancelReplaceMode", "cancelOrderId", "cancelOrigClientOrderId", "newQty", "limit", "interval",
    "startTime", "endTime", "fromId", "recvWindow", "timestamp", "omitZeroBalances", "windowSize", "timeZone",
    "leverage", "marginType", "reduceOnly", "closePosition", "positionSide", "workingType", "goodTillDate", "period",
    "pair", "batchOrders", "instrument_name", "currency", "kind", "index_name", "resolution", "start_timestamp",
)  # fmt: skip
GOOD = (
    "BTCUSDT", "ETHUSDT", '["BTCUSDT","ETHUSDT"]', "BUY", "SELL", "LIMIT", "MARKET", "LIMIT_MAKER", "STOP_LOSS", "STOP",
    "TAKE_PROFIT", "STOP_LOSS_LIMIT", "GTC", "IOC", "FOK", "GTX", "GTD", "0.01", "100", "20000", "60000.5", "1m", "1d",
    "FULL", "ACK", "NONE", "STOP_ON_FAILURE", "ALLOW_FAILURE", "true", "1", "0", "1000", "BTC", "option", "btc_usd",
)  # fmt: skip
BAD = (
    "", " ", "-1", "1e9", "1e-9", "NaN", "inf", "0x10", "9" * 30, "0." + "0" * 30 + "1", "９", "٣", "²", "null", "[]",
    "{}", "[{}]", "'", "\x00", "../../etc/passwd", "btcusdt", "\ud7ff", "💥", "a" * 500, "9223372036854775807",
    "18446744073709551616", "-9223372036854775809", "2147483648", "[[[[", '["BTCUSDT"', '[1]', "\r\nX-Evil: 1",
)  # fmt: skip
values = st.one_of(st.sampled_from(GOOD), st.sampled_from(BAD), st.text(max_size=8))
anything = st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(min_size=1, max_size=4)), values, max_size=8)
nearly_right = st.fixed_dictionaries(
    {"symbol": st.sampled_from(("BTCUSDT", "ETHUSDT"))}, optional={n: st.one_of(values, values) for n in NAMES[2:16]}
)
requests = st.tuples(st.one_of(anything, nearly_right), st.sampled_from(("signed", "signed", "body", "forged", "none")))


def rendered(verb: str, path: str, account: Account, parameters: dict[str, str], how: str) -> bytes:
    """One generated request, signed in the query or in the body, with a wrong signature, or without any."""
    text = urlencode(parameters)
    if how == "none":
        return http(verb, f"{path}?{text}")
    text += f"{'&' if text else ''}timestamp={time.time_ns() // 1_000_000}" if "timestamp" not in parameters else ""
    secret = account.api_secret if how != "forged" else "not the secret"
    text += f"&signature={signature(secret, text)}"
    keys = [("X-MBX-APIKEY", account.api_key)]
    if how == "body" and verb != "GET":
        return http(verb, path, [*keys, ("Content-Type", FORM)], text.encode())
    return http(verb, f"{path}?{text}", keys)


@asynccontextmanager
async def open_to_all(
    monkeypatch: pytest.MonkeyPatch, derivatives: bool
) -> AsyncIterator[tuple[Served, list[tuple[str, str]]]]:
    """An exchange without limits, and all routes of its public side but the WebSockets."""
    found, build = list[tuple[str, str]](), gate.runner

    def noted(routes: Sequence[web.RouteDef], venue: Any = None) -> web.AppRunner:
        routes = list(routes)
        if venue is not None:
            found.extend((r.method, r.path) for r in routes if not re.search(r"/(ws|stream|ws-api)\b", r.path))
        return build(routes, venue)

    monkeypatch.setattr(gate, "runner", noted)
    async with serving(speed=1.0, derivatives=derivatives) as served:
        served.venue.limiter.enforced = False
        yield served, sorted(set(found))


OPTIONS = (
    "get_instruments", "get_book_summary_by_currency", "ticker", "get_order_book", "get_index_price", "get_time",
    "get_volatility_index_data", "get_historical_volatility", "no_such_method",
)  # fmt: skip


@pytest.mark.parametrize("market", ["spot", "derivatives"])
def test_no_endpoint_answers_generated_requests_with_a_5xx(market: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with asyncio.Runner() as runner:
        opened = open_to_all(monkeypatch, market == "derivatives")
        served, endpoints = runner.run(opened.__aenter__())
        account, wire = served.venue.exchange.accounts[0], Wire(served)
        totals = served.venue.exchange.totals()
        chosen = [(verb, path) for verb, path in endpoints if path.startswith("/api/v3/") == (market == "spot")]
        assert len(chosen) > 15
        for verb, path in chosen:
            for name in OPTIONS if "{method}" in path else ("",):
                _answers_all(runner, wire, verb, path.replace("{scope}", "public").replace("{method}", name), account)
        assert served.venue.exchange.totals() == totals
        assert served.venue.exchange.least_balance() >= 0
        runner.run(alive(served))
        wire.close()
        runner.run(opened.__aexit__(None, None, None))


def _answers_all(runner: asyncio.Runner, wire: Wire, verb: str, path: str, account: Account) -> None:
    batches = st.lists(requests, min_size=TOGETHER, max_size=TOGETHER)

    @settings(
        max_examples=max(1, REQUESTS // TOGETHER), deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(batches)
    def answers(batch: list[tuple[dict[str, str], str]]) -> None:
        sent = [rendered(verb, path, account, parameters, how) for parameters, how in batch]
        for (status, body), request in zip(runner.run(wire.ask(*sent)), sent, strict=True):
            assert status < 500, (status, body[:300], request[:600])
            answer = json.loads(body)
            if status >= 400 and not path.startswith("/api/v2"):
                assert {"code", "msg"} <= set(answer), (answer, request[:300])

    answers()


# -- broken and oversized requests --------------------------------------------------------------------------------

ORDER = "/api/v3/order"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (http("POST", ORDER, [("Content-Type", FORM)], b"a=" + b"x" * gate.MOST_BODY), 413),
        (http("POST", ORDER, [("Content-Type", FORM)], b"symbol=\xff\xfe"), 400),
        (http("POST", ORDER, [("Content-Type", "text/plain; charset=klingon")], b"a=b"), 400),
        (http("POST", ORDER, [("Content-Type", "application/json")], b'{"symbol":'), 401),
        (http("POST", ORDER, [("Content-Type", "multipart/form-data")], b"--x\r\n\r\n--x--"), 401),
        (http("POST", ORDER, [("Content-Type", FORM), ("Content-Encoding", "gzip")], b"\x1f\x8b\x08junk\xff"), 400),
        (http("GET", "/api/v3/ping", [(f"X-{n}", "1") for n in range(200)]), 400),
        (http("GET", "/api/v3/ping", [("X", "y" * 20_000)]), 400),
        (http("GET", "/api/v3/klines?symbol=" + "B" * 20_000), 400),
        (http("GET", "/api/v3/%00%ff/%ed%a0%80?symbol=%ed%a0%80&=&&%%%"), 404),
        (http("GET", "/api/v3/klines?symbol=%ed%a0%80&interval=%f0"), 400),
        (http("PATCH", "/api/v3/ping"), 405),
        (http("GET", "/ws"), 400),
        (b"GET /api/v3/ping HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na", 400),
        (b"POST /api/v3/order HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n", 400),
        (b"GET /api/v3/ping HTTP/9.9\r\nHost: x\r\n\r\n", 400),
    ],
)  # fmt: skip
async def test_a_broken_request_is_refused_and_the_next_one_served(
    served: Served, caplog: pytest.LogCaptureFixture, sent: bytes, status: int
) -> None:
    wire = Wire(served)
    assert [found for found, _ in await wire.ask(sent)] == [status]
    await alive(served)
    wire.close()
    assert caplog.records == [], "a stranger's bytes are no news"


async def test_half_sent_and_slow_requests_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "IDLE_SECONDS", 0.4)
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.4)
    async with serving(agents=False) as served:
        port = int(served.rest.rpartition(":")[2])
        silent, half, slow, body = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        half[1].write(b"GET /api/v3/pi")
        body[1].write(http("POST", ORDER, [("Content-Type", FORM)], b"x" * 100)[:-50])

        async def drip() -> None:
            for byte in http("GET", "/api/v3/ping", [("X", "y" * 500)]):
                slow[1].write(bytes([byte]))
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        answers = await asyncio.wait_for(asyncio.gather(*(r.read() for r, _ in (silent, half, slow, body))), 8)
        dripping.cancel()
        assert answers[:3] == [b"", b"", b""]
        assert answers[3].startswith(b"HTTP/1.1 408 ")
        await alive(served)


async def test_an_error_that_nobody_expected_is_an_unknown_execution(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(*arguments: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(served.venue.exchange, "submit", breaks)
    status, answer = await served.signed("POST", "order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01")
    assert (status, answer["code"]) == (500, -1000)
    assert "planted" in caplog.text, "and it does not go unnoticed"


# -- WebSockets ---------------------------------------------------------------------------------------------------

NONSENSE = (
    "", "{", "[]", "null", "7", '"x"', "[" * 10_000, '{"a":' * 2_000, '{"method":"SUBSCRIBE","params":"x"}',
    '{"method":"SUBSCRIBE","params":[{}],"id":{"a":[]}}', '{"method":"SUBSCRIBE","params":["\\ud800@trade"]}',
    '{"id":1e999}', '{"method":{},"params":{}}', '{"method":"ping","params":[1]}', '{"method":"session.logon"}',
    '{"method":"userDataStream.subscribe.signature","params":{"apiKey":{},"timestamp":[],"signature":1}}',
    '{"method":"userDataStream.unsubscribe","params":{"subscriptionId":[]}}', '{"method":"bitacora.advance"}',
)  # fmt: skip


@pytest.mark.parametrize("path", ["/ws", "/stream", "/ws-api/v3"])
async def test_nonsense_is_answered_and_the_socket_lives(served: Served, path: str) -> None:
    served.venue.limiter.enforced = False
    socket = await served.socket(path)
    for text in NONSENSE:
        await socket.send_str(text)
        answer = await socket.receive_json(timeout=5)
        assert "error" in answer or answer.get("result") is not None or answer.get("status") == 200, (text, answer)
    await socket.send_bytes(b"\x00\xff")
    await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 5})
    assert (await socket.receive_json(timeout=5))["id"] == 5
    await socket.send_str("x" * ((1 << 20) + 1))
    message = await socket.receive(timeout=5)
    assert (message.type, socket.close_code) == (WSMsgType.CLOSE, 1009)
    await alive(served)


async def test_a_slow_consumer_is_told_why_it_is_cut(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "MOST_QUEUED", 20)
    socket = await served.socket("/ws")
    (client,) = served.venue.hub.clients
    for _ in range(21):
        client.send("{}")
    while (message := await socket.receive(timeout=5)).type is WSMsgType.TEXT:
        pass
    assert (message.type, socket.close_code) == (WSMsgType.CLOSE, 1008)
    assert "slow consumer" in str(message.extra)
    await alive(served)


async def test_a_chatty_socket_of_derivatives_is_closed_too() -> None:
    async with serving(agents=False, derivatives=True) as served:
        socket = await served.socket("/public/ws")
        for text in NONSENSE[:9]:
            await socket.send_str(text)
            assert "error" in await socket.receive_json(timeout=5)
        for number in range(2 * MESSAGES_PER_SECOND["futures"] + 2):
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
        while (message := await socket.receive(timeout=5)).type is WSMsgType.TEXT:
            pass
        assert (message.type, socket.close_code) == (WSMsgType.CLOSE, 1008)
