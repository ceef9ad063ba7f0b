"""Calendar, sessions and hours inside five-minute rows against pandas' clock and its resampling."""

import numpy as np
import pandas as pd
from walks import BAR, MONDAY, column, walk

from feature_store.scan import Stream, compute
from feature_store.service import CATALOGUE, DEFAULT
from feature_store.view import Floats, Times


def of(values: Floats, name: str) -> Floats:
    return column(values, name, CATALOGUE)


def closes_of(times: Times) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.to_datetime(times + BAR, unit="us"))


def test_the_calendar_is_that_of_pandas_at_the_close_of_the_bar() -> None:
    times, bars = walk(3_000, seed=1, missing=0.1, start=MONDAY - 700 * BAR)
    values, clock = compute(CATALOGUE, times, bars), closes_of(times)
    day = (clock - clock.normalize()) / pd.Timedelta(days=1)
    week = (clock.dayofweek + day) / 7
    np.testing.assert_allclose(of(values, "day_sin"), np.sin(2 * np.pi * day), atol=1e-9)
    np.testing.assert_allclose(of(values, "day_cos"), np.cos(2 * np.pi * day), atol=1e-9)
    np.testing.assert_allclose(of(values, "week_sin"), np.sin(2 * np.pi * week), atol=1e-9)
    np.testing.assert_allclose(of(values, "week_cos"), np.cos(2 * np.pi * week), atol=1e-9)
    np.testing.assert_array_equal(of(values, "weekday"), clock.dayofweek)
    np.testing.assert_array_equal(of(values, "weekend"), clock.dayofweek >= 5)


def test_sessions_hold_their_start_and_not_their_end_on_weekdays() -> None:
    times, bars = walk(3_000, seed=1)
    values, clock = compute(CATALOGUE, times, bars), closes_of(times)
    hour = clock.hour + clock.minute / 60
    for name, start, end in (("asia", 0, 9), ("europe", 8, 17), ("america", 13, 22)):
        expected = (clock.dayofweek < 5) & (hour >= start) & (hour < end)
        np.testing.assert_array_equal(of(values, f"session_{name}"), expected)
        assert 0 < expected.sum() < len(times)


def test_only_a_service_that_reads_the_time_carries_it() -> None:
    times, bars = walk(10)
    for service, width in ((DEFAULT, 5), (CATALOGUE, 6)):
        stream = Stream(service)
        assert stream.save().bars.shape == (0, width)
        stream.seed(times, bars)
        assert stream.save().bars.shape == (10, width)
