"""Random walks as bars, the services under test, and the oracle's way to look at numbers and bits."""

from typing import Any

import numpy as np
import pytest

from feature_store.service import DEFAULT, FeatureService, services
from feature_store.view import Floats, Times
from lake.intervals import MINUTE, WEEK

BAR = 5 * MINUTE
MONDAY = 1_704_067_200_000_000  # 2024-01-01, a Monday
WEEK_BARS = WEEK // BAR


def walk(
    n: int, seed: int = 0, price: float = 40_000.0, missing: float = 0.0, start: int = MONDAY
) -> tuple[Times, Floats]:
    """`n` five-minute bars on a tick of 0.01, of which a share is missing, flat stretches and idle bars among them."""
    rng = np.random.default_rng(seed)
    moves = rng.normal(0.0, 1.5e-3, n) * (rng.random(n) > 0.1)
    close = np.round(price * np.exp(np.cumsum(moves)), 2 if price > 10 else 6)
    open_ = np.concatenate([[price], close[:-1]])
    high = np.maximum(open_, close) * (1 + rng.exponential(5e-4, n))
    low = np.minimum(open_, close) * (1 - rng.exponential(5e-4, n))
    volume = np.round(rng.lognormal(2.0, 1.0, n), 5) * (rng.random(n) > 0.02)
    times = start + BAR * np.arange(n, dtype=np.int64)
    kept = rng.random(n) >= missing
    return times[kept], np.column_stack([open_, high, low, close, volume])[kept]


def wide(service: FeatureService, times: Times, bars: Floats, seed: int = 0, known: float = 0.95) -> Floats:
    """The bars with walks for the service's references and series behind them, of which a share is known."""
    rng = np.random.default_rng([seed, *map(len, service.extras)])
    extras = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-3, (len(times), len(service.extras))), axis=0))
    extras = extras * (bars[:, 3:4] / 40_000.0) ** 0.5
    extras[rng.random(extras.shape) >= known] = np.nan
    return np.column_stack([bars, extras])


def wide_walk(service: FeatureService, n: int, seed: int = 0, **how: Any) -> tuple[Times, Floats]:
    """`walk`, with every column that the service asks for."""
    known = how.pop("known", 0.95)
    times, bars = walk(n, seed, **how)
    return times, wide(service, times, bars, seed, known)


every_service = pytest.mark.parametrize(
    "service", [one.at("5m") for one in services().values()], ids=lambda service: service.name
)
every_view = pytest.mark.parametrize(
    ("service", "view"),
    [
        pytest.param(service.at("5m"), view, id=view.name)
        for view, service in {view: one for one in reversed(services().values()) for view in one.views}.items()
    ],
)


def column(values: Floats, name: str, service: FeatureService = DEFAULT) -> Floats:
    return values[:, service.feature_names.index(name)]


def close_to(ours: Floats, oracle: Floats, first: int, scale: Floats | float = 1.0) -> None:
    """Within 1e-9 of the larger of the oracle and `scale`, and NaN exactly before row `first`."""
    assert np.isnan(ours[:first]).all()
    assert np.isfinite(ours[first:]).all()
    bound = 1e-9 * np.maximum(np.abs(oracle), scale)
    worst = np.argmax((np.abs(ours - oracle) - bound)[first:]) + first
    np.testing.assert_array_less(np.abs(ours - oracle)[first:], bound[first:] + 1e-300, err_msg=f"row {worst}")


def same_bits(left: Floats, right: Floats) -> bool:
    return left.shape == right.shape and left.tobytes() == right.tobytes()
