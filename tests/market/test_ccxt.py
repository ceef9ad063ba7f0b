"""The real ccxt, blocking and streaming, against the exchange's process; any connection off loopback fails."""

import asyncio
import ipaddress
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
from served_exchange import exchange_process

from lake.errors import Misconfigured
from lake.wire.binance import ccxt_client, ccxt_pro_client, redirect_ccxt, refuse_foreign_urls

T = TypeVar("T")
BTC = "BTC/USDT"


class LeftLoopback(AssertionError):
    pass


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to resolve or connect to anything but this machine, below every HTTP library."""
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def is_loopback(host: object) -> bool:
        text = host.decode() if isinstance(host, bytes) else str(host)
        try:
            return ipaddress.ip_address(text).is_loopback
        except ValueError:
            return text == "localhost"

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not is_loopback(address[0]):
            raise LeftLoopback(f"connection to {address}")
        connect(self, address)

    def guarded_resolve(host: Any, *rest: Any, **named: Any) -> Any:
        if host is not None and not is_loopback(host):
            raise LeftLoopback(f"look-up of {host}")
        return resolve(host, *rest, **named)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_resolve)


@pytest.fixture(scope="module")
def ready() -> Iterator[dict[str, Any]]:
    with exchange_process("--seed", "6", "--speed", "60", "--days", "3", "--accounts", "4", "--venues", "2") as (
        _,
        line,
    ):
        yield line


def blocking(ready: dict[str, Any], account: int = 0) -> Any:
    keys = ready["accounts"][account]
    return ccxt_client(ready["rest"], ready["ws"], keys["api_key"], keys["api_secret"])


def test_the_guard_refuses_the_real_venue() -> None:
    with pytest.raises(Exception, match="look-up of api") as refusal:
        ccxt_client("").fetch_time()
    chain, error = [], refusal.value
    while error is not None:
        chain.append(type(error))
        error = error.__cause__ or error.__context__
    assert LeftLoopback in chain


def test_no_address_but_ours_remains() -> None:
    for build in (ccxt_client, ccxt_pro_client):
        client = build("http://127.0.0.1:1", "ws://127.0.0.1:1")
        refuse_foreign_urls(client.urls, "http://127.0.0.1:1", "ws://127.0.0.1:1")
        assert "binance.com" not in str(client.urls)
        assert client.options.get("maxRetriesOnFailure", 0) == 0
    config = redirect_ccxt("http://127.0.0.1:1", "ws://127.0.0.1:1")
    assert config["urls"]["api"]["sapi"] == "http://127.0.0.1:1/sapi/v1"
    assert config["urls"]["api"]["ws"]["ws-api"]["spot"] == "ws://127.0.0.1:1/ws-api/v3"
    with pytest.raises(Misconfigured, match=r"urls\.api\.sapi"):
        refuse_foreign_urls({"api": {"sapi": "https://api.binance.com/sapi/v1"}}, "http://127.0.0.1:1", "ws://x")


def test_without_a_host_the_real_addresses_stay() -> None:
    assert urlsplit(ccxt_client("").urls["api"]["public"]).hostname == "api.binance.com"


def quoted_book(client: Any) -> Any:
    """The first order book with both sides: agents quote every half second of market time."""
    for _ in range(100):
        book = client.fetch_order_book(BTC, 5)
        if book["bids"] and book["asks"]:
            break
        time.sleep(0.05)
    return book


def test_markets_bars_and_book(ready: dict[str, Any]) -> None:
    client = blocking(ready)
    markets = client.load_markets()
    assert set(markets) == {"BTC/USDT", "ETH/USDT", "SOL/USDT", "BNB/USDT", "XRP/USDT", "ADA/USDT"}
    assert (markets[BTC]["precision"]["price"], markets[BTC]["precision"]["amount"]) == (0.01, 0.00001)
    assert (markets[BTC]["active"], markets[BTC]["limits"]["cost"]["min"]) == (True, 5.0)
    bars = client.fetch_ohlcv(BTC, "5m", limit=10)
    assert len(bars) == 10
    assert bars[-1][0] * 1000 <= ready["market_time"] + 3_600_000_000
    book = quoted_book(client)
    assert book["bids"][0][0] < book["asks"][0][0]
    raw = client.publicGetKlines({"symbol": "BTCUSDT", "interval": "1m", "limit": 2})
    assert isinstance(raw[0][1], str)


def test_an_order_lives_its_life_through_ccxt(ready: dict[str, Any]) -> None:
    client = blocking(ready)
    price = client.price_to_precision(BTC, client.fetch_order_book(BTC)["bids"][0][0] * 0.9)
    resting = client.create_order(BTC, "limit", "buy", 0.01, price, {"newClientOrderId": "ccxt-1"})
    assert (resting["status"], resting["clientOrderId"]) == ("open", "ccxt-1")
    assert [order["id"] for order in client.fetch_open_orders(BTC)] == [resting["id"]]
    assert client.fetch_balance()["USDT"]["used"] == pytest.approx(float(price) * 0.01)
    assert client.cancel_order(resting["id"], BTC)["status"] == "canceled"
    assert client.fetch_order(resting["id"], BTC)["status"] == "canceled"

    bought = client.create_order(BTC, "market", "buy", 0.01)
    assert (bought["status"], bought["filled"]) == ("closed", 0.01)
    trades = client.fetch_my_trades(BTC)
    assert sum(trade["amount"] for trade in trades) == pytest.approx(0.01)
    assert {trade["fee"]["currency"] for trade in trades} == {"BTC"}
    free = Decimal(str(client.fetch_balance()["BTC"]["free"]))
    assert free == Decimal("0.01") - sum(Decimal(t["info"]["commission"]) for t in trades)
    assert [order["id"] for order in client.fetch_orders(BTC)] == [resting["id"], bought["id"]]


def far(client: Any, fraction: float) -> float:
    """A price at a fraction of the middle."""
    book = client.fetch_order_book(BTC, 5)
    return float(client.price_to_precision(BTC, (book["bids"][0][0] + book["asks"][0][0]) / 2 * fraction))


def test_every_type_of_order_goes_through_ccxt(ready: dict[str, Any]) -> None:
    import ccxt

    client = blocking(ready, 3)
    client.load_markets()
    assert client.create_order(BTC, "market", "buy", 0.2)["status"] == "closed"
    low, high = far(client, 0.8), far(client, 1.2)
    fok = client.create_order(BTC, "limit", "buy", 0.01, high, {"timeInForce": "FOK"})
    assert (fok["status"], fok["timeInForce"]) == ("closed", "FOK")
    assert client.create_order(BTC, "limit", "buy", 0.01, low, {"timeInForce": "FOK"})["status"] == "expired"
    ioc = client.create_order(BTC, "limit", "buy", 0.01, low, {"timeInForce": "IOC"})
    assert (ioc["status"], ioc["filled"]) == ("expired", 0)
    maker = client.create_order(BTC, "limit", "buy", 0.01, low, {"postOnly": True})
    assert (maker["status"], maker["info"]["type"], maker["postOnly"]) == ("open", "LIMIT_MAKER", True)
    with pytest.raises(ccxt.OrderImmediatelyFillable):
        client.create_order(BTC, "limit", "buy", 0.01, high, {"postOnly": True})
    waiting = [
        client.create_order(BTC, "market", "sell", 0.01, None, {"stopLossPrice": low}),
        client.create_order(BTC, "limit", "sell", 0.01, far(client, 0.79), {"stopLossPrice": low}),
        client.create_order(BTC, "market", "sell", 0.01, None, {"takeProfitPrice": high}),
        client.create_order(BTC, "limit", "buy", 0.01, low, {"takeProfitPrice": low}),
        client.create_order(
            BTC, "market", "sell", 0.01, None, {"trailingPercent": 5, "stopLossOrTakeProfit": "stopLoss"}
        ),
    ]
    assert [order["info"]["type"] for order in waiting] == [
        "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT", "STOP_LOSS",
    ]  # fmt: skip
    assert {order["status"] for order in waiting} == {"open"}
    assert waiting[0]["triggerPrice"] == pytest.approx(low)
    assert int(waiting[4]["info"]["trailingDelta"]) == 500
    with pytest.raises(ccxt.OrderImmediatelyFillable):
        client.create_order(BTC, "market", "buy", 0.01, None, {"takeProfitPrice": high})
    iceberg = client.create_order(BTC, "limit", "buy", 0.05, low, {"icebergAmount": 0.01})
    assert iceberg["info"]["icebergQty"] == "0.01000000"
    edited = client.edit_order(maker["id"], BTC, "limit", "buy", 0.02, far(client, 0.81))
    assert (edited["amount"], edited["status"]) == (0.02, "open")
    assert client.fetch_order(maker["id"], BTC)["status"] == "canceled"
    assert len(client.cancel_all_orders(BTC)) == 7
    assert client.fetch_open_orders(BTC) == []
    assert client.create_order(BTC, "limit", "buy", 0.01, low, {"test": True})["id"] is None


def test_fees_come_through_ccxt(ready: dict[str, Any]) -> None:
    fee = blocking(ready).fetch_trading_fee(BTC)
    assert (fee["maker"], fee["taker"]) == (0.0005, 0.0005)


def test_tickers_and_trades_come_through_ccxt(ready: dict[str, Any]) -> None:
    client = blocking(ready)
    ticker = client.fetch_ticker(BTC)
    assert ticker["low"] <= ticker["last"] <= ticker["high"]
    assert ticker["vwap"] == pytest.approx(ticker["quoteVolume"] / ticker["baseVolume"])
    assert ticker["bid"] < ticker["ask"]
    assert len(client.fetch_tickers()) == 6
    trades = client.fetch_trades(BTC, limit=50)
    later = client.fetch_trades(BTC, since=trades[10]["timestamp"], limit=5)
    assert len(later) == 5
    assert later[0]["timestamp"] >= trades[10]["timestamp"]
    assert all(trade["amount"] > 0 for trade in trades)


def test_refusals_arrive_as_ccxts_exceptions(ready: dict[str, Any]) -> None:
    import ccxt

    client = blocking(ready, 1)
    with pytest.raises(ccxt.InsufficientFunds):
        client.create_order(BTC, "market", "sell", 1)
    with pytest.raises(ccxt.OrderNotFound):
        client.cancel_order("999999999", BTC)
    with pytest.raises(ccxt.BadSymbol):
        client.publicGetKlines({"symbol": "NOPE", "interval": "1m"})
    stranger = ccxt_client(ready["rest"], ready["ws"], "x" * 64, "y" * 64)
    with pytest.raises(ccxt.AuthenticationError):
        stranger.fetch_balance()
    client.secret = "wrong"
    with pytest.raises(ccxt.AuthenticationError):
        client.fetch_balance()


def test_the_second_venue_trades_through_ccxt_by_its_own_rules(ready: dict[str, Any]) -> None:
    import ccxt

    second = ready["venues"][1]
    keys = second["accounts"][0]
    client = ccxt_client(second["rest"], second["ws"], keys["api_key"], keys["api_secret"])
    assert (second["name"], client.load_markets()[BTC]["precision"]["price"]) == ("andina", 0.1)
    assert client.create_order(BTC, "market", "buy", 0.01)["status"] == "closed"
    stranger = blocking(ready)
    stranger.urls = client.urls
    with pytest.raises(ccxt.AuthenticationError):
        stranger.fetch_balance()
    assert abs(client.fetch_ticker(BTC)["last"] / blocking(ready).fetch_ticker(BTC)["last"] - 1) < 0.02


@pytest.fixture
async def streaming(ready: dict[str, Any]) -> AsyncIterator[Any]:
    keys = ready["accounts"][2]
    client = ccxt_pro_client(ready["rest"], ready["ws"], keys["api_key"], keys["api_secret"])
    try:
        await client.load_markets()
        yield client
    finally:
        await client.close()


async def soon(awaitable: Awaitable[T]) -> T:
    return await asyncio.wait_for(awaitable, 20)


async def test_market_data_streams_through_ccxt(streaming: Any) -> None:
    trades = await soon(streaming.watch_trades(BTC))
    assert {trade["symbol"] for trade in trades} == {BTC}
    ticker = await soon(streaming.watch_ticker(BTC))
    assert ticker["low"] <= ticker["last"] <= ticker["high"]
    tickers = await soon(streaming.watch_tickers([BTC, "ADA/USDT"]))
    assert set(tickers) <= {BTC, "ADA/USDT"}
    bars = await soon(streaming.watch_ohlcv(BTC, "1m"))
    assert bars[-1][0] % 60_000 == 0
    for _ in range(10):
        book = await soon(streaming.watch_order_book(BTC))
    assert book["bids"][0][0] < book["asks"][0][0]
    several = await soon(streaming.watch_bids_asks([BTC, "ADA/USDT"]))
    assert all(quote["bid"] < quote["ask"] for quote in several.values())


async def test_orders_and_balances_stream_through_ccxt(streaming: Any) -> None:
    orders = asyncio.create_task(soon(streaming.watch_orders(BTC)))
    balances = asyncio.create_task(soon(streaming.watch_balance()))
    await asyncio.sleep(1)
    placed = await streaming.create_order(BTC, "market", "buy", 0.02)
    seen = await orders
    while seen[-1]["status"] != "closed":
        seen = await soon(streaming.watch_orders(BTC))
    assert (seen[-1]["id"], seen[-1]["filled"]) == (placed["id"], 0.02)
    assert (await balances)["BTC"]["free"] == pytest.approx(0.02, rel=1e-3)
