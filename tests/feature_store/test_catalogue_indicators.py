"""The catalogue's indicators against TA-Lib, `ta` and pandas."""

import warnings

import numpy as np
import pandas as pd
import pytest
import talib
from walks import close_to, column, walk

from feature_store.scan import compute
from feature_store.service import CATALOGUE
from feature_store.view import CLOSE, HIGH, LOW, OPEN, VOLUME, Floats

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # `ta` is not ours to fix
    import ta

N = 6_000  # three weeks: two anchors inside
PRICES = {"btc": 40_000.0, "xrp": 0.5}


class Market:
    """One market's bars by name, and the catalogue's columns over them."""

    def __init__(self, price: float) -> None:
        times, self.bars = walk(N, seed=17, price=price)
        self.open, self.high, self.low, self.close, self.volume = (
            np.ascontiguousarray(self.bars[:, i]) for i in (OPEN, HIGH, LOW, CLOSE, VOLUME)
        )
        self.values = compute(CATALOGUE, times, self.bars)

    def __getitem__(self, name: str) -> Floats:
        return column(self.values, name, CATALOGUE)

    @property
    def series(self) -> tuple[pd.Series, pd.Series, pd.Series, pd.Series]:
        return pd.Series(self.high), pd.Series(self.low), pd.Series(self.close), pd.Series(self.volume)


@pytest.fixture(params=list(PRICES), scope="module")
def market(request: pytest.FixtureRequest) -> Market:
    return Market(PRICES[request.param])


def test_wma_equals_that_of_talib(market: Market) -> None:
    close_to(market["wma_20"], talib.WMA(market.close, 20), 19, 0.0)


def test_stochastic_equals_that_of_talib_and_ta(market: Market) -> None:
    k, d = talib.STOCH(market.high, market.low, market.close, 14, 3, 0, 3, 0)
    close_to(market["stoch_k_14_3"][17:], k[17:], 0)
    close_to(market["stoch_d_14_3_3"], d, 17)
    assert np.isfinite(market["stoch_k_14_3"][15:17]).all(), "K is known before D"
    high, low, close, _ = market.series
    raw = ta.momentum.StochasticOscillator(high, low, close, 14, 3).stoch()
    close_to(market["stoch_k_14_3"], raw.rolling(3).mean().to_numpy(), 15)


def test_adx_and_its_directions_equal_those_of_talib(market: Market) -> None:
    prices = market.high, market.low, market.close
    # a direction that is nearly spent differs by what TA-Lib's running sum rounds
    close_to(market["plus_di_14"], talib.PLUS_DI(*prices, 14), 14)
    close_to(market["minus_di_14"], talib.MINUS_DI(*prices, 14), 14)
    close_to(market["adx_14"], talib.ADX(*prices, 14), 27)


def test_cci_equals_that_of_talib(market: Market) -> None:
    close_to(market["cci_20"], talib.CCI(market.high, market.low, market.close, 20), 19)


def test_keltner_channel_equals_ema_and_atr_of_talib(market: Market) -> None:
    middle, width = talib.EMA(market.close, 20), 2 * talib.ATR(market.high, market.low, market.close, 10)
    close_to(market["keltner_upper_20_10_2"], middle + width, 19, 0.0)
    close_to(market["keltner_lower_20_10_2"], middle - width, 19, 0.0)
    close_to(market["keltner_position_20_10_2"], (market.close - middle + width) / (2 * width), 19)


def test_donchian_channel_equals_that_of_ta_and_pandas(market: Market) -> None:
    high, low, close, _ = market.series
    other = ta.volatility.DonchianChannel(high, low, close, 20)
    close_to(market["donchian_upper_20"], high.rolling(20).max().to_numpy(), 19, 0.0)
    close_to(market["donchian_lower_20"], other.donchian_channel_lband().to_numpy(), 19, 0.0)
    close_to(market["donchian_position_20"], other.donchian_channel_pband().to_numpy(), 19)


def test_obv_moves_as_that_of_talib_and_its_share_as_that_of_pandas(market: Market) -> None:
    oracle = talib.OBV(market.close, market.volume)
    week = 2_016  # the first period: it counts from the first bar
    close_to(market["obv"][:week], oracle[:week], 0)
    for period in (slice(week, 2 * week), slice(2 * week, None)):  # another start, the same changes
        np.testing.assert_allclose(np.diff(market["obv"][period]), np.diff(oracle[period]), rtol=0, atol=1e-8)
    *_, volume = market.series
    signed = pd.Series(oracle).diff()
    close_to(market["obv_share_48"], (signed.rolling(48).sum() / volume.rolling(48).sum()).to_numpy(), 48)


@pytest.mark.parametrize("length", [48, 288])
def test_vwap_distance_equals_that_of_ta(market: Market, length: int) -> None:
    vwap = ta.volume.VolumeWeightedAveragePrice(*market.series, length).volume_weighted_average_price()
    oracle = np.log(market.close / vwap.to_numpy())
    close_to(market[f"vwap_distance_{length}"], oracle, length - 1, 1e-3)


def test_mfi_equals_that_of_talib(market: Market) -> None:
    unit = 1e6  # TA-Lib says 0 where 14 flows sum to less than 1
    oracle = talib.MFI(market.high, market.low, market.close, market.volume * unit, 14)
    close_to(market["mfi_14"], oracle, 14)


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("doji_10", talib.CDLDOJI),
        ("hammer_10", talib.CDLHAMMER),
        ("hanging_man_10", talib.CDLHANGINGMAN),
        ("engulfing_2", talib.CDLENGULFING),
        ("harami_10", talib.CDLHARAMI),
        ("marubozu_10", talib.CDLMARUBOZU),
        ("spinning_top_10", talib.CDLSPINNINGTOP),
    ],
)
def test_candlestick_patterns_are_those_of_talib(market: Market, name: str, pattern: object) -> None:
    assert callable(pattern)
    oracle = np.sign(pattern(market.open, market.high, market.low, market.close))
    assert np.isnan(market[name][:11]).all()
    np.testing.assert_array_equal(market[name][11:], oracle[11:])
    assert np.count_nonzero(oracle) > 10, "the walk shows the pattern"


def test_where_nothing_trades_or_moves_the_indicators_say_so() -> None:
    times, bars = walk(600)
    bars[:, :VOLUME], bars[:, VOLUME] = 0.1, 0.0
    last = dict(zip(CATALOGUE.feature_names, compute(CATALOGUE, times, bars)[-1], strict=True))
    neutral = {"stoch_k_14_3": 50.0, "mfi_14": 50.0, "keltner_position_20_10_2": 0.5, "donchian_position_20": 0.5}
    neutral |= dict.fromkeys(("adx_14", "plus_di_14", "minus_di_14", "cci_20", "obv_share_48"), 0.0)
    neutral |= dict.fromkeys(("vwap_distance_48", "vwap_distance_288"), 0.0) | {"wma_20": 0.1}
    assert {name: last[name] for name in neutral} == neutral
