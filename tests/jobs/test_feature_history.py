"""What gold said at any instant, after bars were corrected again and again: no correction reaches an earlier time."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import numpy as np
import polars as pl
import pytest

from feature_store.service import DEFAULT, DEFAULT_REF, FeatureService
from jobs.build_features import period_history, period_rows
from jobs.build_images import image_rows
from jobs.corrections import first_known, no_history, said_before
from lake.intervals import HOUR, MINUTE, SECOND, Interval, to_datetime
from lake.tables import IMAGES_5M
from tests.jobs.test_build_features import BAR, silver
from tests.lake.raw_bars import BTC, ETH, START

COUNT = 600
COLUMNS = ["instrument", "open_time", "event_time", "available_time", "month", *BAR]


def corrected(bars: pl.DataFrame, corrections: int, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Bars that stand after random corrections, some of one bar and some of many at once, and what those replaced."""
    random = np.random.default_rng(seed)
    standing, replaced = bars, []
    times = np.sort(random.integers(START + 2 * HOUR, START + COUNT * 5 * MINUTE + HOUR, corrections))
    for at in times // SECOND * SECOND:
        moment, many = to_datetime(int(at)), int(random.choice([1, 1, 5]))
        known = standing.with_row_index("row").filter(pl.col("available_time") < moment)
        rows = known.sample(many, seed=int(random.integers(1e9)))["row"].to_list()
        chosen = pl.int_range(pl.len()).is_in(rows)
        old = standing.filter(chosen).with_columns(superseded_time=pl.lit(moment).cast(pl.Datetime("us", "UTC")))
        replaced.append(old)
        new = pl.when(chosen)
        standing = standing.with_columns(
            available_time=new.then(pl.lit(moment).cast(pl.Datetime("us", "UTC"))).otherwise("available_time"),
            volume=new.then(pl.col("volume") * 1.5).otherwise("volume"),
            close=new.then((pl.col("high") + pl.col("low")) / 2).otherwise("close"),
        )
    return standing, pl.concat(replaced)


def as_of(
    rows: pl.DataFrame, replaced: pl.DataFrame, at: int, key: Sequence[str] = ("instrument", "open_time")
) -> pl.DataFrame:
    """`Lake.as_of` over frames."""
    known = pl.col("available_time") <= to_datetime(at)
    before = replaced.filter(known, pl.col("superseded_time") > to_datetime(at)).drop("superseded_time")
    standing = rows.filter(known).join(before, on=list(key), how="anti")
    return pl.concat([standing, before.select(standing.columns)]).sort(key)


@pytest.mark.parametrize("service", [DEFAULT, DEFAULT_REF], ids=lambda service: service.name)
@pytest.mark.parametrize("seed", range(4))
def test_gold_as_of_any_instant_is_gold_built_then(service: FeatureService, seed: int) -> None:
    bars = pl.concat([silver(COUNT, name, seed=n) for n, name in enumerate((BTC, ETH))]).select(COLUMNS)
    bars, replaced = corrected(bars, 12, seed)
    standing = period_rows(service, bars, START, references=first_known(bars, replaced))
    history = period_history(service, bars, replaced, START, standing)
    assert history.height > 50 and (history["superseded_time"] > history["available_time"]).all()
    assert not history.select("instrument", "open_time", "available_time").is_duplicated().any()
    random = np.random.default_rng(seed)
    moments = [int(at) for at in random.integers(START + HOUR, START + COUNT * 5 * MINUTE + 2 * HOUR, 12)]
    edges = replaced["superseded_time"].sample(3, seed=seed).to_list()
    moments += [round((edge - off).timestamp()) * SECOND for edge in edges for off in (timedelta(0), timedelta(0, 1))]
    for at in moments:
        then, ended = as_of(bars, replaced, at), pl.col("superseded_time") <= to_datetime(at)
        built = period_rows(service, then, START, references=first_known(then, replaced.filter(ended)))
        built = built.filter(pl.col("available_time") <= to_datetime(at)).sort("instrument", "open_time")
        found = as_of(standing, history, at)
        assert found.equals(built.select(found.columns)), to_datetime(at)


def test_images_as_of_any_instant_are_images_drawn_then() -> None:
    bars = pl.concat([silver(COUNT, name, seed=n) for n, name in enumerate((BTC, ETH))]).select(COLUMNS)
    bars, replaced = corrected(bars, 12, 3)
    unit = Interval(START, START + COUNT * 5 * MINUTE)
    standing = image_rows(bars, unit)
    history = said_before(bars, replaced, standing, IMAGES_5M.key, partial(image_rows, unit=unit))
    assert history.height > 20 and not history.select(IMAGES_5M.history().key).is_duplicated().any()
    for at in np.random.default_rng(3).integers(START + HOUR, unit.end + HOUR, 20):
        drawn = image_rows(as_of(bars, replaced, int(at)), unit).filter(
            pl.col("available_time") <= to_datetime(int(at))
        )
        found = as_of(standing, history, int(at), IMAGES_5M.key)
        assert found.equals(drawn.sort(IMAGES_5M.key)), to_datetime(int(at))


def test_without_corrections_there_is_no_history() -> None:
    bars = silver(50, BTC).select(COLUMNS)
    assert period_history(DEFAULT, bars, no_history(bars), START, period_rows(DEFAULT, bars, START)).is_empty()
