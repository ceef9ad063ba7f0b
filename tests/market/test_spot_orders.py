"""Every type of spot order over REST: Binance's status words, error codes and reports, in a book without agents."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from served_exchange import Served, serving

from market.accounts import FREE, LOCKED
from market.book import UNIT

Answer = dict[str, Any]
BTC = 0
START = Decimal(40_000)
"""Prices of these tests; the last price is moved here by a first trade."""


@pytest.fixture
async def floor() -> AsyncIterator["Floor"]:
    """Two clients with both assets and nobody else; the last price is 40,000."""
    async with serving(agents=False, speed=1.0) as served:
        floor = Floor(served)
        for owner in (account.owner for account in served.venue.exchange.accounts):
            served.venue.exchange.engine.accounts.balances[owner, BTC, FREE] = 10 * UNIT
            served.venue.exchange.engine.accounts.balances[owner, -1, FREE] = 10_000_000 * UNIT
        _, ticker = await served.get("ticker/price", symbol="BTCUSDT")
        floor.scale = Decimal(ticker["price"]) / START
        floor.totals = served.venue.exchange.totals()
        await floor.trade("40000")
        yield floor
        assert served.venue.exchange.totals() == floor.totals
        assert served.venue.exchange.least_balance() >= 0


class Floor:
    """Orders at prices relative to the market's: `40000` is where it stands."""

    def __init__(self, served: Served) -> None:
        self.served, self.exchange = served, served.venue.exchange
        self.scale = Decimal(1)
        self.totals: list[int] = []

    def price(self, text: str) -> str:
        return f"{(Decimal(text) * self.scale).quantize(Decimal('0.01')):.8f}"

    async def order(self, side: str, kind: str, quantity: str, account: int = 0, **more: Any) -> tuple[int, Answer]:
        for name in ("price", "stopPrice"):
            if name in more:
                more[name] = self.price(more[name])
        if kind in ("LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"):
            more.setdefault("timeInForce", "GTC")
        return await self.served.signed(
            "POST", "order", account, symbol="BTCUSDT", side=side, type=kind, quantity=quantity, **more
        )

    async def trade(self, price: str) -> None:
        """Let the other clients trade at a price, so that it is the last one."""
        await self.order("SELL", "LIMIT", "0.001", 1, price=price)
        await self.order("BUY", "LIMIT", "0.001", 1, price=price, timeInForce="IOC")

    async def status(self, order: Answer) -> Answer:
        _, found = await self.served.signed("GET", "order", symbol="BTCUSDT", orderId=order["orderId"])
        return dict(found)

    def reports(self, order: Answer) -> list[Answer]:
        """Execution reports of an order that nobody fetched, oldest first."""
        return [e for e in self._seen if e["e"] == "executionReport" and e["i"] == order["orderId"]]

    _seen: list[Answer]

    def listen(self) -> None:
        """Keep every event of the first account from now on."""
        self._seen = []
        publish = self.served.venue.hub.publish

        def keep() -> None:
            self._seen += [event for owner, event in self.exchange.outbox.user if owner == 3]
            publish()

        self.served.venue.hub.publish = keep  # type: ignore[method-assign]

    def locked(self, asset: int, account: int = 0) -> int:
        return int(self.exchange.engine.accounts.balances[3 + account, asset, LOCKED])


# -- time in force ------------------------------------------------------------------------------------------------


async def test_immediate_or_cancel_takes_what_is_there_and_expires(floor: Floor) -> None:
    await floor.order("SELL", "LIMIT", "0.1", 1, price="40010")
    floor.listen()
    _, order = await floor.order("BUY", "LIMIT", "0.3", price="40010", timeInForce="IOC")
    assert (order["status"], order["executedQty"], order["timeInForce"]) == ("EXPIRED", "0.10000000", "IOC")
    assert [(r["x"], r["X"], r["z"]) for r in floor.reports(order)] == [
        ("NEW", "NEW", "0.00000000"),
        ("TRADE", "PARTIALLY_FILLED", "0.10000000"),
        ("EXPIRED", "EXPIRED", "0.10000000"),
    ]
    assert {r["f"] for r in floor.reports(order)} == {"IOC"}
    assert floor.locked(-1) == 0


