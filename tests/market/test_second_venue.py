"""The second venue: other rules, fees, latency and prices under the same clock."""

import asyncio
import time
from collections.abc import AsyncIterator
from decimal import Decimal

import aiohttp
import numpy as np
import pytest
from served_exchange import Served

from lake.instruments import ANDINA, instrument
from lake.intervals import SECOND
from market.book import BUY, SELL
from market.candles import CLOSE, HIGH, LOTS, LOW, OPEN
from market.clock import MarketClock
from market.errors import Refused
from market.orders import NewOrder
from market.scenario import Scenario
from market.second_venue import SecondVenue
from market.server import listening
from market.venue import Link, Venue, build_venue

BTC = 0
COSTS_BPS = 5 + 6
"""Taker fees at both venues, in basis points."""


def both(seed: int = 4, days: int = 2) -> Venue:
    return build_venue(Scenario(seed, days=days), 60.0, True, 2, Decimal(5), Decimal(100_000), SecondVenue())


def middle(venue: Venue, i: int) -> float:
    bid, ask = (int(venue.exchange.depth(i, side, 1)[0, 0]) for side in (BUY, SELL))
    return (bid + ask) / 2 * float(venue.exchange.instruments[i].price_tick)


@pytest.fixture(scope="module")
def lived() -> tuple[Venue, np.ndarray]:
    """Half an hour of both venues, and every half second bid and ask of BTC at both: [steps, venue, side]."""
    first, quotes = both(), []
    second = first.companions[0]
    for _ in range(3600):
        first.advance(first.exchange.time + SECOND // 2)
        row = []
        for venue in (first, second):
            venue.exchange.outbox.trades.clear()
            tick = float(venue.exchange.instruments[BTC].price_tick)
            row.append([int(venue.exchange.depth(BTC, side, 1)[0, 0]) * tick for side in (BUY, SELL)])
        quotes.append(row)
    return first, np.array(quotes)


def test_the_first_venue_is_the_same_with_and_without_a_second() -> None:
    alone = build_venue(Scenario(4, days=2), 60.0, True, 2, Decimal(5), Decimal(100_000))
    beside = both()
    for venue in (alone, beside):
        venue.advance(venue.exchange.time + 45 * SECOND)
    assert alone.exchange.outbox.trades == beside.exchange.outbox.trades
    assert (alone.exchange.candles.bars == beside.exchange.candles.bars).all()
    assert alone.accounts.keys() == beside.accounts.keys()


def test_both_venues_stand_at_the_same_instant_and_have_keys_of_their_own(lived: tuple[Venue, np.ndarray]) -> None:
    first, _ = lived
    second = first.companions[0]
    assert first.exchange.time == second.exchange.time
    assert not first.accounts.keys() & second.accounts.keys()
    assert [venue.name for venue in second.venues] == ["binance", "andina"]


def test_spreads_between_the_venues_are_sometimes_wider_than_costs_and_mostly_not(
    lived: tuple[Venue, np.ndarray],
) -> None:
    _, quotes = lived
    buy_first = (quotes[:, 1, BUY] / quotes[:, 0, SELL] - 1) * 1e4
    buy_second = (quotes[:, 0, BUY] / quotes[:, 1, SELL] - 1) * 1e4
    wide = (np.maximum(buy_first, buy_second) > COSTS_BPS).mean()
    assert 0.002 < wide < 0.3
    assert (quotes[:, :, BUY] < quotes[:, :, SELL]).all()


def test_the_second_venue_follows_the_first_and_not_the_other_way(lived: tuple[Venue, np.ndarray]) -> None:
    _, quotes = lived
    moves = np.diff(np.log(quotes.mean(axis=2)), axis=0)
    leads = np.corrcoef(moves[:-1, 0], moves[1:, 1])[0, 1]
    lags = np.corrcoef(moves[1:, 0], moves[:-1, 1])[0, 1]
    assert leads > 0.2
    assert leads > lags + 0.15


def test_money_is_conserved_at_each_venue(lived: tuple[Venue, np.ndarray]) -> None:
    for venue in lived[0].venues:
        fresh = both().venues[lived[0].venues.index(venue)]
        assert venue.exchange.totals() == fresh.exchange.totals()
        assert venue.exchange.least_balance() >= 0


def test_its_past_lies_on_its_own_grid_and_near_the_first_venues() -> None:
    first = both(days=3)
    ours, theirs = first.exchange, first.companions[0].exchange
    for i in range(6):
        bars, held = ours.candles.bars[i, :-1].astype(float), theirs.candles.bars[i, :-1].astype(float)
        ratio = held[:, CLOSE] * float(theirs.instruments[i].price_tick)
        ratio /= bars[:, CLOSE] * float(ours.instruments[i].price_tick)
        assert np.abs(np.log(ratio)).max() < 50e-4
        assert np.log(ratio).std() > 4e-4
        assert (held[:, LOW] <= np.minimum(held[:, OPEN], held[:, CLOSE])).all()
        assert (held[:, HIGH] >= np.maximum(held[:, OPEN], held[:, CLOSE])).all()
        share = (held[:, LOTS] * float(theirs.instruments[i].quantity_step)).sum()
        share /= (bars[:, LOTS] * float(ours.instruments[i].quantity_step)).sum()
        assert 0.3 < share < 0.45


def test_its_filters_and_fees_are_its_own() -> None:
    first = both()
    first.advance(first.exchange.time + SECOND)
    ours, theirs = first.exchange, first.companions[0].exchange
    small = NewOrder(BTC, BUY, "MARKET", None, Decimal(7))
    assert ours.submit(ours.accounts[0], small).status == "FILLED"
    with pytest.raises(Refused, match="NOTIONAL"):
        theirs.submit(theirs.accounts[0], small)
    bid = int(theirs.depth(BTC, BUY, 1)[0, 0]) * theirs.instruments[BTC].price_tick
    with pytest.raises(Refused, match="PRICE_FILTER"):
        order = NewOrder(BTC, BUY, "LIMIT", Decimal("0.01"), None, bid + Decimal("0.01"))
        theirs.submit(theirs.accounts[0], order)
    bought = theirs.submit(theirs.accounts[0], NewOrder(BTC, BUY, "MARKET", Decimal("0.1")))
    paid = sum(fill.fee for fill in bought.fills)
    assert paid == pytest.approx(0.1 * 1e8 * 6e-4, abs=len(bought.fills))
    assert theirs.commission_rates(theirs.accounts[0].owner) == (200, 600)


def test_a_catalogue_id_names_either_venue() -> None:
    assert instrument("andina:BTC/USDT") is ANDINA["andina:BTC/USDT"]
    assert instrument("binance:BTC/USDT").price_tick == Decimal("0.01")


async def test_a_request_travels_in_market_time_and_keeps_its_place() -> None:
    first = both()
    wall = [0]
    clock = MarketClock(first.exchange.time, 10.0, lambda: wall[0])
    venue = Venue(first.companions[0].exchange, clock, "andina", Link(200.0, 50.0))
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        wall[0] += int(seconds * 1e9) + 1

    clock.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "sleep", sleep)
        arrivals = []
        for _ in range(20):
            before = clock.now()
            await venue.travel()
            arrivals.append(clock.now() - before)
        assert min(arrivals) >= 200_000
        assert 220_000 < np.mean(arrivals) < 320_000
        assert slept[0] == pytest.approx(arrivals[0] / 10 / 1e6, rel=0.01)
        clock.pause()
        count = len(slept)
        await venue.travel()
        assert len(slept) == count


