"""The options chain over HTTP: Deribit's fields, prices without arbitrage, a past that ends in the present."""

import math
from collections.abc import AsyncIterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from lake.instruments import INSTRUMENTS
from lake.intervals import DAY, HOUR, MINUTE
from market.candles import CLOSE, Candles
from market.contracts import scales_of, spot
from market.deribit import Deribit
from market.option_chain import Chain, expiries, step_near
from market.scenario import Scenario, simulate_history

HISTORY = simulate_history(Scenario(5, days=40))
SPOT = [INSTRUMENTS[name] for name in HISTORY.instruments]


def _candles() -> Candles:
    ticks = np.array([float(1 / instrument.price_tick) for instrument in SPOT])
    lots = np.array([float(1 / instrument.quantity_step) for instrument in SPOT])
    return Candles.after(HISTORY, scales_of([spot(i) for i in SPOT]), ticks, lots)


def _carry(base: str, expiry: int) -> float:
    """Five percent a year."""
    return 0.05 * (expiry - HISTORY.state.time_us) / (365 * DAY)


def _venue() -> Any:
    """As much of a venue as the options read: its bars, an empty book, a clock at the end of the history."""
    exchange = SimpleNamespace(
        instruments=SPOT, candles=_candles(), time=HISTORY.state.time_us, trading=True,
        depth=lambda i, side, limit: np.empty((0, 2), np.int64),
    )  # fmt: skip
    return SimpleNamespace(exchange=exchange, catch_up=lambda: None, publish=lambda: None)


@pytest_asyncio.fixture
async def client() -> AsyncIterator[TestClient[Any, Any]]:
    app = web.Application()
    app.add_routes(Deribit(_venue(), _carry).routes())
    async with TestClient(TestServer(app)) as served:
        yield served


async def get(client: TestClient[Any, Any], method: str, **values: Any) -> Any:
    answer = await client.get(f"/api/v2/{method}", params=values)
    body = orjson.loads(await answer.read())
    assert body["jsonrpc"] == "2.0"
    assert (
        body["usDiff"] == body["usOut"] // 1 - body["usIn"] or abs(body["usDiff"] - body["usOut"] + body["usIn"]) <= 1
    )
    assert answer.status == (400 if "error" in body else 200)
    return body.get("result", body.get("error"))


def test_expiries_are_deribits_days_fridays_and_quarters() -> None:
    now = 1_704_712_781_414_000  # 2024-01-08 11:19 UTC, when the recorded chain was read
    listed = expiries(now)
    assert [e.name for e in listed] == [
        "9JAN24", "10JAN24", "11JAN24", "12JAN24", "19JAN24", "26JAN24", "23FEB24", "29MAR24", "28JUN24", "27SEP24",
        "27DEC24",
    ]  # fmt: skip
    assert [e.kind for e in listed[2:6]] == ["day", "week", "week", "month"]
    assert {e.kind for e in listed[-4:]} == {"quarter"}
    assert all(now >= e.listed_from for e in listed)


def test_an_expiry_leaves_at_eight_and_another_comes() -> None:
    eight = 1_704_787_200_000_000  # 2024-01-09 08:00
    before, after = expiries(eight - 1), expiries(eight)
    assert before[0].time == eight
    assert eight not in [e.time for e in after]
    assert {e.name for e in before} - {e.name for e in after} == {"9JAN24"}
    friday = 1_705_046_400_000_000  # 2024-01-12 08:00: the next Fridays move up by one
    assert {e.name for e in expiries(friday)} - {e.name for e in expiries(friday - 1)} == {"15JAN24", "2FEB24"}


def test_a_strike_step_is_round() -> None:
    assert [step_near(v) for v in (500.0, 499.0, 0.031, 2600.0)] == [500, 250, 0.025, 2500]


def test_strikes_only_ever_come_and_each_is_a_call_and_a_put() -> None:
    candles = _candles()
    chain = Chain("BTC", candles, 0, lambda base: 40_000.0, _carry)
    now = HISTORY.state.time_us
    first = set(chain.listing(now).names)
    candles.bars[0, candles.minutes - 1, 2] //= 2  # the low of the open bar: a crash
    later = set(chain.listing(now + MINUTE).names)
    assert first < later
    assert {name[:-1] for name in later if name.endswith("C")} == {name[:-1] for name in later if name.endswith("P")}


