"""Every column against at least one independent implementation: TA-Lib, `ta`, pandas, or sums in exact arithmetic."""

import decimal
import math
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st
from walks import close_to, column, every_service, every_view, walk, wide, wide_walk

from feature_store.rolling import log_return
from feature_store.scan import compute
from feature_store.service import DEFAULT, FeatureService
from feature_store.view import CLOSE, HIGH, LOW, VOLUME, FeatureView, Floats

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # `ta` is not ours to fix
    import ta

N = 6_000  # three weeks: two anchors inside
PRICES = {"btc": 40_000.0, "xrp": 0.5}


@pytest.fixture(params=list(PRICES), scope="module")
def market(request: pytest.FixtureRequest) -> tuple[Floats, Floats]:
    times, bars = walk(N, seed=7, price=PRICES[request.param])
    return bars, compute(DEFAULT, times, bars)


@pytest.mark.parametrize("horizon", [1, 12, 48, 144, 288, 480])
def test_log_returns_equal_those_of_pandas(market: tuple[Floats, Floats], horizon: int) -> None:
    bars, values = market
    logs = np.log(pd.Series(bars[:, CLOSE]))
    # the oracle itself is a difference of two logarithms near 10: exact to 1e-15, whatever the return's size
    close_to(column(values, f"log_return_{horizon}"), logs.diff(horizon).to_numpy(), horizon, scale=1e-5)


def test_moving_averages_equal_those_of_talib_and_pandas(market: tuple[Floats, Floats]) -> None:
    bars, values = market
    close = bars[:, CLOSE]
    close_to(column(values, "sma_20"), talib.SMA(close, 20), 19, 0.0)
    close_to(column(values, "sma_20"), pd.Series(close).rolling(20).mean().to_numpy(), 19, 0.0)
    close_to(column(values, "ema_20"), talib.EMA(close, 20), 19, 0.0)
    pandas = pd.Series(close).ewm(span=20, adjust=False).mean().to_numpy()
    np.testing.assert_allclose(column(values, "ema_20")[400:], pandas[400:], rtol=1e-9)


def test_rsi_equals_that_of_talib_and_ta(market: tuple[Floats, Floats]) -> None:
    bars, values = market
    close = bars[:, CLOSE]
    close_to(column(values, "rsi_14"), talib.RSI(close, 14), 14)
    other = ta.momentum.RSIIndicator(pd.Series(close), 14).rsi().to_numpy()
    np.testing.assert_allclose(column(values, "rsi_14")[600:], other[600:], rtol=1e-9)  # another seed: converges


def test_macd_equals_that_of_talib_and_ta(market: tuple[Floats, Floats]) -> None:
    bars, values = market
    close = bars[:, CLOSE]
    line, signal, histogram = talib.MACD(close, 12, 26, 9)
    price = close.mean()  # a difference of averages: exact to the price's digits
    assert np.isfinite(column(values, "macd_12_26")[25:33]).all(), "the line is known before the signal"
    np.testing.assert_allclose(column(values, "macd_12_26")[33:], line[33:], rtol=1e-9, atol=1e-12 * price)
    for name, oracle in (("macd_signal_12_26_9", signal), ("macd_hist_12_26_9", histogram)):
        assert np.isnan(column(values, name)[:33]).all()
        np.testing.assert_allclose(column(values, name)[33:], oracle[33:], rtol=1e-9, atol=1e-12 * price)
    other = ta.trend.MACD(pd.Series(close), window_slow=26, window_fast=12, window_sign=9)
    for name, series in (("macd_12_26", other.macd()), ("macd_signal_12_26_9", other.macd_signal())):
        np.testing.assert_allclose(column(values, name)[800:], series.to_numpy()[800:], rtol=1e-9, atol=1e-12 * price)


def test_atr_equals_that_of_talib_and_ta(market: tuple[Floats, Floats]) -> None:
    bars, values = market
    high, low, close = bars[:, HIGH], bars[:, LOW], bars[:, CLOSE]
    close_to(column(values, "atr_14"), talib.ATR(high, low, close, 14), 14, 0.0)
    other = ta.volatility.AverageTrueRange(pd.Series(high), pd.Series(low), pd.Series(close), 14).average_true_range()
    np.testing.assert_allclose(column(values, "atr_14")[600:], other.to_numpy()[600:], rtol=1e-9)


