"""A strategy file over books, trades and time in live: each order's decision says what led to it."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from lake.journal import read_journal
from live.account import Account
from live.feed import Frame
from live.market_data import MarketData
from live.risk import Limits
from live.strategy_path import News, StrategyPath
from market.runner import Runner
from market.strategy import Account as View
from market.strategy import Book, Cancel, Command, Fill, Order, Strategy, Trade
from tests.live.fakes import BTC, MARKET_TIME, TRADED, open_account, open_gateway, start
from tests.live.test_live_market_data import quote, trade
from tests.live.test_strategy_path import Feed, Venue, frame

SECOND = 1_000_000


@dataclass
class Listener(Strategy):
    """Answers each kind of event with what its script holds for it, once."""

    script: dict[str, list[Command]] = field(default_factory=dict)
    heard: list[tuple[str, object]] = field(default_factory=list)
    book_levels = 1
    interval_us = SECOND

    def _answer(self, kind: str, what: object) -> list[Command]:
        self.heard.append((kind, what))
        return self.script.pop(kind, [])

    def on_book(self, book: Book, account: View) -> Iterable[Command]:
        return self._answer("book", book.bids[0][0] if book.bids else None)

    def on_trade(self, trade: Trade, account: View) -> Iterable[Command]:
        return self._answer("trade", trade.price)

    def on_time(self, time: int, account: View) -> Iterable[Command]:
        return self._answer("time", time)

    def on_fill(self, fill: Fill, account: View) -> Iterable[Command]:
        return self._answer("fill", fill.price)


class DepthVenue(Venue):
    async def read(self, path: str, parameters: Any = None, signed: bool = True) -> Any:
        if path.endswith("depth"):
            return {"lastUpdateId": 10, "bids": [["40000.00", "1"]], "asks": [["40001.00", "1"]]}
        return await super().read(path, parameters, signed)


class World:
    def __init__(self, folder: Path, **script: list[Command]) -> None:
        self.folder, self.strategy, self.venue, self.feed = folder, Listener(script), DepthVenue(), Feed()
        self.account: Account = start(open_account(folder))
        self.gateway = open_gateway(self.account, self.venue, Limits(Decimal(20_000), Decimal(20_000)))
        self.market = MarketData({BTC: TRADED[BTC]}, self.venue, self.account.clock, 1, True)
        runner = Runner(self.strategy, [TRADED[BTC]], Decimal(10_000))
        self.path = StrategyPath(
            self.account, self.gateway, self.venue, runner, self.feed, "digest", None, self.market,  # type: ignore[arg-type]
        )  # fmt: skip

    async def begin(self) -> None:
        """An open bar, so that history is there, and the book's snapshot."""
        closed = frame(0)
        await self.path.take(Frame(BTC, closed.text, closed.kline, closed.market_time, closed.received))
        self.market.connected()
        await self.market.settled()
        await self.turn()

    async def turn(self) -> None:
        await self.path.take(News())

    def records(self, kind: str) -> list[Any]:
        self.account.journal.sync()
        return [r for r in read_journal(self.folder / "journal.log")[0] if r["kind"] == kind]


def buy(quantity: float = 0.01, **words: Any) -> Order:
    return Order(BTC, "buy", quantity, **words)


async def test_the_decision_of_an_order_says_which_trade_book_or_time_led_to_it(tmp_path: Path) -> None:
    world = World(tmp_path, trade=[buy()], book=[buy()])
    await world.begin()
    world.market.take(BTC, trade(7, "40000.50"))
    await world.turn()
    world.strategy.script["time"] = [buy()]
    world.account.clock.observe(world.account.clock.now + SECOND)
    await world.turn()
    decisions = [r for r in world.records("decision") if "event" in r]
    assert [(r["reason"], r["event"]["id"]) for r in decisions][:2] == [("book", 10), ("trade", 7)]
    time = decisions[2]["event"]["id"]
    assert (decisions[2]["reason"], time % SECOND, time <= world.account.clock.now) == ("time", 0, True)
    assert decisions[1]["event"]["payload"] == trade(7, "40000.50")
    known = orjson.loads(decisions[2]["event"]["payload"])
    assert known == {"time": time, "known": {BTC: {"update_id": 10, "trade_id": 7}}}
    for record in decisions:
        assert record["frame_hash"] == hashlib.sha256(record["event"]["payload"].encode()).hexdigest()
        assert record["event"]["received_time"] > 0
        assert record["open_time"] <= record["event_time"] <= record["available_time"]
    assert [r["decision_id"] for r in world.records("intent")] == [r["decision_id"] for r in decisions]


