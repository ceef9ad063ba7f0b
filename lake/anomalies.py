"""Rows that keep every rule of their table and are wrong all the same: declared checks over a stretch of rows.

Each check names what it looks at, how severe a finding is, and gives a flag per row:
- stop: nothing may be built on it; quarantine: the row is kept apart; warn: a person should look.

A check reads rows of other times, past and future, so it runs where a stretch is complete, never in a feature.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

Severity = Literal["stop", "quarantine", "warn"]

SPIKE_RATIO = 5.0
"""A print this many times off the market's level is no trade at the market. Real crashes of the past, down to a ninth
of the price within minutes, are kept, because prices on the way and after them were low, too."""

BAND_ROWS = 5
"""Rows on each side whose ranges are the local band."""

FROZEN_ROWS = 30
SKEW_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One declared check: `flags` gives a Boolean per row, true where the row is wrong."""

    name: str
    severity: Severity
    why: str
    flags: Callable[[pl.DataFrame], pl.Series]
    columns: tuple[str, ...]
    """What it reads."""


def spikes(bars: pl.DataFrame) -> pl.Series:
    """Bars with a price that no neighbour ever came near: below a fifth of what each of them reached, or the reverse.

    Args:
        bars: instrument, open_time, open, high, low, close; flags come in the rows' own order.
    """
    around = [k for k in range(-BAND_ROWS, BAND_ROWS + 1) if k]
    ordered = bars.with_row_index("at").sort("instrument", "open_time")

    def neighbours(name: str) -> list[pl.Expr]:
        return [pl.col(name).shift(k).over("instrument") for k in around]

    level = pl.concat_list(neighbours("close")).list.median()
    down = pl.col("low") * SPIKE_RATIO < pl.min_horizontal(level, *neighbours("high"))
    up = pl.col("high") > SPIKE_RATIO * pl.max_horizontal(level, *neighbours("low"))
    return ordered.with_columns(flag=(down | up).fill_null(False)).sort("at")["flag"]


def crossed(quotes: pl.DataFrame) -> pl.Series:
    """Quotes whose bid is not below the ask; locked ones count, null sides do not."""
    return quotes.select((pl.col("bid") >= pl.col("ask")).fill_null(False)).to_series()


def frozen(bars: pl.DataFrame) -> pl.Series:
    """Bars in a run of at least `FROZEN_ROWS` with the same four prices and volume above zero: a feed that repeats."""
    same = pl.struct("open", "high", "low", "close", "volume")
    ordered = bars.with_row_index("at").sort("instrument", "open_time")
    runs = ordered.with_columns(run=pl.struct("instrument", value=same).rle_id())
    flag = (pl.len().over("run") >= FROZEN_ROWS) & (pl.col("volume") > 0)
    return runs.with_columns(flag=flag).sort("at")["flag"]


def skewed(frames: pl.DataFrame) -> pl.Series:
    """Frames of a connection whose recorder's clock ran behind the venue's: received before they were sent."""
    late = (pl.col("received_time") - pl.col("event_time")).dt.total_microseconds() / 1e6
    median = late.median().over("connection")
    return frames.select(median < -SKEW_SECONDS).to_series()


_BARS = ("instrument", "open_time", "open", "high", "low", "close", "volume")
_QUOTE = ("bid", "ask")
_CLOCKS = ("connection", "event_time", "received_time")

ANOMALIES: Mapping[str, tuple[Anomaly, ...]] = {
    "bars_1m_v1": (
        Anomaly("spike", "quarantine", "a price far from the bar's neighbours and never near them", spikes, _BARS),
        Anomaly("frozen", "warn", f"{FROZEN_ROWS} equal bars in a row, with volume", frozen, _BARS),
    ),
    "bars_5m_v1": (
        Anomaly("spike", "quarantine", "a price far from the bar's neighbours and never near them", spikes, _BARS),
        Anomaly("frozen", "warn", f"{FROZEN_ROWS} equal bars in a row, with volume", frozen, _BARS),
    ),
    "quotes_v1": (Anomaly("crossed", "quarantine", "the bid is not below the ask", crossed, ("bid", "ask")),),
    "raw_frames_v1": (Anomaly("clock", "warn", "the recorder's clock runs behind the venue's", skewed, _CLOCKS),),
}