@pytest.fixture
async def served() -> AsyncIterator[tuple[Served, Served]]:
    """Both venues on their ports, and a client of each."""
    venue = both()
    venue.advance(venue.exchange.time + 30 * SECOND)
    venue.clock.move_to(venue.exchange.time)
    async with listening(venue) as (_, admin), aiohttp.ClientSession() as http:
        yield tuple(  # type: ignore[misc]
            Served(one, f"http://{one.address}", f"ws://{one.address}", f"http://{admin}", http) for one in venue.venues
        )


async def test_both_are_served_in_the_same_formats_on_ports_of_their_own(served: tuple[Served, Served]) -> None:
    first, second = served
    assert first.rest != second.rest
    _, info = await second.get("exchangeInfo", symbol="BTCUSDT")
    filters = {row["filterType"]: row for row in info["symbols"][0]["filters"]}
    assert (filters["PRICE_FILTER"]["tickSize"], filters["NOTIONAL"]["minNotional"]) == ("0.10000000", "10.00000000")
    status, order = await second.signed("POST", "order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01")
    assert (status, order["status"]) == (200, "FILLED")
    assert (await first.signed("GET", "allOrders", symbol="BTCUSDT"))[1] == []
    keys = first.venue.exchange.accounts[0]
    headers = {"X-MBX-APIKEY": keys.api_key}
    query = f"timestamp={time.time_ns() // 1_000_000}&signature=00"
    async with second.http.get(f"{second.rest}/api/v3/account?{query}", headers=headers) as reply:
        assert (await reply.json())["code"] == -2015