async def test_instruments_have_deribits_fields(client: TestClient[Any, Any]) -> None:
    rows = await get(client, "public/get_instruments", currency="BTC", kind="option")
    assert len(rows) > 300
    recorded = {  # of a recorded get_instrument answer of an option
        "price_index", "kind", "instrument_name", "option_type", "strike", "max_leverage", "maker_commission",
        "taker_commission", "instrument_type", "expiration_timestamp", "creation_timestamp", "is_active", "tick_size",
        "contract_size", "instrument_id", "min_trade_amount", "max_liquidation_commission", "block_trade_commission",
        "block_trade_min_trade_amount", "block_trade_tick_size", "settlement_currency", "settlement_period",
        "base_currency", "counter_currency", "quote_currency", "tick_size_steps",
    }  # fmt: skip
    assert recorded <= set(rows[0])
    assert len({row["instrument_id"] for row in rows}) == len(rows)
    one = await get(client, "public/get_instrument", instrument_name=rows[7]["instrument_name"])
    assert one == rows[7]
    everything = await get(client, "public/get_instruments")
    assert {row["base_currency"] for row in everything} == {"BTC", "ETH"}
    assert await get(client, "public/get_instruments", currency="BTC", kind="future") == []


async def test_the_quoted_chain_has_no_arbitrage(client: TestClient[Any, Any]) -> None:
    """Bids and asks alone: parity, verticals, butterflies within an expiry, calendars across them."""
    rows = await get(client, "public/get_book_summary_by_currency", currency="ETH", kind="option")
    by: dict[str, dict[float, dict[str, Any]]] = {}
    for row in rows:
        _, expiry, strike, letter = row["instrument_name"].split("-")
        by.setdefault(expiry, {}).setdefault(float(strike), {})[letter] = row
        assert row["ask_price"] >= (row["bid_price"] or 0) + 0.0001 - 1e-9
        assert (row["bid_price"] or 0) <= row["mark_price"] + 1e-6 <= row["ask_price"] + 2e-6
    for strikes in by.values():
        forward = next(iter(strikes.values()))["C"]["underlying_price"]
        for strike, pair in strikes.items():
            assert pair["C"]["mark_price"] - pair["P"]["mark_price"] == pytest.approx(1 - strike / forward, abs=3e-6)
        calls = [(k, strikes[k]["C"]) for k in sorted(strikes)]
        for (_, near), (_, far) in pairwise(calls):
            assert (far["bid_price"] or 0) <= near["ask_price"]
        for (a, low), (b, middle), (c, high) in zip(calls, calls[1:], calls[2:], strict=False):
            weight = (c - b) / (c - a)
            cost = weight * low["ask_price"] + (1 - weight) * high["ask_price"] - (middle["bid_price"] or 0)
            assert cost > 0


async def test_volatility_falls_to_the_index_at_thirty_days(client: TestClient[Any, Any]) -> None:
    now = HISTORY.state.time_us // 1000
    span = {"start_timestamp": now - 86_400_000, "end_timestamp": now, "resolution": 3600}
    data = (await get(client, "public/get_volatility_index_data", currency="BTC", **span))["data"]
    assert len(data) == 24
    assert all(low <= min(first, last) and max(first, last) <= high for _, first, high, low, last in data)
    rows = await get(client, "public/get_book_summary_by_currency", currency="BTC")
    at_money = [
        r["mark_iv"] for r in rows if abs(r["underlying_price"] / float(r["instrument_name"].split("-")[2]) - 1) < 0.04
    ]
    assert min(at_money) * 0.9 < data[-1][4] < max(at_money) * 1.2
    history = await get(client, "public/get_historical_volatility", currency="BTC")
    assert history[-1][0] == now
    assert len(history) == 384
    assert 20 < history[-1][1] < 150


async def test_the_past_of_the_index_does_not_depend_on_what_followed() -> None:
    whole, short = _candles(), _candles()
    short.minutes -= 5 * 1440
    ends = [Chain("BTC", c, 0, lambda base: 1.0, _carry).volatility.variances() for c in (whole, short)]
    assert np.array_equal(ends[0][:, : ends[1].shape[1]], ends[1])