async def test_events_that_lead_to_nothing_are_not_written_down(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.begin()
    for number in range(5):
        world.market.take(BTC, trade(number, "40000.50"))
    await world.turn()
    assert [kind for kind, _ in world.strategy.heard].count("trade") == 5
    assert [r for r in world.records("decision") if "event" in r] == []


async def test_an_order_that_a_fill_led_to_serves_the_decision_of_the_order_filled(tmp_path: Path) -> None:
    world = World(tmp_path, trade=[buy()], fill=[Order(BTC, "sell", 0.005)])
    await world.begin()
    world.market.take(BTC, trade(7, "40000.50"))
    await world.turn()
    first, second = world.records("intent")
    assert (first["side"], second["side"]) == ("buy", "sell")
    assert first["decision_id"] == second["decision_id"] != ""


async def test_nothing_is_bought_while_the_book_is_unknown_and_what_is_held_may_be_sold(tmp_path: Path) -> None:
    world = World(tmp_path, book=[buy()])
    await world.begin()
    assert len(world.venue.posts) == 1
    world.strategy.script["book"] = [buy(), Order(BTC, "sell", 0.005)]
    world.market.take(BTC, quote(11, "40002.00", "40001.00"))
    await world.turn()
    assert ("book", None) in world.strategy.heard, "crossed: shown as unknown"
    assert [r["side"] for r in world.records("intent")] == ["buy", "sell"]
    assert world.gateway.refusals["book"] == 1
    await world.market.settled()
    await world.turn()
    assert world.strategy.heard[-1] == ("book", 40_000.0)


async def test_times_that_passed_unseen_are_left_out_and_one_turn_is_asked_for_at_a_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.begin()
    world.strategy.heard.clear()
    while not world.feed.frames.empty():
        world.feed.frames.get_nowait()
    world.account.clock.observe(MARKET_TIME // SECOND * SECOND + 10**9)
    now = world.account.clock.now
    for number in range(3):
        world.market.take(BTC, trade(number, "40000.50"))
    assert world.feed.frames.qsize() == 1
    await world.turn()
    assert [what for kind, what in world.strategy.heard if kind == "time"] == [now // SECOND * SECOND]
    await world.turn()
    assert len(world.strategy.heard) == 4, "three trades, one time, and nothing twice"


async def test_before_every_instrument_has_its_history_the_market_is_not_listened_to(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.market.connected()
    await world.market.settled()
    world.market.take(BTC, trade(1, "40000.50"))
    await world.turn()
    assert world.strategy.heard == []
    await world.path.take(frame(0))
    assert [kind for kind, _ in world.strategy.heard][:2] == ["trade", "book"]


@pytest.mark.parametrize("gone", [False, True])
async def test_a_cancel_is_a_command_too(tmp_path: Path, gone: bool) -> None:
    world = World(tmp_path, trade=[buy(kind="limit", limit_price=30_000.0, id="a")])
    world.venue.faults = [] if gone else ["late"]
    await world.begin()
    world.market.take(BTC, trade(7, "40000.50"))
    await world.turn()
    world.strategy.script["trade"] = [Cancel("a")]
    world.market.take(BTC, trade(8, "40000.50"))
    await world.turn()
    reasons = [r["event"]["id"] for r in world.records("decision") if "event" in r]
    assert reasons == ([7] if gone else [7, 8]), "an order that is over needs no cancel and no decision"
