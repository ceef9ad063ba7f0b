"""Reference bars in live: the batch's columns beside what was known in time, null where it was not, never older."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from feature_store.alignment import Observations, widened
from feature_store.inputs import GRACE
from feature_store.scan import compute
from feature_store.service import CHAIN_1D, DEFAULT, DEFAULT_REF, REFERENCES, FeatureService
from feature_store.view import Floats
from lake.errors import BundleRejected
from lake.instruments import INSTRUMENTS
from lake.intervals import MILLISECOND
from live.features import history_start
from live.feed import Frame
from live.model import MAX_WINDOW, load_model
from live.model_version import Version
from tests.live.bundles import momentum_graph, write_bundle
from tests.live.fakes import BTC, ETH, TRADED
from tests.live.signal_world import BAR, NOW, World, bar_frame, numbers

SOL = "binance:SOL/USDT"
ONE = {SOL: INSTRUMENTS[SOL]}
CORRELATION = DEFAULT_REF.feature_names.index("corr_btc_60")
BOTH = FeatureService("both_5m", "5m", (*DEFAULT_REF.views, *REFERENCES.views))


def batch(service: FeatureService, until: int, name: str = SOL, late: tuple[int, ...] = ()) -> Floats:
    """The features of every bar to `until` as the batch makes them; of the open times `late` no reference was known."""
    times = np.arange(history_start(service.periods, NOW), until + BAR, BAR, dtype=np.int64)
    bars = {
        one: np.array([[float(x) for x in numbers(int(t), INSTRUMENTS[one].venue_symbol)] for t in times])
        for one in (name, BTC, ETH)
    }
    observed = {}
    for column, one in (("btc_close", BTC), ("eth_close", ETH)):
        closes = Observations.closes(times, bars[one], BAR)
        known = np.where(np.isin(times, late), closes.event_times + GRACE + 1, closes.available_times)
        observed[column] = Observations(closes.event_times, known, closes.values)
    return compute(service, times, widened(service, times, bars[name], observed)[0])


def vectors(world: World, name: str = SOL) -> dict[int, list[float]]:
    return {r["open_time"]: r["features"] for r in world.of("decision") if r["instrument"] == name}


def same(found: list[float], expected: Floats) -> bool:
    return np.array_equal(np.array(found, float), expected, equal_nan=True)


async def begun(folder: Path, service: FeatureService = DEFAULT_REF) -> World:
    world = World(folder, traded=ONE, service=service)
    for name in (SOL, BTC, ETH):
        if world.path._tracks.get(name):
            await world.take(bar_frame(NOW, closed=False, name=name))
    return world


@pytest.mark.parametrize("service", [DEFAULT_REF, REFERENCES, BOTH], ids=lambda service: service.name)
async def test_a_row_waits_for_its_references_and_equals_the_batchs(tmp_path: Path, service: FeatureService) -> None:
    world = await begun(tmp_path, service)
    others = [name for name in (BTC, ETH) if name in world.path._tracks]
    for step in range(5):
        await world.take(bar_frame(NOW + step * BAR, name=SOL))
        assert len(world.of("decision")) == step, "it waits"
        for name in others:
            await world.take(bar_frame(NOW + step * BAR, name=name, late_ms=900))
        assert world.of("decision")[-1]["available_time"] == NOW + (step + 1) * BAR + 900 * MILLISECOND
    expected = batch(service, NOW + 4 * BAR)
    for step, row in enumerate(expected[-5:]):
        assert same(vectors(world)[NOW + step * BAR], row)
    assert np.isfinite(expected[-1]).all()
    assert {r["instrument"] for r in world.of("decision")} == {SOL}


async def test_a_reference_that_comes_at_the_end_of_the_grace_counts_and_later_is_null(tmp_path: Path) -> None:
    world = await begun(tmp_path)
    await world.take(bar_frame(NOW, name=SOL))
    await world.take(bar_frame(NOW, name=BTC, late_ms=GRACE // MILLISECOND))
    await world.take(bar_frame(NOW + BAR, name=SOL))
    await world.take(bar_frame(NOW + BAR, name=BTC, late_ms=GRACE // MILLISECOND + 1))
    assert same(vectors(world)[NOW], batch(DEFAULT_REF, NOW)[-1])
    late = batch(DEFAULT_REF, NOW + BAR, late=(NOW + BAR,))[-1]
    assert same(vectors(world)[NOW + BAR], late) and np.isnan(late[CORRELATION])
    assert world.of("decision")[-1]["available_time"] == NOW + 2 * BAR + GRACE
    for name in (BTC, SOL):
        await world.take(bar_frame(NOW + 2 * BAR, name=name))
    assert same(vectors(world)[NOW + 2 * BAR], batch(DEFAULT_REF, NOW + 2 * BAR)[-1]), "it counts once it is there"


async def test_a_reference_that_stops_gives_nulls_and_no_stale_value(tmp_path: Path) -> None:
    world = await begun(tmp_path)
    stopped = tuple(NOW + step * BAR for step in range(1, 5))
    world.history.missing = set(stopped)
    await world.take(bar_frame(NOW, name=BTC))
    for step in range(5):
        await world.take(bar_frame(NOW + step * BAR, name=SOL))
    world.path.settle(NOW + 5 * BAR + GRACE + 1)
    expected = batch(DEFAULT_REF, NOW + 4 * BAR, late=stopped)
    for step in range(5):
        assert same(vectors(world)[NOW + step * BAR], expected[step - 5])
    assert np.isnan(expected[-4:, CORRELATION]).all() and np.isfinite(expected[-4:, :CORRELATION]).all()
    assert world.history.reads < 12, "each gap of a reference is asked for once a bar"


async def test_a_missed_reference_bar_is_fetched_with_the_next_row(tmp_path: Path) -> None:
    world = await begun(tmp_path)
    await world.take(bar_frame(NOW, name=SOL))
    await world.take(bar_frame(NOW + BAR, name=SOL))
    await world.take(bar_frame(NOW + BAR, name=BTC))
    assert np.isnan(vectors(world)[NOW][CORRELATION])
    assert same(vectors(world)[NOW + BAR], batch(DEFAULT_REF, NOW + BAR)[-1])


async def test_the_clock_alone_ends_the_wait(tmp_path: Path) -> None:
    world = await begun(tmp_path)
    now = NOW + BAR
    world.path.heard = lambda: now
    queue: asyncio.Queue[Frame] = asyncio.Queue()
    task = asyncio.create_task(world.path.run(queue))
    queue.put_nowait(bar_frame(NOW, name=SOL))
    await asyncio.sleep(0.2)
    assert world.of("decision") == []
    now = NOW + BAR + GRACE + 1
    await asyncio.sleep(0.2)
    task.cancel()
    assert world.reasons() == ["no_model"]


async def test_a_restart_in_the_middle_changes_no_value(tmp_path: Path) -> None:
    world = await begun(tmp_path)
    for step in range(3):
        for name in (SOL, BTC):
            await world.take(bar_frame(NOW + step * BAR, name=name))
    await world.take(bar_frame(NOW + 3 * BAR, name=SOL))  # its reference is on the way
    world.restart()
    for step in (4, 5):
        for name in (SOL, BTC):
            await world.take(bar_frame(NOW + step * BAR, name=name))
    assert [same(vectors(world)[NOW + step * BAR], batch(DEFAULT_REF, NOW + 5 * BAR)[step - 6]) for step in (4, 5)]
    assert same(vectors(world)[NOW + 5 * BAR], batch(DEFAULT_REF, NOW + 5 * BAR)[-1])


async def test_a_traded_instrument_is_its_own_reference_and_others(tmp_path: Path) -> None:
    world = World(tmp_path, traded=TRADED, service=DEFAULT_REF)
    for name in (ETH, BTC):
        await world.take(bar_frame(NOW, closed=False, name=name))
        await world.take(bar_frame(NOW, name=name))
    for name in (ETH, BTC):
        assert same(vectors(world, name)[NOW], batch(DEFAULT_REF, NOW, name)[-1])
    assert vectors(world, BTC)[NOW][CORRELATION] == pytest.approx(1.0)


async def test_the_bundle_names_the_service_and_a_swap_changes_it(tmp_path: Path) -> None:
    world = World(tmp_path, traded=ONE)
    heard: list[str] = []
    world.path.on_references = lambda instruments: heard.extend(one.id for one in instruments)
    await world.take(bar_frame(NOW, closed=False, name=SOL))
    names = list(DEFAULT_REF.feature_names)
    graph = momentum_graph(width=len(names))
    changes = {"feature_service": DEFAULT_REF.name, "feature_service_hash": DEFAULT_REF.content_hash, "features": names}
    digest = write_bundle(tmp_path / "ref", graph, **changes)
    await world.take(bar_frame(NOW, name=SOL))
    world.keeper.current = load_model(tmp_path / "ref", Version("bitacora", 2, digest))
    await world.take(bar_frame(NOW + BAR, name=SOL))
    assert heard == [BTC]
    await world.take(bar_frame(NOW + 2 * BAR, closed=False, name=BTC))
    for name in (SOL, BTC):
        await world.take(bar_frame(NOW + 2 * BAR, name=name))
    *before, last = world.of("decision")
    assert {(r["service_hash"], r["reason"]) for r in before} == {(DEFAULT.content_hash, "no_model")}, (
        "until it is heard"
    )
    assert (len(before), last["service_hash"], last["reason"]) == (2, DEFAULT_REF.content_hash, "model")
    assert same(last["features"], batch(DEFAULT_REF, NOW + 2 * BAR)[-1])


def test_a_bundle_of_a_service_that_live_cannot_hear_is_refused(tmp_path: Path) -> None:
    for service in (CHAIN_1D, FeatureService("nowhere", "5m", DEFAULT.views)):
        folder = tmp_path / service.name
        digest = write_bundle(folder, feature_service=service.name, feature_service_hash=service.content_hash)
        with pytest.raises(BundleRejected, match=r"references, which live hears|unknown feature service"):
            load_model(folder, Version("bitacora", 1, digest))


def test_the_history_reaches_back_far_enough_for_any_window() -> None:
    assert history_start(DEFAULT_REF.periods, NOW) == DEFAULT_REF.periods.scan_start(NOW - MAX_WINDOW * BAR)
