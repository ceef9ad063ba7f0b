"""Bars to decisions: in order, each once, from the same numbers as the batch; never a trade on what is not sound."""

import asyncio
import time
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest

from feature_store.scan import compute
from feature_store.service import DEFAULT
from lake.intervals import DAY, MINUTE, WEEK
from lake.wire.binance import kline_from_frame
from live.errors import VenueUnavailable
from live.feed import Frame
from live.model import MAX_WINDOW, Model, load_model
from live.model_version import Version
from live.signals import SignalPath
from tests.live.bundles import momentum_graph, write_bundle
from tests.live.fakes import BTC, ETH, TRADED, FakeVenue, open_account, open_gateway, start

BAR = 5 * MINUTE
NOW = 2820 * WEEK + 4 * DAY + 2 * DAY
"""A Wednesday 00:00 UTC: the first live bar opens here."""
COUNT = 4000
ONE = {BTC: TRADED[BTC]}


def _price(open_time: int) -> float:
    """A deterministic wavy price near 40000."""
    step = open_time // BAR
    return 40_000 + 300 * np.sin(step / 7.0) + 900 * np.sin(step / 301.0)


def _numbers(open_time: int) -> list[str]:
    opened, close = _price(open_time - BAR), _price(open_time)
    high, low = max(opened, close) + 5, min(opened, close) - 5
    return [f"{value:.2f}" for value in (opened, high, low, close, 10 + (open_time // BAR) % 7)]


def _frame(open_time: int, closed: bool = True, name: str = BTC, **changes: str) -> Frame:
    opened, high, low, close, volume = _numbers(open_time)
    kline: dict[str, Any] = {
        "t": open_time // 1000, "T": (open_time + BAR) // 1000 - 1, "i": "5m", "o": opened, "h": high, "l": low,
        "c": close, "v": volume, "q": "1", "n": 3, "x": closed,
    } | changes  # fmt: skip
    event_ms = (open_time + BAR) // 1000 + 40 if closed else open_time // 1000 + 900
    event = {"e": "kline", "E": event_ms, "s": TRADED[name].venue_symbol, "k": kline}
    text = orjson.dumps(event).decode()
    return Frame(name, text, kline_from_frame(event), event_ms * 1000, time.monotonic())


class History:
    """The venue's past over REST, with holes and outages on demand."""

    def __init__(self) -> None:
        self.missing: set[int] = set()
        self.down = False
        self.reads = 0

    async def read(self, path: str, parameters: dict[str, str], signed: bool = True) -> list[list[object]]:
        self.reads += 1
        if self.down:
            raise VenueUnavailable("down")
        first, last = int(parameters["startTime"]) * 1000, int(parameters["endTime"]) * 1000
        times = [t for t in range(first, last, BAR) if t not in self.missing][: int(parameters["limit"])]
        return [[t // 1000, *_numbers(t), (t + BAR) // 1000 - 1, "1", 3, "0", "0", "0"] for t in times]


class World:
    """A signal path for one instrument, with a model or without."""

    def __init__(self, folder: Path, model: Model | None = None) -> None:
        self.folder, self.history, self.venue = folder, History(), FakeVenue()
        self.keeper = SimpleNamespace(current=model)
        self.begin()

    def begin(self) -> None:
        self.account = start(open_account(self.folder / "journal"))
        self.gateway = open_gateway(self.account, self.venue)
        self.records: list[dict[str, Any]] = []
        self.account.observers.append(self.records.append)
        self.path = SignalPath(
            self.account, self.gateway, self.history, self.keeper, DEFAULT, ONE, Decimal(4000), Decimal(5000),  # type: ignore[arg-type]
        )  # fmt: skip

    def restart(self) -> None:
        self.account.journal.close()
        self.begin()

    async def take(self, frame: Frame) -> None:
        self.account.clock.observe(frame.market_time)
        await self.path.take(frame)
        await self.path.drain()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [r for r in self.records if r["kind"] == kind]

    def reasons(self) -> list[str]:
        return [r["reason"] for r in self.of("decision")]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    digest = write_bundle(tmp_path / "bundle")
    return load_model(tmp_path / "bundle", Version("bitacora", 7, digest), DEFAULT)


@pytest.fixture
async def world(tmp_path: Path, model: Model) -> World:
    world = World(tmp_path, model)
    await world.take(_frame(NOW, closed=False))
    return world


def _batch(until: int) -> np.ndarray[Any, Any]:
    times = np.arange(until - COUNT * BAR, until + BAR, BAR, dtype=np.int64)
    return compute(DEFAULT, times, np.array([[float(x) for x in _numbers(int(t))] for t in times]))


async def test_the_first_frame_fetches_the_history_and_journals_every_bar(world: World) -> None:
    frames = world.of("frame")
    assert len(frames) == (NOW - DEFAULT.periods.scan_start(NOW - MAX_WINDOW * BAR)) // BAR
    assert {r["stream"] for r in frames} == {"rest:klines_5m"}
    assert world.of("decision") == []


async def test_a_closed_bar_is_decided_on_with_the_batchs_vector_and_its_raw_frame(world: World) -> None:
    frame = _frame(NOW)
    await world.take(frame)
    (decision,) = world.of("decision")
    assert world.of("frame")[-1]["payload"] == frame.text
    assert decision["frame_hash"] == world.of("frame")[-1]["payload_hash"]
    assert decision["features"] == _batch(NOW)[-1].tolist()
    assert (decision["reason"], decision["model_version"]) == ("model", 7)
    assert (decision["open_time"], decision["event_time"]) == (NOW, NOW + BAR)
    assert decision["available_time"] == frame.market_time


async def test_orders_follow_the_model_and_stand_on_their_decision(world: World) -> None:
    for step in range(40):
        await world.take(_frame(NOW + step * BAR))
    sides = [r["side"] for r in world.of("intent")]
    assert {"buy", "sell"} <= set(sides)
    decided = {r["decision_id"] for r in world.of("decision")}
    assert {r["decision_id"] for r in world.of("intent")} <= decided
    assert len(world.of("intent")) == len(world.venue.posts)


async def test_values_stay_the_batchs_over_a_week_boundary(world: World) -> None:
    monday = 2821 * WEEK + 4 * DAY
    for open_time in range(NOW, monday + 3 * BAR, BAR):
        await world.take(_frame(open_time))
    assert world.of("decision")[-1]["features"] == _batch(monday + 2 * BAR)[-1].tolist()


async def test_a_bar_twice_or_out_of_order_is_taken_once(world: World) -> None:
    for open_time in (NOW, NOW, NOW + BAR, NOW, NOW + BAR):
        await world.take(_frame(open_time))
    assert [r["open_time"] for r in world.of("decision")] == [NOW, NOW + BAR]
    assert sum(r["stream"] == "ws:kline_5m" for r in world.of("frame")) == 2


async def test_a_gap_is_filled_from_rest_and_only_the_newest_bar_may_trade(world: World) -> None:
    await world.take(_frame(NOW))
    await world.take(_frame(NOW + 4 * BAR))
    decisions = world.of("decision")
    assert [r["open_time"] for r in decisions] == [NOW + step * BAR for step in range(5)]
    assert world.reasons() == ["model", "gap", "gap", "gap", "model"]
    assert decisions[-1]["features"] == _batch(NOW + 4 * BAR)[-1].tolist()
    traded = {r["decision_id"] for r in world.of("intent")}
    assert traded <= {r["decision_id"] for r in decisions if r["reason"] == "model"}


async def test_a_gap_seen_by_an_open_bar_is_filled_without_trading(world: World) -> None:
    await world.take(_frame(NOW))
    intents = len(world.of("intent"))
    await world.take(_frame(NOW + 3 * BAR, closed=False))
    assert world.reasons() == ["model", "gap", "gap"]
    assert len(world.of("intent")) == intents


async def test_while_rest_is_down_bars_wait_and_hold_and_later_values_are_right(world: World) -> None:
    await world.take(_frame(NOW))
    world.history.down = True
    for step in (3, 4):
        with pytest.raises(VenueUnavailable):
            await world.take(_frame(NOW + step * BAR))
    assert world.reasons() == ["model", "gap", "gap"]
    world.history.down = False
    await world.take(_frame(NOW + 5 * BAR))
    assert {r["open_time"] - NOW: r["reason"] for r in world.of("decision")} == {
        0: "model", BAR: "gap", 2 * BAR: "gap", 3 * BAR: "gap", 4 * BAR: "gap", 5 * BAR: "model",
    }  # fmt: skip
    assert world.of("decision")[-1]["features"] == _batch(NOW + 5 * BAR)[-1].tolist()
    assert world.reasons()[-1] == "model"


async def test_a_bar_that_is_no_bar_is_refused_and_its_place_filled_from_rest(world: World) -> None:
    await world.take(_frame(NOW, c="NaN"))
    await world.take(_frame(NOW, h="1.00"))
    await world.take(_frame(NOW, l="-5"))
    assert world.of("decision") == []
    await world.take(_frame(NOW + BAR))
    assert world.reasons() == ["gap", "model"]


async def test_a_bar_that_rest_does_not_show_yet_is_waited_for_and_one_that_never_was_is_not(world: World) -> None:
    await world.take(_frame(NOW))
    world.history.missing = {NOW + BAR, NOW + 3 * BAR}
    with pytest.raises(VenueUnavailable, match="not published"):
        await world.take(_frame(NOW + 2 * BAR, closed=False))
    world.history.missing = {NOW + 3 * BAR}
    await world.take(_frame(NOW + 2 * BAR))
    await world.take(_frame(NOW + 4 * BAR))
    assert [r["open_time"] - NOW for r in world.of("decision")] == [0, BAR, 2 * BAR, 4 * BAR]
    assert world.reasons() == ["model", "gap", "model", "model"]


async def test_an_old_bar_is_stale_and_holds(world: World) -> None:
    world.account.clock.observe(NOW + 10 * BAR)
    await world.take(_frame(NOW))
    assert world.reasons() == ["stale"]
    assert world.of("intent") == []


async def test_without_a_model_the_vector_is_journalled_and_nothing_is_traded(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.take(_frame(NOW))
    (decision,) = world.of("decision")
    assert (decision["reason"], decision["prediction"], decision["model_name"]) == ("no_model", None, None)
    assert len(decision["features"]) == len(DEFAULT.feature_names)
    assert world.venue.posts == []


async def test_a_short_history_is_warming_and_holds(tmp_path: Path, model: Model) -> None:
    world = World(tmp_path, model)
    first = DEFAULT.periods.scan_start(NOW - MAX_WINDOW * BAR)
    world.history.missing = set(range(first, NOW - 50 * BAR, BAR))
    await world.take(_frame(NOW))
    assert world.reasons() == ["warming"]
    assert world.venue.posts == []


async def test_a_graph_that_returns_no_number_holds(tmp_path: Path) -> None:
    digest = write_bundle(tmp_path / "bundle", momentum_graph(gain=float("nan")))
    world = World(tmp_path, load_model(tmp_path / "bundle", Version("bitacora", 1, digest), DEFAULT))
    await world.take(_frame(NOW))
    assert world.reasons() == ["nan"]
    assert world.venue.posts == []


async def test_a_windowed_model_sees_consecutive_rows_across_the_seed(tmp_path: Path) -> None:
    digest = write_bundle(tmp_path / "bundle", momentum_graph(window=32), window=32)
    model = load_model(tmp_path / "bundle", Version("bitacora", 1, digest), DEFAULT)
    seen: list[Any] = []
    original = model.predict
    model.predict = lambda rows: seen.append(rows) or original(rows)  # type: ignore[assignment,method-assign,func-returns-value]
    world = World(tmp_path, model)
    for step in range(3):
        await world.take(_frame(NOW + step * BAR))
    assert np.array_equal(seen[-1], _batch(NOW + 2 * BAR)[-32:])


async def test_a_restart_seeds_from_the_journal_and_asks_rest_for_the_rest_only(world: World) -> None:
    for step in range(3):
        await world.take(_frame(NOW + step * BAR))
    held = len(world.of("frame"))
    world.restart()
    world.history.reads = 0
    await world.take(_frame(NOW + 6 * BAR))
    assert held > 1000
    assert [r["open_time"] for r in world.of("frame")] == [NOW + step * BAR for step in (3, 4, 5, 6)] or [
        r["open_time"] for r in world.of("frame")
    ] == [NOW + step * BAR for step in (6, 3, 4, 5)]
    assert world.history.reads == 1
    assert world.of("decision")[-1]["features"] == _batch(NOW + 6 * BAR)[-1].tolist()
    assert world.reasons() == ["model"]


async def test_nothing_is_ordered_while_an_outcome_is_open(world: World) -> None:
    world.venue.faults = ["lost order"] * 9
    for step in range(12):
        await world.take(_frame(NOW + step * BAR))
    assert len(world.venue.posts) == 1
    assert world.reasons() == ["model"] * 12


async def test_another_instruments_gap_does_not_stop_this_one(tmp_path: Path, model: Model) -> None:
    world = World(tmp_path, model)
    world.path = SignalPath(
        world.account, world.gateway, world.history, world.keeper, DEFAULT,  # type: ignore[arg-type]
        {name: TRADED[name] for name in (BTC, ETH)}, Decimal(4000), Decimal(5000),
    )  # fmt: skip
    queue: asyncio.Queue[Frame] = asyncio.Queue()
    task = asyncio.create_task(world.path.run(queue))
    queue.put_nowait(_frame(NOW))
    await asyncio.sleep(0.3)
    world.history.down = True
    queue.put_nowait(_frame(NOW, name=ETH))
    queue.put_nowait(_frame(NOW + BAR))
    await asyncio.sleep(0.3)
    task.cancel()
    assert [(r["instrument"], r["reason"]) for r in world.of("decision")] == [
        (BTC, "model"), (ETH, "gap"), (BTC, "model"),
    ]  # fmt: skip
