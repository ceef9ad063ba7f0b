"""Small markets of bars for the tests of the backtester."""

from collections.abc import Sequence

import numpy as np

from lake.intervals import MINUTE
from market.bars import Bars
from market.conditions import Conditions

FREE = Conditions(fee_bps=0.0, slippage_bps=0.0, impact=0.0)
NAME = "test:A/USD"


def bars_of(rows: Sequence[Sequence[float]], name: str = NAME) -> Bars:
    """Five-minute bars of one instrument from rows of open, high, low, close and, where not 1000, volume."""
    values = np.array([[*row, 1000.0][:5] for row in rows], np.float64)
    times = np.arange(len(values), dtype=np.int64) * 5 * MINUTE
    return Bars((name,), times, values[:, None, :], 5 * MINUTE)


def random_bars(n: int, k: int = 1, seed: int = 1, volatility: float = 0.002) -> Bars:
    """Random walks with gaps between bars."""
    rng = np.random.default_rng(seed)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, volatility, (n, k)), axis=0))
    opens = np.vstack([np.full((1, k), 100.0), closes[:-1]]) * np.exp(rng.normal(0, volatility / 4, (n, k)))
    wicks = np.abs(rng.normal(0, volatility / 2, (2, n, k)))
    highs, lows = np.maximum(opens, closes) * (1 + wicks[0]), np.minimum(opens, closes) * (1 - wicks[1])
    values = np.stack([opens, highs, lows, closes, rng.lognormal(5, 1, (n, k))], axis=2)
    names = tuple(f"test:{chr(65 + j)}/USD" for j in range(k))
    return Bars(names, np.arange(n, dtype=np.int64) * 5 * MINUTE, values, 5 * MINUTE)
