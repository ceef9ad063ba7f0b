"""A feature service: named views over one timeframe, in a fixed order, with a hash of all that decides their values."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from feature_store.errors import UnknownService
from feature_store.period import SPANS, WARM_UP_BARS, Periods
from feature_store.source import kernel_source
from feature_store.view import BAR_COLUMNS, FeatureView, Output
from feature_store.views.atr import ATR
from feature_store.views.bar_views import BAR_VIEWS
from feature_store.views.bollinger import BOLLINGER
from feature_store.views.macd import MACD
from feature_store.views.moving_averages import MOVING_AVERAGES
from feature_store.views.realized_volatility import REALIZED_VOLATILITY
from feature_store.views.returns import RETURNS
from feature_store.views.rsi import RSI
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
    def bar_width(self) -> int:
        """Numbers in a bar as the kernels see it: one more, its event time, if a view reads that."""
        return len(BAR_COLUMNS) + any("event_time" in view.inputs for view in self.views)

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

CATALOGUE = FeatureService("catalogue_5m", "5m", BAR_VIEWS)

_SERVICES = MappingProxyType({one.name: one for one in (DEFAULT, CATALOGUE)})


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
