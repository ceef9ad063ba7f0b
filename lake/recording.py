"""What a recorder did while rows were missing: connected, asking in vain, or not running at all.

Evidence for the reason of a hole (`lake.gaps`). A connection's life is told by the recorder itself, on its own stream
among the frames: it starts with `connected` and ends with its last frame; one that ends without ever having been
connected is an attempt that the venue did not answer.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl

NO_LIVES = pl.DataFrame(schema={"who": pl.String, "up": pl.Int64, "tried": pl.Int64, "down": pl.Int64})
"""Of venues that no recorder ever listened to."""
SCHEMA = {"connected": pl.Float64(), "attempts": pl.Int64(), "recorder": pl.Boolean()}


def during(holes: pl.DataFrame, who: pl.Series, lives: pl.DataFrame) -> pl.DataFrame:
    """Per hole: `connected`, the share of it that any connection was up; `attempts` to connect that failed inside it;
    `recorder`, whether the venue was recorded both before and after.

    Args:
        holes: `start` and `end` (UTC µs).
        who: the venue of each hole.
        lives: one row per connection: `who` (venue), `up` (UTC µs, null: never), `tried` and `down`, its first and
            last frame's time.
    """
    told = pl.DataFrame(
        {"connected": np.zeros(len(holes)), "attempts": np.zeros(len(holes), np.int64), "recorder": False},
        schema=SCHEMA,
    )
    starts, ends = holes["start"].to_numpy(), holes["end"].to_numpy()
    for (venue,), mine in lives.group_by("who"):
        at = np.flatnonzero((who == venue).to_numpy())
        first, last = starts[at], ends[at]
        up = _uptime(mine.drop_nulls("up"))
        failed = mine.filter(pl.col("up").is_null())["tried"].sort().to_numpy()
        share = (up(last) - up(first)) / np.maximum(last - first, 1)
        known = (mine["tried"].min() <= first) & (mine["down"].max() >= last)
        fresh = {
            "connected": share,
            "attempts": np.searchsorted(failed, last) - np.searchsorted(failed, first),
            "recorder": known,
        }
        told = told.with_columns(told[name].scatter(at, values).alias(name) for name, values in fresh.items())
    return told


def _uptime(lives: pl.DataFrame) -> Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float64]]:
    """From a time to the µs that any connection was up before it."""
    ordered = lives.select("up", "down").sort("up")
    begins = pl.col("up") > pl.col("down").cum_max().shift(1).fill_null(-1)
    spans = ordered.group_by(begins.cum_sum().alias("run"), maintain_order=True).agg(
        pl.col("up").min(), pl.col("down").max()
    )
    if spans.is_empty():
        return lambda time: np.zeros(len(time))
    times = spans.select("up", "down").to_numpy().ravel().astype(np.float64)
    lengths = spans.select(pl.lit(0, pl.Int64).alias("before"), pl.col("down") - pl.col("up")).to_numpy().ravel()
    totals = np.cumsum(lengths).astype(np.float64)
    return lambda time: np.interp(time.astype(np.float64), times, totals)