def test_bollinger_bands_equal_those_of_talib_and_ta(market: tuple[Floats, Floats]) -> None:
    bars, values = market
    close = bars[:, CLOSE]
    for name, oracle in zip(("upper", "mid", "lower"), talib.BBANDS(close, 20, 2.0, 2.0), strict=True):
        close_to(column(values, f"bb_{name}_20_2"), oracle, 19, 0.0)
    other = ta.volatility.BollingerBands(pd.Series(close), 20, 2)
    np.testing.assert_allclose(column(values, "bb_upper_20_2")[19:], other.bollinger_hband()[19:], rtol=1e-9)
    np.testing.assert_allclose(column(values, "bb_lower_20_2")[19:], other.bollinger_lband()[19:], rtol=1e-9)


def test_realized_volatility_equals_that_of_pandas(market: tuple[Floats, Floats]) -> None:
    bars, values = market
    oracle = np.log(pd.Series(bars[:, CLOSE])).diff().rolling(60).std(ddof=1).to_numpy()
    close_to(column(values, "realized_vol_60"), oracle, 60, 0.0)


def test_volume_z_score_equals_that_of_pandas(market: tuple[Floats, Floats]) -> None:
    bars, values = market
    volume = pd.Series(bars[:, VOLUME])
    rolling = volume.rolling(60)
    close_to(column(values, "volume_z_60"), ((volume - rolling.mean()) / rolling.std(ddof=1)).to_numpy(), 59)


def exact(window: Floats) -> tuple[float, float]:
    """Mean and sum of squares about it, correctly rounded sums."""
    mean = math.fsum(window) / len(window)
    return mean, math.fsum((x - mean) ** 2 for x in window)


def test_a_crash_and_a_volume_spike_leave_nothing_behind_after_they_left_the_window() -> None:
    times, bars = walk(1_200, seed=3)
    bars[600, :VOLUME] = 1.0  # one bar at a forty-thousandth of the price
    bars[600, VOLUME] = 1e12
    values = compute(DEFAULT, times, bars)
    for row in (*range(600, 664), 700, 1_199):
        closes, volumes = bars[row - 19 : row + 1, CLOSE], bars[row - 59 : row + 1, VOLUME]
        mean, squares = exact(closes)
        width = 2 * math.sqrt(squares / 20)
        assert column(values, "sma_20")[row] == pytest.approx(mean, rel=1e-12)
        band = column(values, "bb_upper_20_2")[row] - column(values, "bb_lower_20_2")[row]
        assert band == pytest.approx(2 * width, rel=1e-9)
        mean, squares = exact(volumes)
        z = (bars[row, VOLUME] - mean) / math.sqrt(squares / 59)
        assert column(values, "volume_z_60")[row] == pytest.approx(z, rel=1e-9, abs=1e-12)
        returns = np.log(bars[row - 59 : row + 1, CLOSE] / bars[row - 60 : row, CLOSE])
        volatility = math.sqrt(exact(returns)[1] / 59)
        assert column(values, "realized_vol_60")[row] == pytest.approx(volatility, rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 3.0, 9.0]), st.sampled_from([0.0, 0.5]))
def test_moments_are_exact_to_1e_9_whatever_the_sizes(seed: int, decades: float, idle: float) -> None:
    """Volumes over up to 18 decades with idle stretches and steps, against correctly rounded sums."""
    rng = np.random.default_rng(seed)
    times, bars = walk(400, seed)
    sizes = np.repeat(10 ** rng.uniform(-decades, decades, 40), 10) * 10 ** rng.uniform(-decades, decades, 400)
    bars[:, VOLUME] = np.where(np.repeat(rng.random(8), 50) < idle, 0.3, rng.random(400) * sizes)
    values = column(compute(DEFAULT, times, bars), "volume_z_60")
    for row in range(59, 400):
        window = bars[row - 59 : row + 1, VOLUME]
        mean, squares = exact(window)
        spread = window.max() - window.min()
        z = (window[-1] - mean) / math.sqrt(squares / 59) if spread else 0.0
        assert values[row] == pytest.approx(z, rel=1e-9, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 3.0, 9.0]))