async def test_the_index_follows_bar_by_bar_as_at_once() -> None:
    candles = _candles()
    minutes = candles.minutes
    candles.minutes = minutes - 300
    chain = Chain("BTC", candles, 0, lambda base: 1.0, _carry)
    for step in range(0, 301, 60):
        candles.minutes = minutes - 300 + step
        grown = chain.volatility.variances()
    np.testing.assert_allclose(grown, Chain("BTC", candles, 0, lambda base: 1.0, _carry).volatility.variances())


async def test_a_ticker_shows_greeks_and_a_book_that_agrees(client: TestClient[Any, Any]) -> None:
    rows = await get(client, "public/get_book_summary_by_currency", currency="BTC")
    row = min(rows, key=lambda r: abs(r["mark_price"] - 0.05))
    ticker = await get(client, "public/ticker", instrument_name=row["instrument_name"])
    assert ticker["mark_price"] == row["mark_price"]
    assert ticker["bid_iv"] <= ticker["mark_iv"] <= ticker["ask_iv"]
    assert set(ticker["greeks"]) == {"delta", "gamma", "vega", "theta", "rho"}
    assert (ticker["greeks"]["delta"] > 0) == row["instrument_name"].endswith("C")
    book = await get(client, "public/get_order_book", instrument_name=row["instrument_name"], depth=3)
    assert book["bids"][0] == [ticker["best_bid_price"], ticker["best_bid_amount"]]
    assert book["asks"][0][0] == ticker["best_ask_price"] == row["ask_price"]
    assert len(book["asks"]) == 3
    assert [p for p, _ in book["asks"]] == sorted(p for p, _ in book["asks"])
    trades = await get(client, "public/get_last_trades_by_instrument", instrument_name=row["instrument_name"])
    assert trades == {"trades": [], "has_more": False}


async def test_index_delivery_and_expirations(client: TestClient[Any, Any]) -> None:
    candles = _candles()
    price = (await get(client, "public/get_index_price", index_name="btc_usd"))["index_price"]
    assert price == pytest.approx(candles.bars[0, candles.minutes - 1, CLOSE] * 0.01)
    delivered = await get(client, "public/get_delivery_prices", index_name="btc_usd", count=2)
    assert len(delivered["data"]) == 2
    assert delivered["records_total"] == 40
    at = (8 * HOUR + 39 * DAY) // MINUTE
    assert delivered["data"][0]["delivery_price"] == pytest.approx(HISTORY.close[0, at - 30 : at].mean(), abs=1e-3)
    expirations = await get(client, "public/get_expirations", currency="BTC", kind="option")
    assert len(expirations["btc"]["option"]) >= 10


@pytest.mark.parametrize(
    ("method", "values", "code"),
    [
        ("public/ticker", {"instrument_name": "BTC-1JAN20-1-C"}, -32602),
        ("public/ticker", {}, -32602),
        ("public/get_instruments", {"currency": "DOGE"}, -32602),
        ("public/get_volatility_index_data", {"currency": "BTC", "resolution": "7"}, -32602),
        ("public/get_order_book", {"instrument_name": "BTC", "depth": "x"}, -32602),
        ("public/no_such_method", {}, -32601),
        ("private/buy", {"instrument_name": "BTC-1JAN20-1-C", "amount": 1}, 10033),
    ],
)
async def test_what_is_not_served_is_a_clear_error(
    client: TestClient[Any, Any], method: str, values: dict[str, Any], code: int
) -> None:
    error = await get(client, method, **values)
    assert error["code"] == code
    if method.startswith("private"):
        assert "quoted here and not traded" in error["data"]["reason"]


async def test_json_rpc_by_post_answers_with_the_same_id(client: TestClient[Any, Any]) -> None:
    request = {"jsonrpc": "2.0", "id": 42, "method": "public/get_index_price", "params": {"index_name": "eth_usd"}}
    answer = orjson.loads(await (await client.post("/api/v2/", data=orjson.dumps(request))).read())
    assert answer["id"] == 42
    assert math.isfinite(answer["result"]["index_price"])
    for body in (b"{", b"[]", b'{"method": 3}', b'{"method":"public/test","params":[1]}'):
        refused = await client.post("/api/v2", data=body)
        assert refused.status == 400
        assert orjson.loads(await refused.read())["error"]["code"] in (-32700, -32600)
