"""A feature service: named views over one timeframe, in a fixed order, with a hash of all that decides their values."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from feature_store.errors import UnknownService
from feature_store.inputs import INPUTS
from feature_store.period import SPANS, WARM_UP_BARS, Periods
from feature_store.source import kernel_source
from feature_store.view import BAR_COLUMNS, FeatureView, Output
from feature_store.views.atr import ATR
from feature_store.views.bar_views import BAR_VIEWS
from feature_store.views.bollinger import BOLLINGER
from feature_store.views.btc_correlation import BTC_CORRELATION
from feature_store.views.chain_growth import CHAIN_GROWTH
from feature_store.views.cointegration import COINTEGRATION
from feature_store.views.defi import DEFI
from feature_store.views.derivatives import DERIVATIVES
from feature_store.views.eth_correlation import ETH_CORRELATION
from feature_store.views.macd import MACD
from feature_store.views.macro_correlation import MACRO_CORRELATION
from feature_store.views.moving_averages import MOVING_AVERAGES
from feature_store.views.realized_volatility import REALIZED_VOLATILITY
from feature_store.views.returns import RETURNS
from feature_store.views.rsi import RSI
from feature_store.views.spread import SPREAD
from feature_store.views.text_sentiment import TEXTS
from feature_store.views.valuation import VALUATION
from feature_store.views.volume import VOLUME_Z


@dataclass(frozen=True)
class FeatureService:
    """What a model is trained on and live computes; immutable. A column belongs to one view only."""

    name: str
    timeframe: str
    views: tuple[FeatureView, ...]

    def __post_init__(self) -> None:
        names = self.feature_names
        if len(set(names)) != len(names):
            raise ValueError(f"service {self.name}: two views share a column in {names}")
        unknown = sorted({name for view in self.views for name in view.inputs} - set(INPUTS))
        if unknown:
            raise ValueError(f"service {self.name}: {unknown} are no inputs: expected names of feature_store.inputs")
        late = [view.name for view in self.views if view.warm_up > WARM_UP_BARS]
        if late:
            raise ValueError(f"service {self.name}: {late} need more than the {WARM_UP_BARS} warm-up bars of a scan")

    @cached_property
    def outputs(self) -> tuple[Output, ...]:
        return tuple(output for view in self.views for output in view.outputs)

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(output.name for output in self.outputs)

    @cached_property
    def periods(self) -> Periods:
        return Periods(self.timeframe)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """What a row of inputs holds: the bar's five numbers and whatever else a view reads, in the order of INPUTS."""
        read = {name for view in self.views for name in view.inputs}
        return (*BAR_COLUMNS, *(name for name in INPUTS[len(BAR_COLUMNS) :] if name in read))

    @cached_property
    def extras(self) -> tuple[str, ...]:
        """The columns that a caller gives behind the bar's: references and series, NaN where there is none."""
        return tuple(name for name in self.columns[len(BAR_COLUMNS) :] if name != "event_time")

    @property
    def given(self) -> tuple[str, ...]:
        """Columns of the matrix that `compute` and `Stream` take."""
        return BAR_COLUMNS + self.extras

    @property
    def warm_up(self) -> int:
        """Bars until every column is a number."""
        return max(view.warm_up for view in self.views)

    @property
    def state_size(self) -> int:
        return sum(view.state_size for view in self.views)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256, hex, over everything that decides a value: timeframe, period, warm-up, views, kernels' sources."""
        parts = [self.timeframe, SPANS[self.timeframe], str(WARM_UP_BARS)]
        for view in self.views:
            parts += [view.name, str(view.version), ",".join(view.inputs), str(view.warm_up), str(view.state_size)]
            parts += [f"{output.name} [{output.unit}]" for output in view.outputs]
            parts.append(kernel_source(view.update))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def at(self, timeframe: str) -> "FeatureService":
        """The same views over another timeframe; another service with another hash."""
        if timeframe == self.timeframe:
            return self
        return FeatureService(f"{self.name}@{timeframe}", timeframe, self.views)


DEFAULT = FeatureService(
    "default_5m",
    "5m",
    (RETURNS, MOVING_AVERAGES, RSI, MACD, ATR, BOLLINGER, REALIZED_VOLATILITY, VOLUME_Z),
)

DEFAULT_REF = FeatureService("default_ref_5m", "5m", (*DEFAULT.views, BTC_CORRELATION))
"""The default service and how the instrument moves with BTC."""

REFERENCES = FeatureService("references_5m", "5m", (ETH_CORRELATION, SPREAD, COINTEGRATION))

DERIVATIVES_5M = FeatureService("derivatives_5m", "5m", (DERIVATIVES, TEXTS))
"""Series that move within the day."""

CHAIN_1D = FeatureService("chain_1d", "1d", (CHAIN_GROWTH, VALUATION, DEFI, MACRO_CORRELATION))
"""Daily series, on daily bars."""

CATALOGUE = FeatureService("catalogue_5m", "5m", BAR_VIEWS)

_SERVICES = MappingProxyType(
    {one.name: one for one in (DEFAULT, DEFAULT_REF, REFERENCES, DERIVATIVES_5M, CHAIN_1D, CATALOGUE)}
)


def services() -> Mapping[str, FeatureService]:
    """Every service by name."""
    return _SERVICES


def service(name: str) -> FeatureService:
    """Look a service up by name.

    Raises:
        UnknownService: no such service; the message lists what there is.
    """
    try:
        return _SERVICES[name]
    except KeyError:
        raise UnknownService(f"unknown feature service {name!r}: expected one of {', '.join(_SERVICES)}") from None
