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
