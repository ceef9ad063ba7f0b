"""Derivatives over REST: market data that agrees with itself, orders of every type, margin, money that adds up."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import orjson
import pytest
from served_futures import ServedFutures, serving_futures

from lake.wire.deribit import option_name
from market import clearing

PERPETUAL = "BTCUSDT"
HOUR_MS = 3_600_000


@pytest.fixture
async def market() -> AsyncIterator[ServedFutures]:
    """With agents."""
    async with serving_futures() as served:
        yield served


@pytest.fixture
async def empty() -> AsyncIterator[ServedFutures]:
    """Without agents: the two accounts are alone."""
    async with serving_futures(agents=False) as served:
        yield served


async def mark_of(served: ServedFutures, symbol: str = PERPETUAL) -> float:
    return float((await served.get("/fapi/v1/premiumIndex", symbol=symbol))["markPrice"])


def near(price: float, factor: float) -> str:
    return f"{price * factor:.1f}"


async def trade(served: ServedFutures, price: str, quantity: str, symbol: str = PERPETUAL) -> None:
    """The second account sells to the first."""
    kept = await served.order("BUY", "LIMIT", 0, symbol, price=price, quantity=quantity, timeInForce="GTC")
    assert kept["status"] == "NEW", kept
    sold = await served.order("SELL", "MARKET", 1, symbol, quantity=quantity)
    assert sold["status"] == "FILLED", sold


# -- market data ------------------------------------------------------------------------------------------------------


async def test_the_symbols_are_perpetuals_and_quarters(market: ServedFutures) -> None:
    info = await market.get("/fapi/v1/exchangeInfo")
    kinds = {row["symbol"]: row["contractType"] for row in info["symbols"]}
    assert [name for name, kind in kinds.items() if kind == "PERPETUAL"] == [
        "BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "ADAUSDT",
    ]  # fmt: skip
    dated = [name for name in kinds if "_" in name]
    assert {name.partition("_")[0] for name in dated} == {"BTCUSDT", "ETHUSDT"}
    assert {kinds[name] for name in dated} == {"CURRENT_QUARTER", "NEXT_QUARTER"}
    assert {row["status"] for row in info["symbols"]} == {"TRADING"}


async def test_spot_and_the_perpetual_of_one_name_are_two_markets(market: ServedFutures) -> None:
    spot = await market.get("/api/v3/depth", symbol=PERPETUAL, limit=5)
    perpetual = await market.get("/fapi/v1/depth", symbol=PERPETUAL, limit=5)
    assert spot["bids"] != perpetual["bids"]
    assert float(perpetual["bids"][0][0]) == pytest.approx(float(spot["bids"][0][0]), rel=0.005)
    assert len(perpetual["asks"]) == 5
    assert await market.refused("/api/v3/depth", symbol="BTCUSDT_230929") == -1121
    assert await market.refused("/fapi/v1/depth", symbol=PERPETUAL, limit=7) == -4021


async def test_trades_and_their_aggregates_agree(market: ServedFutures) -> None:
    market.pass_time(20)
    trades = await market.get("/fapi/v1/trades", symbol=PERPETUAL, limit=1000)
    aggregates = await market.get("/fapi/v1/aggTrades", symbol=PERPETUAL, limit=1000)
    assert trades
    assert sum(Decimal(t["qty"]) for t in trades) == sum(Decimal(a["q"]) for a in aggregates)
    assert [a["f"] for a in aggregates][1:] == [a["l"] + 1 for a in aggregates][:-1]


async def test_klines_of_all_four_kinds_cover_the_same_hours(market: ServedFutures) -> None:
    query = {"interval": "1h", "limit": 5}
    traded = await market.get("/fapi/v1/klines", symbol=PERPETUAL, **query)
    marks = await market.get("/fapi/v1/markPriceKlines", symbol=PERPETUAL, **query)
    index = await market.get("/fapi/v1/indexPriceKlines", pair=PERPETUAL, **query)
    premium = await market.get("/fapi/v1/premiumIndexKlines", symbol=PERPETUAL, **query)
    continuous = await market.get("/fapi/v1/continuousKlines", pair=PERPETUAL, contractType="PERPETUAL", **query)
    assert [row[0] for row in traded] == [row[0] for row in marks] == [row[0] for row in index]
    assert continuous == traded
    for last, mark, spot, share in zip(traded[:-1], marks[:-1], index[:-1], premium[:-1], strict=True):
        assert float(mark[4]) == pytest.approx(float(last[4]), rel=1e-3)
        assert float(mark[4]) / float(spot[4]) - 1 == pytest.approx(float(share[4]), abs=1e-7)
        assert float(mark[3]) <= float(mark[1]) <= float(mark[2])
    spot = await market.get("/api/v3/klines", symbol=PERPETUAL, **query)
    assert [row[1:5] for row in index] == [row[1:5] for row in spot]
    first = traded[1][0]
    window = await market.get(
        "/fapi/v1/markPriceKlines", symbol=PERPETUAL, interval="1h", startTime=first, endTime=first + HOUR_MS
    )
    assert window == marks[1:3]


async def test_the_mark_is_near_the_index_and_funding_is_ahead(market: ServedFutures) -> None:
    rows = await market.get("/fapi/v1/premiumIndex")
    assert len(rows) == 10
    for row in rows:
        assert float(row["markPrice"]) == pytest.approx(float(row["indexPrice"]), rel=0.05)
        dated = "_" in row["symbol"]
        assert (row["lastFundingRate"] == "") == dated
        assert (row["nextFundingTime"] == 0) == dated
        if not dated:
            assert 0 < row["nextFundingTime"] - row["time"] <= 8 * HOUR_MS
    info = await market.get("/fapi/v1/fundingInfo")
    assert {row["fundingIntervalHours"] for row in info} == {8}


async def test_past_funding_and_open_interest_reach_to_the_present(market: ServedFutures) -> None:
    now = (await market.get("/fapi/v1/premiumIndex", symbol=PERPETUAL))["time"]
    paid = await market.get("/fapi/v1/fundingRate", symbol=PERPETUAL)
    assert len(paid) == 6
    assert paid[-1]["fundingTime"] == now // (8 * HOUR_MS) * 8 * HOUR_MS
    assert [b["fundingTime"] - a["fundingTime"] for a, b in pairwise(paid)] == [8 * HOUR_MS] * 5
    since = await market.get("/fapi/v1/fundingRate", symbol=PERPETUAL, startTime=paid[2]["fundingTime"], limit=2)
    assert since == paid[2:4]
    held = float((await market.get("/fapi/v1/openInterest", symbol=PERPETUAL))["openInterest"])
    past = await market.get("/futures/data/openInterestHist", symbol=PERPETUAL, period="1h", limit=500)
    assert len(past) == 49
    assert float(past[-1]["sumOpenInterest"]) == pytest.approx(held, rel=0.01)
    assert float(past[-1]["sumOpenInterestValue"]) > 0
    assert await market.refused("/futures/data/openInterestHist", symbol=PERPETUAL, period="2m") == -1100


async def test_tickers_agree_with_the_book_and_the_bars(market: ServedFutures) -> None:
    best = await market.get("/fapi/v1/ticker/bookTicker", symbol=PERPETUAL)
    book = await market.get("/fapi/v1/depth", symbol=PERPETUAL, limit=5)
    assert Decimal(best["bidPrice"]) == Decimal(book["bids"][0][0])
    day = await market.get("/fapi/v1/ticker/24hr", symbol=PERPETUAL)
    assert "bidPrice" not in day
    assert Decimal(day["lowPrice"]) <= Decimal(day["lastPrice"]) <= Decimal(day["highPrice"])
    prices = await market.get("/fapi/v2/ticker/price")
    assert len(prices) == 10
    assert Decimal(prices[0]["price"]) == Decimal(day["lastPrice"])


# -- orders -----------------------------------------------------------------------------------------------------------


async def test_an_order_rests_is_amended_and_cancelled(empty: ServedFutures) -> None:
    mark = await mark_of(empty)
    made = await empty.order("BUY", "LIMIT", price=near(mark, 0.99), quantity="0.010", timeInForce="GTC")
    assert made["status"] == "NEW"
    assert made["origType"] == "LIMIT"
    query = {"symbol": PERPETUAL, "orderId": made["orderId"]}
    changed = await empty.signed("PUT", "/fapi/v1/order", side="BUY", price=near(mark, 0.98), quantity="0.02", **query)
    assert (Decimal(changed["price"]), Decimal(changed["origQty"])) == (Decimal(near(mark, 0.98)), Decimal("0.02"))
    same = await empty.signed("PUT", "/fapi/v1/order", side="BUY", price=near(mark, 0.98), quantity="0.02", **query)
    assert same["code"] == -5027
    assert len(await empty.signed("GET", "/fapi/v1/openOrders")) == 1
    assert (await empty.signed("GET", "/fapi/v1/openOrder", **query))["orderId"] == made["orderId"]
    assert (await empty.signed("DELETE", "/fapi/v1/order", **query))["status"] == "CANCELED"
    assert (await empty.signed("DELETE", "/fapi/v1/order", **query))["code"] == -2011
    assert await empty.signed("GET", "/fapi/v1/openOrders") == []


async def test_times_in_force_do_what_they_say(empty: ServedFutures) -> None:
    mark = await mark_of(empty)
    resting = await empty.order("SELL", "LIMIT", 1, price=near(mark, 1.001), quantity="0.01", timeInForce="GTC")
    post = await empty.order("BUY", "LIMIT", price=near(mark, 1.002), quantity="0.01", timeInForce="GTX")
    assert post["code"] == -5022
    fok = await empty.order("BUY", "LIMIT", price=near(mark, 1.002), quantity="0.02", timeInForce="FOK")
    assert (fok["status"], Decimal(fok["executedQty"])) == ("EXPIRED", 0)
    ioc = await empty.order("BUY", "LIMIT", price=near(mark, 1.002), quantity="0.02", timeInForce="IOC")
    assert (ioc["status"], Decimal(ioc["executedQty"])) == ("EXPIRED", Decimal("0.01"))
    assert Decimal(ioc["avgPrice"]) == Decimal(resting["price"])
    till = (await empty.get("/fapi/v1/premiumIndex", symbol=PERPETUAL))["time"] + 700_000
    good = {"timeInForce": "GTD", "price": near(mark, 0.99), "quantity": "0.01"}
    assert (await empty.order("BUY", "LIMIT", **good))["code"] == -1102
    assert (await empty.order("BUY", "LIMIT", goodTillDate=till - 200_000, **good))["code"] == -1130
    kept = await empty.order("BUY", "LIMIT", goodTillDate=till, **good)
    assert kept["goodTillDate"] == till // 1000 * 1000
    empty.pass_time(701)
    ended = await empty.signed("GET", "/fapi/v1/order", symbol=PERPETUAL, orderId=kept["orderId"])
    assert ended["status"] == "EXPIRED"


async def test_a_position_opens_earns_and_closes_to_the_unit(empty: ServedFutures) -> None:
    before = clearing.totals(empty.venue.exchange.engine)
    mark = await mark_of(empty)
    await trade(empty, near(mark, 1.0), "0.100")
    long = (await empty.signed("GET", "/fapi/v3/positionRisk"))[0]
    short = (await empty.signed("GET", "/fapi/v3/positionRisk", 1))[0]
    assert Decimal(long["positionAmt"]) == -Decimal(short["positionAmt"]) == Decimal("0.1")
    assert Decimal(long["entryPrice"]) == Decimal(near(mark, 1.0))
    higher = near(mark, 1.01)
    await empty.order("BUY", "LIMIT", 1, price=higher, quantity="0.1", timeInForce="GTC")
    closed = await empty.order("SELL", "MARKET", quantity="5", reduceOnly="true")
    assert Decimal(closed["executedQty"]) == Decimal("0.1")
    income = await empty.signed("GET", "/fapi/v1/income")
    pnl = sum(Decimal(row["income"]) for row in income if row["incomeType"] == "REALIZED_PNL")
    fees = sum(Decimal(row["income"]) for row in income if row["incomeType"] == "COMMISSION")
    assert pnl == (Decimal(higher) - Decimal(near(mark, 1.0))) / 10
    assert fees == -(Decimal(near(mark, 1.0)) * Decimal("0.00002") + Decimal(higher) * Decimal("0.00005"))
    balance = (await empty.signed("GET", "/fapi/v3/balance"))[0]
    assert Decimal(balance["balance"]) == 100_000 + pnl + fees
    trades = await empty.signed("GET", "/fapi/v1/userTrades", symbol=PERPETUAL)
    assert [row["maker"] for row in trades] == [True, False]
    assert sum(Decimal(row["realizedPnl"]) for row in trades) == pnl
    assert (await empty.signed("GET", "/fapi/v3/positionRisk")) == []
    assert clearing.totals(empty.venue.exchange.engine) == before


async def test_spot_and_margin_wallets_are_apart(empty: ServedFutures) -> None:
    await trade(empty, near(await mark_of(empty), 1.0), "0.1")
    spot = await empty.signed("GET", "/api/v3/account", omitZeroBalances="true")
    assert [(row["asset"], Decimal(row["free"])) for row in spot["balances"]] == [("USDT", 100_000)]
    account = await empty.signed("GET", "/fapi/v3/account")
    assert Decimal(account["totalWalletBalance"]) < 100_000
    assert len(account["positions"]) == 1
    assert len((await empty.signed("GET", "/fapi/v2/account"))["positions"]) == 10
    wallet = account["assets"][0]
    assert Decimal(wallet["marginBalance"]) == Decimal(wallet["walletBalance"]) + Decimal(wallet["unrealizedProfit"])
    used = Decimal(wallet["initialMargin"])
    assert Decimal(wallet["availableBalance"]) == pytest.approx(Decimal(wallet["marginBalance"]) - used, abs=1)


async def test_conditional_orders_wait_trigger_and_trade(empty: ServedFutures) -> None:
    mark = await mark_of(empty)
    await trade(empty, near(mark, 1.0), "0.1")
    stop = await empty.order("SELL", "STOP_MARKET", stopPrice=near(mark, 0.99), closePosition="true")
    assert (stop["status"], stop["type"], stop["closePosition"]) == ("NEW", "STOP_MARKET", True)
    profit = await empty.order(
        "SELL", "TAKE_PROFIT", stopPrice=near(mark, 1.02), price=near(mark, 1.019), quantity="0.1", reduceOnly="true"
    )
    trailing = await empty.order("SELL", "TRAILING_STOP_MARKET", callbackRate="1.5", quantity="0.1", reduceOnly="true")
    assert {profit["status"], trailing["status"]} == {"NEW"}
    now = await empty.order("SELL", "STOP_MARKET", stopPrice=near(mark, 1.01), quantity="0.1")
    assert now["code"] == -2021
    await empty.order("BUY", "LIMIT", 1, price=near(mark, 0.989), quantity="1", timeInForce="GTC")
    await empty.order("SELL", "LIMIT", 1, price=near(mark, 0.989), quantity="0.01", timeInForce="GTC")
    found = await empty.signed("GET", "/fapi/v1/order", symbol=PERPETUAL, orderId=stop["orderId"])
    assert (found["status"], found["type"], found["origType"]) == ("FILLED", "MARKET", "STOP_MARKET")
    assert Decimal(found["executedQty"]) == Decimal("0.1")
    assert (await empty.signed("GET", "/fapi/v3/positionRisk")) == []


async def test_algo_orders_live_apart_until_they_are_triggered(empty: ServedFutures) -> None:
    mark = await mark_of(empty)
    named = {"algoType": "CONDITIONAL", "symbol": PERPETUAL, "side": "BUY", "type": "STOP_MARKET", "quantity": "0.1"}
    path = "/fapi/v1/algoOrder"
    made = await empty.signed("POST", path, triggerPrice=near(mark, 1.01), clientAlgoId="mine", **named)
    assert (made["algoStatus"], made["orderType"]) == ("NEW", "STOP_MARKET")
    assert await empty.signed("GET", "/fapi/v1/openOrders") == []
    assert len(await empty.signed("GET", "/fapi/v1/openAlgoOrders")) == 1
    again = await empty.signed("GET", path, clientAlgoId="mine")
    assert again["algoId"] == made["algoId"]
    await empty.order("SELL", "LIMIT", 1, price=near(mark, 1.011), quantity="0.2", timeInForce="GTC")
    await empty.order("BUY", "LIMIT", 1, price=near(mark, 1.011), quantity="0.05", timeInForce="GTC")
    done = await empty.signed("GET", path, algoId=made["algoId"])
    assert (done["algoStatus"], Decimal(done["actualQty"])) == ("FINISHED", Decimal("0.1"))
    order = await empty.signed("GET", "/fapi/v1/order", symbol=PERPETUAL, orderId=done["actualOrderId"])
    assert order["status"] == "FILLED"
    second = await empty.signed("POST", path, triggerPrice=near(mark, 1.03), **named)
    gone = await empty.signed("DELETE", path, algoId=second["algoId"])
    assert gone["msg"] == "success"
    assert (await empty.signed("GET", path, algoId=second["algoId"]))["algoStatus"] == "CANCELED"
    wrong = await empty.signed("POST", path, stopPrice=near(mark, 1.03), **named)
    assert wrong["code"] == -1104


async def test_batches_answer_each_order_in_its_place(empty: ServedFutures) -> None:
    mark = await mark_of(empty)
    rows = [
        {"symbol": PERPETUAL, "side": "BUY", "type": "LIMIT", "quantity": 0.01, "price": near(mark, 0.98),
         "timeInForce": "GTC", "reduceOnly": False},
        {"symbol": PERPETUAL, "side": "BUY", "type": "LIMIT", "quantity": 0, "price": "1", "timeInForce": "GTC"},
    ]  # fmt: skip
    made = await empty.signed("POST", "/fapi/v1/batchOrders", batchOrders=orjson.dumps(rows).decode())
    assert isinstance(made, list), made
    assert made[0].get("status") == "NEW", made
    assert made[1]["code"] == -4003
    ids = orjson.dumps([made[0]["orderId"], 99]).decode()
    gone = await empty.signed("DELETE", "/fapi/v1/batchOrders", symbol=PERPETUAL, orderIdList=ids)
    assert [row.get("status", row.get("code")) for row in gone] == ["CANCELED", -2011]
    assert (await empty.signed("POST", "/fapi/v1/batchOrders", batchOrders="{"))["code"] == -1100


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"quantity": "0.0015"}, -1111),
        ({"price": "100.05"}, -4014),
        ({"quantity": "0.001"}, -4164),
        ({"positionSide": "LONG"}, -4061),
        ({"stopPrice": "1"}, -1106),
        ({"nonsense": "1"}, -1104),
        ({"type": "LIMIT_MAKER"}, -1116),
        ({"timeInForce": "DAY"}, -1115),
        ({"priceFactor": 1.2}, -4016),
        ({"quantity": "50"}, -2019),
        ({"reduceOnly": "true"}, -2022),
        ({"symbol": "DOGEUSDT"}, -1121),
    ],
)
async def test_what_does_not_fit_is_refused_with_binances_code(
    empty: ServedFutures, change: dict[str, Any], code: int
) -> None:
    mark = await mark_of(empty)
    order = {"symbol": PERPETUAL, "side": "BUY", "type": "LIMIT", "quantity": "0.01", "timeInForce": "GTC"}
    order |= {"price": near(mark, change.pop("priceFactor", 0.99))} | change
    answer = await empty.signed("POST", "/fapi/v1/order", **order)
    assert answer["code"] == code, answer
    assert await empty.signed("GET", "/fapi/v1/openOrders") == []


# -- margin -----------------------------------------------------------------------------------------------------------


async def test_leverage_and_margin_type_change_where_they_may(empty: ServedFutures) -> None:
    mark = await mark_of(empty)
    set_to = await empty.signed("POST", "/fapi/v1/leverage", symbol=PERPETUAL, leverage=5)
    assert set_to["leverage"] == 5
    assert (await empty.signed("POST", "/fapi/v1/leverage", symbol=PERPETUAL, leverage=500))["code"] == -4028
    assert (await empty.signed("POST", "/fapi/v1/marginType", symbol=PERPETUAL, marginType="CROSSED"))["code"] == -4046
    isolated = await empty.signed("POST", "/fapi/v1/marginType", symbol=PERPETUAL, marginType="ISOLATED")
    assert isolated["code"] == 200
    await trade(empty, near(mark, 1.0), "0.1")
    held = (await empty.signed("GET", "/fapi/v2/positionRisk", symbol=PERPETUAL))[0]
    assert (held["marginType"], held["leverage"]) == ("isolated", "5")
    own = Decimal(held["isolatedWallet"])
    assert own == pytest.approx(Decimal(near(mark, 1.0)) / 50, abs=1)
    added = await empty.signed("POST", "/fapi/v1/positionMargin", symbol=PERPETUAL, amount="100", type=1)
    assert added["code"] == 200
    after = (await empty.signed("GET", "/fapi/v2/positionRisk", symbol=PERPETUAL))[0]
    assert Decimal(after["isolatedWallet"]) == own + 100
    assert Decimal(after["liquidationPrice"]) < Decimal(held["liquidationPrice"])
    refused = await empty.signed("POST", "/fapi/v1/marginType", symbol=PERPETUAL, marginType="CROSSED")
    assert refused["code"] == -4048
    config = await empty.signed("GET", "/fapi/v1/symbolConfig", symbol=PERPETUAL)
    assert (config[0]["marginType"], config[0]["leverage"]) == ("ISOLATED", 5)
    assert (await empty.signed("GET", "/fapi/v1/positionSide/dual")) == {"dualSidePosition": False}


async def test_brackets_are_continuous_at_every_floor(empty: ServedFutures) -> None:
    rows = await empty.signed("GET", "/fapi/v1/leverageBracket")
    assert len(rows) == 10
    for row in rows:
        for low, high in pairwise(row["brackets"]):
            at = high["notionalFloor"]
            assert low["notionalCap"] == at
            left, right = (at * tier["maintMarginRatio"] - tier["cum"] for tier in (low, high))
            assert left == pytest.approx(right)


async def test_a_position_that_loses_its_margin_is_liquidated(empty: ServedFutures) -> None:
    """The mark is moved by hand: who bought with 50 times leverage falls, everybody's money still adds up."""
    engine, mark = empty.venue.exchange.engine, await mark_of(empty)
    before = clearing.totals(engine)
    await empty.signed("POST", "/fapi/v1/marginType", symbol=PERPETUAL, marginType="ISOLATED")
    await empty.signed("POST", "/fapi/v1/leverage", symbol=PERPETUAL, leverage=50)
    await trade(empty, near(mark, 1.0), "1.000")
    await empty.order("BUY", "LIMIT", 1, price=near(mark, 0.985), quantity="2", timeInForce="GTC")
    exchange, first = empty.venue.exchange, empty.desk.world.first
    exchange.engine = clearing.with_room(exchange.engine)
    clearing.set_mark(exchange.engine, first, round(mark * 0.983 * 10), exchange.time)
    exchange.settle()
    assert (await empty.signed("GET", "/fapi/v3/positionRisk")) == []
    forced = await empty.signed("GET", "/fapi/v1/forceOrders")
    assert forced[0]["clientOrderId"].startswith("autoclose-")
    kinds = [row["incomeType"] for row in await empty.signed("GET", "/fapi/v1/income")]
    assert "REALIZED_PNL" in kinds
    assert "INSURANCE_CLEAR" in kinds
    assert clearing.totals(exchange.engine) == before


