"""What a table computed from bars said before they were corrected: the rows of its history, out of silver's own."""

from collections.abc import Callable, Sequence
from datetime import datetime

import polars as pl

_KEY = ["instrument", "open_time"]


def no_history(rows: pl.DataFrame) -> pl.DataFrame:
    """An empty history of rows like these: their columns and `superseded_time`."""
    return rows.clear().with_columns(superseded_time=pl.lit(None, pl.Datetime("us", "UTC")))


def said_before(
    bars: pl.DataFrame,
    replaced: pl.DataFrame,
    standing: pl.DataFrame,
    key: Sequence[str],
    compute: Callable[[pl.DataFrame], pl.DataFrame],
) -> pl.DataFrame:
    """Rows that were known before corrections moved them; `standing`'s columns and `superseded_time`.

    Correction by correction, the newest first, the rows are computed from the bars that stood before it. What was known
    in the meantime is a row of history, until the row that followed it was available.

    Args:
        bars: those that stand: `instrument`, `open_time`, `available_time` and whatever `compute` reads.
        replaced: those that corrections replaced, with `superseded_time`; empty where nothing was corrected.
        standing: what `compute` gives for the bars that stand, with `available_time`.
        key: of the rows.
    """
    found, after = [no_history(standing)], standing
    for moment in replaced["superseded_time"].unique().sort(descending=True):
        before = compute(_as_they_stood(bars, replaced, moment))
        followed = after.select(*key, superseded_time="available_time")
        rows = before.join(followed, on=list(key), how="inner", maintain_order="left")
        found.append(rows.filter(pl.col("available_time") < pl.col("superseded_time")))
        after = before
    return pl.concat(found)


def _as_they_stood(bars: pl.DataFrame, replaced: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    """The bars as they stood just before a moment at which some were corrected."""
    stood = replaced.filter(pl.col("available_time") < moment, pl.col("superseded_time") >= moment)
    others = bars.join(stood, on=_KEY, how="anti")
    return pl.concat([others, stood.select(bars.columns)])


def first_known(bars: pl.DataFrame, replaced: pl.DataFrame) -> pl.DataFrame:
    """The bars as each was known first. A reference counts as it was when its row was made: as live had it."""
    if replaced.is_empty():
        return bars
    versions = pl.concat([replaced.select(bars.columns), bars]).sort("available_time", maintain_order=True)
    return versions.unique(_KEY, keep="first", maintain_order=True)
