"""The REST client over real sockets: an order's bytes leave once, and no failure of the wire is taken for an answer."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from urllib.parse import parse_qs

import aiohttp
import pytest

from lake.errors import BadInput, CredentialsRefused, Misconfigured
from live.errors import VenueUnavailable
from live.orders import Order, Side
from live.replies import Outcome
from live.venue import Credentials, Venue, with_filters
from tests.live.fakes import BTC, TRADED, market_order

KEYS = Credentials("canary-key", "canary-secret")
Answer = Callable[[str], bytes | None]


def _http(status: int, body: str, *headers: str, length: int | None = None) -> bytes:
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body) if length is None else length}", *headers]
    return ("\r\n".join([*head, "Connection: close", "", ""]) + body).encode()


class Wire:
    """A server that answers each request with what `answer` returns: bytes, then closes; None resets at once."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.requests = answer, list[str]()
        self.now_ms = 1_700_000_000_000

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(x.split(":")[1]) for x in head.split("\r\n") if x.lower().startswith("content-length")), 0)
        request = head + (await reader.readexactly(length)).decode()
        self.requests.append(request)
        reply = self.answer(request)
        if reply is None:
            writer.transport.abort()
            return
        writer.write(reply)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def _wire(answer: Answer, timeout_s: float = 2) -> AsyncIterator[tuple[Wire, Venue]]:
    wire = Wire(answer)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        async with aiohttp.ClientSession() as session:
            yield wire, Venue(session, url, KEYS, now_ms=lambda: wire.now_ms, timeout_s=timeout_s)
    finally:
        server.close()
        await server.wait_closed()


def _order() -> Order:
    return Order("b00000000-5", market_order(Side.BUY, "0.01"), 1, 1_700_000_000_123)


async def test_an_order_is_signed_with_the_intents_timestamp_and_in_the_body_only() -> None:
    body = '{"orderId":1,"clientOrderId":"b00000000-5"}'
    async with _wire(lambda request: _http(200, body)) as (wire, venue):
        reply = await venue.place(_order())
    (request,) = wire.requests
    head, text = request.split("\r\n\r\n")
    signed, _, signature = text.rpartition("&signature=")
    assert signature == hmac.new(b"canary-secret", signed.encode(), hashlib.sha256).hexdigest()
    fields = {name: values[0] for name, values in parse_qs(signed).items()}
    assert fields == {
        "symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01", "newOrderRespType": "FULL",
        "newClientOrderId": "b00000000-5", "timestamp": "1700000000123", "recvWindow": "5000",
    }  # fmt: skip
    assert head.startswith("POST /api/v3/order HTTP/1.1")
    assert "X-MBX-APIKEY: canary-key" in head
    assert reply.outcome is Outcome.YES


@pytest.mark.parametrize(
    "reply",
    [
        None,
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        _http(200, '{"orderId":1', length=500),
        _http(200, '{"orderId":1'),
        _http(200, ""),
        _http(502, "<html>"),
        _http(307, "", "Location: /api/v3/order"),
        b"nonsense\r\n\r\n",
    ],
    ids=["reset", "closed", "torn head", "torn body", "torn json", "empty", "proxy", "redirect", "not http"],
)
async def test_a_broken_reply_proves_nothing_and_the_order_is_not_sent_again(reply: bytes | None) -> None:
    async with _wire(lambda request: reply) as (wire, venue):
        assert (await venue.place(_order())).outcome is Outcome.UNKNOWN
    assert len(wire.requests) == 1


async def test_silence_ends_in_unknown_after_the_timeout() -> None:
    async with _wire(lambda request: _http(200, "", length=9), timeout_s=0.2) as (wire, venue):
        assert (await venue.place(_order())).outcome is Outcome.UNKNOWN
    assert len(wire.requests) == 1


async def test_a_rate_limit_is_a_no_and_pauses_until_the_time_the_venue_names() -> None:
    answer = _http(429, '{"code":-1003,"msg":"Too many requests"}', "Retry-After: 7")
    async with _wire(lambda request: answer) as (wire, venue):
        assert (await venue.place(_order())).outcome is Outcome.NO
        assert venue.pause_reason
        wire.now_ms += 7_001
        assert venue.pause_reason is None


@pytest.mark.parametrize("skew", [-600_000, -2_000, 500, 10_000])
async def test_a_refused_timestamp_is_a_no_and_measures_the_clock(skew: int) -> None:
    def answer(request: str) -> bytes:
        if "GET /api/v3/time" in request:
            return _http(200, f'{{"serverTime":{1_700_000_000_000 + skew}}}')
        return _http(400, '{"code":-1021,"msg":"Timestamp for this request is outside of the recvWindow."}')

    async with _wire(answer) as (_, venue):
        assert (await venue.place(_order())).outcome is Outcome.NO
        assert venue.timestamp() == 1_700_000_000_000 + skew
        assert bool(venue.pause_reason) is (abs(skew) > 1000)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (_http(401, '{"code":-2015,"msg":"Invalid API-key"}'), CredentialsRefused),
        (_http(400, '{"code":-1022,"msg":"Signature"}'), CredentialsRefused),
        (_http(400, '{"code":-2014,"msg":"API-key format invalid."}'), CredentialsRefused),
        (_http(200, '{"balances":[{"asset":"BTC"}]}'), BadInput),
        (None, VenueUnavailable),
        (_http(503, "<html>"), VenueUnavailable),
    ],
)
async def test_reading_the_account_tells_a_wrong_key_from_a_dead_venue(
    reply: bytes | None, error: type[Exception]
) -> None:
    async with _wire(lambda request: reply) as (_, venue):
        with pytest.raises(error) as raised:
            await venue.balances()
    assert "canary" not in str(raised.value)
    assert "signature" not in str(raised.value).lower().replace("(http 400 -1022 signature)", "")


async def test_a_symbol_that_is_not_listed_is_refused_and_one_on_a_break_left_out() -> None:
    row = (
        '{"symbol":"%s","status":"%s","filters":[{"filterType":"PRICE_FILTER","tickSize":"0.10"},'
        '{"filterType":"LOT_SIZE","stepSize":"0.001","minQty":"0.002"},{"filterType":"NOTIONAL","minNotional":"10"}]}'
    )
    both = f'{{"symbols":[{row % ("BTCUSDT", "TRADING")},{row % ("ETHUSDT", "BREAK")}]}}'
    async with _wire(lambda request: _http(200, both)) as (_, venue):
        (found,) = (await venue.filters(TRADED)).values()
    assert (found.id, found.price_tick, found.quantity_step, found.min_quantity, found.min_notional) == (
        BTC, Decimal("0.1"), Decimal("0.001"), Decimal("0.002"), Decimal(10),
    )  # fmt: skip
    async with _wire(lambda request: _http(200, '{"symbols":[]}')) as (_, venue):
        with pytest.raises(Misconfigured, match=BTC):
            await venue.filters(TRADED)


@pytest.mark.parametrize("step", ["0", "-1", "abc", None])
def test_a_filter_that_makes_no_sense_is_refused(step: str | None) -> None:
    listed = {
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": "0.01"},
            {"filterType": "LOT_SIZE", "minQty": "0.1", **({"stepSize": step} if step else {})},
            {"filterType": "NOTIONAL", "minNotional": "5"},
        ]
    }
    with pytest.raises(BadInput):
        with_filters(TRADED[BTC], listed)
