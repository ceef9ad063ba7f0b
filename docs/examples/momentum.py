"""Follow the trend: hold what has risen over the last day, in proportion, and stand aside from what has fallen."""

from dataclasses import dataclass

import numpy as np

from market.strategy import BarArrays, WeightStrategy


@dataclass
class Momentum(WeightStrategy):
    lookback: int = 288  # bars: one day of 5m
    scale: float = 0.04  # the return over the lookback at which the position is full
    steps: int = 4  # weights are rounded to quarters, so that small changes cost nothing

    @property
    def memory(self) -> int:
        return self.lookback + 1

    def weights(self, bars: BarArrays) -> np.ndarray:
        weights = np.full(len(bars.close), np.nan)
        past = bars.close[self.lookback :] / bars.close[: -self.lookback] - 1 if len(weights) > self.lookback else []
        weights[self.lookback :] = np.round(np.clip(np.asarray(past) / self.scale, 0, 1) * self.steps) / self.steps
        return weights