def test_a_moving_average_is_exact_to_1e_11_whatever_the_prices(seed: int, decades: float) -> None:
    """Prices over up to 18 decades, in steps and spikes, against correctly rounded sums."""
    rng = np.random.default_rng(seed)
    times, bars = walk(300, seed)
    level = np.repeat(10 ** rng.uniform(-decades, decades, 30), 10) * 10 ** rng.uniform(-decades, decades, 300)
    bars[:, :VOLUME] = level[:, None]
    values = column(compute(DEFAULT, times, bars), "sma_20")
    for row in range(19, 300):
        assert values[row] == pytest.approx(exact(level[row - 19 : row + 1])[0], rel=1e-11)


@given(st.floats(1e-8, 1e8), st.floats(1e-15, 3.0), st.sampled_from([-1, 1]))
def test_a_log_return_is_exact_whatever_the_move(past: float, move: float, sign: int) -> None:
    value = past * math.exp(sign * move)
    with decimal.localcontext(prec=40):
        expected = float((Decimal(value) / Decimal(past)).ln())
    assert log_return(value, past) == pytest.approx(expected, rel=1e-15, abs=0.0)


def test_a_market_that_does_not_move_has_finite_features_at_once() -> None:
    times, bars = walk(600)
    bars[:, :VOLUME], bars[:, VOLUME] = 0.1, 0.3
    values = compute(DEFAULT, times, bars)
    last = dict(zip(DEFAULT.feature_names, values[-1], strict=True))
    expected = dict.fromkeys(DEFAULT.feature_names, 0.0) | {"rsi_14": 50.0}
    expected |= dict.fromkeys(("sma_20", "ema_20", "bb_upper_20_2", "bb_mid_20_2", "bb_lower_20_2"), 0.1)
    assert last == pytest.approx(expected, rel=1e-15, abs=1e-15)
    assert last["volume_z_60"] == 0.0
    assert last["bb_upper_20_2"] == last["bb_lower_20_2"] == 0.1


def test_rsi_is_100_where_nothing_fell_and_0_where_nothing_rose() -> None:
    times, bars = walk(40)
    bars[:, :VOLUME] = np.linspace(100, 200, 40)[:, None]
    assert column(compute(DEFAULT, times, bars), "rsi_14")[-1] == 100.0
    bars[:, :VOLUME] = bars[::-1, :VOLUME]
    assert column(compute(DEFAULT, times, bars), "rsi_14")[-1] == 0.0


@every_view
def test_a_view_is_warm_after_the_bars_it_declares_and_not_before(service: FeatureService, view: FeatureView) -> None:
    values = compute(service, *wide_walk(service, 600, seed=5, known=1.0))
    values = np.column_stack([column(values, output.name, service) for output in view.outputs])
    warm = np.isfinite(values).all(axis=1)
    assert warm.argmax() == view.warm_up - 1
    assert warm[view.warm_up - 1 :].all()


@every_service
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 1.0, 3.0]), st.sampled_from([0.0, 0.5, 0.9]))
def test_a_warm_column_is_a_number_whatever_the_market_does(
    service: FeatureService, seed: int, decades: float, idle: float
) -> None:
    """Prices that jump by decades, stand still, and volumes of 0 to 1e12; Amihud alone says NaN where none traded."""
    rng = np.random.default_rng(seed)
    times, bars = walk(700, seed)
    steps = np.repeat(10 ** rng.uniform(-decades, decades, 35), 20) * 10 ** rng.uniform(-decades, decades, 700)
    still = np.repeat(rng.random(14) < idle, 50)
    bars[:, :VOLUME] = np.where(still[:, None], 7.3, bars[:, :VOLUME] * steps[:, None])
    bars[:, VOLUME] = np.where(still, 0.0, bars[:, VOLUME] * 10 ** rng.uniform(-9, 9, 700))
    values = compute(service, times, wide(service, times, bars, seed, known=1.0))
    for view in service.views:
        for output in view.outputs:
            if output.name != "amihud_60":
                assert np.isfinite(column(values, output.name, service)[view.warm_up - 1 :]).all(), output.name
