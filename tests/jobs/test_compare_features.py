"""Skew and drift are found where they are, and nowhere else."""

from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest
from PIL import Image
from scipy.stats import ks_2samp

from feature_store.drift import ks, psi
from feature_store.drift_plot import drift_plot
from feature_store.materialize import materialize
from feature_store.online import OnlineRow, service_view
from feature_store.online_settings import open_store
from feature_store.service import DEFAULT
from lake.errors import ContractViolated
from lake.settings import HomeSettings
from lake.storage import Lake
from tests.feature_store.gold import START, STEP, gold_rows, put
from tests.lake_fixtures import RunJob

BTC = "binance:BTC/USDT"
ASKED = {"service": DEFAULT.name, "days": 1, "reference_days": 3}


def test_ks_is_scipys_and_psi_its_formula() -> None:
    chance = np.random.default_rng(1)
    for shift in (0.0, 0.3, 2.0):
        a, b = chance.normal(size=501), np.round(chance.normal(shift, size=300), 1)
        assert ks(a, b) == pytest.approx(ks_2samp(a, b).statistic, abs=1e-12)
    even = np.arange(100.0)
    r, c = np.full(10, 0.1), np.array([1e-4] * 5 + [0.2] * 5)
    assert psi(even, np.repeat(even[50:], 2)) == pytest.approx(np.sum((c - r) * np.log(c / r)))
    assert psi(even, even) == 0.0
    assert psi(even, np.full(10, np.nan)) > 1
    assert np.isnan(psi(even, np.empty(0)))


def test_the_picture_shows_what_moved_and_stands_on_features_without_values(tmp_path: Path) -> None:
    chance = np.random.default_rng(2)
    before = pl.DataFrame({"a": chance.normal(size=500), "still": np.ones(500), "none": [None] * 500})
    measured = {"a": {"psi": 0.0, "ks": 0.0}, "still": {"psi": 0.0, "ks": 0.0}, "none": {"psi": np.nan, "ks": np.nan}}

    def drawn(now: pl.DataFrame) -> np.ndarray:
        drift_plot(before, now, measured, tmp_path / "drift.png")
        with Image.open(tmp_path / "drift.png") as picture:
            return np.asarray(picture.convert("RGB"))

    same = drawn(before)
    assert np.array_equal(same, drawn(before))
    apart = (same != drawn(before.with_columns(pl.col("a") + 3.0))).any(axis=2)
    rows, columns = np.nonzero(apart)
    assert rows.min() > same.shape[0] // 3, "the densities lie below the bars"
    assert len(columns) > 500
    drawn(before.clear())


def test_what_moved_and_what_differs_is_reported(lake: Lake, home: Path, run_job: RunJob) -> None:
    rows = gold_rows(BTC, 4 * 288)
    moved = pl.when(pl.int_range(pl.len()) >= 3 * 288).then(pl.col("rsi_14") + 1.5).otherwise("rsi_14")
    put(lake, rows.with_columns(rsi_14=moved))
    with open_store(HomeSettings(home=home)) as store:
        materialize(lake, store, DEFAULT)
        summary = run_job("compare_features", **ASKED)
        assert (summary["skew"], summary["compared"], summary["missing"]) == (0.0, 64, 0)
        found = orjson.loads((home / "metrics" / "features.json").read_bytes())["features"]
        assert found["rsi_14"]["psi"] > 0.25
        assert all(found[name]["psi"] < 0.25 for name in DEFAULT.feature_names if name != "rsi_14")
        with Image.open(home / "metrics" / "features.png") as picture:
            assert min(picture.size) > 1_000
        text = (home / "metrics" / "features.prom").read_text()
        assert f'bitacora_feature_psi{{feature="rsi_14",service="default_5m"}} {found["rsi_14"]["psi"]}' in text

        last = store.get_last_n(service_view(DEFAULT), BTC, 1, START + 10**15)[0]
        wrong = (last.values[0], None, *last.values[2:])
        store.push(service_view(DEFAULT), [OnlineRow(BTC, last.event_time, last.available_time + 1, wrong)])
        with pytest.raises(ContractViolated, match="largest skew inf"):
            run_job("compare_features", **ASKED)
        ahead = OnlineRow(BTC, last.event_time + STEP, last.event_time + STEP, last.values)
        store.push(service_view(DEFAULT), [ahead])
        with pytest.raises(ContractViolated, match="1 online rows are not in gold"):
            run_job("compare_features", **ASKED)
