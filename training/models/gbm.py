"""Gradient-boosted trees: the baseline every other model has to beat.

Why: on a few thousand independent labels with one to five per cent of explainable variance, a strongly regularised
ensemble of shallow trees over scale-free ratios is hard to beat, trains in seconds, and its graph runs in microseconds.

The trees fit the gross return in units of the horizon's volatility (features: training/scale_free.py); the graph
multiplies the volatility back and subtracts the round trip. Leaves are large and steps small because the labels are
almost all noise: what this has to find is a gentle slope, not a pattern.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training import graph
from training.labels import Floats, round_trip_cost
from training.panel import Samples
from training.scale_free import ScaleFree, scale_free

NAME = "gbm"
WHY = "Gradient-boosted trees over scale-free ratios: the baseline."


@dataclass(frozen=True, slots=True)
class Config:
    """Chosen on simulated markets of seeds that no test uses; see docs/training.md."""

    trees: int = 80
    """Boosting rounds."""
    learning_rate: float = 0.04
    """Share of each tree that is kept."""
    leaves: int = 6
    """Leaves per tree: shallow, so mostly additive effects."""
    min_leaf_rows: int = 800
    """Fewest training rows in a leaf; labels of neighbouring rows overlap, so this is far fewer independent ones."""
    l2: float = 50.0
    """Shrinkage of leaf values, in rows."""
    feature_fraction: float = 0.5
    """Share of the inputs a tree may use: spreads the weight over correlated ones."""
    row_fraction: float = 0.7
    """Share of the rows a tree sees."""
    target_clip: float = 4.0
    """Labels beyond so many standard deviations are pulled in: a jump is not a lesson."""
    window: int = 1
    """Feature rows per prediction; trees read one."""
    stride: int = 4
    """One decision in so many is trained on; labels overlap by twelve bars."""


@dataclass(frozen=True)
class FittedGbm:
    """Booster and the scaling in front of it."""

    booster: Any
    scaling: ScaleFree
    horizon: int
    cost: float
    threads: int

    def predict(self, features: Floats) -> Floats:
        """See training.models.Fitted."""
        last = np.ascontiguousarray(features[:, -1])
        inputs = self.scaling.inputs(last).astype(np.float32)
        deviations = np.asarray(self.booster.predict(inputs, num_threads=self.threads), dtype=np.float64)
        return deviations * (self.scaling.volatility_of(last) * np.sqrt(self.horizon)) - self.cost

    def export(self, path: Path) -> None:
        """See training.models.Fitted."""
        from onnxmltools import convert_lightgbm
        from onnxmltools.convert.common.data_types import FloatTensorType

        shape = FloatTensorType([None, len(self.scaling.names)])
        converted = convert_lightgbm(self.booster, initial_types=[("inputs", shape)], target_opset=15, zipmap=False)
        (tree,) = (node for node in converted.graph.node if node.op_type == "TreeEnsembleRegressor")
        graph.save(graph.tree_graph(tree, self.scaling, self.horizon, self.cost), path)

    def importance(self) -> dict[str, float]:
        """Share of the total gain."""
        gain = np.asarray(self.booster.feature_importance("gain"), dtype=np.float64)
        share = gain / max(gain.sum(), 1e-12)
        return dict(zip(self.scaling.names, map(float, share), strict=True))


def fit(config: Config, train: Samples, seed: int, threads: int) -> FittedGbm:
    """Fit on labelled rows; the same rows and seed give the same trees."""
    import lightgbm

    scaling = scale_free(train.feature_names)
    last = np.ascontiguousarray(train.features[:, -1])
    cost = round_trip_cost(train.cost_bps_per_side)
    deviations = (train.labels + cost) / (scaling.volatility_of(last) * np.sqrt(train.horizon))
    target = np.clip(deviations, -config.target_clip, config.target_clip)
    data = lightgbm.Dataset(
        scaling.inputs(last).astype(np.float32), target, feature_name=[f"f{i}" for i in range(len(scaling.names))],
        params={"max_bin": 63, "verbose": -1, "num_threads": threads},
    )  # fmt: skip
    parameters = {
        "objective": "regression", "learning_rate": config.learning_rate, "num_leaves": config.leaves,
        "min_data_in_leaf": config.min_leaf_rows, "lambda_l2": config.l2, "feature_fraction": config.feature_fraction,
        "bagging_fraction": config.row_fraction, "bagging_freq": 1, "linear_tree": False, "boost_from_average": False,
        "seed": seed, "deterministic": True, "force_row_wise": True, "num_threads": threads, "verbose": -1,
        "max_bin": 63,
    }  # fmt: skip
    booster = lightgbm.train(parameters, data, num_boost_round=config.trees)
    return FittedGbm(_on_float32(lightgbm, booster), scaling, train.horizon, cost, threads)


def _on_float32(lightgbm: Any, booster: Any) -> Any:
    """The same trees with every threshold rounded down to float32.

    Inputs are float32, so no row changes its leaf, and the graph, whose thresholds are float32, takes the same turns.
    """

    def rounded(match: re.Match[str]) -> str:
        values = np.array(match[1].split(), dtype=np.float64)
        down = values.astype(np.float32)
        down = np.where(down > values, np.nextafter(down, np.float32(-np.inf)), down)
        return "threshold=" + " ".join(repr(float(v)) for v in down)

    text = re.sub(r"^threshold=(.*)$", rounded, booster.model_to_string(), flags=re.MULTILINE)
    # the text names the size of each tree, which may have changed
    sizes = [len(tree.encode()) for tree in re.findall(r"Tree=\d+\n.*?\n\n\n", text, flags=re.DOTALL)]
    text = re.sub(r"^tree_sizes=.*$", "tree_sizes=" + " ".join(map(str, sizes)), text, flags=re.MULTILINE)
    return lightgbm.Booster(model_str=text)
