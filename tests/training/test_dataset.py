"""The panel read from a lake: point in time, versions recorded, wrong features refused."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from simulated_markets import five_minute_bars
from training_lake import bar_rows, feature_rows, write

from feature_store.scan import compute
from feature_store.service import DEFAULT
from lake.errors import ContractViolated, NothingStored
from lake.intervals import Interval
from lake.storage import Lake
from lake.tables.bars import BARS_5M
from lake.tables.features import FEATURES_5M
from market.scenario import Scenario, simulate_history
from training.dataset import find_stored_leaks, load_panel

BTC, ETH = "binance:BTC/USDT", "binance:ETH/USDT"
HISTORY = simulate_history(Scenario(seed=91, days=4))
TIMES, BARS = five_minute_bars(HISTORY, 0)


def lake_with(folder: Path, features: pl.DataFrame, bars: pl.DataFrame | None = None) -> Lake:
    lake = Lake(str(folder))
    write(lake, BARS_5M, bar_rows(BTC, TIMES, BARS) if bars is None else bars)
    write(lake, FEATURES_5M, features)
    return lake


def test_a_panel_holds_what_the_scan_computed_and_the_versions_it_read(tmp_path: Path) -> None:
    lake = lake_with(tmp_path, feature_rows(BTC, TIMES, BARS))
    panel = load_panel(lake, DEFAULT, [BTC])
    np.testing.assert_array_equal(panel.features[0], compute(DEFAULT, TIMES, BARS))
    np.testing.assert_array_equal(panel.opens[0], BARS[:, 0])
    assert panel.table_versions == {"bars_5m_v1": 0, "features_5m_v1": 0}
    again = load_panel(lake, DEFAULT, [BTC], versions=panel.table_versions)
    assert again.content_hash() == panel.content_hash()


def test_a_row_corrected_later_is_not_there_at_its_decision(tmp_path: Path) -> None:
    rows = feature_rows(BTC, TIMES, BARS)
    late = pl.col("open_time") == rows["open_time"][900]
    delayed = rows.with_columns(
        available_time=pl.when(late).then(pl.col("available_time") + timedelta(hours=3)).otherwise("available_time"),
        rsi_14=pl.when(late).then(99.0).otherwise("rsi_14"),
    )
    panel = load_panel(lake_with(tmp_path, delayed), DEFAULT, [BTC])
    assert np.isnan(panel.features[0, 900]).all()
    expected = compute(DEFAULT, TIMES, BARS)
    expected[900] = np.nan
    np.testing.assert_array_equal(panel.features[0], expected)


def test_a_missing_feature_row_is_a_gap_and_never_the_row_before_it(tmp_path: Path) -> None:
    rows = feature_rows(BTC, TIMES, BARS)
    panel = load_panel(lake_with(tmp_path, rows.filter(pl.col("open_time") != rows["open_time"][800])), DEFAULT, [BTC])
    assert np.isnan(panel.features[0, 800]).all() and np.isfinite(panel.features[0, 801]).all()


def test_a_missing_bar_keeps_the_grid_dense(tmp_path: Path) -> None:
    bars = bar_rows(BTC, TIMES, BARS)
    panel = load_panel(
        lake_with(tmp_path, feature_rows(BTC, TIMES, BARS), bars.filter(pl.col("open_time") != bars["open_time"][700])),
        DEFAULT,
        [BTC],
    )
    assert len(panel.open_times) == len(TIMES) and np.isnan(panel.opens[0, 700])
    assert np.isnan(panel.labels[0, 700 - 2]) and np.isnan(panel.labels[0, 700 - 14])


def test_features_of_another_service_are_refused(tmp_path: Path) -> None:
    rows = feature_rows(BTC, TIMES, BARS).with_columns(service_hash=pl.lit("0" * 64))
    with pytest.raises(ContractViolated, match=r"jobs\.build_features") as error:
        load_panel(lake_with(tmp_path, rows), DEFAULT, [BTC])
    assert error.value.exit_code == 65


def test_an_instrument_without_bars_and_an_empty_lake_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NothingStored, match="Run the job"):
        load_panel(Lake(str(tmp_path / "empty")), DEFAULT, [BTC])
    lake = lake_with(tmp_path / "lake", feature_rows(BTC, TIMES, BARS))
    with pytest.raises(NothingStored, match="no bars of binance:ETH/USDT"):
        load_panel(lake, DEFAULT, [BTC, ETH])


def test_an_interval_selects_bars(tmp_path: Path) -> None:
    lake = lake_with(tmp_path, feature_rows(BTC, TIMES, BARS))
    interval = Interval(int(TIMES[100]), int(TIMES[900]))
    assert load_panel(lake, DEFAULT, [BTC], interval).open_times.tolist() == TIMES[100:900].tolist()


def test_stored_features_that_knew_the_future_are_found(tmp_path: Path) -> None:
    rows, versions = feature_rows(BTC, TIMES, BARS), {"bars_5m_v1": 0, "features_5m_v1": 0}
    assert find_stored_leaks(lake_with(tmp_path / "clean", rows), DEFAULT, [BTC], versions) == []
    some = rows.filter(pl.int_range(pl.len()) % 7 != 0)
    assert find_stored_leaks(lake_with(tmp_path / "gaps", some), DEFAULT, [BTC], versions) == []
    shifted = rows.with_columns(rsi_14=pl.col("rsi_14").shift(-1))
    (found,) = find_stored_leaks(lake_with(tmp_path / "leaking", shifted), DEFAULT, [BTC], versions)
    assert found.startswith(f"{BTC} rsi_14: the row of ")
