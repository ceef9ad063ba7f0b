"""Silver bars to gold features on a real Spark session."""

import shutil
from typing import Any

import numpy as np
import polars as pl
import pytest

from feature_store.alignment import GRACE, observations, widened
from feature_store.inputs import SERIES
from feature_store.scan import Stream, compute
from feature_store.service import CHAIN_1D, DEFAULT, DEFAULT_REF, DERIVATIVES_5M, FeatureService
from jobs.build_features import longer_bars
from jobs.series_rows import series_rows
from lake.intervals import DAY, HOUR, MINUTE, SECOND, WEEK, Interval
from lake.spark import merge
from lake.storage import Lake
from lake.table import Table
from lake.tables import (
    BARS_5M,
    FEATURES_5M,
    FEATURES_CHAIN_1D,
    FEATURES_DERIVATIVES_5M,
    FEATURES_REF_5M,
    OBSERVATIONS,
    table,
)
from tests.jobs.series_tables import derivatives, observed
from tests.lake.raw_bars import BTC, ETH, START
from tests.lake_fixtures import RunJob

pytestmark = pytest.mark.spark

BAR = ["open", "high", "low", "close", "volume"]
SPAN = Interval(START, START + 3 * WEEK)


def silver(count: int, instrument: str, start: int = START, seed: int = 1, **changed: Any) -> pl.DataFrame:
    """A random walk of five-minute bars, straight in silver's columns."""
    generator = np.random.default_rng(seed)
    walk = 100 * np.exp(np.cumsum(generator.normal(0, 1.5e-3, count + 1)))
    times = pl.Series(start + 5 * MINUTE * np.arange(count), dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
    frame = pl.DataFrame({"open_time": times, "open": walk[:-1], "close": walk[1:]}).with_columns(
        instrument=pl.lit(instrument),
        event_time=pl.col("open_time") + pl.duration(minutes=5),
        available_time=pl.col("open_time") + pl.duration(minutes=5, seconds=1),
        high=pl.max_horizontal("open", "close") * 1.001,
        low=pl.min_horizontal("open", "close") * 0.999,
        volume=pl.Series(generator.lognormal(1, 1, count)),
        quote_volume=pl.lit(None, pl.Float64),
        trade_count=pl.lit(None, pl.Int64),
        month=pl.col("open_time").dt.strftime("%Y-%m"),
        source=pl.lit("bars_1m"),
        payload_hash=pl.lit("0" * 64),
    )
    return frame.with_columns(**changed).select(BARS_5M.schema.names)


def put(spark: Any, lake: Lake, bars: pl.DataFrame, into: Table = BARS_5M) -> None:
    arrow = bars.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(into.schema)
    merge(spark, lake, into, spark.createDataFrame(arrow), None, "test")


def features(lake: Lake, instrument: str) -> pl.DataFrame:
    return lake.scan(FEATURES_5M).filter(pl.col("instrument") == instrument).sort("open_time").collect()


def test_gold_equals_the_scan_and_the_stream_bit_for_bit(spark: Any, lake: Lake, run_job: RunJob) -> None:
    bars = {name: silver(3000, name, seed=seed) for seed, name in enumerate((BTC, ETH))}  # ten days: two periods
    put(spark, lake, pl.concat(bars.values()))
    summary = run_job("build_features")
    assert (summary["rows"], summary["service_hash"]) == (6000, DEFAULT.content_hash)
    for name, frame in bars.items():
        gold = features(lake, name).select(FEATURES_5M.schema.names)
        times, values = frame["open_time"].dt.epoch("us").to_numpy(), frame.select(BAR).to_numpy()
        found = gold.select(DEFAULT.feature_names).fill_null(float("nan")).to_numpy()
        np.testing.assert_array_equal(found, compute(DEFAULT, times, values))
        stream = Stream(DEFAULT)
        lived = [stream.update(int(t), bar) for t, bar in zip(times, values, strict=True)]
        np.testing.assert_array_equal(found, np.array(lived))
        assert gold.select(DEFAULT.feature_names).null_count().row(0)[0] == 1  # null, not NaN, until warm
        assert (gold["available_time"] - gold["event_time"]).unique().dt.total_seconds().to_list() == [1]


def test_a_rerun_changes_nothing_and_new_bars_only_add(spark: Any, lake: Lake, run_job: RunJob) -> None:
    bars = silver(2600, BTC)
    put(spark, lake, bars.head(2500))
    run_job("build_features")
    before, version = lake.content_hash(FEATURES_5M, SPAN), lake.version(FEATURES_5M)
    assert run_job("build_features")["rows"] == 0
    forced = run_job("build_features", start="2024-01-29", end="2024-03-01")
    assert (forced["rows"], forced["unchanged"]) == (0, 2500)
    assert (lake.content_hash(FEATURES_5M, SPAN), lake.version(FEATURES_5M)) == (before, version)

    put(spark, lake, bars)
    added = run_job("build_features")
    assert added["rows"] == 100  # what was there is built again and found equal
    first = Interval(START, START + 2500 * 5 * MINUTE)
    assert lake.content_hash(FEATURES_5M, first) == before


def test_a_late_correction_reaches_no_earlier_row_and_dates_those_it_moved(
    spark: Any, lake: Lake, run_job: RunJob
) -> None:
    bars, at, sent = silver(2400, BTC), 1000, START + 20 * DAY
    put(spark, lake, bars)
    run_job("build_features")
    before = features(lake, BTC)
    late = pl.lit(sent).cast(pl.Datetime("us", "UTC"))
    put(spark, lake, bars.slice(at, 1).with_columns(pl.col("volume") * 2, available_time=late))
    run_job("build_features")
    after = features(lake, BTC)
    assert after.head(at).equals(before.head(at))
    week = WEEK // (5 * MINUTE)
    moved = after.slice(at, week - at)
    assert moved["available_time"].dt.epoch("us").unique().to_list() == [sent]
    assert moved["volume_z_60"][0] != before["volume_z_60"][at]
    assert after.slice(week).equals(before.slice(week))  # outside the next period's warm-up nothing moves


def test_gold_keeps_what_it_said_before_a_correction(spark: Any, lake: Lake, run_job: RunJob) -> None:
    bars, at, sent = silver(2400, BTC), 1000, START + 20 * DAY
    put(spark, lake, bars)
    run_job("build_features")
    before, history = features(lake, BTC), FEATURES_5M.history()
    assert not lake.exists(history)
    late = pl.lit(sent).cast(pl.Datetime("us", "UTC"))
    put(spark, lake, bars.slice(at, 1).with_columns(superseded_time=late), BARS_5M.history())
    put(spark, lake, bars.slice(at, 1).with_columns(pl.col("volume") * 2, available_time=late))
    run_job("build_features")
    week = WEEK // (5 * MINUTE)
    assert lake.count(history) == week - at, "the rows from the corrected bar to the end of its period"
    assert run_job("build_features", start="2024-01-29", end="2024-03-01")["rows"] == 0
    then = lake.as_of(FEATURES_5M, sent - 1).sort("open_time").collect()
    assert then.equals(before.select(then.columns))
    assert lake.as_of(FEATURES_5M, sent).sort("open_time").collect().equals(features(lake, BTC))
    hashes = lake.content_hash(FEATURES_5M, SPAN), lake.content_hash(history, SPAN)
    for table_ in (FEATURES_5M, history):
        shutil.rmtree(lake.uri(table_))
    run_job("build_features")
    assert (lake.content_hash(FEATURES_5M, SPAN), lake.content_hash(history, SPAN)) == hashes, "built from silver alone"


def test_rows_of_another_service_version_are_all_built_again(spark: Any, lake: Lake, run_job: RunJob) -> None:
    put(spark, lake, silver(50, BTC))
    run_job("build_features")
    old = features(lake, BTC).with_columns(service_hash=pl.lit("old"))
    arrow = old.select(FEATURES_5M.schema.names).to_arrow(compat_level=pl.CompatLevel.oldest())
    merge(spark, lake, FEATURES_5M, spark.createDataFrame(arrow.cast(FEATURES_5M.schema)), None, "test")
    assert run_job("build_features")["rows"] == 50
    assert features(lake, BTC)["service_hash"].unique().to_list() == [DEFAULT.content_hash]


def test_missing_bars_leave_the_rest_as_the_scan_has_it(spark: Any, lake: Lake, run_job: RunJob) -> None:
    bars = silver(400, BTC).filter(pl.int_range(pl.len()).is_in([100, 101, 250]).not_())
    put(spark, lake, bars)
    assert run_job("build_features", instruments=BTC)["rows"] == 397
    times, values = bars["open_time"].dt.epoch("us").to_numpy(), bars.select(BAR).to_numpy()
    found = features(lake, BTC).select(DEFAULT.feature_names).fill_null(float("nan")).to_numpy()
    np.testing.assert_array_equal(found, compute(DEFAULT, times, values))


def test_rows_with_a_reference_equal_the_stream_and_a_late_bar_of_it_is_null(
    spark: Any, lake: Lake, run_job: RunJob
) -> None:
    eth, btc = silver(1200, ETH, seed=1), silver(1200, BTC, seed=2)
    late = btc.with_row_index().with_columns(
        available_time=pl.when(pl.col("index") == 900)
        .then(pl.col("available_time") + pl.duration(seconds=30))
        .otherwise("available_time")
    )
    put(spark, lake, pl.concat([eth, late.drop("index")]))
    summary = run_job("build_features", service=DEFAULT_REF.name)
    assert (summary["rows"], summary["table"]) == (2400, FEATURES_REF_5M.name)
    gold = lake.scan(FEATURES_REF_5M).filter(pl.col("instrument") == ETH).sort("open_time").collect()
    closes = btc["close"].to_numpy().copy()
    closes[900] = np.nan
    matrix, times = np.column_stack([eth.select(BAR).to_numpy(), closes]), eth["open_time"].dt.epoch("us").to_numpy()
    stream = Stream(DEFAULT_REF)
    expected = np.array([stream.update(int(time), row) for time, row in zip(times, matrix, strict=True)])
    names = list(DEFAULT_REF.feature_names)
    np.testing.assert_array_equal(gold.select(pl.col(names).fill_null(np.nan)).to_numpy(), expected)
    assert np.isnan(expected[900, -1])
    assert np.isfinite(expected[901, -1])
    wait = (gold["available_time"] - gold["event_time"]).dt.total_seconds()
    assert wait[900] == GRACE // SECOND, "known null when the grace ends"
    assert set(wait.gather([899, 901])) == {1}
    assert run_job("build_features", service=DEFAULT_REF.name)["rows"] == 0


def scanned(service: FeatureService, bars: pl.DataFrame, tables: dict[str, pl.DataFrame]) -> Any:
    """What `compute` gives for one instrument's bars of the service's timeframe and the same rows of series."""
    told = series_rows({name: frame.lazy() for name, frame in tables.items()}, bars["instrument"][0]).collect()
    times = bars["open_time"].dt.epoch("us").to_numpy()
    observed_by_name = observations(told, service, bars["instrument"][0])
    return compute(service, times, widened(service, times, bars.select(BAR).to_numpy(), observed_by_name)[0])


def gold_of(lake: Lake, gold: Table, service: FeatureService, instrument: str) -> Any:
    rows = lake.scan(gold).filter(pl.col("instrument") == instrument).sort("open_time").collect()
    return rows.select(pl.col(list(service.feature_names)).fill_null(np.nan)).to_numpy()


def test_derivatives_equal_the_scan_bit_for_bit_and_what_is_missing_is_null(
    spark: Any, lake: Lake, run_job: RunJob
) -> None:
    count, name = 700, DERIVATIVES_5M.name
    btc, eth = silver(count, BTC), silver(count, ETH, seed=2)
    put(spark, lake, pl.concat([btc, eth]))
    assert run_job("build_features", service=name)["rows"] == 2 * count
    assert np.isnan(gold_of(lake, FEATURES_DERIVATIVES_5M, DERIVATIVES_5M, BTC)).all(), "no table of series yet"

    tables = derivatives(count, 5 * MINUTE)
    first = {one: frame for one, frame in tables.items() if one != "text_features_v1"}
    for one, frame in first.items():
        put(spark, lake, frame, table(one))
    assert run_job("build_features", service=name)["rows"] == count
    found = gold_of(lake, FEATURES_DERIVATIVES_5M, DERIVATIVES_5M, BTC)
    np.testing.assert_array_equal(found, scanned(DERIVATIVES_5M, btc, first))
    assert np.isnan(found[:, -2:]).all()
    assert np.isfinite(found[-1, :-2]).all()
    assert np.isnan(gold_of(lake, FEATURES_DERIVATIVES_5M, DERIVATIVES_5M, ETH)).all(), "nobody told of ETH"
    assert run_job("build_features", service=name)["rows"] == 0


def test_days_equal_the_scan_bit_for_bit_and_a_correction_reaches_no_earlier_day(
    spark: Any, lake: Lake, run_job: RunJob
) -> None:
    days, corrected = 80, 70
    bars = silver(days * 288 + 100, BTC)  # the last day is not over
    put(spark, lake, bars)
    rng, ends = np.random.default_rng(9), START + DAY * np.arange(1, days + 1)
    series = [(s.metric, s.entity_of(BTC)) for s in SERIES if s.name in CHAIN_1D.extras]
    parts = [observed(m, e, ends, 12 * HOUR, np.exp(np.cumsum(rng.normal(0, 0.05, days)))) for m, e in series]
    silent = pl.col("event_time").dt.epoch("us").is_in(ends[corrected + 1 : corrected + 3].tolist())
    told = pl.concat(parts).filter((pl.col("metric") != "mvrv") | ~silent)  # else a newer day hides the correction
    put(spark, lake, told, OBSERVATIONS)
    assert run_job("build_features", service=CHAIN_1D.name)["rows"] == days
    own = longer_bars(bars, DAY)
    before = gold_of(lake, FEATURES_CHAIN_1D, CHAIN_1D, BTC)
    np.testing.assert_array_equal(before, scanned(CHAIN_1D, own, {OBSERVATIONS.name: told}))
    assert np.isfinite(before[-1]).all()

    old = told.filter(pl.col("event_time").dt.epoch("us") == ends[corrected], pl.col("metric") == "mvrv")
    late = old.with_columns(pl.col("value") * 2, pl.col("available_time") + pl.duration(hours=24))
    ended = old.with_columns(superseded_time=late["available_time"])
    put(spark, lake, ended, OBSERVATIONS.history())
    put(spark, lake, late, OBSERVATIONS)
    summary = run_job("build_features", service=CHAIN_1D.name)
    after = gold_of(lake, FEATURES_CHAIN_1D, CHAIN_1D, BTC)
    standing = pl.concat([told.join(old, on=OBSERVATIONS.key, how="anti"), late, old])
    np.testing.assert_array_equal(after, scanned(CHAIN_1D, own, {OBSERVATIONS.name: standing}))
    np.testing.assert_array_equal(after[: corrected + 2], before[: corrected + 2])
    moved = np.flatnonzero((np.nan_to_num(after) != np.nan_to_num(before)).any(axis=1))
    assert (summary["rows"], moved.tolist()) == (2, [corrected + 2, corrected + 3])
    assert run_job("build_features", service=CHAIN_1D.name)["rows"] == 0
