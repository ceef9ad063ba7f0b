"""The REST API over real sockets: answers, signatures, and Binance's errors."""

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from served_exchange import Served, serving

from lake.intervals import MINUTE
from lake.wire.binance import kline_from_rest
from market.signing import signature

ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}
MARKET = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET"}


async def bid(served: Served, symbol: str = "BTCUSDT", fraction: str = "1") -> str:
    """A price at a fraction of the best bid."""
    _, ticker = await served.get("ticker/bookTicker", symbol=symbol)
    return str((Decimal(ticker["bidPrice"]) * Decimal(fraction)).quantize(Decimal("0.01")))


async def test_time_is_the_wall_clock_and_never_market_time(served: Served) -> None:
    _, answer = await served.get("time")
    assert abs(answer["serverTime"] - time.time() * 1000) < 2000
    assert answer["serverTime"] * 1000 > served.venue.exchange.time + 365 * 24 * 60 * MINUTE


async def test_exchange_info_shows_the_filters_that_are_enforced(served: Served) -> None:
    _, everything = await served.get("exchangeInfo")
    assert [s["symbol"] for s in everything["symbols"]] == [i.venue_symbol for i in served.venue.exchange.instruments]
    _, one = await served.get("exchangeInfo", symbols='["XRPUSDT"]')
    filters = {row["filterType"]: row for row in one["symbols"][0]["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.00010000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.10000000"
    assert filters["NOTIONAL"]["minNotional"] == "5.00000000"
    assert {"MARKET_LOT_SIZE", "PERCENT_PRICE_BY_SIDE", "MAX_NUM_ORDERS"} < set(filters)


async def test_klines_page_through_the_whole_history_without_gap_or_repeat(served: Served) -> None:
    start, rows = served.venue.exchange.candles.start // 1000, []
    while True:
        _, page = await served.get("klines", symbol="ETHUSDT", interval="1m", startTime=start, limit=1000)
        rows += [kline_from_rest(row) for row in page]
        if len(page) < 1000:
            break
        start = page[-1][0] + 60_000
    opens = [row.open_time for row in rows]
    assert opens == list(range(opens[0], opens[0] + len(opens) * MINUTE, MINUTE))
    assert len(opens) >= 2 * 1440
    assert all(Decimal(r.low) <= Decimal(r.open) <= Decimal(r.high) for r in rows)
    assert all(r.close_time == r.open_time + MINUTE for r in rows)


async def test_klines_include_the_open_bar_and_obey_their_bounds(served: Served) -> None:
    _, last = await served.get("klines", symbol="BTCUSDT", interval="5m", limit=2)
    assert last[-1][0] <= served.venue.exchange.time // 1000 < last[-1][0] + 300_000
    first = served.venue.exchange.candles.start // 1000
    _, some = await served.get("klines", symbol="BTCUSDT", interval="1m", startTime=first + 1, endTime=first + 180_000)
    assert [row[0] for row in some] == [first + 60_000, first + 120_000, first + 180_000]
    assert (await served.get("klines", symbol="BTCUSDT", interval="1m", endTime=first - 1))[1] == []
    future = last[-1][0] + 86_400_000
    assert (await served.get("klines", symbol="BTCUSDT", interval="1m", startTime=future))[1] == []
    assert len((await served.get("klines", symbol="BTCUSDT", interval="1m", limit=5000))[1]) == 1000


async def test_depth_trades_and_tickers_agree(served: Served) -> None:
    served.venue.pause()
    _, depth = await served.get("depth", symbol="BTCUSDT", limit=5)
    _, ticker = await served.get("ticker/bookTicker", symbol="BTCUSDT")
    assert depth["bids"][0] == [ticker["bidPrice"], ticker["bidQty"]]
    assert depth["asks"][0] == [ticker["askPrice"], ticker["askQty"]]
    assert len(depth["bids"]) == len(depth["asks"]) == 5
    _, trades = await served.get("trades", symbol="BTCUSDT", limit=3)
    _, price = await served.get("ticker/price", symbol="BTCUSDT")
    assert trades[-1]["price"] == price["price"]
    assert [t["id"] for t in trades] == list(range(trades[0]["id"], trades[0]["id"] + 3))
    assert len((await served.get("ticker/bookTicker"))[1]) == 6


async def test_a_market_order_answers_with_its_fills_and_shows_up_everywhere(served: Served) -> None:
    status, order = await served.signed(
        "POST", "order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.02", newClientOrderId="mine-1"
    )
    assert (status, order["status"], order["executedQty"]) == (200, "FILLED", "0.02000000")
    assert sum(Decimal(fill["qty"]) for fill in order["fills"]) == Decimal("0.02")
    spent = sum(Decimal(fill["qty"]) * Decimal(fill["price"]) for fill in order["fills"])
    assert Decimal(order["cummulativeQuoteQty"]) == spent
    _, found = await served.signed("GET", "order", symbol="BTCUSDT", origClientOrderId="mine-1")
    assert (found["orderId"], found["status"]) == (order["orderId"], "FILLED")
    _, trades = await served.signed("GET", "myTrades", symbol="BTCUSDT")
    assert [(t["id"], t["price"], t["qty"], t["commission"]) for t in trades] == [
        (f["tradeId"], f["price"], f["qty"], f["commission"]) for f in order["fills"]
    ]
    assert (await served.signed("GET", "myTrades", symbol="BTCUSDT", fromId=trades[-1]["id"] + 1))[1] == []
    assert (await served.signed("GET", "myTrades", symbol="BTCUSDT", orderId=order["orderId"]))[1] == trades
    _, everything = await served.signed("GET", "allOrders", symbol="BTCUSDT")
    assert [o["clientOrderId"] for o in everything] == ["mine-1"]
    _, account = await served.signed("GET", "account", omitZeroBalances="true")
    balances = {row["asset"]: Decimal(row["free"]) for row in account["balances"]}
    assert balances["BTC"] == Decimal("0.02") - sum(Decimal(f["commission"]) for f in order["fills"])
    assert balances["USDT"] == 100_000 - spent


async def test_fees_are_paid_in_the_coin_by_who_asks_for_it_and_holds_it(served: Served) -> None:
    _, before = await served.signed("POST", "order", symbol="BNBUSDT", side="BUY", type="MARKET", quantity="5")
    assert {fill["commissionAsset"] for fill in before["fills"]} == {"BNB"}
    bought = await served.signed("POST", "order", symbol="ETHUSDT", side="BUY", type="MARKET", quantity="1")
    assert {fill["commissionAsset"] for fill in bought[1]["fills"]} == {"ETH"}
    keys = served.venue.exchange.accounts[0]
    query = f"spotBNBBurn=true&timestamp={now()}"
    url = f"{served.rest}/sapi/v1/bnbBurn?{query}&signature={signature(keys.api_secret, query)}"
    async with served.http.post(url, headers={"X-MBX-APIKEY": keys.api_key}) as reply:
        assert await reply.json() == {"spotBNBBurn": True, "interestBNBBurn": False}
    _, account = await served.signed("GET", "account")
    held = {row["asset"]: Decimal(row["free"]) for row in account["balances"]}
    _, ticker = await served.get("ticker/price", symbol="BNBUSDT")
    _, bought = await served.signed("POST", "order", symbol="ETHUSDT", side="BUY", type="MARKET", quantity="1")
    assert {fill["commissionAsset"] for fill in bought["fills"]} == {"BNB"}
    paid = sum(Decimal(fill["commission"]) for fill in bought["fills"])
    worth = Decimal(bought["cummulativeQuoteQty"]) * Decimal("0.0005") * Decimal("0.75") / Decimal(ticker["price"])
    assert paid == pytest.approx(worth, rel=Decimal("0.01"))
    _, account = await served.signed("GET", "account")
    after = {row["asset"]: Decimal(row["free"]) for row in account["balances"]}
    assert (after["ETH"], after["BNB"]) == (held["ETH"] + 1, held["BNB"] - paid)
    _, commission = await served.signed("GET", "account/commission", symbol="ETHUSDT")
    assert commission["discount"] == {
        "enabledForAccount": True, "enabledForSymbol": True, "discountAsset": "BNB", "discount": "0.25000000",
    }  # fmt: skip


async def test_a_limit_order_rests_and_can_be_cancelled_by_client_id(served: Served) -> None:
    price = await bid(served, fraction="0.9")
    _, placed = await served.signed("POST", "order", **ORDER, price=price, newClientOrderId="rest-1")
    assert (placed["status"], placed["fills"]) == ("NEW", [])
    _, open_orders = await served.signed("GET", "openOrders", symbol="BTCUSDT")
    assert [o["orderId"] for o in open_orders] == [placed["orderId"]]
    _, account = await served.signed("GET", "account")
    locked = {row["asset"]: Decimal(row["locked"]) for row in account["balances"]}
    assert locked["USDT"] == Decimal(price) * Decimal("0.01")
    _, cancelled = await served.signed("DELETE", "order", symbol="BTCUSDT", origClientOrderId="rest-1")
    assert (cancelled["status"], cancelled["origClientOrderId"]) == ("CANCELED", "rest-1")
    assert cancelled["clientOrderId"] != "rest-1"
    assert (await served.signed("GET", "openOrders"))[1] == []


async def test_open_orders_can_be_cancelled_together(served: Served) -> None:
    price = await bid(served, fraction="0.9")
    for number in range(3):
        await served.signed("POST", "order", **ORDER, price=price, newClientOrderId=f"c{number}")
    _, cancelled = await served.signed("DELETE", "openOrders", symbol="BTCUSDT")
    assert [c["origClientOrderId"] for c in cancelled] == ["c0", "c1", "c2"]
    assert (await served.signed("DELETE", "openOrders", symbol="BTCUSDT"))[1]["code"] == -2011


@pytest.mark.parametrize("kind", ["ACK", "RESULT", "FULL"])
async def test_the_answer_has_the_asked_detail(served: Served, kind: str) -> None:
    _, order = await served.signed(
        "POST", "order", symbol="ETHUSDT", side="BUY", type="MARKET", quoteOrderQty="100", newOrderRespType=kind
    )
    assert ("status" in order, "fills" in order) == (kind != "ACK", kind == "FULL")
    assert {"symbol", "orderId", "orderListId", "clientOrderId", "transactTime"} <= set(order)


Parameters = dict[str, Any]


def without(name: str) -> Parameters:
    return {k: v for k, v in ORDER.items() if k != name} | ({} if name == "price" else {"price": "1000"})


@pytest.mark.parametrize(
    ("parameters", "code", "message"),
    [
        (ORDER | {"symbol": "NOPEUSDT", "price": "1"}, -1121, "Invalid symbol."),
        (ORDER | {"price": "1", "side": "HOLD"}, -1117, "Invalid side."),
        (ORDER | {"price": "1", "type": "PEGGED"}, -1116, "Invalid orderType."),
        (ORDER | {"price": "1", "type": "STOP_LOSS"}, -1106, "Parameter 'timeInForce' sent when not required."),
        (ORDER | {"price": "1", "timeInForce": "DAY"}, -1115, "Invalid timeInForce."),
        (without("quantity"), -1102, "Mandatory parameter 'quantity' was not sent, was empty/null, or malformed."),
        (without("price"), -1102, "Mandatory parameter 'price' was not sent, was empty/null, or malformed."),
        (without("symbol"), -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
        (
            ORDER | {"price": "1e3"}, -1100,
            "Illegal characters found in parameter 'price'; legal range is '^([0-9]{1,20})(\\.[0-9]{1,20})?$'.",
        ),
        (ORDER | {"price": "1", "quantity": "0.000000001"}, -1111, "Parameter 'quantity' has too much precision."),
        (ORDER | {"price": "1", "quantity": "0"}, -1013, "Invalid quantity."),
        (ORDER | {"price": "1.001"}, -1013, "Filter failure: PRICE_FILTER"),
        (ORDER | {"price": "1", "quantity": "0.000001"}, -1013, "Filter failure: LOT_SIZE"),
        (ORDER | {"price": "1"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        (
            ORDER | {"price": "1", "colour": "2"}, -1104,
            "Not all sent parameters were read; read '7' parameter(s) but was sent '8'.",
        ),
        (ORDER | {"price": "1", "stopPrice": "2"}, -1106, "Parameter 'stopPrice' sent when not required."),
        (
            ORDER | {"price": "1", "newClientOrderId": "a b"}, -1100,
            "Illegal characters found in parameter 'newClientOrderId'; legal range is '^[\\.A-Z\\:/a-z0-9_-]{1,36}$'.",
        ),
        (MARKET | {"side": "SELL", "quantity": "1"}, -2010, "Account has insufficient balance for requested action."),
        (MARKET | {"quantity": "1", "price": "3"}, -1106, "Parameter 'price' sent when not required."),
        (MARKET, -1102, "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!"),
        (MARKET | {"quantity": "0.00001"}, -1013, "Filter failure: NOTIONAL"),
        (MARKET | {"quantity": "1001"}, -1013, "Filter failure: MARKET_LOT_SIZE"),
    ],
)  # fmt: skip
async def test_a_bad_order_is_refused_with_binances_words(
    served: Served, parameters: Parameters, code: int, message: str
) -> None:
    status, answer = await served.signed("POST", "order", **parameters)
    assert (status, answer) == (400, {"code": code, "msg": message})
    assert served.venue.exchange.accounts[0].orders == [[]] * 6


@pytest.mark.parametrize(
    ("path", "parameters", "code"),
    [
        ("klines", {"symbol": "BTCUSDT"}, -1102),
        ("klines", {"symbol": "BTCUSDT", "interval": "7m"}, -1120),
        ("klines", {"symbol": "btcusdt", "interval": "1m"}, -1121),
        ("klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": "-1"}, -1100),
        ("klines", {"symbol": "BTCUSDT", "interval": "1m", "startTime": ""}, -1105),
        ("depth", {}, -1102),
    ],
)
async def test_bad_queries_are_refused(served: Served, path: str, parameters: Parameters, code: int) -> None:
    status, answer = await served.get(path, **parameters)
    assert (status, answer["code"]) == (400, code)


async def test_unknown_orders_have_codes_of_their_own(served: Served) -> None:
    assert (await served.signed("GET", "order", symbol="BTCUSDT", orderId=99))[1] == {
        "code": -2013, "msg": "Order does not exist.",
    }  # fmt: skip
    assert (await served.signed("DELETE", "order", symbol="BTCUSDT", origClientOrderId="x"))[1] == {
        "code": -2011, "msg": "Unknown order sent.",
    }  # fmt: skip
    assert (await served.signed("GET", "order", symbol="BTCUSDT"))[1]["code"] == -1102
    assert (await served.signed("GET", "allOrders", symbol="BTCUSDT", startTime=1, endTime=86_400_002))[1][
        "code"
    ] == -1127


def now(shift: int = 0) -> int:
    return time.time_ns() // 1_000_000 + shift


@pytest.mark.parametrize(
    ("key", "query", "status", "code"),
    [
        (None, lambda: f"timestamp={now()}", 401, -2014),
        ("x" * 64, lambda: f"timestamp={now()}", 401, -2015),
        ("own", lambda: f"timestamp={now()}", 400, -1102),
        ("own", lambda: f"timestamp={now()}&signature=00", 400, -1022),
        ("own", lambda: "recvWindow=5000&signature=00", 400, -1102),
        ("own", lambda: f"timestamp={now(-6000)}&signature=00", 400, -1021),
        ("own", lambda: f"timestamp={now(-600)}&recvWindow=500&signature=00", 400, -1021),
        ("own", lambda: f"timestamp={now(1500)}&signature=00", 400, -1021),
        ("own", lambda: f"timestamp={now()}&recvWindow=60001&signature=00", 400, -1131),
        ("own", lambda: "timestamp=soon&signature=00", 400, -1100),
    ],
)
async def test_keys_times_and_signatures_are_checked(
    served: Served, key: str | None, query: Callable[[], str], status: int, code: int
) -> None:
    own = served.venue.exchange.accounts[0].api_key
    headers = {} if key is None else {"X-MBX-APIKEY": own if key == "own" else key}
    async with served.http.get(f"{served.rest}/api/v3/account?{query()}", headers=headers) as reply:
        assert (reply.status, (await reply.json())["code"]) == (status, code)


async def test_a_signature_covers_query_and_body_together(served: Served) -> None:
    keys = served.venue.exchange.accounts[0]
    query = "symbol=BTCUSDT&side=BUY&type=MARKET"
    body = f"quantity=0.01&timestamp={now()}"
    signed = signature(keys.api_secret, query + body)
    headers = {"X-MBX-APIKEY": keys.api_key, "Content-Type": "application/x-www-form-urlencoded"}
    url = f"{served.rest}/api/v3/order?{query}"
    async with served.http.post(url, data=f"{body}&signature={signed}", headers=headers) as reply:
        assert (reply.status, (await reply.json())["status"]) == (200, "FILLED")
    async with served.http.post(url, data=f"{body}0&signature={signed}", headers=headers) as reply:
        assert (await reply.json())["code"] in (-1021, -1022)


async def test_one_account_cannot_see_or_cancel_anothers_orders(served: Served) -> None:
    _, order = await served.signed("POST", "order", **ORDER, price=await bid(served, fraction="0.9"))
    assert (await served.signed("GET", "order", account=1, symbol="BTCUSDT", orderId=order["orderId"]))[1][
        "code"
    ] == -2013
    assert (await served.signed("DELETE", "order", account=1, symbol="BTCUSDT", orderId=order["orderId"]))[1][
        "code"
    ] == -2011
    assert (await served.signed("GET", "openOrders", account=1))[1] == []


async def test_a_paused_venue_still_answers_queries(served: Served) -> None:
    price = await bid(served, fraction="0.9")
    _, order = await served.signed("POST", "order", **ORDER, price=price)
    async with served.http.post(f"{served.admin}/pause") as reply:
        paused = await reply.json()
    assert paused["paused"] is True
    await asyncio.sleep(0.25)
    async with served.http.get(f"{served.admin}/clock") as reply:
        assert (await reply.json())["market_time"] == paused["market_time"] == served.venue.exchange.time
    assert (await served.get("klines", symbol="BTCUSDT", interval="1m", limit=1))[0] == 200
    assert (await served.get("exchangeInfo", symbol="BTCUSDT"))[1]["symbols"][0]["status"] == "BREAK"
    assert (await served.signed("GET", "account"))[0] == 200
    assert (await served.signed("POST", "order", **ORDER, price=price))[1] == {
        "code": -1013,
        "msg": "Market is closed.",
    }
    assert (await served.signed("DELETE", "order", symbol="BTCUSDT", orderId=order["orderId"]))[1][
        "status"
    ] == "CANCELED"
    async with served.http.post(f"{served.admin}/resume"):
        pass
    assert (await served.signed("POST", "order", **ORDER, price=price))[1]["status"] == "NEW"


async def test_the_speed_can_be_changed_and_bad_speeds_are_refused(served: Served) -> None:
    async with served.http.post(f"{served.admin}/speed", json={"speed": 600}) as reply:
        before = await reply.json()
    await asyncio.sleep(0.3)
    async with served.http.get(f"{served.admin}/clock") as reply:
        after = await reply.json()
    ratio = (after["market_time"] - before["market_time"]) / (after["wall_time"] - before["wall_time"])
    assert ratio == pytest.approx(600, rel=0.05)
    for body in ({"speed": 0}, {"speed": "fast"}, {}, []):
        async with served.http.post(f"{served.admin}/speed", json=body) as reply:
            assert reply.status == 400


async def test_stats_show_totals_that_never_change(served: Served) -> None:
    async with served.http.get(f"{served.admin}/stats") as reply:
        first = await reply.json()
    await served.signed("POST", "order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.5")
    async with served.http.get(f"{served.admin}/stats") as reply:
        second = await reply.json()
    assert first["totals"] == second["totals"]
    assert (second["orders"], second["least_balance"] >= 0) == (1, True)
    assert Decimal(second["fees"]["BTC"]) > 0


async def test_unknown_paths_say_so(served: Served) -> None:
    status, answer = await served.get("nothing")
    assert (status, answer["msg"]) == (404, "GET /api/v3/nothing: not served here.")


async def test_without_agents_the_book_is_empty_and_users_trade_with_each_other() -> None:
    async with serving(agents=False) as served:
        _, depth = await served.get("depth", symbol="BTCUSDT")
        assert (depth["bids"], depth["asks"]) == ([], [])
        _, price = await served.get("ticker/price", symbol="BTCUSDT")
        _, resting = await served.signed("POST", "order", **ORDER, price=price["price"][:-6])
        assert resting["status"] == "NEW"
        assert (await served.get("ticker/bookTicker", symbol="BTCUSDT"))[1]["askPrice"] == "0.00000000"
