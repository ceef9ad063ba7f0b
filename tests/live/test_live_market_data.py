"""Books and trades on their way to a strategy: what is lost is asked for again, what is doubtful is never shown."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from lake.errors import BadInput
from live import market_data
from live.clock import MarketClock
from live.errors import VenueUnavailable
from live.market_data import MarketData
from market.strategy import Book, Trade
from market.turns import Heard
from tests.live.fakes import BTC, ETH, TRADED

NOW = 1_700_000_000_000_000


class Reader:
    """Answers snapshots of one level a side, as of `last_id`, when `gate` lets it."""

    def __init__(self) -> None:
        self.last_id, self.bid, self.asked, self.down = 10, "100.00", 0, False
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self, path: str, parameters: dict[str, str], signed: bool = True) -> Any:
        self.asked += 1
        await self.gate.wait()
        if self.down:
            raise VenueUnavailable("down")
        return {"lastUpdateId": self.last_id, "bids": [[self.bid, "1"]], "asks": [["101.00", "1"]]}


def depth(first: int, final: int, bid: str = "100.50") -> str:
    event = {"e": "depthUpdate", "E": NOW // 1000, "s": "BTCUSDT", "U": first, "u": final, "b": [[bid, "1"]], "a": []}
    return orjson.dumps(event).decode()


def trade(number: int, price: str = "100.00") -> str:
    event = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": number, "p": price, "q": "2", "T": NOW // 1000, "m": True}
    return orjson.dumps(event).decode()


def quote(number: int, bid: str, ask: str = "101.00") -> str:
    return orjson.dumps({"u": number, "s": "BTCUSDT", "b": bid, "B": "1", "a": ask, "A": "1"}).decode()


def data(reader: Reader, levels: int = 5, trades: bool = True, lockstep: bool = False) -> MarketData:
    return MarketData({BTC: TRADED[BTC]}, reader, MarketClock(), levels, trades, lockstep)


def books(heard: list[Heard]) -> list[tuple[float, ...]]:
    """The bids' prices of each book shown."""
    return [tuple(price for price, _ in each.event.bids) for each in heard if isinstance(each.event, Book)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 (the condition is the test's own)
            await asyncio.sleep(0.005)


def test_what_is_subscribed_follows_from_what_is_wanted() -> None:
    assert [data(Reader(), levels, trades).streams("x") for levels, trades in ((0, True), (1, False), (5, True))] == [
        ["x@trade"], ["x@bookTicker"], ["x@depth@100ms", "x@trade"],
    ]  # fmt: skip


async def test_a_gap_hides_the_book_until_one_snapshot_has_come() -> None:
    reader = Reader()
    market = data(reader)
    market.connected()
    assert not market.is_known(BTC) and books(market.show(1)) == []
    await market.settled()
    assert market.is_known(BTC) and books(market.show(1)) == [(100.0,)]
    reader.gate.clear()
    market.take(BTC, depth(11, 12))
    market.take(BTC, depth(14, 15))
    assert books(market.show(2)) == [()], "shown as unknown, never as it was"
    market.take(BTC, depth(16, 17, "100.60"))
    await until(lambda: reader.asked == 2)
    reader.last_id = 15
    reader.gate.set()
    await market.settled()
    (shown,) = market.show(3)
    assert (shown.event.time, books([shown]), shown.id) == (3, [(100.6, 100.0)], 17)
    assert reader.asked == 2, "one request at a time"
    assert market.counts["books_lost_gap"] == 1


async def test_a_snapshot_is_asked_for_until_one_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(market_data, "MOST_DELAY", 0.02)
    reader = Reader()
    reader.down = True
    market = data(reader)
    market.connected()
    await until(lambda: reader.asked >= 3)
    assert not market.is_known(BTC)
    reader.down = False
    await until(lambda: market.is_known(BTC))


async def test_a_silent_book_stands_while_the_venue_vouches_for_it_and_is_given_up_when_it_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(market_data, "STALE_SECONDS", 0.1)
    monkeypatch.setattr(market_data, "WATCH_SECONDS", 0.01)
    reader = Reader()
    market = data(reader)
    market.connected()
    watching = asyncio.create_task(market.watch())
    await until(lambda: reader.asked >= 6)
    assert market.counts["books_lost_stale"] == 0, "quiet, and proven again and again"
    reader.last_id = 99
    await until(lambda: market.counts["books_lost_stale"] >= 1)
    await until(lambda: market.is_known(BTC))
    watching.cancel()
    market.close()


async def test_a_level_shown_is_shown_again_only_when_it_differs_and_the_newest_wins() -> None:
    market = data(Reader(), levels=1)
    market.connected()
    await market.settled()
    assert books(market.show(1)) == [(100.0,)]
    market.counts.clear()
    for number, bid in ((11, "100.10"), (12, "100.20"), (9, "90.00")):
        market.take(BTC, quote(number, bid))
    assert books(market.show(2)) == [(100.2,)]
    assert market.counts["books_coalesced"] == 1
    market.take(BTC, quote(13, "100.20"))
    assert market.show(3) == []
    market.take(BTC, quote(14, "100.30"))
    (shown,) = market.show(4)
    assert not market.is_superseded(shown)
    market.take(BTC, quote(15, "100.30"))
    assert market.is_superseded(shown), "left out while a newer one waits"
    assert books(market.show(5)) == [(100.3,)], "which is shown though its levels are the same"


async def test_trades_come_once_and_in_full_and_what_is_missing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(market_data, "MOST_TRADES", 3)
    market, woken = data(Reader(), levels=0), []
    market.on_news = lambda: woken.append(1)
    for number in (5, 6, 6, 9):
        market.take(BTC, trade(number))
    heard = market.show(7)
    assert [each.id for each in heard] == [5, 6, 9]
    assert heard[0].event == Trade(BTC, 7, 100.0, 2.0, "sell")
    assert (heard[0].market_time, heard[0].payload) == (NOW, trade(5))
    assert (market.counts["trades_twice"], market.counts["trades_missed"], len(woken)) == (1, 2, 3)
    for number in range(10, 15):
        market.take(BTC, trade(number))
    assert [each.id for each in market.show(8)] == [12, 13, 14]
    assert market.counts["trades_dropped"] == 2
    for price in ("0", "nan", "-1"):
        with pytest.raises(BadInput):
            market.take(BTC, trade(20, price))
    assert market.is_known(BTC), "no book was asked for"


async def test_an_unreadable_message_loses_the_book() -> None:
    market = MarketData({name: TRADED[name] for name in (BTC, ETH)}, Reader(), MarketClock(), 5, True)
    market.connected()
    await market.settled()
    with pytest.raises(BadInput):
        market.take(BTC, depth(11, 12, "zero"))
    assert (market.is_known(BTC), market.is_known(ETH)) == (False, True)
    market.close()