async def test_fill_or_kill_gets_all_or_nothing(floor: Floor) -> None:
    await floor.order("SELL", "LIMIT", "0.1", 1, price="40010")
    _, killed = await floor.order("BUY", "LIMIT", "0.2", price="40010", timeInForce="FOK")
    assert (killed["status"], killed["executedQty"], killed["fills"]) == ("EXPIRED", "0.00000000", [])
    _, filled = await floor.order("BUY", "LIMIT", "0.1", price="40010", timeInForce="FOK")
    assert (filled["status"], filled["executedQty"]) == ("FILLED", "0.10000000")


async def test_a_limit_maker_order_rests_or_is_refused(floor: Floor) -> None:
    await floor.order("SELL", "LIMIT", "0.1", 1, price="40010")
    status, refused = await floor.order("BUY", "LIMIT_MAKER", "0.1", price="40010")
    assert (status, refused) == (400, {"code": -2010, "msg": "Order would immediately match and take."})
    _, rests = await floor.order("BUY", "LIMIT_MAKER", "0.1", price="40009")
    assert (rests["status"], rests["type"], rests["timeInForce"]) == ("NEW", "LIMIT_MAKER", "GTC")
    _, taker = await floor.order("SELL", "MARKET", "0.1", 1)
    assert taker["fills"][0]["price"] == rests["price"]


# -- icebergs and self-trade prevention -----------------------------------------------------------------------------


async def test_an_iceberg_shows_a_part_and_is_filled_whole(floor: Floor) -> None:
    _, order = await floor.order("SELL", "LIMIT", "0.5", price="40010", icebergQty="0.1")
    assert order["icebergQty"] == "0.10000000"
    _, depth = await floor.served.get("depth", symbol="BTCUSDT")
    assert [level[1] for level in depth["asks"]] == ["0.10000000"]
    _, bought = await floor.order("BUY", "MARKET", "0.35", 1)
    assert (bought["status"], sum(Decimal(f["qty"]) for f in bought["fills"])) == ("FILLED", Decimal("0.35"))
    found = await floor.status(order)
    assert (found["status"], found["executedQty"], found["icebergQty"]) == (
        "PARTIALLY_FILLED", "0.35000000", "0.10000000",
    )  # fmt: skip
    assert floor.locked(BTC) == 15 * UNIT // 100


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        ({"icebergQty": "0.6"}, -2010, "IcebergQty exceeds QTY."),
        ({"icebergQty": "0.001"}, -1013, "Filter failure: ICEBERG_PARTS"),
        ({"icebergQty": "0.1", "timeInForce": "IOC"}, -1014, "Unsupported order combination."),
        (
            {"selfTradePreventionMode": "MAYBE"},
            -1130,
            "Data sent for parameter 'selfTradePreventionMode' is not valid.",
        ),
        ({"trailingDelta": "100"}, -1106, "Parameter 'trailingDelta' sent when not required."),
    ],
)
async def test_what_does_not_fit_a_limit_order_is_refused(
    floor: Floor, more: dict[str, str], code: int, message: str
) -> None:
    assert await floor.order("SELL", "LIMIT", "0.5", price="40010", **more) == (400, {"code": code, "msg": message})


