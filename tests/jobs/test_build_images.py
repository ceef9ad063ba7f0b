"""Silver bars to gold images on a real Spark session; what they show is tested with the kernel."""

from typing import Any

import polars as pl
import pytest

from feature_store.images import KINDS, LENGTH
from jobs.build_images import image_rows
from lake.intervals import DAY, MINUTE, Interval
from lake.spark import merge
from lake.storage import Lake
from lake.table import Table
from lake.tables import BARS_5M, IMAGES_5M
from tests.feature_store.test_images import START, silver, walk
from tests.lake_fixtures import RunJob

pytestmark = [pytest.mark.spark, pytest.mark.slow]


def put(spark: Any, lake: Lake, bars: pl.DataFrame, into: Table = BARS_5M) -> None:
    rest = bars.with_columns(
        quote_volume=pl.lit(None, pl.Float64), trade_count=pl.lit(None, pl.Int64), source=pl.lit("bars_1m"),
        month=pl.col("open_time").dt.strftime("%Y-%m"), payload_hash=pl.lit("0" * 64),
    ).select(into.schema.names)  # fmt: skip
    arrow = rest.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(into.schema)
    merge(spark, lake, into, spark.createDataFrame(arrow), None, "test")


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


def test_an_image_that_a_corrected_bar_replaced_is_kept(spark: Any, lake: Lake, run_job: RunJob) -> None:
    bars, sent = silver(walk(200)), START + 2 * DAY
    put(spark, lake, bars)
    run_job("build_images")
    before = lake.scan(IMAGES_5M).sort(IMAGES_5M.key).collect()
    late = pl.lit(sent).cast(pl.Datetime("us", "UTC"))
    put(spark, lake, bars.slice(150, 1).with_columns(superseded_time=late), BARS_5M.history())
    put(spark, lake, bars.slice(150, 1).with_columns(high=pl.col("high") * 1.1, available_time=late))
    changed = run_job("build_images")
    shown = ((200 // 12) - (151 + 11) // 12 + 1) * len(KINDS)
    assert changed["superseded"] == shown, "the images of the windows that hold the bar"
    for at, expected in ((sent - 1, before), (sent, lake.scan(IMAGES_5M).sort(IMAGES_5M.key).collect())):
        assert lake.as_of(IMAGES_5M, at).sort(IMAGES_5M.key).collect().equals(expected.select(IMAGES_5M.schema.names))
