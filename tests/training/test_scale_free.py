"""Inputs mean the same at every price level."""

import numpy as np
import pytest
from simulated_markets import simulated_panel

from feature_store.service import DEFAULT
from lake.errors import ContractViolated
from training.scale_free import CLIP, scale_free

PRICE_LIKE = {
    "sma_20", "ema_20", "macd_12_26", "macd_signal_12_26_9", "macd_hist_12_26_9", "atr_14",
    "bb_upper_20_2", "bb_mid_20_2", "bb_lower_20_2",
}  # fmt: skip


def test_a_market_at_a_thousand_times_the_price_gives_the_same_inputs() -> None:
    panel, _ = simulated_panel(41, days=7)
    rows = panel.features[0, 600:900]
    scaling = scale_free(panel.feature_names)
    scaled = rows.copy()
    for column, name in enumerate(panel.feature_names):
        if name in PRICE_LIKE:
            scaled[:, column] *= 1000.0
    np.testing.assert_allclose(scaling.inputs(scaled), scaling.inputs(rows), rtol=1e-9)


def test_every_feature_of_the_default_service_has_a_rule() -> None:
    assert len(scale_free(DEFAULT.feature_names).names) >= len(DEFAULT.feature_names)


def test_a_market_that_does_not_move_gives_finite_inputs() -> None:
    names = DEFAULT.feature_names
    still = np.array([[100.0 if n in ("sma_20", "ema_20") or n.startswith("bb_") else 0.0 for n in names]])
    scaling = scale_free(names)
    assert np.isfinite(scaling.inputs(still)).all() and np.abs(scaling.inputs(still)).max() <= CLIP
    assert scaling.volatility_of(still)[0] > 0


def test_a_feature_without_a_rule_is_named() -> None:
    with pytest.raises(ContractViolated, match="no scale-free rule for feature 'moon_phase'"):
        scale_free((*DEFAULT.feature_names, "moon_phase"))
