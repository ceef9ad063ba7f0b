"""Silver bars to gold images on a real Spark session; what they show is tested with the kernel."""

from typing import Any

import polars as pl
import pytest

from feature_store.images import KINDS, LENGTH
from jobs.build_images import image_rows
from lake.intervals import DAY, MINUTE, Interval
from lake.spark import merge
from lake.storage import Lake
from lake.tables import BARS_5M, IMAGES_5M
from tests.feature_store.test_images import START, silver, walk
from tests.lake_fixtures import RunJob

pytestmark = [pytest.mark.spark, pytest.mark.slow]


def put(spark: Any, lake: Lake, bars: pl.DataFrame) -> None:
    rest = bars.with_columns(
        quote_volume=pl.lit(None, pl.Float64), trade_count=pl.lit(None, pl.Int64), source=pl.lit("bars_1m"),
        month=pl.col("open_time").dt.strftime("%Y-%m"), payload_hash=pl.lit("0" * 64),
    ).select(BARS_5M.schema.names)  # fmt: skip
    arrow = rest.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(BARS_5M.schema)
    merge(spark, lake, BARS_5M, spark.createDataFrame(arrow), None, "test")


def test_images_of_new_bars_are_added_and_a_rerun_changes_nothing(spark: Any, lake: Lake, run_job: RunJob) -> None:
    bars = silver(walk(240))
    put(spark, lake, bars.head(200))
    first = run_job("build_images")
    assert first["rows"] == (200 // 12 - (LENGTH - 1) // 12) * len(KINDS)
    again = run_job("build_images")
    assert (again["rows"], again["version"]) == (0, first["version"])
    put(spark, lake, bars)
    run_job("build_images")
    stored = lake.scan(IMAGES_5M).sort(IMAGES_5M.key).collect()
    assert stored.equals(image_rows(bars, Interval(START, START + DAY)))
    assert stored["event_time"].dt.epoch("us").max() == START + 240 * 5 * MINUTE
