"""The real process against the real embedded exchange: trades, swaps, stops, and comes back from kill -9."""

import base64
import random
import shutil
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from feature_store.alignment import Observations, widened
from feature_store.inputs import GRACE, REFERENCE_NAMES, reference_ids
from feature_store.scan import compute
from feature_store.service import DEFAULT, DEFAULT_REF, FeatureService
from feature_store.view import Floats, Times
from lake.wire.binance import kline_from_payload
from tests.live.bundles import momentum_graph, write_bundle
from tests.live.exchange import Exchange, Node, assert_books_agree, exchange
from tests.live.registry_server import FakeRegistry, serving_in_thread


@pytest.fixture(scope="module")
def venue() -> Iterator[Exchange]:
    """300 market seconds per second: a 5m bar closes every second."""
    with exchange(speed=300) as running:
        yield running


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[FakeRegistry]:
    with serving_in_thread() as running:
        for version, gain in ((1, 1000.0), (2, -1000.0)):
            digest = write_bundle(tmp_path / f"v{version}", momentum_graph(gain))
            running.add(version, tmp_path / f"v{version}", digest)
        yield running


def _bars(node: Node, name: str) -> tuple[Times, Floats, dict[int, str]]:
    """Open times, bars and payload hashes of one instrument's first frames."""
    frames: dict[int, str] = {}
    rows = {}
    for record in node.records("frame"):
        if record["instrument"] == name and record["open_time"] not in frames:
            frames[record["open_time"]] = record["payload_hash"]
            k = kline_from_payload(record["stream"], record["payload"])
            rows[record["open_time"]] = [float(x) for x in (k.open, k.high, k.low, k.close, k.volume)]
    times = np.array(sorted(rows))
    return times, np.array([rows[t] for t in times]), frames


def _assert_features_are_the_batchs(node: Node, service: FeatureService = DEFAULT) -> int:
    """Every journalled vector of a service equals a batch scan over the journal's own raw frames. Returns how many."""
    checked = 0
    reads = [not REFERENCE_NAMES.isdisjoint(view.inputs) for view in service.views for _ in view.outputs]
    decisions = [r for r in node.records("decision") if r["features"] and r["service_hash"] == service.content_hash]
    for name in {r["instrument"] for r in decisions}:
        times, bars, frames = _bars(node, name)
        observed = {
            column: Observations.closes(*_bars(node, other)[:2], service.periods.bar_us)
            for column, other in reference_ids(service.extras, name).items()
        }
        values = compute(service, times, widened(service, times, bars, observed)[0])
        by_time = dict(zip(times.tolist(), values, strict=True))
        for record in (r for r in decisions if r["instrument"] == name):
            assert record["frame_hash"] == frames[record["open_time"]]
            found, expected = np.array(record["features"], float), by_time[record["open_time"]]
            if record["available_time"] >= record["event_time"] + GRACE:  # a loaded exchange told the bar too late
                expected = np.where(np.isnan(found) & reads, np.nan, expected)
            assert np.array_equal(found, expected, equal_nan=True)
            checked += 1
    return checked


def _assert_no_secret(node: Node, *texts: str) -> None:
    """Key and secret, plain, URL-encoded, in base64 or by their first half, stand in nothing that was written."""
    written = "".join(node.log) + "".join(texts)
    for path in (p for p in node.home.rglob("*") if p.is_file()):
        written += path.read_bytes().decode(errors="replace")
    for secret in node.venue.accounts[node.account].values():
        forms = (secret, quote(secret), base64.b64encode(secret.encode()).decode(), secret[:20])
        assert not any(form in written for form in forms)
    assert "signature=" not in written


def test_live_trades_a_promoted_model_swaps_it_and_stops_with_exact_books(
    venue: Exchange, registry: FakeRegistry, tmp_path: Path
) -> None:
    node = Node(venue, 0, tmp_path / "home", registry.url)
    ready = node.start()
    assert (ready["ready"], ready["how"]) == (True, "fresh")
    node.wait_for("decision", 6, reason="no_model")
    second = Node(venue, 0, node.home, registry.url)
    second.start(wait=False)
    assert second.process is not None
    assert second.process.wait(20) == 75
    registry.alias = 1
    node.wait_for("fill", 6, timeout=90)
    registry.alias, moved = 2, time.monotonic()
    node.wait_for("model", model_version=2, action="load")
    assert time.monotonic() - moved <= 5
    node.wait_for("decision", 3, model_version=2, reason="model")
    venue.post("/disconnect")
    decided = len(node.records("decision"))
    node.wait_for("decision", decided + 24)
    with urllib.request.urlopen(ready["metrics"], timeout=5) as answer:
        metrics = answer.read().decode()
    assert node.stop() == 0
    assert assert_books_agree(node) >= 6
    assert node.records("stop")[0]["balances"]
    assert _assert_features_are_the_batchs(node) > 30
    for name in ("decisions_total", "orders_total", "fills_total", "position", "equity", "feed_age_seconds", "ready"):
        assert f"bitacora_live_{name}" in metrics
    assert "bitacora_live_model_version 2.0" in metrics
    _assert_no_secret(node, metrics)


