"""Panels for tests: the embedded market's history without exchange, lake or Spark; and plain arrays."""

import numpy as np

from feature_store.service import DEFAULT
from lake.intervals import MINUTE
from market.scenario import History, Scenario, simulate_history
from training.panel import Panel
from training.panels import panel_from_bars


def five_minute_bars(history: History, instrument: int) -> tuple[np.ndarray, np.ndarray]:
    """Open times [n] and bars [n, 5] of one instrument."""

    def grouped(values: np.ndarray) -> np.ndarray:
        return values[instrument].reshape(-1, 5)

    bars = np.column_stack(
        [
            grouped(history.open)[:, 0],
            grouped(history.high).max(axis=1),
            grouped(history.low).min(axis=1),
            grouped(history.close)[:, -1],
            grouped(history.volume).sum(axis=1),
        ]
    )
    return history.open_time[::5], bars


def simulated_panel(seed: int, structure: int = 1, days: int = 180) -> tuple[Panel, np.ndarray]:
    """The embedded market's panel and its hidden signal [instruments, bars], known at each bar's close."""
    history = simulate_history(Scenario(seed=seed, structure=structure, days=days))
    assert history.open_time[0] % (5 * MINUTE) == 0
    bars = [five_minute_bars(history, i) for i in range(len(history.instruments))]
    return panel_from_bars(DEFAULT, dict(zip(history.instruments, bars, strict=True))), history.signal[:, 4::5]