@pytest.mark.parametrize(
    ("mode", "maker", "taker"),
    [
        ("NONE", "FILLED", "FILLED"),
        ("EXPIRE_TAKER", "NEW", "EXPIRED_IN_MATCH"),
        ("EXPIRE_MAKER", "EXPIRED_IN_MATCH", "NEW"),
        ("EXPIRE_BOTH", "EXPIRED_IN_MATCH", "EXPIRED_IN_MATCH"),
    ],
)
async def test_self_trade_prevention_ends_what_it_says(floor: Floor, mode: str, maker: str, taker: str) -> None:
    _, resting = await floor.order("SELL", "LIMIT", "0.2", price="40010")
    floor.listen()
    _, order = await floor.order("BUY", "LIMIT", "0.2", price="40010", selfTradePreventionMode=mode)
    assert ((await floor.status(resting))["status"], order["status"]) == (maker, taker)
    assert order["selfTradePreventionMode"] == mode
    prevented = [r for o in (resting, order) for r in floor.reports(o) if r["x"] == "TRADE_PREVENTION"]
    assert len(prevented) == [maker, taker].count("EXPIRED_IN_MATCH")
    assert {r["A"] for r in prevented} <= {"0.20000000"}


# -- replace, amend, test -------------------------------------------------------------------------------------------


async def test_an_order_is_replaced_in_one_request(floor: Floor) -> None:
    _, old = await floor.order("BUY", "LIMIT", "0.1", price="39000", newClientOrderId="old")
    ask: dict[str, Any] = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.2"}
    status, answer = await floor.served.signed(
        "POST", "order/cancelReplace", **ask, price=floor.price("39100"), cancelReplaceMode="STOP_ON_FAILURE",
        cancelOrderId=old["orderId"], cancelNewClientOrderId="gone", newClientOrderId="old",
    )  # fmt: skip
    assert (status, answer["cancelResult"], answer["newOrderResult"]) == (200, "SUCCESS", "SUCCESS")
    assert (answer["cancelResponse"]["status"], answer["cancelResponse"]["clientOrderId"]) == ("CANCELED", "gone")
    assert (answer["newOrderResponse"]["status"], answer["newOrderResponse"]["origQty"]) == ("NEW", "0.20000000")
    _, left = await floor.served.signed("GET", "openOrders", symbol="BTCUSDT")
    assert [order["orderId"] for order in left] == [answer["newOrderResponse"]["orderId"]]


@pytest.mark.parametrize(
    ("mode", "known", "affordable", "expected"),
    [
        ("STOP_ON_FAILURE", False, True, (400, -2022, "FAILURE", "NOT_ATTEMPTED")),
        ("ALLOW_FAILURE", False, True, (409, -2021, "FAILURE", "SUCCESS")),
        ("STOP_ON_FAILURE", True, False, (409, -2021, "SUCCESS", "FAILURE")),
        ("ALLOW_FAILURE", False, False, (400, -2022, "FAILURE", "FAILURE")),
    ],
)
async def test_a_half_done_replacement_says_which_half(
    floor: Floor, mode: str, known: bool, affordable: bool, expected: tuple[int, int, str, str]
) -> None:
    _, old = await floor.order("BUY", "LIMIT", "0.1", price="39000")
    side = "BUY" if affordable else "SELL"
    status, answer = await floor.served.signed(
        "POST", "order/cancelReplace", symbol="BTCUSDT", side=side, type="LIMIT", timeInForce="GTC",
        quantity="0.1" if affordable else "20", price=floor.price("39100" if affordable else "41000"),
        cancelReplaceMode=mode, cancelOrderId=old["orderId"] if known else 987654,
    )  # fmt: skip
    data = answer["data"]
    assert (status, answer["code"], data["cancelResult"], data["newOrderResult"]) == expected
    codes = {data[name]["code"] for name in ("cancelResponse", "newOrderResponse") if "code" in (data[name] or {})}
    assert codes == ({-2011} if not known else set()) | (
        {-2010} if not affordable and not (not known and mode == "STOP_ON_FAILURE") else set()
    )


async def test_a_replacement_that_breaks_a_filter_changes_nothing(floor: Floor) -> None:
    _, old = await floor.order("BUY", "LIMIT", "0.1", price="39000")
    _, answer = await floor.served.signed(
        "POST", "order/cancelReplace", symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC", price="1",
        quantity="0.1", cancelReplaceMode="STOP_ON_FAILURE", cancelOrderId=old["orderId"],
    )  # fmt: skip
    assert answer == {"code": -1013, "msg": "Filter failure: PERCENT_PRICE_BY_SIDE"}
    assert (await floor.status(old))["status"] == "NEW"


