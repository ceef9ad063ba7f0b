"""A picture of drift: per feature how its values lay in the reference days and how in the newest, with psi and ks."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from feature_store.view import Floats

COLUMNS: Final = 3
BINS: Final = 40
TAIL: Final = 0.005
"""What lies beyond these quantiles of both is drawn in the outer bins."""
MOVED: Final = 0.25
"""PSI from which a feature counts as moved, the rule of thumb of Siddiqi, Credit Risk Scorecards, 2006."""


def drift_plot(before: pl.DataFrame, now: pl.DataFrame, measured: Mapping[str, Mapping[str, float]], out: Path) -> None:
    """Write a PNG: bars of psi and ks on top, the most moved first, then both densities of each feature.

    Args:
        before, now: the reference days and the newest, a column per feature; nulls and NaN are left out.
        measured: by feature `psi` and `ks`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = sorted(measured, key=lambda name: (-_finite(measured[name]["psi"]), name))
    rows = -(-len(names) // COLUMNS)
    figure = Figure(figsize=(13, 4 + 2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(2, 1, height_ratios=[4, 2 * rows])  # theirs does not tell an array from one
    top, bottom = parts
    _bars(top.subplots(), names, measured)
    for axes, name in zip(bottom.subplots(rows, COLUMNS, squeeze=False).flat, names, strict=False):
        _densities(axes, name, _numbers(before, name), _numbers(now, name), measured[name])
    for axes in bottom.axes[len(names) :]:
        axes.set_axis_off()
    figure.savefig(out, dpi=90)


def _bars(axes: Any, names: list[str], measured: Mapping[str, Mapping[str, float]]) -> None:
    places = np.arange(len(names))
    for shift, measure in ((-0.2, "psi"), (0.2, "ks")):
        axes.bar(places + shift, [_finite(measured[name][measure]) for name in names], 0.4, label=measure)
    axes.axhline(MOVED, color="0.5", linewidth=0.8, linestyle="--", label=f"psi {MOVED}")
    axes.set_xticks(places, names, rotation=35, ha="right", fontsize=8)
    axes.set_title("Newest days against the reference days before them")
    axes.legend()


def _densities(axes: Any, name: str, before: Floats, now: Floats, measured: Mapping[str, float]) -> None:
    axes.set_title(f"{name}   psi {measured['psi']:.2f}, ks {measured['ks']:.2f}", fontsize=9)
    axes.tick_params(labelsize=7)
    axes.set_yticks([])
    if not len(before) or not len(now):
        axes.text(0.5, 0.5, "no values in one of the two", ha="center", va="center", transform=axes.transAxes)
        return
    ends = np.array([np.quantile(one, [TAIL, 1 - TAIL]) for one in (before, now)])
    low, high = ends[:, 0].min(), ends[:, 1].max()
    edges = np.linspace(low, high, BINS + 1) if high > low else np.linspace(low - 0.5, low + 0.5, BINS + 1)
    for values, label in ((before, "reference"), (now, "newest")):
        share = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
        axes.stairs(share, edges, fill=True, alpha=0.5, label=label)
    axes.legend(fontsize=7)


def _numbers(rows: pl.DataFrame, name: str) -> Floats:
    values = rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return values[np.isfinite(values)]


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0
