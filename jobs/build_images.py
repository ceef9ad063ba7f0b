"""Draw candles as images: windows of 64 five-minute bars that end at full hours.

Reads   silver bars_5m_v1
Writes  gold images_5m_v1

A window with a missing bar has no image. An image is known when the last of its bars is: a bar corrected later dates
every image that shows it, and the image as it was before stands in the table's history.
"""

from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from feature_store.images import KINDS, LENGTH, SIZE, images
from jobs.command import Job, main, parser
from jobs.corrections import said_before
from jobs.silver import around, build, outcome
from lake.intervals import HOUR, MINUTE, Interval
from lake.storage import Lake
from lake.tables import BARS_5M, IMAGES_5M

BAR = ("open", "high", "low", "close", "volume")
STEP = 5 * MINUTE
MARGIN = timedelta(microseconds=(LENGTH + 1) * STEP)


def image_rows(bars: pl.DataFrame, unit: Interval) -> pl.DataFrame:
    """Rows of images_5m_v1 whose event_time lies in the unit.

    Args:
        bars: rows of bars_5m_v1 of the unit and the windows before it, any number of instruments, in any order.
    """
    parts = [_of_instrument(rows.sort("event_time"), unit) for _, rows in bars.group_by("instrument")]
    empty = pl.DataFrame(schema=pl.Schema(IMAGES_5M.schema))
    return pl.concat([empty, *parts]).sort(IMAGES_5M.key)


def _of_instrument(bars: pl.DataFrame, unit: Interval) -> pl.DataFrame:
    closes = bars["event_time"].dt.epoch("us").to_numpy()
    at = np.arange(LENGTH - 1, len(closes))
    last = closes[at]
    whole = last - closes[at - LENGTH + 1] == (LENGTH - 1) * STEP
    ends = at[whole & (last % HOUR == 0) & (last >= unit.start) & (last < unit.end)]
    known = bars.select(pl.col("available_time").rolling_max_by("event_time", f"{LENGTH * STEP}us")).to_series()
    drawn = images(bars.select(BAR).to_numpy(), ends)
    rows = bars.select("instrument", "event_time", available_time=known)[ends]
    parts = [
        rows.with_columns(
            kind=pl.lit(kind),
            size=pl.lit(SIZE, pl.Int64),
            image=pl.Series([one.tobytes() for one in drawn[:, number]], dtype=pl.Binary),
            month=pl.col("event_time").dt.strftime("%Y-%m"),
        )
        for number, kind in enumerate(KINDS)
    ]
    return pl.concat(parts).select(IMAGES_5M.schema.names)


def kernel(names: tuple[str, ...], lake: Lake, version: int, unit: Interval) -> pl.DataFrame:
    """The unit's images of these instruments, and those that corrected bars replaced."""
    reach, wanted = around(unit, MARGIN), pl.col("instrument").is_in(list(names))
    columns = ("instrument", "open_time", "event_time", "available_time", *BAR)
    bars = lake.scan(BARS_5M, reach, version).filter(wanted).select(columns).collect()
    standing, history = image_rows(bars, unit), BARS_5M.history()
    if not lake.exists(history):
        return outcome(IMAGES_5M, standing)
    replaced = lake.scan(history, reach).filter(wanted).select(*columns, "superseded_time").collect()
    before = said_before(bars, replaced, standing, IMAGES_5M.key, partial(image_rows, unit=unit))
    return outcome(IMAGES_5M, standing, superseded=before)


def run(job: Job) -> dict[str, Any]:
    names = job.names
    return build(job, BARS_5M, IMAGES_5M, partial(kernel, names), MARGIN)


if __name__ == "__main__":
    main("build_images", run, parser("build_images", __doc__))
