"""Bars to decisions: in order, each once, from the same numbers as the batch; never a trade on what is not sound."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feature_store.scan import compute
from feature_store.service import DEFAULT
from lake.intervals import DAY, WEEK
from live.errors import VenueUnavailable
from live.feed import Frame
from live.model import MAX_WINDOW, Model, load_model
from live.model_version import Version
from live.signals import SignalPath
from tests.live.bundles import momentum_graph, write_bundle
from tests.live.fakes import BTC, ETH, TRADED
from tests.live.signal_world import BAR, COUNT, NOW, World, bar_frame, numbers


@pytest.fixture
def model(tmp_path: Path) -> Model:
    digest = write_bundle(tmp_path / "bundle")
    return load_model(tmp_path / "bundle", Version("bitacora", 7, digest))


@pytest.fixture
async def world(tmp_path: Path, model: Model) -> World:
    world = World(tmp_path, model)
    await world.take(bar_frame(NOW, closed=False))
    return world


def _batch(until: int) -> np.ndarray[Any, Any]:
    times = np.arange(until - COUNT * BAR, until + BAR, BAR, dtype=np.int64)
    return compute(DEFAULT, times, np.array([[float(x) for x in numbers(int(t))] for t in times]))


async def test_the_first_frame_fetches_the_history_and_journals_every_bar(world: World) -> None:
    frames = world.of("frame")
    assert len(frames) == (NOW - DEFAULT.periods.scan_start(NOW - MAX_WINDOW * BAR)) // BAR
    assert {r["stream"] for r in frames} == {"rest:klines_5m"}
    assert world.of("decision") == []


async def test_a_closed_bar_is_decided_on_with_the_batchs_vector_and_its_rawbar_frame(world: World) -> None:
    frame = bar_frame(NOW)
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
        await world.take(bar_frame(NOW + step * BAR))
    sides = [r["side"] for r in world.of("intent")]
    assert {"buy", "sell"} <= set(sides)
    decided = {r["decision_id"] for r in world.of("decision")}
    assert {r["decision_id"] for r in world.of("intent")} <= decided
    assert len(world.of("intent")) == len(world.venue.posts)


async def test_values_stay_the_batchs_over_a_week_boundary(world: World) -> None:
    monday = 2821 * WEEK + 4 * DAY
    for open_time in range(NOW, monday + 3 * BAR, BAR):
        await world.take(bar_frame(open_time))
    assert world.of("decision")[-1]["features"] == _batch(monday + 2 * BAR)[-1].tolist()


async def test_a_bar_twice_or_out_of_order_is_taken_once(world: World) -> None:
    for open_time in (NOW, NOW, NOW + BAR, NOW, NOW + BAR):
        await world.take(bar_frame(open_time))
    assert [r["open_time"] for r in world.of("decision")] == [NOW, NOW + BAR]
    assert sum(r["stream"] == "ws:kline_5m" for r in world.of("frame")) == 2


async def test_a_gap_is_filled_from_rest_and_only_the_newest_bar_may_trade(world: World) -> None:
    await world.take(bar_frame(NOW))
    await world.take(bar_frame(NOW + 4 * BAR))
    decisions = world.of("decision")
    assert [r["open_time"] for r in decisions] == [NOW + step * BAR for step in range(5)]
    assert world.reasons() == ["model", "gap", "gap", "gap", "model"]
    assert decisions[-1]["features"] == _batch(NOW + 4 * BAR)[-1].tolist()
    traded = {r["decision_id"] for r in world.of("intent")}
    assert traded <= {r["decision_id"] for r in decisions if r["reason"] == "model"}


async def test_a_gap_seen_by_an_open_bar_is_filled_without_trading(world: World) -> None:
    await world.take(bar_frame(NOW))
    intents = len(world.of("intent"))
    await world.take(bar_frame(NOW + 3 * BAR, closed=False))
    assert world.reasons() == ["model", "gap", "gap"]
    assert len(world.of("intent")) == intents


async def test_while_rest_is_down_bars_wait_and_hold_and_later_values_are_right(world: World) -> None:
    await world.take(bar_frame(NOW))
    world.history.down = True
    for step in (3, 4):
        with pytest.raises(VenueUnavailable):
            await world.take(bar_frame(NOW + step * BAR))
    assert world.reasons() == ["model", "gap", "gap"]
    world.history.down = False
    await world.take(bar_frame(NOW + 5 * BAR))
    assert {r["open_time"] - NOW: r["reason"] for r in world.of("decision")} == {
        0: "model", BAR: "gap", 2 * BAR: "gap", 3 * BAR: "gap", 4 * BAR: "gap", 5 * BAR: "model",
    }  # fmt: skip
    assert world.of("decision")[-1]["features"] == _batch(NOW + 5 * BAR)[-1].tolist()
    assert world.reasons()[-1] == "model"


async def test_a_bar_that_is_no_bar_is_refused_and_its_place_filled_from_rest(world: World) -> None:
    await world.take(bar_frame(NOW, c="NaN"))
    await world.take(bar_frame(NOW, h="1.00"))
    await world.take(bar_frame(NOW, l="-5"))
    assert world.of("decision") == []
    await world.take(bar_frame(NOW + BAR))
    assert world.reasons() == ["gap", "model"]


async def test_a_bar_that_rest_does_not_show_yet_is_waited_for_and_one_that_never_was_is_not(world: World) -> None:
    await world.take(bar_frame(NOW))
    world.history.missing = {NOW + BAR, NOW + 3 * BAR}
    with pytest.raises(VenueUnavailable, match="not published"):
        await world.take(bar_frame(NOW + 2 * BAR, closed=False))
    world.history.missing = {NOW + 3 * BAR}
    await world.take(bar_frame(NOW + 2 * BAR))
    await world.take(bar_frame(NOW + 4 * BAR))
    assert [r["open_time"] - NOW for r in world.of("decision")] == [0, BAR, 2 * BAR, 4 * BAR]
    assert world.reasons() == ["model", "gap", "model", "model"]


async def test_an_old_bar_is_stale_and_holds(world: World) -> None:
    world.account.clock.observe(NOW + 10 * BAR)
    await world.take(bar_frame(NOW))
    assert world.reasons() == ["stale"]
    assert world.of("intent") == []


async def test_without_a_model_the_vector_is_journalled_and_nothing_is_traded(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.take(bar_frame(NOW))
    (decision,) = world.of("decision")
    assert (decision["reason"], decision["prediction"], decision["model_name"]) == ("no_model", None, None)
    assert len(decision["features"]) == len(DEFAULT.feature_names)
    assert world.venue.posts == []


async def test_a_short_history_is_warming_and_holds(tmp_path: Path, model: Model) -> None:
    world = World(tmp_path, model)
    first = DEFAULT.periods.scan_start(NOW - MAX_WINDOW * BAR)
    world.history.missing = set(range(first, NOW - 50 * BAR, BAR))
    await world.take(bar_frame(NOW))
    assert world.reasons() == ["warming"]
    assert world.venue.posts == []


async def test_a_graph_that_returns_no_number_holds(tmp_path: Path) -> None:
    digest = write_bundle(tmp_path / "bundle", momentum_graph(gain=float("nan")))
    world = World(tmp_path, load_model(tmp_path / "bundle", Version("bitacora", 1, digest)))
    await world.take(bar_frame(NOW))
    assert world.reasons() == ["nan"]
    assert world.venue.posts == []


async def test_a_windowed_model_sees_consecutive_rows_across_the_seed(tmp_path: Path) -> None:
    digest = write_bundle(tmp_path / "bundle", momentum_graph(window=32), window=32)
    model = load_model(tmp_path / "bundle", Version("bitacora", 1, digest))
    seen: list[Any] = []
    original = model.predict
    model.predict = lambda rows: seen.append(rows) or original(rows)  # type: ignore[assignment,method-assign,func-returns-value]
    world = World(tmp_path, model)
    for step in range(3):
        await world.take(bar_frame(NOW + step * BAR))
    assert np.array_equal(seen[-1], _batch(NOW + 2 * BAR)[-32:])


async def test_a_restart_seeds_from_the_journal_and_asks_rest_for_the_rest_only(world: World) -> None:
    for step in range(3):
        await world.take(bar_frame(NOW + step * BAR))
    held = len(world.of("frame"))
    world.restart()
    world.history.reads = 0
    await world.take(bar_frame(NOW + 6 * BAR))
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
        await world.take(bar_frame(NOW + step * BAR))
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
    queue.put_nowait(bar_frame(NOW))
    await asyncio.sleep(0.3)
    world.history.down = True
    queue.put_nowait(bar_frame(NOW, name=ETH))
    queue.put_nowait(bar_frame(NOW + BAR))
    await asyncio.sleep(0.3)
    task.cancel()
    assert [(r["instrument"], r["reason"]) for r in world.of("decision")] == [
        (BTC, "model"), (ETH, "gap"), (BTC, "model"),
    ]  # fmt: skip