async def test_a_cancellation_can_be_restricted_to_a_status(floor: Floor) -> None:
    _, order = await floor.order("BUY", "LIMIT", "0.1", price="39000")
    ask: dict[str, Any] = {"symbol": "BTCUSDT", "orderId": order["orderId"]}
    refused = await floor.served.signed("DELETE", "order", **ask, cancelRestrictions="ONLY_PARTIALLY_FILLED")
    assert refused[1] == {"code": -2011, "msg": "Order was not canceled due to cancel restrictions."}
    assert (await floor.served.signed("DELETE", "order", **ask, cancelRestrictions="NEVER"))[1]["code"] == -1145
    _, canceled = await floor.served.signed("DELETE", "order", **ask, cancelRestrictions="ONLY_NEW")
    assert canceled["status"] == "CANCELED"


async def test_a_test_order_is_checked_and_sent_nowhere(floor: Floor) -> None:
    ask: dict[str, Any] = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1"}
    assert await floor.served.signed("POST", "order/test", **ask, price=floor.price("39000")) == (200, {})
    _, rates = await floor.served.signed(
        "POST", "order/test", **ask, price=floor.price("39000"), computeCommissionRates="true"
    )
    assert rates["standardCommissionForOrder"] == {"maker": "0.00050000", "taker": "0.00050000"}
    _, refused = await floor.served.signed("POST", "order/test", **ask, price=floor.price("1"))
    assert refused["code"] == -1013
    assert (await floor.served.signed("GET", "allOrders", symbol="BTCUSDT"))[1] == []


async def test_accounts_show_their_commission_rates(floor: Floor) -> None:
    _, account = await floor.served.signed("GET", "account")
    assert account["commissionRates"]["taker"] == "0.00050000"
    assert [row["asset"] for row in account["balances"]][-1] == "USDT"
    _, commission = await floor.served.signed("GET", "account/commission", symbol="BTCUSDT")
    assert commission["standardCommission"]["maker"] == "0.00050000"


async def test_exchange_info_lists_what_can_be_ordered(floor: Floor) -> None:
    _, info = await floor.served.get("exchangeInfo", symbol="BTCUSDT")
    symbol = info["symbols"][0]
    assert set(symbol["orderTypes"]) == {
        "LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT",
    }  # fmt: skip
    assert symbol["allowedSelfTradePreventionModes"] == ["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"]
    assert symbol["icebergAllowed"] is symbol["allowTrailingStop"] is symbol["amendAllowed"] is True
    filters = {row["filterType"] for row in symbol["filters"]}
    assert {"ICEBERG_PARTS", "TRAILING_DELTA", "MAX_NUM_ALGO_ORDERS", "MAX_NUM_ORDER_AMENDS"} < filters


# -- stops, take-profits, trailing stops ------------------------------------------------------------------------------


async def test_a_stop_waits_until_its_price_trades_and_then_sells_at_the_market(floor: Floor) -> None:
    await floor.order("BUY", "LIMIT", "1", 1, price="39400")
    floor.listen()
    _, order = await floor.order("SELL", "STOP_LOSS", "0.1", stopPrice="39500")
    assert (order["status"], order["type"], order["stopPrice"]) == ("NEW", "STOP_LOSS", floor.price("39500"))
    assert "workingTime" not in order
    assert (await floor.status(order))["isWorking"] is False
    assert floor.locked(BTC) == UNIT // 10
    await floor.trade("39600")
    assert (await floor.status(order))["status"] == "NEW"
    await floor.trade("39500")
    found = await floor.status(order)
    assert (found["status"], found["executedQty"], found["isWorking"]) == ("FILLED", "0.10000000", True)
    assert Decimal(found["cummulativeQuoteQty"]) == Decimal(floor.price("39400")) * Decimal("0.1")
    reports = floor.reports(order)
    assert [(r["x"], r["X"], "W" in r) for r in reports] == [
        ("NEW", "NEW", False), ("NEW", "NEW", True), ("TRADE", "FILLED", True),
    ]  # fmt: skip
    assert {r["P"] for r in reports} == {floor.price("39500")}
    assert reports[-1]["m"] is False


