"""Panels from bars in memory: features by the compiled scan, no lake, no JVM. A laptop's way in, and the tests'."""

from collections.abc import Mapping

import numpy as np

from feature_store.scan import compute
from feature_store.service import FeatureService
from lake.errors import BadInput
from lake.intervals import timeframe_us
from training.labels import Floats
from training.panel import Ints, Panel


def panel_from_bars(service: FeatureService, bars: Mapping[str, tuple[Ints, Floats]]) -> Panel:
    """Compute features and lay all instruments on one grid; the order of `bars` is kept.

    Args:
        service: whose features.
        bars: instrument → (open_times [n] µs sorted unique, bars [n, 5] open, high, low, close, volume).
    """
    rows = {name: (times, compute(service, times, block), block[:, 0]) for name, (times, block) in bars.items()}
    return lay_out(rows, service.feature_names, service.timeframe, service.name, service.content_hash)


def lay_out(
    rows: Mapping[str, tuple[Ints, Floats, Floats]], feature_names: tuple[str, ...], timeframe: str,
    service: str, service_hash: str, table_versions: dict[str, int] | None = None,
) -> Panel:  # fmt: skip
    """Put each instrument's rows (open_times, features, opens) on the dense grid that spans them all."""
    if not rows or not all(len(times) for times, _, _ in rows.values()):
        raise BadInput("cannot build a panel: an instrument has no bars.")
    step = timeframe_us(timeframe)
    begin = min(int(times[0]) for times, _, _ in rows.values())
    end = max(int(times[-1]) for times, _, _ in rows.values())
    grid = np.arange(begin, end + step, step, dtype=np.int64)
    features = np.full((len(rows), len(grid), len(feature_names)), np.nan)
    opens = np.full((len(rows), len(grid)), np.nan)
    for i, (times, values, prices) in enumerate(rows.values()):
        at = (times - begin) // step
        features[i, at], opens[i, at] = values, prices
    return Panel(
        tuple(rows), tuple(feature_names), timeframe, grid, features, opens,
        table_versions=table_versions or {}, service=service, service_hash=service_hash,
    )  # fmt: skip
