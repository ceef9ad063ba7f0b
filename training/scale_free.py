"""Raw feature columns to numbers that mean the same on every instrument: ratios, never prices.

One list of rules drives three executions of the same arithmetic: numpy (fitting), the ONNX graph (live) and torch
(networks). Each input is

    scale · (x · numerator + shift) / max(x · denominator + constant, floor)        then clipped to ±CLIP

with coefficients of ±1 only, so that the three agree to the last bit. Averages and bands are measured in average true
ranges, returns in standard deviations of their horizon; a model that sees these can be trained on all instruments
together and does not expire when a price doubles.
"""

import math
import re
from dataclasses import dataclass, field

import numpy as np

from lake.errors import ContractViolated
from training.labels import Floats

CLIP = 12.0
FLOOR = 1e-9
VOLATILITY = "realized_vol_60"
VOLATILITY_FLOOR = 1e-5
"""0.1 bps per bar: a market that does not move at all."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """One model input as a fraction of two sums of columns."""

    name: str
    numerator: dict[str, float]
    denominator: dict[str, float] = field(default_factory=dict)
    """Empty: divide by one."""
    scale: float = 1.0
    shift: float = 0.0
    floor: float = FLOOR


def rules(column: str) -> list[Ratio]:
    """The inputs made from one feature column.

    Raises:
        ContractViolated: no rule knows the column; a new feature adds its rule here.
    """
    if match := re.fullmatch(r"log_return_(\d+)", column):
        bars = int(match[1])
        scale = 1.0 / math.sqrt(bars)
        return [
            Ratio(f"{column}/vol", {column: 1.0}, {VOLATILITY: 1.0}, scale, floor=VOLATILITY_FLOOR),
            Ratio(f"{column}·100", {column: 1.0}, scale=100.0 * scale),
        ]
    known = {
        "sma_20": [Ratio("(ema-sma)/atr", {"ema_20": 1.0, "sma_20": -1.0}, {"atr_14": 1.0})],
        "ema_20": [],
        "bb_mid_20_2": [],
        "rsi_14": [Ratio("rsi-50", {"rsi_14": 1.0}, scale=0.02, shift=-50.0)],
        "macd_12_26": [Ratio("macd/atr", {"macd_12_26": 1.0}, {"atr_14": 1.0})],
        "macd_signal_12_26_9": [Ratio("macd_signal/atr", {"macd_signal_12_26_9": 1.0}, {"atr_14": 1.0})],
        "macd_hist_12_26_9": [Ratio("macd_hist/atr", {"macd_hist_12_26_9": 1.0}, {"atr_14": 1.0})],
        "atr_14": [Ratio("atr/sma", {"atr_14": 1.0}, {"sma_20": 1.0}, scale=100.0)],
        "bb_upper_20_2": [Ratio("band/atr", {"bb_upper_20_2": 1.0, "bb_lower_20_2": -1.0}, {"atr_14": 1.0})],
        "bb_lower_20_2": [],
        VOLATILITY: [Ratio("vol·100", {VOLATILITY: 1.0}, scale=100.0)],
        "volume_z_60": [Ratio("volume_z", {"volume_z_60": 1.0})],
        "corr_btc_60": [Ratio("corr_btc", {"corr_btc_60": 1.0})],
        "beta_btc_60": [Ratio("beta_btc", {"beta_btc_60": 1.0})],
    }
    if column not in known:
        raise ContractViolated(
            f"no scale-free rule for feature {column!r}: add one to training/scale_free.py, or leave the column out."
        )
    return known[column]


@dataclass(frozen=True)
class ScaleFree:
    """The rules of a feature list as matrices. `features` [..., k] become `inputs` [..., m]."""

    names: tuple[str, ...]
    numerator: Floats
    """[k, m]"""
    denominator: Floats
    """[k, m]"""
    constant: Floats
    """[m]: one where there is no denominator."""
    shift: Floats
    scale: Floats
    floor: Floats
    volatility: Floats
    """[k, 1]: picks the column of VOLATILITY."""

    def inputs(self, features: Floats) -> Floats:
        """[..., m] float64, finite wherever `features` are."""
        top = features @ self.numerator + self.shift
        bottom = np.maximum(features @ self.denominator + self.constant, self.floor)
        return np.clip(top / bottom * self.scale, -CLIP, CLIP)

    def volatility_of(self, features: Floats) -> Floats:
        """[...] per-bar volatility of log returns, floored."""
        return np.maximum((features @ self.volatility)[..., 0], VOLATILITY_FLOOR)


def scale_free(feature_names: tuple[str, ...]) -> ScaleFree:
    """Compile the rules for a feature list.

    Raises:
        ContractViolated: a column without a rule, or a rule whose other columns are missing.
    """
    ratios = [ratio for column in feature_names for ratio in rules(column)]
    index = {name: i for i, name in enumerate(feature_names)}
    needed = {VOLATILITY} | {c for r in ratios for c in (*r.numerator, *r.denominator)}
    if missing := sorted(needed - set(index)):
        raise ContractViolated(f"scale-free inputs need {', '.join(missing)}; the feature service has {feature_names}")

    def matrix(parts: list[dict[str, float]]) -> Floats:
        result = np.zeros((len(feature_names), len(parts)))
        for column, part in enumerate(parts):
            for name, coefficient in part.items():
                result[index[name], column] = coefficient
        return result

    def row(values: list[float]) -> Floats:
        return np.array(values, dtype=np.float64)

    return ScaleFree(
        names=tuple(r.name for r in ratios),
        numerator=matrix([r.numerator for r in ratios]),
        denominator=matrix([r.denominator for r in ratios]),
        constant=row([0.0 if r.denominator else 1.0 for r in ratios]),
        shift=row([r.shift for r in ratios]),
        scale=row([r.scale for r in ratios]),
        floor=row([r.floor for r in ratios]),
        volatility=matrix([{VOLATILITY: 1.0}]),
    )