async def test_a_stop_limit_rests_at_its_price_when_triggered(floor: Floor) -> None:
    floor.listen()
    _, order = await floor.order("BUY", "STOP_LOSS_LIMIT", "0.1", price="40550", stopPrice="40500")
    assert floor.locked(-1) == int(Decimal(floor.price("40550")) * UNIT / 10)
    _, depth = await floor.served.get("depth", symbol="BTCUSDT")
    assert depth["bids"] == []
    await floor.trade("40500")
    found = await floor.status(order)
    assert (found["status"], found["isWorking"], found["price"]) == ("NEW", True, floor.price("40550"))
    assert [(r["x"], r["w"]) for r in floor.reports(order)] == [("NEW", False), ("NEW", True)]
    _, sold = await floor.order("SELL", "MARKET", "0.1", 1)
    assert sold["fills"][0]["price"] == floor.price("40550")
    assert (await floor.status(order))["status"] == "FILLED"


async def test_take_profits_wait_on_the_winning_side(floor: Floor) -> None:
    await floor.order("BUY", "LIMIT", "1", 1, price="40600")
    # the bid above is the last price's only neighbour: a take-profit to sell waits above it
    _, order = await floor.order("SELL", "TAKE_PROFIT", "0.1", stopPrice="40700")
    _, limited = await floor.order("SELL", "TAKE_PROFIT_LIMIT", "0.1", price="40800", stopPrice="40700")
    await floor.trade("40700")
    assert (await floor.status(order))["status"] == "FILLED"
    found = await floor.status(limited)
    assert (found["status"], found["isWorking"]) == ("NEW", True)


@pytest.mark.parametrize(
    ("side", "kind", "stop"),
    [
        ("SELL", "STOP_LOSS", "40001"),
        ("BUY", "STOP_LOSS", "39999"),
        ("SELL", "TAKE_PROFIT", "39999"),
        ("BUY", "TAKE_PROFIT", "40001"),
    ],
)
async def test_a_trigger_on_the_wrong_side_is_refused(floor: Floor, side: str, kind: str, stop: str) -> None:
    refused = await floor.order(side, kind, "0.1", stopPrice=stop)
    assert refused == (400, {"code": -2010, "msg": "Order would trigger immediately."})


async def test_a_trailing_stop_follows_the_price_and_sells_when_it_turns(floor: Floor) -> None:
    await floor.order("BUY", "LIMIT", "1", 1, price="39000")
    floor.listen()
    _, order = await floor.order("SELL", "STOP_LOSS", "0.1", trailingDelta=100)
    assert order["trailingDelta"] == 100
    for price in ("40300", "41000", "40700", "40600"):
        await floor.trade(price)
    assert (await floor.status(order))["status"] == "NEW"
    await floor.trade("40580")  # 1.02 % below 41,000
    found = await floor.status(order)
    assert (found["status"], found["trailingDelta"]) == ("FILLED", 100)
    assert {r["d"] for r in floor.reports(order)} == {100}


async def test_a_trailing_stop_with_a_stop_price_starts_there(floor: Floor) -> None:
    await floor.order("BUY", "LIMIT", "1", 1, price="39000")
    _, order = await floor.order("SELL", "TAKE_PROFIT", "0.1", stopPrice="41000", trailingDelta=100)
    for price in ("40500", "39500", "40900"):
        await floor.trade(price)
    assert (await floor.status(order))["status"] == "NEW"
    for price in ("41100", "40600"):
        await floor.trade(price)
    assert (await floor.status(order))["status"] == "FILLED"


