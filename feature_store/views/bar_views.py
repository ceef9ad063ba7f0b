"""The views of `catalogue_5m`: everything over bars that `default_5m` leaves out, in the order of its columns."""

from typing import Final

from feature_store.view import FeatureView
from feature_store.views.adx import ADX
from feature_store.views.amihud import AMIHUD
from feature_store.views.candles import CANDLES
from feature_store.views.cci import CCI
from feature_store.views.close_volatility import CLOSE_VOLATILITY
from feature_store.views.detrended_fluctuation import DETRENDED_FLUCTUATION
from feature_store.views.donchian import DONCHIAN
from feature_store.views.further_returns import FURTHER_RETURNS
from feature_store.views.garman_klass import GARMAN_KLASS
from feature_store.views.higuchi import HIGUCHI
from feature_store.views.hourly import HOURLY
from feature_store.views.hurst import HURST
from feature_store.views.katz import KATZ
from feature_store.views.keltner import KELTNER
from feature_store.views.levels import LEVELS
from feature_store.views.mfi import MFI
from feature_store.views.obv import OBV
from feature_store.views.parkinson import PARKINSON
from feature_store.views.pivots import PIVOTS
from feature_store.views.return_quantiles import RETURN_QUANTILES
from feature_store.views.rogers_satchell import ROGERS_SATCHELL
from feature_store.views.sessions import SESSIONS
from feature_store.views.sign_entropy import SIGN_ENTROPY
from feature_store.views.simple_returns import SIMPLE_RETURNS
from feature_store.views.stochastic import STOCHASTIC
from feature_store.views.time_of_week import TIME_OF_WEEK
from feature_store.views.variance_ratio import VARIANCE_RATIO
from feature_store.views.vol_of_vol import VOL_OF_VOL
from feature_store.views.vwap_distance import VWAP_DISTANCE
from feature_store.views.wma import WMA
from feature_store.views.yang_zhang import YANG_ZHANG

BAR_VIEWS: Final[tuple[FeatureView, ...]] = (
    SIMPLE_RETURNS,
    FURTHER_RETURNS,
    WMA,
    STOCHASTIC,
    ADX,
    CCI,
    KELTNER,
    DONCHIAN,
    OBV,
    VWAP_DISTANCE,
    MFI,
    CLOSE_VOLATILITY,
    PARKINSON,
    GARMAN_KLASS,
    ROGERS_SATCHELL,
    YANG_ZHANG,
    VOL_OF_VOL,
    PIVOTS,
    LEVELS,
    AMIHUD,
    HURST,
    DETRENDED_FLUCTUATION,
    VARIANCE_RATIO,
    SIGN_ENTROPY,
    KATZ,
    HIGUCHI,
    RETURN_QUANTILES,
    CANDLES,
    TIME_OF_WEEK,
    SESSIONS,
    HOURLY,
)