async def test_the_dead_man_timer_cancels_what_is_left(empty: ServedFutures) -> None:
    mark, now = await mark_of(empty), [1000.0]
    empty.desk._now = lambda: now[0]
    await empty.order("BUY", "LIMIT", price=near(mark, 0.99), quantity="0.01", timeInForce="GTC")
    path = "/fapi/v1/countdownCancelAll"
    answer = await empty.signed("POST", path, symbol=PERPETUAL, countdownTime=2000)
    assert answer == {"symbol": PERPETUAL, "countdownTime": "2000"}
    now[0] += 1.9
    empty.venue.publish()
    assert len(await empty.signed("GET", "/fapi/v1/openOrders")) == 1
    await empty.signed("POST", path, symbol=PERPETUAL, countdownTime=2000)
    now[0] += 2.1
    empty.venue.publish()
    assert await empty.signed("GET", "/fapi/v1/openOrders") == []


async def test_options_and_futures_agree_on_the_forward(empty: ServedFutures) -> None:
    rows = (await empty.get("/api/v2/public/get_book_summary_by_currency", currency="BTC"))["result"]
    dated = [row for row in await empty.get("/fapi/v1/premiumIndex") if row["symbol"].startswith("BTCUSDT_")]
    for future in dated:
        basis = float(future["markPrice"]) / float(future["indexPrice"]) - 1
        same = [r for r in rows if _expires(r["instrument_name"]) == future["symbol"].partition("_")[2]]
        assert same
        assert same[0]["underlying_price"] / same[0]["estimated_delivery_price"] - 1 == pytest.approx(basis, abs=2e-4)


def _expires(name: str) -> str:
    return f"{datetime.fromtimestamp(option_name(name).expiry // 1_000_000, UTC):%y%m%d}"
