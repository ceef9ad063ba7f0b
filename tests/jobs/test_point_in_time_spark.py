"""The join on Spark gives the local join's rows, to the bit, whatever the ranges; and knows nothing that came later."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_store.offline import Source, join_sources
from feature_store.service import DEFAULT
from feature_store.stored import Versions
from feature_store.training_set import join_stored
from jobs.point_in_time import Read, join_on_spark
from lake.errors import UsageError
from lake.intervals import HOUR, SECOND
from lake.storage import Lake
from lake.tables import FEATURES_5M
from tests.feature_store.gold import START, STEP, TIME, gold_rows, labels, put
from tests.lake_fixtures import RunJob

pytestmark = pytest.mark.spark

NAMES = ["a", "b", "c"]
BTC, ETH = "binance:BTC/USDT", "binance:ETH/USDT"


def random_rows(chance: np.random.Generator, name: str, count: int) -> pl.DataFrame:
    """Late rows, corrections and ties, in no order; no two rows alike in entity and both times."""
    event = START + chance.integers(0, 200, count) * SECOND
    frame = pl.DataFrame(
        {
            "instrument": chance.choice(NAMES, count),
            "event_time": event,
            "available_time": event + chance.integers(0, 60, count) * SECOND,
            name: np.where(chance.random(count) < 0.1, np.nan, chance.normal(size=count)),
        }
    ).cast({"event_time": TIME, "available_time": TIME})
    return frame.unique(["instrument", "event_time", "available_time"], keep="any")


def random_labels(chance: np.random.Generator, count: int) -> pl.DataFrame:
    times = pl.Series(START + chance.integers(-20, 300, count) * SECOND).cast(TIME)
    names = pl.Series([*NAMES, None])[chance.integers(0, 4, count)]
    return pl.DataFrame({"id": np.arange(count), "instrument": names, "decision_time": times})


def reader_of(sources: Sequence[Source]) -> Read:
    """Only what a task needs to see, as a reader of the lake gives it."""
    events = [source.frame["event_time"].dt.epoch("us") for source in sources]

    def read(first: int, last: int) -> Sequence[Source]:
        return [
            Source(one.frame.filter((at >= first - one.lookback_us) & (at <= last)), one.columns, one.lookback_us)
            for one, at in zip(sources, events, strict=True)
        ]

    return read


def from_spark(frame: Any) -> pl.DataFrame:
    return pl.DataFrame(frame.toArrow())


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32), st.integers(1, 400), st.integers(1, 5), st.integers(0, 90))
def test_the_join_on_spark_is_the_local_one_to_the_bit(
    spark: Any, seed: int, count: int, tasks: int, lookback: int
) -> None:
    chance = np.random.default_rng(seed)
    wanted = random_labels(chance, count)
    sources = [
        Source(random_rows(chance, name, 300), (name,), seconds * SECOND)
        for name, seconds in (("x", lookback), ("y", 25))
    ]
    frame = spark.createDataFrame(wanted.to_arrow(compat_level=pl.CompatLevel.oldest()))
    found = from_spark(join_on_spark(frame, reader_of(sources), ["x", "y"], tasks)).sort("id")
    expected = join_sources(wanted, sources)
    assert found.columns == expected.columns
    assert found.equals(expected.cast({"decision_time": found.schema["decision_time"]}))
    for name in ("x", "y"):  # `equals` takes -0.0 for 0.0 and any NaN for another
        assert found[name].fill_null(7.0).to_numpy().tobytes() == expected[name].fill_null(7.0).to_numpy().tobytes()


def test_the_job_joins_gold_and_its_history_as_they_were_known(
    spark: Any, lake: Lake, run_job: RunJob, tmp_path: Path
) -> None:
    rows = pl.concat([gold_rows(BTC, 40), gold_rows(ETH, 40, seed=1)])
    corrected = rows.with_row_index("at").filter(pl.col("at") % 5 == 0).drop("at")
    later = pl.col("available_time") + pl.duration(minutes=2)
    new = corrected.with_columns(later, sma_20=pl.lit(-1.0))
    put(lake, pl.concat([rows.join(corrected, on=["instrument", "open_time"], how="anti"), new]))
    put(lake, corrected.with_columns(superseded_time=later), FEATURES_5M.history())

    wanted = labels([ETH, BTC], [START + i * STEP // 4 for i in range(180)])
    wanted.write_parquet(tmp_path / "labels.parquet")
    out = tmp_path / "joined"
    asked = {"labels": str(tmp_path / "labels.parquet"), "service": DEFAULT.name, "lookback_minutes": 60}
    summary = run_job("point_in_time", **asked, out=str(out))
    assert (summary["rows"], summary["reads"]) == (360, {FEATURES_5M.name: 0, FEATURES_5M.history().name: 0})
    found = pl.read_parquet(out / "*.parquet").sort("instrument", "decision_time")
    expected = join_stored(lake, wanted, DEFAULT, HOUR, Versions(0, 0)).sort("instrument", "decision_time")
    assert found.select(expected.columns).cast({"decision_time": TIME}).equals(expected)

    # no corrected value before the correction was sent, nothing at all from the future: the past alone gives the same
    cut = START + 20 * STEP
    past = pl.concat([rows, new.select(rows.columns)]).filter(pl.col("available_time").dt.epoch("us") <= cut)
    before = expected.filter(pl.col("decision_time").dt.epoch("us") <= cut)
    sources = [Source(past, DEFAULT.feature_names, HOUR)]
    assert join_sources(before.select(wanted.columns), sources).equals(before)
    assert -1.0 in before["sma_20"].to_list()
    with pytest.raises(UsageError, match="exists already"):
        run_job("point_in_time", **asked, out=str(out))
