"""The real ccxt clients of USDⓈ-M derivatives and of Deribit against the process; nothing leaves loopback."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, TypeVar

import ccxt
import pytest
from served_exchange import exchange_process
from test_ccxt import only_loopback  # noqa: F401 - used by every test of the module

from lake.wire.binance import refuse_foreign_urls
from lake.wire.binance_futures import ccxt_futures_client, ccxt_futures_pro_client
from lake.wire.deribit import ccxt_deribit_client, option_name, option_summary

T = TypeVar("T")
BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"


@pytest.fixture(scope="module")
def ready() -> Iterator[dict[str, Any]]:
    options = ("--seed", "6", "--speed", "20", "--days", "17", "--accounts", "3", "--limits", "off", "--derivatives")
    with exchange_process(*options) as (_, line):
        client = ccxt_futures_client(line["rest"], line["ws"], enableRateLimit=False)
        for _ in range(100):  # until the agents have acted for the first time
            if client.fetch_order_book(BTC)["bids"]:
                break
            time.sleep(0.1)
        yield line


def blocking(ready: dict[str, Any], account: int = 0) -> Any:
    keys = ready["accounts"][account]
    client = ccxt_futures_client(ready["rest"], ready["ws"], keys["api_key"], keys["api_secret"], enableRateLimit=False)
    client.load_markets()
    return client


@pytest.fixture
async def streaming(ready: dict[str, Any]) -> AsyncIterator[Any]:
    keys = ready["accounts"][2]
    client = ccxt_futures_pro_client(ready["rest"], ready["ws"], keys["api_key"], keys["api_secret"])
    try:
        yield client
    finally:
        await client.close()


async def soon(awaited: Awaitable[T]) -> T:
    return await asyncio.wait_for(awaited, 20)


def test_no_address_but_ours_remains() -> None:
    for build in (ccxt_futures_client, ccxt_futures_pro_client, ccxt_deribit_client):
        client = build("http://127.0.0.1:1", "ws://127.0.0.1:1")
        refuse_foreign_urls(client.urls, "http://127.0.0.1:1", "ws://127.0.0.1:1")
        assert "binance.com" not in str(client.urls)
        assert "deribit.com" not in str(client.urls)


def test_the_guard_refuses_the_real_venues() -> None:
    for build in (ccxt_futures_client, ccxt_deribit_client):
        with pytest.raises(Exception, match="look-up of"):
            build("").fetch_time()


def test_markets_prices_and_past(ready: dict[str, Any]) -> None:
    client = blocking(ready)
    kinds = [market["type"] for market in client.markets.values()]
    assert (kinds.count("swap"), kinds.count("future")) == (6, 4)
    ticker, book = client.fetch_ticker(BTC), client.fetch_order_book(BTC, 5)
    assert book["bids"][0][0] < book["asks"][0][0]
    assert ticker["last"] == pytest.approx(book["bids"][0][0], rel=0.01)
    assert len(client.fetch_tickers()) == 10
    assert len(client.fetch_ohlcv(BTC, "5m", limit=3)) == 3
    assert client.fetch_mark_ohlcv(BTC, "1h", limit=2)[0][4] > 0
    assert client.fetch_index_ohlcv(BTC, "1h", limit=2)[0][4] > 0
    funding = client.fetch_funding_rate(BTC)
    assert funding["markPrice"] == pytest.approx(funding["indexPrice"], rel=0.01)
    assert funding["interval"] is None or funding["interval"] == "8h"
    assert len(client.fetch_funding_rate_history(BTC, limit=10)) == 10
    assert client.fetch_open_interest(BTC)["openInterestAmount"] > 0
    assert len(client.fetch_open_interest_history(BTC, "1h", limit=5)) == 5
    assert client.fetch_trades(BTC, limit=5)
    assert len(client.fetch_leverage_tiers([BTC])[BTC]) == 12
    assert client.fetch_mark_price(BTC)["markPrice"] > 0


def test_orders_of_every_type(ready: dict[str, Any]) -> None:
    client = blocking(ready)
    price = client.fetch_ticker(BTC)["last"]
    near = lambda factor: client.price_to_precision(BTC, price * factor)  # noqa: E731 - a word for many calls
    order = client.create_order(BTC, "limit", "buy", 0.01, near(0.97))
    assert client.fetch_order(order["id"], BTC)["status"] == "open"
    assert client.edit_order(order["id"], BTC, "limit", "buy", 0.02, near(0.96))["amount"] == 0.02
    assert client.cancel_order(order["id"], BTC)["status"] == "canceled"
    with pytest.raises(ccxt.InvalidOrder):
        client.create_order(BTC, "limit", "buy", 0.01, near(1.01), {"postOnly": True})
    assert client.create_order(BTC, "limit", "buy", 0.01, near(0.97), {"timeInForce": "IOC"})["filled"] == 0
    assert client.create_order(BTC, "limit", "buy", 0.01, near(1.01), {"timeInForce": "FOK"})["filled"] == 0.01
    waiting = [
        client.create_order(BTC, "market", "sell", 0.01, None, {"stopLossPrice": near(0.96), "reduceOnly": True}),
        client.create_order(BTC, "limit", "sell", 0.01, near(1.04), {"takeProfitPrice": near(1.03)}),
        client.create_order(BTC, "market", "sell", 0.01, None, {"trailingPercent": "2", "reduceOnly": True}),
    ]
    found = {row["id"] for row in client.fetch_open_orders(BTC, params={"trigger": True})}
    assert found == {row["id"] for row in waiting}
    assert client.cancel_order(waiting[0]["id"], BTC, {"trigger": True})["info"]["msg"] == "success"
    client.cancel_all_orders(BTC, {"trigger": True})
    assert client.fetch_open_orders(BTC, params={"trigger": True}) == []
    several = [{"symbol": BTC, "type": "limit", "side": "buy", "amount": 0.01, "price": near(f)} for f in (0.97, 0.96)]
    assert len(client.create_orders(several)) == 2
    client.cancel_all_orders(BTC)
    assert client.fetch_open_orders(BTC) == []
    assert client.fetch_my_trades(BTC)[0]["fee"]["currency"] == "USDT"


def test_positions_margin_and_income(ready: dict[str, Any]) -> None:
    client = blocking(ready, 1)
    client.set_margin_mode("isolated", ETH)
    client.set_leverage(10, ETH)
    assert client.fetch_leverage(ETH)["longLeverage"] == 10
    assert client.create_order(ETH, "market", "buy", 2)["filled"] == 2
    position = client.fetch_positions([ETH])[0]
    assert (position["side"], position["contracts"], position["marginMode"]) == ("long", 2, "isolated")
    assert 0 < position["liquidationPrice"] < position["entryPrice"]
    client.add_margin(ETH, 50)
    assert client.fetch_positions([ETH])[0]["liquidationPrice"] < position["liquidationPrice"]
    assert client.create_order(ETH, "market", "sell", 5, None, {"reduceOnly": True})["filled"] == 2
    assert client.fetch_positions([ETH]) == []
    assert {row["incomeType"] for row in client.fapiPrivateGetIncome()} >= {"COMMISSION", "REALIZED_PNL"}
    balance = client.fetch_balance()["USDT"]
    assert balance["total"] == pytest.approx(100_000, rel=0.001)
    assert client.fetch_trading_fee(ETH)["taker"] == 0.0005
    with pytest.raises(ccxt.ExchangeError, match="Margin is insufficient"):
        client.create_order(ETH, "market", "buy", 5_000)


async def test_streams_of_the_pro_client(streaming: Any) -> None:
    await soon(streaming.load_markets())
    book = await soon(streaming.watch_order_book(BTC))
    assert book["bids"][0][0] < book["asks"][0][0]
    assert (await soon(streaming.watch_trades(BTC)))[0]["symbol"] == BTC
    assert (await soon(streaming.watch_mark_price(BTC)))["markPrice"] > 0
    listening = asyncio.create_task(streaming.watch_orders(BTC))
    await asyncio.sleep(1)
    made = await soon(streaming.create_order(BTC, "market", "buy", 0.01))
    orders = await soon(listening)
    assert orders[0]["id"] == made["id"]
    holding = asyncio.create_task(streaming.watch_positions([BTC]))
    await asyncio.sleep(1)
    await soon(streaming.create_order(BTC, "market", "buy", 0.01))
    positions = await soon(holding)
    assert (positions[0]["symbol"], positions[0]["side"]) == (BTC, "long")


def test_options_of_deribit(ready: dict[str, Any]) -> None:
    client = ccxt_deribit_client(ready["rest"], ready["ws"], "key", "secret", enableRateLimit=False)
    markets = client.load_markets()
    index = float(client.publicGetGetIndexPrice({"index_name": "btc_usd"})["result"]["index_price"])
    calls = [m for m in markets.values() if m["base"] == "BTC" and m["optionType"] == "call"]
    market = min(calls, key=lambda m: abs(m["strike"] - index) / index + abs(m["expiry"] - calls[-1]["expiry"]) / 1e12)
    ticker, greeks = client.fetch_ticker(market["symbol"]), client.fetch_greeks(market["symbol"])
    assert ticker["bid"] <= ticker["markPrice"] <= ticker["ask"]
    assert 0.2 < greeks["delta"] < 0.95
    assert 15 < greeks["markImpliedVolatility"] < 200
    assert client.fetch_order_book(market["symbol"])["asks"][0][0] == ticker["ask"]
    chain = client.fetch_option_chain("ETH")
    assert len(chain) > 300
    for row in chain.values():
        summary = option_summary(row["info"])
        assert option_name(summary.instrument_name).coin == "ETH"
    assert 15 < client.fetch_volatility_history("BTC")[-1]["volatility"] < 200
    with pytest.raises(ccxt.NotSupported, match="quoted here and not traded"):
        client.create_order(market["symbol"], "limit", "buy", 0.1, 0.01)
