"""A model of a service with references, from stored features through training into live: the same numbers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from simulated_markets import five_minute_bars
from training_lake import bar_rows, write

from bitacora.skew import compare
from feature_store.service import DEFAULT, DEFAULT_REF, FeatureService
from feature_store.stored import table_of
from jobs import ingest_journal
from jobs.build_features import period_rows
from jobs.command import Job, parser
from lake.instruments import INSTRUMENTS
from lake.settings import HomeSettings
from lake.storage import Lake
from lake.tables.bars import BARS_5M
from lake.tables.features import FEATURES_REF_5M
from lake.wire.binance import kline_from_payload
from market.scenario import Scenario, simulate_history
from tests.live.exchange import Exchange, Node, exchange
from tests.live.registry_server import FakeRegistry, serving_in_thread
from training import bundle, models, walk_forward
from training.dataset import find_stored_leaks, load_panel
from training.splits import WalkForward

BTC, ETH = "binance:BTC/USDT", "binance:ETH/USDT"


@pytest.fixture(scope="module")
def venue() -> Iterator[Exchange]:
    with exchange(speed=300, accounts=1) as running:
        yield running


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with serving_in_thread() as running:
        yield running


def gold(bars: pl.DataFrame, service: FeatureService = DEFAULT_REF) -> pl.DataFrame:
    """Rows of the service's table as the job makes them, period by period."""
    times = bars["open_time"].dt.epoch("us")
    starts = service.periods.starts(int(times.min()), int(times.max()))  # type: ignore[arg-type]
    return pl.concat([period_rows(service, bars, start) for start in starts])


def train(root: Path) -> str:
    """A bundle of a model trained on stored features of ETH beside BTC; returns its digest."""
    history, lake = simulate_history(Scenario(seed=32, days=21)), Lake(str(root / "lake"))
    named = [(name, *five_minute_bars(history, i)) for i, name in enumerate(history.instruments[:2])]
    assert [name for name, _, _ in named] == [BTC, ETH]
    bars = pl.concat([bar_rows(*row) for row in named])
    write(lake, BARS_5M, bars)
    write(lake, FEATURES_REF_5M, gold(bars))
    panel = load_panel(lake, DEFAULT_REF, [ETH])
    assert panel.table_versions == {"bars_5m_v1": 0, "features_ref_5m_v1": 0}
    assert find_stored_leaks(lake, DEFAULT_REF, [ETH], panel.table_versions) == []
    module = models.model("gbm")
    config, plan = models.configure(module, ["min_leaf_rows=100"]), WalkForward(8, 4, 8)
    experiment = walk_forward.run(panel, module, config, 0, 1, plan)
    made = bundle.Provenance("bitacora", "run-1", "test", 0)
    return bundle.write_bundle(root / "bundle", panel, experiment, module, config, plan, made)


def land(home: Path) -> Lake:
    """The journal in the lake, and gold rebuilt from the raw frames alone."""
    arguments = parser("ingest_journal", "")
    arguments.set_defaults(journal=None)
    lake = Lake(str(home / "lake"))
    ingest_journal.run(Job("ingest_journal", HomeSettings(home=home), lake, arguments.parse_args([])))
    return lake


def bars_of(node: Node) -> pl.DataFrame:
    """Silver bars of the frames as they came, the first of each."""
    parts = []
    for name in (BTC, ETH):
        frames = {r["open_time"]: r for r in reversed(node.records("frame")) if r["instrument"] == name}
        klines = [kline_from_payload(frames[t]["stream"], frames[t]["payload"]) for t in sorted(frames)]
        values = [[float(x) for x in (k.open, k.high, k.low, k.close, k.volume)] for k in klines]
        parts.append(bar_rows(name, np.array(sorted(frames)), np.array(values)))
    return pl.concat(parts)


@pytest.mark.slow
def test_a_trained_model_of_references_decides_on_what_gold_holds(
    venue: Exchange, registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.add(1, tmp_path / "bundle", train(tmp_path))
    registry.alias = 1
    assert ETH in INSTRUMENTS
    node = Node(venue, 0, tmp_path / "home", registry.url, LIVE_INSTRUMENTS=ETH)
    node.start()
    node.wait_for("decision", 6, reason="model")
    node.kill()  # in the middle
    node.start()
    node.wait_for("decision", 12, reason="model")
    assert node.stop() == 0
    lake = land(node.home)
    for service in (DEFAULT, DEFAULT_REF):  # the default's, until the model and its references were there
        write(lake, table_of(service), gold(bars_of(node), service))
    monkeypatch.setenv("LAKE_URI", str(node.home / "lake"))
    served = [r for r in node.records("decision") if r["service_hash"] == DEFAULT_REF.content_hash]
    assert len(served) >= 12
    assert all(r["reason"] == "no_model" for r in node.records("decision") if r not in served)
    found = compare()
    assert (found["ok"], found["max"], found["offending"]) == (True, 0.0, [])
    assert found["compared"] == found["decisions"] >= 12
    assert {"corr_btc_60", "beta_btc_60"} <= set(found["features"])
