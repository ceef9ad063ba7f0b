"""Rate limits: weights by path and parameter, fixed windows, 429 and 418, order counts, headers."""

import asyncio
import time
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import WSMsgType
from served_exchange import Served

from market.errors import Limited
from market.limits import BANS, CONNECTIONS, MESSAGES_PER_SECOND, PATIENCE, SPOT, USDM, Limiter, Talk, weigh
from market.signing import signature

MINUTE_START = 1_700_000_040.0


class Clock:
    """Wall seconds that a test moves."""

    def __init__(self, now: float = MINUTE_START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def refusal(limiter: Limiter, weight: int = 1, address: str = "a") -> Limited:
    with pytest.raises(Limited) as caught:
        limiter.charge(address, SPOT, weight)
    return caught.value


@pytest.mark.parametrize(
    ("verb", "path", "parameters", "weight"),
    [
        ("GET", "/api/v3/ping", {}, 1),
        ("GET", "/api/v3/exchangeInfo", {}, 20),
        ("GET", "/api/v3/depth", {}, 5),
        ("GET", "/api/v3/depth", {"limit": "100"}, 5),
        ("GET", "/api/v3/depth", {"limit": "101"}, 25),
        ("GET", "/api/v3/depth", {"limit": "1000"}, 50),
        ("GET", "/api/v3/depth", {"limit": "5000"}, 250),
        ("GET", "/api/v3/depth", {"limit": "99999999999999999999"}, 5),
        ("GET", "/api/v3/klines", {"limit": "1000"}, 2),
        ("GET", "/api/v3/ticker/24hr", {"symbol": "BTCUSDT"}, 2),
        ("GET", "/api/v3/ticker/24hr", {"symbols": '["A","B"]'}, 2),
        ("GET", "/api/v3/ticker/24hr", {"symbols": "[" + '"A",' * 30 + "]"}, 40),
        ("GET", "/api/v3/ticker/24hr", {}, 80),
        ("GET", "/api/v3/ticker/bookTicker", {}, 4),
        ("GET", "/api/v3/ticker", {"symbols": '["A","B","C"]'}, 12),
        ("GET", "/api/v3/openOrders", {"symbol": "BTCUSDT"}, 6),
        ("GET", "/api/v3/openOrders", {}, 80),
        ("GET", "/api/v3/myTrades", {"orderId": "7"}, 5),
        ("GET", "/api/v3/account", {}, 20),
        ("POST", "/api/v3/order", {}, 1),
        ("GET", "/fapi/v1/klines", {"limit": "1500"}, 10),
        ("GET", "/fapi/v1/klines", {"limit": "99"}, 1),
        ("GET", "/fapi/v2/account", {}, 5),
        ("POST", "/fapi/v1/order", {}, 0),
    ],
)
def test_a_request_weighs_what_binance_says(verb: str, path: str, parameters: dict[str, str], weight: int) -> None:
    assert Limiter().weight(verb, path, parameters) == weight


def test_other_routers_declare_their_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("market.limits.WEIGHTS", {})
    monkeypatch.setattr("market.limits.ORDERS", {})
    weigh("POST", "/api/v3/basket", 7, orders=3)
    limiter = Limiter(now=Clock())
    assert limiter.weight("POST", "/api/v3/basket", {}) == 7
    assert limiter.count_orders("k", SPOT, "POST", "/api/v3/basket") == {"10S": 3, "1D": 3}


def test_the_budget_of_a_minute_is_all_there_is_and_comes_back_with_the_next() -> None:
    clock = Clock(MINUTE_START + 12.5)
    limiter = Limiter(now=clock)
    assert limiter.charge("a", SPOT, 5_999) == 5_999
    assert limiter.charge("a", SPOT, 1) == 6_000
    refused = refusal(limiter)
    assert (refused.status, refused.code, refused.retry_after) == (429, -1003, 48)
    assert limiter.charge("b", SPOT, 1) == 1, "another address has its own"
    assert limiter.charge("a", USDM, 1) == 1, "and so have other markets"
    clock.now = MINUTE_START + 60
    assert limiter.charge("a", SPOT, 1) == 1


def test_who_goes_on_is_banned_and_each_ban_is_longer() -> None:
    clock = Clock()
    limiter = Limiter(now=clock)
    lengths = []
    for _ in range(len(BANS) + 1):
        limiter.charge("a", SPOT, 6_000)
        assert [refusal(limiter).status for _ in range(PATIENCE)] == [429] * PATIENCE
        banned = refusal(limiter)
        assert (banned.status, banned.code) == (418, -1003)
        lengths.append(banned.retry_after)
        clock.now += (banned.retry_after or 0) - 1
        assert refusal(limiter).status == 418, "a ban holds to its last second"
        clock.now += 61
        clock.now -= clock.now % 60
    assert lengths == [*BANS, BANS[-1]]
    assert lengths[0] == 120
    assert lengths[-1] == 3 * 86_400
    clock.now += 2 * BANS[-1]
    limiter.charge("a", SPOT, 6_001 - 1)
    for _ in range(PATIENCE):
        refusal(limiter)
    assert refusal(limiter).retry_after == BANS[0], "after three good days it starts anew"


def test_switched_off_nothing_is_refused_but_everything_counted() -> None:
    limiter = Limiter(enforced=False, now=Clock())
    assert limiter.charge("a", SPOT, 10_000) == 10_000
    for _ in range(2 * CONNECTIONS):
        limiter.connect("a")
    assert limiter.status()["most_weight_1m"] == {SPOT.prefix: 10_000, USDM.prefix: 0}
    assert limiter.refused == {"429": 0, "418": 0}


def test_connections_and_messages_are_limited() -> None:
    clock = Clock(MINUTE_START - MINUTE_START % 300)
    limiter, talk = Limiter(now=clock), Talk(5, clock)
    for _ in range(CONNECTIONS):
        limiter.connect("a")
    with pytest.raises(Limited) as caught:
        limiter.connect("a")
    assert (caught.value.status, caught.value.retry_after) == (429, 300)
    assert [talk.allows() for _ in range(6)] == [True] * 5 + [False]
    clock.now += 300
    limiter.connect("a")
    assert talk.allows()


# -- over the wire ------------------------------------------------------------------------------------------------


async def test_headers_show_the_used_weight_and_the_order_counts(served: Served) -> None:
    served.venue.limiter.now = Clock()
    async with served.http.get(f"{served.rest}/api/v3/depth?symbol=BTCUSDT&limit=500") as reply:
        assert reply.headers["X-MBX-USED-WEIGHT-1M"] == reply.headers["X-MBX-USED-WEIGHT"] == "25"
    async with served.http.get(f"{served.rest}/api/v3/klines") as reply:
        assert (reply.status, reply.headers["X-MBX-USED-WEIGHT-1M"]) == (400, "27"), "a bad request costs as well"
    counts = []
    for quantity in ("0.01", "0.01", "1000"):
        parameters = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": quantity}
        async with await ask(served, "POST", "/api/v3/order", parameters) as reply:
            counts.append((reply.headers.get("X-MBX-ORDER-COUNT-10S"), reply.headers.get("X-MBX-ORDER-COUNT-1D")))
    assert counts == [("1", "1"), ("2", "2"), (None, None)], "a refused order does not count"
    _, info = await served.get("exchangeInfo")
    limits = {(row["rateLimitType"], row["interval"], row["intervalNum"]): row["limit"] for row in info["rateLimits"]}
    assert limits["REQUEST_WEIGHT", "MINUTE", 1] == SPOT.weight_per_minute
    assert (limits["ORDERS", "SECOND", 10], limits["ORDERS", "DAY", 1]) == tuple(most for _, _, most in SPOT.orders)


async def ask(served: Served, verb: str, path: str, parameters: dict[str, Any]) -> Any:
    """The open reply to a signed request of the first account."""
    keys = served.venue.exchange.accounts[0]
    query = urlencode({"timestamp": time.time_ns() // 1_000_000} | parameters)
    url = f"{served.rest}{path}?{query}&signature={signature(keys.api_secret, query)}"
    return served.http.request(verb, url, headers={"X-MBX-APIKEY": keys.api_key})


async def test_more_orders_than_allowed_are_refused_without_retry_after(served: Served) -> None:
    served.venue.limiter.now = Clock()
    _, ticker = await served.get("ticker/bookTicker", symbol="XRPUSDT")
    price = str((Decimal(ticker["bidPrice"]) * Decimal("0.5")).quantize(Decimal("0.0001")))
    served.venue.limiter.count_orders(served.venue.exchange.accounts[0].api_key, SPOT, "POST", "/api/v3/order")
    for _ in range(98):
        served.venue.limiter.count_orders(served.venue.exchange.accounts[0].api_key, SPOT, "POST", "/api/v3/order")
    order = {
        "symbol": "XRPUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "100", "price": price,
    }  # fmt: skip
    assert (await served.signed("POST", "order", **order))[0] == 200
    async with await ask(served, "POST", "/api/v3/order", order) as reply:
        assert (reply.status, (await reply.json())["code"]) == (429, -1015)
        assert "Retry-After" not in reply.headers
    assert len(served.venue.exchange.accounts[0].open) == 1
    assert (await served.signed("POST", "order", account=1, **order))[0] == 200, "the count is the account's"
    assert (await served.signed("DELETE", "openOrders", symbol="XRPUSDT"))[0] == 200, "cancels are no orders"


async def test_an_address_that_does_not_stop_is_banned_and_others_are_not(served: Served) -> None:
    clock = served.venue.limiter.now = Clock()
    served.venue.limiter.charge("127.0.0.1", SPOT, 5_999)
    assert (await served.get("ping"))[0] == 200
    async with served.http.get(f"{served.rest}/api/v3/ping") as reply:
        assert (reply.status, reply.headers["Retry-After"]) == (429, "60")
        assert (await reply.json())["code"] == -1003
    statuses = [(await served.get("ping"))[0] for _ in range(PATIENCE + 2)]
    assert statuses == [429] * (PATIENCE - 1) + [418] * 3
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await served.socket("/ws/btcusdt@trade")
    assert refused.value.status == 418
    elsewhere = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with aiohttp.ClientSession(connector=elsewhere) as other, other.get(f"{served.rest}/api/v3/ping") as reply:
        assert reply.status == 200
    async with served.http.get(f"{served.admin}/stats") as reply:
        limits = (await reply.json())["limits"]
        assert (limits["refused"], list(limits["banned"])) == ({"429": PATIENCE, "418": 4}, ["127.0.0.1"])
    clock.now += 121
    assert (await served.get("ping"))[0] == 200


async def test_a_chatty_socket_is_closed_with_a_reason(served: Served) -> None:
    socket = await served.socket("/ws")
    for number in range(2 * MESSAGES_PER_SECOND["spot"] + 2):  # more than fit the two seconds this may straddle
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
    while (message := await socket.receive(timeout=5)).type is WSMsgType.TEXT:
        pass
    assert (message.type, socket.close_code) == (WSMsgType.CLOSE, 1008)
    assert message.extra == "Too many requests"


async def test_the_websocket_api_shares_the_budget(served: Served) -> None:
    served.venue.limiter.now = Clock()
    socket = await served.socket("/ws-api/v3")
    served.venue.limiter.charge("127.0.0.1", SPOT, 5_997)
    answers = []
    for number in range(2):
        await socket.send_json({"id": number, "method": "ping"})
        answers.append((await socket.receive_json(timeout=5)).get("status"))
        await asyncio.sleep(0)
    assert answers == [200, 429]