async def test_a_waiting_order_can_be_canceled_and_frees_what_it_locked(floor: Floor) -> None:
    _, order = await floor.order("SELL", "STOP_LOSS_LIMIT", "0.1", price="39400", stopPrice="39500")
    assert floor.locked(BTC) == UNIT // 10
    _, canceled = await floor.served.signed("DELETE", "order", symbol="BTCUSDT", orderId=order["orderId"])
    assert (canceled["status"], canceled["stopPrice"]) == ("CANCELED", floor.price("39500"))
    assert floor.locked(BTC) == 0
    await floor.trade("39500")
    assert (await floor.status(order))["executedQty"] == "0.00000000"


@pytest.mark.parametrize(
    ("kind", "more", "code", "message"),
    [
        ("STOP_LOSS", {}, -1102, "Param 'stopPrice' or 'trailingDelta' must be sent, but both were empty/null!"),
        ("STOP_LOSS", {"trailingDelta": 5}, -1013, "Filter failure: TRAILING_DELTA"),
        ("STOP_LOSS", {"stopPrice": "39500", "price": "39400"}, -1106, "Parameter 'price' sent when not required."),
        (
            "TAKE_PROFIT_LIMIT", {"stopPrice": "40500"}, -1102,
            "Mandatory parameter 'price' was not sent, was empty/null, or malformed.",
        ),
    ],
)  # fmt: skip
async def test_what_does_not_fit_a_stop_is_refused(
    floor: Floor, kind: str, more: dict[str, Any], code: int, message: str
) -> None:
    assert await floor.order("SELL", kind, "0.1", **more) == (400, {"code": code, "msg": message})


async def test_at_most_five_orders_wait_per_symbol(floor: Floor) -> None:
    for _ in range(5):
        assert (await floor.order("SELL", "STOP_LOSS", "0.1", stopPrice="39500"))[0] == 200
    refused = await floor.order("SELL", "STOP_LOSS", "0.1", stopPrice="39500")
    assert refused[1] == {"code": -1013, "msg": "Filter failure: MAX_NUM_ALGO_ORDERS"}


# -- amend ----------------------------------------------------------------------------------------------------------


async def test_an_amended_order_shrinks_and_keeps_its_place(floor: Floor) -> None:
    _, first = await floor.order("SELL", "LIMIT", "0.5", price="40010", newClientOrderId="first")
    await floor.order("SELL", "LIMIT", "0.5", 1, price="40010")
    floor.listen()
    status, answer = await floor.served.signed(
        "PUT", "order/amend/keepPriority", symbol="BTCUSDT", orderId=first["orderId"], newQty="0.3",
        newClientOrderId="second",
    )  # fmt: skip
    amended = answer["amendedOrder"]
    assert (status, amended["qty"], amended["origClientOrderId"], amended["clientOrderId"]) == (
        200, "0.30000000", "first", "second",
    )  # fmt: skip
    report = floor.reports(first)[0]
    assert (report["x"], report["X"], report["q"], report["c"], report["C"]) == (
        "REPLACED", "NEW", "0.30000000", "second", "first",
    )  # fmt: skip
    assert floor.locked(BTC) == 3 * UNIT // 10
    await floor.order("BUY", "MARKET", "0.3", 1)
    assert (await floor.status(first))["status"] == "FILLED"


@pytest.mark.parametrize(
    ("quantity", "message"),
    [
        ("0.5", "The requested action would change no state; rejecting."),
        ("0.6", "Order amend (quantity increase) is not supported."),
        ("0.1", "Order amend: the new quantity must be greater than the executed quantity."),
    ],
)
async def test_an_amendment_that_does_not_shrink_is_refused(floor: Floor, quantity: str, message: str) -> None:
    _, order = await floor.order("SELL", "LIMIT", "0.5", price="40010")
    await floor.order("BUY", "MARKET", "0.2", 1)
    _, refused = await floor.served.signed(
        "PUT", "order/amend/keepPriority", symbol="BTCUSDT", orderId=order["orderId"], newQty=quantity
    )
    assert refused == {"code": -2038, "msg": message}
