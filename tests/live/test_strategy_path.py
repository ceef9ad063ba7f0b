"""A strategy file in live: bars and fills in, orders through the gateway and the journal, nothing around them."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from lake.errors import UsageError
from lake.intervals import MINUTE
from lake.wire.binance import kline_from_frame
from live import node
from live.account import Account
from live.feed import Frame
from live.lockstep import Reached, Standing, standing_of
from live.orders import Side, Status
from live.risk import Limits
from live.strategy_path import StrategyPath
from market.runner import Runner
from market.strategy import Account as View
from market.strategy import Bar, Cancel, Command, Fill, Order, Strategy, Target
from tests.live.fakes import BTC, PRICE, TRADED, FakeVenue, market_order, open_account, open_gateway, start

BAR = 5 * MINUTE
NOW = 1_700_000_100_000_000 // BAR * BAR
CAPITAL = Decimal(10_000)


@dataclass
class Scripted(Strategy):
    """Answers each bar with the next list of commands and remembers what it was shown."""

    script: list[list[Command]] = field(default_factory=list)
    wants: int = 0
    bars: list[int] = field(default_factory=list)
    shown: list[int] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)

    @property
    def history(self) -> int:
        return self.wants

    def on_history(self, bar: Bar) -> None:
        self.shown.append(bar.open_time)

    def on_bar(self, bar: Bar, account: View) -> Iterable[Command]:
        self.bars.append(bar.open_time)
        return self.script.pop(0) if self.script else ()

    def on_fill(self, fill: Fill, account: View) -> Iterable[Command]:
        self.fills.append(fill)
        return ()


def row(open_time: int) -> list[Any]:
    opened = open_time // 1000
    return [opened, "40000", "40010", "39990", "40000", "1", opened + 299_999, "1", 1, "0", "0", "0"]


class Venue(FakeVenue):
    """Also has every bar there ever was."""

    async def read(self, path: str, parameters: Any = None, signed: bool = True) -> Any:
        if not path.endswith("klines"):
            return await super().read(path, parameters, signed)
        first, last = int(parameters["startTime"]) * 1000, int(parameters["endTime"]) * 1000
        return [row(at) for at in range(first // BAR * BAR, last + 1, BAR) if first <= at <= last]


class Feed:
    def __init__(self) -> None:
        self.frames: asyncio.Queue[Any] = asyncio.Queue()
        self.advances = 0

    async def advance(self) -> None:
        self.advances += 1


def frame(number: int) -> Frame:
    """The closed bar of that number from NOW on."""
    opened = (NOW + number * BAR) // 1000
    kline = {"t": opened, "T": opened + 299_999, "i": "5m", "o": "40000", "h": "40010", "l": "39990", "c": "40000",
             "v": "1", "q": "1", "n": 3, "x": True}  # fmt: skip
    event = {"e": "kline", "E": opened + 300_000, "s": "BTCUSDT", "k": kline}
    text = orjson.dumps(event).decode()
    return Frame(BTC, text, kline_from_frame(event), event["E"] * 1000, time.monotonic())  # type: ignore[operator]


class World:
    """A path over a fake venue; a second one on the same folder is a restart."""

    def __init__(self, folder: Path, *script: list[Command], wants: int = 0, limit: int = 20_000,
                 reached: Reached | None = None, venue: Venue | None = None) -> None:  # fmt: skip
        self.strategy, self.venue, self.feed = Scripted([*script], wants), venue or Venue(), Feed()
        self.account: Account = start(open_account(folder))
        gateway = open_gateway(self.account, self.venue, Limits(Decimal(limit), Decimal(limit)))
        runner = Runner(self.strategy, [TRADED[BTC]], CAPITAL)
        self.path = StrategyPath(self.account, gateway, self.venue, runner, self.feed, "digest", reached)  # type: ignore[arg-type]

    def records(self, kind: str) -> list[Any]:
        self.account.journal.sync()
        return [r for r in self.seen if r["kind"] == kind]

    @property
    def seen(self) -> list[Any]:
        from lake.journal import read_journal

        return read_journal(self.folder / "journal.log")[0]

    folder: Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    World.folder = tmp_path
    return tmp_path


async def test_a_target_becomes_a_durable_intent_and_the_strategy_hears_its_fills(
    folder: Path,
) -> None:
    world = World(folder, [Target(BTC, 0.5)])
    durable: list[bool] = []
    world.venue.on_post = lambda: durable.append(bool(world.records("intent")))
    await world.path.take(frame(0))
    (decision,) = world.records("decision")
    (intent,) = world.records("intent")
    assert (decision["reason"], decision["manifest_sha256"], decision["model_version"]) == ("strategy", "digest", None)
    assert (intent["decision_id"], intent["quantity"], durable) == (decision["decision_id"], "0.12500", [True])
    assert decision["target_weight"] == pytest.approx(0.5)
    assert [fill.quantity for fill in world.strategy.fills] == [0.0625, 0.0625]
    assert world.path._runner.account.open_orders == {}


async def test_history_comes_first_and_missed_bars_are_shown_but_not_acted_on(folder: Path) -> None:
    world = World(folder, [], [Target(BTC, 0.5)], wants=3)
    await world.path.take(frame(0))
    assert world.strategy.shown == [NOW - 3 * BAR, NOW - 2 * BAR, NOW - BAR]
    await world.path.take(frame(3))
    assert world.strategy.shown[3:] == [NOW + BAR, NOW + 2 * BAR]
    assert world.strategy.bars == [NOW, NOW + 3 * BAR]
    assert [r["reason"] for r in world.records("decision")] == ["strategy", "gap", "gap", "strategy"]
    await world.path.take(frame(3))
    assert len(world.records("decision")) == 4, "each bar once"


async def test_what_the_gateway_refuses_is_over(folder: Path) -> None:
    world = World(folder, [Target(BTC, 1.0)], [Target(BTC, 0.05)], limit=1000)
    await world.path.take(frame(0))
    assert world.venue.posts == [] and world.path._runner.account.open_orders == {}
    await world.path.take(frame(1))
    assert len(world.venue.posts) == 1, "the next one passes"


async def test_an_order_of_unknown_outcome_counts_as_under_way_until_it_is_proven(folder: Path) -> None:
    world = World(folder, [Target(BTC, 0.5)], [Target(BTC, 0.5)], [Target(BTC, 0.5)])
    world.venue.faults = ["lost order"]
    await world.path.take(frame(0))
    await world.path.take(frame(1))
    assert len(world.venue.posts) == 1, "nothing is sent again"
    (order,) = world.account.ledger.orders.values()
    assert order.status is Status.UNKNOWN
    world.account.mark(order, Status.REJECTED, "never placed")
    await world.path.take(await world.feed.frames.get())
    await world.path.take(frame(2))
    assert len(world.venue.posts) == 2


async def test_a_restart_knows_what_was_bought_and_cancels_what_an_earlier_process_left_open(folder: Path) -> None:
    first = World(folder, [Target(BTC, 0.5)])
    await first.path.take(frame(0))
    cash, held = first.path._runner.cash, first.path._runner.held
    token = first.account.intend(market_order(Side.BUY, "0.001"), 1)
    left = first.account.ledger.orders[token.spend()["client_order_id"]]
    left_report = {"orderId": 77, "status": "NEW", "executedQty": "0", "transactTime": NOW // 1000}
    from live.reports import report_in_reply

    report = report_in_reply(left, left_report)
    assert report is not None
    first.account.report(report)
    first.account.journal.sync()
    first.account.journal.close()
    again = World(folder, venue=first.venue)
    assert (again.path._runner.cash, again.path._runner.held) == (cash, held)
    task = asyncio.create_task(again.path.run(again.feed.frames))
    await asyncio.sleep(0.05)
    task.cancel()
    assert [r["client_order_id"] for r in again.records("cancel")][:1] == [left.client_order_id]


async def test_in_lockstep_nothing_happens_before_both_streams_have_come_to_the_instant(folder: Path) -> None:
    reached = Reached()
    world = World(folder, [Order(BTC, "buy", 0.01)], reached=reached)
    await world.path.take(frame(0))
    assert world.strategy.bars == [] and world.venue.posts == []
    standing = asyncio.create_task(world.path.take(Standing(NOW + BAR)))
    await asyncio.sleep(0.02)
    assert not standing.done()
    reached.note(Standing(NOW + BAR))
    await standing
    assert (world.strategy.bars, len(world.venue.posts), world.feed.advances) == ([NOW], 1, 1)
    await world.path.take(Standing(NOW + BAR))
    assert (len(world.venue.posts), world.feed.advances) == (1, 2), (
        "asked again, it lets go again and does nothing else"
    )


async def test_conditions_of_an_order_reach_the_journal_and_the_gateway(folder: Path) -> None:
    script: list[Command] = [
        Order(BTC, "buy", 0.1, "limit", limit_price=39_000.009, post_only=True, id="a"),
        Order(BTC, "buy", 0.01, "stop_limit", limit_price=41_000.0, stop_price=40_900.0, time_in_force="ioc"),
        Cancel("unknown"),
    ]
    world = World(folder, script)
    await world.path.take(frame(0))
    first, second = world.records("intent")
    assert (first["price"], first["post_only"], "stop_price" in first) == ("39000.00", True, False)
    assert (second["order_type"], second["stop_price"], second["time_in_force"]) == ("stop_limit", "40900.00", "IOC")
    orders = list(world.account.ledger.orders.values())
    assert (orders[0].request.post_only, orders[1].request.stop_price) == (True, Decimal("40900.00"))
    assert PRICE[BTC] == 40_000


def test_the_words_of_standing_and_of_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert standing_of({"e": "bitacora.standing", "E": 1, "T": 5}) == Standing(5)
    assert [standing_of(each) for each in ({"e": "kline"}, [], {"e": "bitacora.standing", "T": "5"})] == [None] * 3
    file = tmp_path / "s.py"
    file.write_text("")
    assert node.strategy_file(str(file), ["a=1"]) == (str(file), {"a": "1"})
    assert node.strategy_file(None, []) is None
    for source, pairs in ((None, ["a=1"]), ("none.py", []), (str(file), ["a"])):
        with pytest.raises(UsageError):
            node.strategy_file(source, pairs)