@pytest.mark.nightly
def test_a_model_of_references_is_served_beside_bars_that_are_not_traded(
    venue: Exchange, registry: FakeRegistry, tmp_path: Path
) -> None:
    names = list(DEFAULT_REF.feature_names)
    changes = {"feature_service": DEFAULT_REF.name, "feature_service_hash": DEFAULT_REF.content_hash, "features": names}
    digest = write_bundle(tmp_path / "ref", momentum_graph(width=len(names)), **changes)
    registry.add(3, tmp_path / "ref", digest)
    registry.alias = 1
    node = Node(venue, 7, tmp_path / "home", registry.url, LIVE_INSTRUMENTS="binance:SOL/USDT,binance:ADA/USDT")
    node.start()
    node.wait_for("decision", 4, reason="model", model_version=1)
    registry.alias = 3
    node.wait_for("decision", 8, reason="model", model_version=3)
    node.kill()
    node.start()
    seen = len(node.wait_for("decision", 10, reason="model", model_version=3))
    node.wait_for("decision", seen + 6, reason="model", model_version=3)
    assert node.stop() == 0
    made = [r for r in node.records("decision") if r["reason"] == "model" and r["model_version"] == 3]
    assert {r["service_hash"] for r in made} == {DEFAULT_REF.content_hash}
    assert np.isfinite(np.array([r["features"] for r in made], float)).all()
    assert {r["instrument"] for r in node.records("frame")} == {f"binance:{b}/USDT" for b in ("ADA", "BTC", "SOL")}
    assert {r["instrument"] for r in node.records("decision")} == {"binance:ADA/USDT", "binance:SOL/USDT"}
    assert _assert_features_are_the_batchs(node, DEFAULT_REF) >= 14
    assert _assert_features_are_the_batchs(node, DEFAULT) >= 4


def test_every_decision_stands_on_its_frame_and_every_order_on_its_decision(
    venue: Exchange, registry: FakeRegistry, tmp_path: Path
) -> None:
    registry.alias = 1
    node = Node(venue, 1, tmp_path / "home", registry.url)
    node.start()
    node.wait_for("intent", 3)
    assert node.stop() == 0
    records = node.records()
    frames = {r["payload_hash"] for r in records if r["kind"] == "frame"}
    decisions = {r["decision_id"]: r for r in records if r["kind"] == "decision"}
    intents = [r for r in records if r["kind"] == "intent"]
    assert intents
    bars = [(r["instrument"], r["open_time"]) for r in decisions.values()]
    assert len(bars) == len(set(bars)), "a bar was decided on twice"
    for decision in decisions.values():
        assert decision["frame_hash"] in frames
        assert decision["available_time"] >= decision["event_time"] == decision["open_time"] + 300_000_000
    for intent in intents:
        decision = decisions[intent["decision_id"]]
        assert decision["reason"] == "model"
        assert decision["seq"] < intent["seq"]
        assert None not in decision["features"]


def test_ten_kills_at_random_times_double_and_lose_nothing(
    venue: Exchange, registry: FakeRegistry, tmp_path: Path
) -> None:
    registry.alias = 1
    draw = random.Random(11)
    node = Node(venue, 2, tmp_path / "home", registry.url, LIVE_RECV_WINDOW_MS="1000")
    seconds, in_flight = [], 0
    for number in range(10):
        ready = node.start()
        assert ready.get("ready"), "".join(node.log)[-3000:]
        seconds.append(ready["seconds"])
        if number % 2:
            in_flight += node.kill_in_flight()
        else:
            time.sleep(draw.uniform(0.0, 4.0))
            node.kill()
    assert in_flight >= 2, "kills must hit orders on their way"
    node.start()
    node.wait_for("decision", 6, reason="model")
    node.wait_for("fill", 5)
    assert node.stop() == 0
    fills = assert_books_agree(node)
    intents, unknown = node.records("intent"), [r for r in node.records("order") if r["status"] == "unknown"]
    assert fills >= 5
    assert [r["how"] for r in node.records("ready")] == ["fresh"] + ["recovered"] * 10
    assert len(node.records("start")) == 1
    print(
        f"10 kills: {len(intents)} intents, {fills} fills, {len(unknown)} unknown resolved, "
        f"ready after {min(seconds):.2f} to {max(seconds):.2f} s"
    )


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace")
def test_the_kernel_sees_fdatasync_return_before_an_orders_bytes_leave(
    venue: Exchange, registry: FakeRegistry, tmp_path: Path
) -> None:
    registry.alias = 1
    trace = tmp_path / "trace"
    node = Node(venue, 4, tmp_path / "home", registry.url)
    calls = "trace=fdatasync,write,sendto,sendmsg"
    node.start("--max-seconds", "20", wrapper=("strace", "-f", "-qq", "-s", "400", "-e", calls, "-o", str(trace)))
    assert node.process is not None
    if node.process.wait(90) != 0 and not trace.exists():
        pytest.skip("strace may not trace here")
    sent, synced = 0, True
    for line in trace.read_text(errors="replace").splitlines():
        if 'kind\\":\\"intent' in line:
            synced = False
        elif "fdatasync(" in line and "= 0" in line:
            synced = True
        elif "POST /api/v3/order" in line:
            assert synced, "an order left before its intent was on disk"
            sent += 1
    assert sent >= 1
    assert sent == len(node.records("intent"))


def test_a_wrong_key_is_refused_with_what_to_check(venue: Exchange, tmp_path: Path) -> None:
    node = Node(venue, 3, tmp_path / "home", LIVE_API_SECRET="0" * 64)
    assert node.start() == {}
    assert node.process is not None
    assert node.process.wait(20) == 78
    assert "LIVE_API_SECRET" in "".join(node.log)


def test_an_unreachable_exchange_is_told_apart(venue: Exchange, tmp_path: Path) -> None:
    node = Node(venue, 3, tmp_path / "home", LIVE_REST_URL="http://127.0.0.1:9")
    assert node.start() == {}
    assert node.process is not None
    assert node.process.wait(20) == 69
    assert "http://127.0.0.1:9" in "".join(node.log)
