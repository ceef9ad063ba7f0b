"""Every model: learns what is planted, exports the same numbers, reads top to bottom alike."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from simulated_markets import simulated_panel

from lake.errors import UsageError
from training import models, onnx_model
from training.panel import Panel, Samples, samples
from training.scale_free import scale_free

QUICK = {"gbm": {"min_leaf_rows": 100}, "bilstm": {"epochs": 1, "hidden": 4, "window": 6, "stride": 24}}


@pytest.fixture(scope="module")
def panel() -> Panel:
    return simulated_panel(71, days=28)[0]


def quick(name: str) -> tuple[models.Model, object]:
    module = models.model(name)
    return module, replace(module.Config(), **QUICK[name])


def rows_of(panel: Panel, config: object) -> Samples:
    return samples(panel, 0, len(panel.open_times), config.window, config.stride)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", models.MODELS)
def test_the_graph_gives_the_models_own_numbers(name: str, panel: Panel, tmp_path: Path) -> None:
    module, config = quick(name)
    train = rows_of(panel, config)
    fitted = module.fit(config, train, seed=3, threads=1)
    fitted.export(tmp_path / "model.onnx")
    graph = onnx_model.load(tmp_path)
    probe = samples(panel, 0, len(panel.open_times), config.window, 3)  # type: ignore[attr-defined]
    worst = np.abs(graph.predict(probe.features) - fitted.predict(probe.features)).max()
    assert len(probe) > 5_000 and worst <= 1e-6
    one = graph.predict(probe.features[:1])
    assert one.shape == (1,) and abs(one[0] - fitted.predict(probe.features)[0]) <= 1e-6


@pytest.mark.parametrize("name", models.MODELS)
def test_the_same_seed_gives_the_same_model_and_importances_sum_to_one(name: str, panel: Panel) -> None:
    module, config = quick(name)
    train = rows_of(panel, config)
    first, second = (module.fit(config, train, seed=3, threads=1) for _ in range(2))
    np.testing.assert_array_equal(first.predict(train.features[:500]), second.predict(train.features[:500]))
    shares = first.importance()
    assert sum(shares.values()) == pytest.approx(1.0) and min(shares.values()) >= 0.0
    assert tuple(shares) == scale_free(train.feature_names).names


def test_thresholds_are_float32_so_that_rows_on_them_take_the_same_turn(panel: Panel, tmp_path: Path) -> None:
    module, config = quick("gbm")
    train = rows_of(panel, config)
    fitted = module.fit(config, train, seed=3, threads=1)
    trees = fitted.booster.trees_to_dataframe()  # type: ignore[attr-defined]
    thresholds = trees["threshold"].dropna().to_numpy(np.float64)
    assert len(thresholds) > 50
    np.testing.assert_array_equal(thresholds, thresholds.astype(np.float32).astype(np.float64))


def test_trees_find_the_planted_signal() -> None:
    panel, signal = simulated_panel(72, days=70)
    module = models.model("gbm")
    config = module.Config()
    half = len(panel.open_times) * 4 // 5
    fitted = module.fit(config, samples(panel, 0, half, 1, config.stride), seed=0, threads=1)
    later = slice(half + 100, None)
    found = [
        np.corrcoef(fitted.predict(panel.features[i, later][:, None]), signal[i, later])[0, 1]
        for i in range(len(panel.instruments))
    ]
    assert np.mean(found) >= 0.55


def test_setting_a_field_of_a_config() -> None:
    module = models.model("gbm")
    assert models.configure(module, ["trees=7", "learning_rate=0.5"]).trees == 7
    with pytest.raises(UsageError, match="key one of trees"):
        models.configure(module, ["tree=7"])
    with pytest.raises(UsageError, match="trees takes a int"):
        models.configure(module, ["trees=many"])
    with pytest.raises(UsageError, match="expected one of gbm, bilstm"):
        models.model("oracle")


@pytest.mark.parametrize("name", models.MODELS)
def test_every_field_of_a_config_is_explained(name: str) -> None:
    source = Path(models.model(name).__file__).read_text()  # type: ignore[attr-defined]
    for field in fields(models.model(name).Config):
        line = next(line for line in source.splitlines() if line.strip().startswith(f"{field.name}:"))
        following = source.splitlines()[source.splitlines().index(line) + 1]
        assert following.strip().startswith('"""'), field.name
