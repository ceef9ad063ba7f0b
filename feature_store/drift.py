"""How far a feature has moved: population stability index and Kolmogorov-Smirnov distance between two samples."""

import numpy as np

from feature_store.view import Floats

BINS = 10
FLOOR = 1e-4
"""Least share of a bin, so that an empty one is far but not infinitely far."""


def psi(reference: Floats, current: Floats, bins: int = BINS) -> float:
    """Population stability index: Σ (c − r)·ln(c / r) over the reference's quantile bins, NaN a bin of its own.

    By custom below 0.1 is stable, above 0.25 has shifted (Siddiqi, 2006, "Credit Risk Scorecards"). NaN where one
    sample is empty.
    """
    if not (len(reference) and len(current)):
        return float("nan")
    known = reference[np.isfinite(reference)]
    edges = np.unique(np.quantile(known, np.arange(1, bins) / bins)) if len(known) else np.empty(0)
    r, c = (_shares(one, edges) for one in (reference, current))
    return float(np.sum((c - r) * np.log(c / r)))


def ks(reference: Floats, current: Floats) -> float:
    """Largest distance of the two empirical distribution functions, 0 to 1; NaN where a sample has no finite value."""
    a, b = (np.sort(one[np.isfinite(one)]) for one in (reference, current))
    if not (len(a) and len(b)):
        return float("nan")
    both = np.concatenate([a, b])
    return float(np.abs(np.searchsorted(a, both, "right") / len(a) - np.searchsorted(b, both, "right") / len(b)).max())


def _shares(values: Floats, edges: Floats) -> Floats:
    place = np.where(np.isfinite(values), np.searchsorted(edges, values, "right"), len(edges) + 1)
    counts = np.bincount(place, minlength=len(edges) + 2)
    return np.maximum(counts / len(values), FLOOR)
