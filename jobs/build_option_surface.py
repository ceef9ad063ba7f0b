"""Build option surfaces out of option quotes: volatility by tenor, skew, term structure, DVOL (jobs/option_surface.py).

Reads   silver option_quotes_v1
Writes  gold option_surface_v1

A unit is a day. Without --start and --end the interval spans every quote that the table has not seen.
"""

from datetime import timedelta
from typing import Any

import polars as pl

from jobs.command import Job, main, parser
from jobs.option_surface import WINDOW, surfaces
from jobs.silver import around, build, outcome
from lake.intervals import Interval, to_datetime
from lake.storage import Lake
from lake.tables import OPTION_QUOTES, OPTION_SURFACE

MARGIN = timedelta(microseconds=WINDOW)


def kernel(lake: Lake, version: int, unit: Interval) -> pl.DataFrame:
    """Surfaces that stand in the unit: each is made of the five minutes before it."""
    rows = surfaces(lake.scan(OPTION_QUOTES, around(unit, MARGIN), version).collect())
    time = pl.col("event_time")
    return outcome(OPTION_SURFACE, rows.filter(time >= to_datetime(unit.start), time < to_datetime(unit.end)))


def run(job: Job) -> dict[str, Any]:
    return build(job, OPTION_QUOTES, OPTION_SURFACE, kernel, margin=MARGIN)


if __name__ == "__main__":
    main("build_option_surface", run, parser("build_option_surface", __doc__))
