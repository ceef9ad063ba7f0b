"""What the texts seen lately say of an asset: counts, decayed sentiment and decayed mean embedding per window.

A text belongs to a window by its `available_time`: a window ends at t and holds what was first seen in (t - length, t].
Weights halve every quarter of the window: 2^(-4 (t - seen) / length). Two bounds keep one voice from being the choir:

- copies of one text are one row already (`lake.texts.rows`), and of one channel at most `CHANNEL_CAP` texts' worth of
  weight counts, so that variations posted in bulk do not add up;
- the mean is taken together with one neutral text of weight one, so that a lone text moves it by half at most, and
  silence is neutral.

A row holds from the window's end: only then is it known that no further text came.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.online import OnlineView
from lake.intervals import Interval, month_of
from lake.tables.texts import FEATURE_STEP, TEXT_FEATURES, WINDOWS

HALVINGS = 4.0
"""Half-lives in a window."""
CHANNEL_CAP = 3.0
"""Most weight of one channel within a window, in texts just seen."""
PRIOR_WEIGHT = 1.0
"""Weight of the neutral text that every mean includes."""

SCHEMA = pl.DataFrame(TEXT_FEATURES.schema.empty_table()).schema

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def text_features(texts: pl.DataFrame, span: Interval, model: str) -> pl.DataFrame:
    """Rows of text_features_v1 for the windows that end in `span`, for every asset that the texts name.

    A window without texts gives a row only right after one with texts: it says that the mood is spent.

    Args:
        texts: text_id, source, channel, available_time, assets, score, embedding; in any order, each text once, and at
            least all that became available within the longest window before `span`, and one step more.
        model: what to write into the column of that name.
    """
    named = texts.explode("assets").drop_nulls("assets").sort("assets", "available_time", "text_id")
    parts = [  # a frame per asset and window: as rows of Python numbers the vectors of all would fill the memory
        pl.DataFrame(list(_windows(str(asset), window, group, span, model)), schema=SCHEMA)
        for (asset,), group in named.group_by("assets", maintain_order=True)
        for window in WINDOWS
    ]
    return pl.concat(parts) if parts else pl.DataFrame(schema=SCHEMA)


def _windows(asset: str, window: str, texts: pl.DataFrame, span: Interval, model: str) -> Iterator[dict[str, Any]]:
    length = WINDOWS[window]
    seen = texts["available_time"].dt.epoch("us").to_numpy()
    scores = texts["score"].to_numpy()
    vectors = np.stack(texts["embedding"].to_list()).astype(np.float64)  # [texts, dimension]
    channels = texts.select(pl.struct("source", "channel").rank("dense")).to_series().to_numpy()
    for end in _ends(seen, length, span):
        first, last = (int(at) for at in np.searchsorted(seen, (end - length, end), side="right"))
        weight = capped(np.exp2(-HALVINGS * (end - seen[first:last]) / length), channels[first:last])
        yield {
            "entity": asset,
            "window": window,
            "event_time": end,
            "available_time": end,
            "texts": last - first,
            "text_weight": float(weight.sum()),
            "channels": len(np.unique(channels[first:last])),
            **mood(weight, scores[first:last]),
            "embedding": mean_vector(weight, vectors[first:last]),
            "model": model,
            "month": month_of(end),
        }


def _ends(seen: Ints, length: int, span: Interval) -> Ints:
    """Ends on the grid, within the span, whose window holds a text, or whose predecessor's did."""
    step = FEATURE_STEP
    grid = np.arange(-(-span.start // step) * step, span.end, step, dtype=np.int64)
    last = np.searchsorted(seen, grid, side="right")
    first = np.searchsorted(seen, grid - length - step, side="right")  # the predecessor's window
    kept: Ints = grid[last > first]
    return kept


def capped(weight: Floats, channels: NDArray[Any]) -> Floats:
    """The weights, those of a channel that together weigh more than `CHANNEL_CAP` scaled down to it."""
    if not len(weight):
        return weight
    _, codes = np.unique(channels, return_inverse=True)
    sums = np.bincount(codes, weight)
    scaled: Floats = weight * np.minimum(1.0, CHANNEL_CAP / np.maximum(sums, CHANNEL_CAP))[codes]
    return scaled


def mood(weight: Floats, scores: Floats) -> dict[str, float]:
    """Weighted mean and standard deviation of the scores and one neutral text."""
    total = PRIOR_WEIGHT + float(weight.sum())
    mean = float((weight * scores).sum()) / total
    variance = (float((weight * (scores - mean) ** 2).sum()) + PRIOR_WEIGHT * mean**2) / total
    return {"sentiment": mean, "sentiment_dispersion": variance**0.5}


def mean_vector(weight: Floats, vectors: Floats) -> list[float]:
    """Weighted mean; its length tells how much the texts agree. Empty without texts.

    Rows are added one after the other, so the result depends on them alone and not on where they lie in memory.
    """
    if not len(weight):
        return []
    mean: Floats = (weight[:, None] * vectors).sum(axis=0) / weight.sum()
    return mean.astype(np.float32).tolist()


def online_view(window: str, model: str, dimension: int, keep: int = 64) -> OnlineView:
    """The window's rows online; one older than the window is withheld: no news is neutral, not yesterday's mood.

    The hash covers the models and this module, i.e. all that decides the values.
    """
    decides = f"{model} {window} {dimension}".encode() + Path(__file__).read_bytes()
    numbers = ("texts", "text_weight", "channels", "sentiment", "sentiment_dispersion")
    columns = (*numbers, *(f"embedding_{at}" for at in range(dimension)))
    return OnlineView(f"text_features_{window}", hashlib.sha256(decides).hexdigest(), columns, keep, WINDOWS[window])