async def test_streams_of_both_venues_run_and_pause_together(served: tuple[Served, Served]) -> None:
    first, second = served
    sockets = [await one.socket("/ws/btcusdt@aggTrade") for one in served]
    events = [await socket.receive_json(timeout=10) for socket in sockets]
    assert [event["e"] for event in events] == ["aggTrade", "aggTrade"]
    async with first.http.post(f"{first.admin}/pause"):
        pass
    refused = await second.signed("POST", "order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01")
    assert refused[1] == {"code": -1013, "msg": "Market is closed."}
    assert first.venue.exchange.time == second.venue.exchange.time


async def test_derivatives_trade_at_both_venues_with_filters_and_fees_of_their_own() -> None:
    terms = SecondVenue(latency_ms=0.0, jitter_ms=0.0)
    first = build_venue(
        Scenario(4, days=2), 60.0, True, 2, Decimal(5), Decimal(100_000), terms, with_derivatives=True
    )  # fmt: skip
    first.advance(first.exchange.time + 20 * SECOND)
    second = first.companions[0]
    perpetuals = []
    for venue in (first, second):
        exchange = venue.exchange
        (i,) = (k for k, c in enumerate(exchange.contracts) if c.id == f"{venue.name}:BTC/USDT:USDT")
        bid, ask = (int(exchange.depth(i, side, 1)[0, 0]) for side in (BUY, SELL))
        tick = float(exchange.instruments[i].price_tick)
        perpetuals.append((bid + ask) / 2 * tick)
        assert bid < ask
        exchange.submit(exchange.accounts[0], NewOrder(i, BUY, "MARKET", Decimal("0.01")))
        (fill,) = exchange.accounts[0].fills[i][:1]
        rate = {"binance": 5e-4, "andina": 5.5e-4}[venue.name]
        assert fill.fee == pytest.approx(fill.units * rate, abs=1)
    assert abs(perpetuals[1] / perpetuals[0] - 1) < 0.01
    assert second.exchange.instruments[i].price_tick == 5 * first.exchange.instruments[i].price_tick
    async with listening(first), aiohttp.ClientSession() as http:
        for venue in first.venues:
            async with http.get(f"http://{venue.address}/fapi/v1/exchangeInfo") as reply:
                assert reply.status == 200
                listed = {row["symbol"] for row in (await reply.json())["symbols"]}
                assert {"BTCUSDT", "ETHUSDT"} <= listed and any("_" in symbol for symbol in listed)
            async with http.get(f"http://{venue.address}/fapi/v1/premiumIndex?symbol=BTCUSDT") as reply:
                told = {name: float(value) for name, value in (await reply.json()).items() if name.endswith("Price")}
                spot_price = middle(venue, BTC)
                assert told["indexPrice"] == pytest.approx(spot_price, rel=0.01)
                assert told["markPrice"] == pytest.approx(spot_price, rel=0.02)
