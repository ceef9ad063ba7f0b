"""Calendar, sessions and hours inside five-minute rows against pandas' clock and its resampling."""

import numpy as np
import pandas as pd
import pytest
from walks import BAR, MONDAY, column, walk

from feature_store.scan import Stream, compute
from feature_store.service import CATALOGUE, DEFAULT
from feature_store.view import CLOSE, Floats, Times


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


def hourly(times: Times, bars: Floats, length: int, change: bool) -> Floats:
    """By resampling: hours labelled with their end, joined backwards to each bar's close."""
    hours = pd.Series(bars[:, CLOSE], closes_of(times)).resample("1h", closed="right", label="right").last().dropna()
    if change:
        feature = np.log(hours / hours.shift(length))
    else:
        moves = hours.diff()
        rise, fall = moves.clip(lower=0).rolling(length).sum(), -moves.clip(upper=0).rolling(length).sum()
        feature = 100 * rise / (rise + fall)
    known = feature.reindex(hours.index.union(closes_of(times)))
    ended = pd.Series(known.index, known.index).where(known.index.isin(hours.index)).ffill()
    return feature.reindex(pd.DatetimeIndex(ended.reindex(closes_of(times)))).to_numpy()


@pytest.mark.parametrize("missing", [0.0, 0.05, 0.6])
def test_hours_inside_a_row_are_the_last_closed_ones(missing: float) -> None:
    times, bars = walk(1_900, seed=3, missing=missing)  # one period: the oracle knows no anchors
    if missing:
        times, bars = np.delete(times, slice(500, 540)), np.delete(bars, slice(500, 540), axis=0)  # hours without bars
    values = compute(CATALOGUE, times, bars)
    for name, oracle in (
        ("log_return_1_1h", hourly(times, bars, 1, True)),
        ("log_return_24_1h", hourly(times, bars, 24, True)),
        ("cutler_rsi_14_1h", hourly(times, bars, 14, False)),
    ):
        np.testing.assert_allclose(of(values, name), oracle, rtol=1e-9, atol=1e-12, err_msg=name)
        assert np.isfinite(oracle).sum() > 400


def test_the_running_hour_changes_nothing_until_it_closes() -> None:
    times, bars = walk(600, seed=4)
    names = ("log_return_1_1h", "log_return_24_1h", "cutler_rsi_14_1h")
    values = compute(CATALOGUE, times, bars)
    for name in names:
        inside = of(values, name)[12 * 30 - 1 : 12 * 49 - 1].reshape(-1, 12)  # from each hour's last bar on
        assert (inside == inside[:, :1]).all(), name
        assert len(set(inside[:, 0])) > 10, name
    bars[12 * 40 : 12 * 40 + 11, CLOSE] *= 1.01  # eleven bars of an hour, not its close
    for name in names:
        np.testing.assert_array_equal(of(compute(CATALOGUE, times, bars), name), of(values, name))


@pytest.mark.parametrize("timeframe", ["1m", "15m", "1h"])
def test_event_times_follow_the_timeframe(timeframe: str) -> None:
    service = CATALOGUE.at(timeframe)
    step = service.periods.bar_us
    _, bars = walk(400)
    times = MONDAY + step * np.arange(400)
    values = compute(service, times, bars)
    clock = pd.DatetimeIndex(pd.to_datetime(times + step, unit="us"))
    np.testing.assert_array_equal(column(values, "weekday", service), clock.dayofweek)
    if timeframe == "1h":
        found = column(values, "log_return_1_1h", service)[1:]
        np.testing.assert_allclose(found, np.diff(np.log(bars[:, CLOSE])), atol=1e-12)


def test_only_a_service_that_reads_the_time_carries_it() -> None:
    times, bars = walk(10)
    for service, width in ((DEFAULT, 5), (CATALOGUE, 6)):
        stream = Stream(service)
        assert stream.save().bars.shape == (0, width)
        stream.seed(times, bars)
        assert stream.save().bars.shape == (10, width)
