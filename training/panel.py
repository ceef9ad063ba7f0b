"""The data of one experiment: every instrument on one dense grid of bars, and samples drawn from it.

Dense means that index distance is time distance: a missing bar is a row of NaN, never a shorter array.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lake.intervals import timeframe_us
from lake.tables.bars import PUBLICATION_DELAY
from training.labels import COST_BPS_PER_SIDE, HORIZON_BARS, Floats, entry_lag, net_forward_returns

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Panel:
    """Instruments × bars. `features[i, t]` is what was known of bar t at its decision time; `opens` are fill prices."""

    instruments: tuple[str, ...]
    feature_names: tuple[str, ...]
    timeframe: str
    open_times: Ints
    """[bars] µs UTC, one timeframe apart."""
    features: Floats
    """[instruments, bars, features]; NaN until warm, and where the row was not known in time."""
    opens: Floats
    """[instruments, bars]; NaN where the bar is missing."""
    horizon: int = HORIZON_BARS
    cost_bps_per_side: float = COST_BPS_PER_SIDE
    delay_us: int = PUBLICATION_DELAY
    table_versions: dict[str, int] = field(default_factory=dict)
    service: str = ""
    service_hash: str = ""
    labels: Floats = field(init=False)
    """[instruments, bars]: see training/labels.py."""

    def __post_init__(self) -> None:
        bars = len(self.open_times)
        expected = (len(self.instruments), bars, len(self.feature_names))
        if self.features.shape != expected or self.opens.shape != expected[:2]:
            raise ValueError(
                f"expected features {expected} and opens {expected[:2]}, "
                f"found {self.features.shape} and {self.opens.shape}"
            )
        if bars > 1 and not (np.diff(self.open_times) == timeframe_us(self.timeframe)).all():
            raise ValueError(f"open_times are not one {self.timeframe} apart")
        labels = net_forward_returns(self.opens, self.lag, self.horizon, self.cost_bps_per_side)
        object.__setattr__(self, "labels", labels)

    @property
    def lag(self) -> int:
        """Bars from the signal bar to the fill."""
        return entry_lag(timeframe_us(self.timeframe), self.delay_us)

    def content_hash(self) -> str:
        """SHA-256 over everything a model can see: equal data, equal hash."""
        digest = hashlib.sha256(repr((self.instruments, self.feature_names, self.timeframe, self.horizon)).encode())
        digest.update(repr((self.cost_bps_per_side, self.delay_us)).encode())
        for array in (self.open_times, self.features, self.opens):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Samples:
    """What a model learns from. Row order is time order within an instrument."""

    features: Floats
    """[rows, window, features]: raw columns; the last step is the decision's own bar."""
    labels: Floats
    """[rows]: expected-value target, net return over the horizon."""
    feature_names: tuple[str, ...]
    horizon: int
    cost_bps_per_side: float

    def __len__(self) -> int:
        return len(self.labels)


def complete_windows(panel: Panel, window: int) -> NDArray[np.bool_]:
    """[instruments, bars]: True where the last `window` feature rows are all finite."""
    finite = np.asarray(np.isfinite(panel.features).all(axis=2), dtype=np.bool_)
    if window == 1:
        return finite
    held = np.cumsum(finite, axis=1, dtype=np.int64)
    held[:, window:] -= held[:, :-window].copy()
    return np.asarray(held >= window, dtype=np.bool_)


def windows(panel: Panel, instrument: int, bars: Ints, window: int) -> Floats:
    """[rows, window, features] ending at each of `bars`."""
    steps = bars[:, None] + np.arange(1 - window, 1)
    result: Floats = panel.features[instrument][steps]
    return result


def samples(panel: Panel, start: int, stop: int, window: int = 1, stride: int = 1) -> Samples:
    """Labelled rows of every instrument with decision bars in [start, stop).

    `stop` is the caller's purge: a label reaches `lag + horizon` bars past its decision bar. Overlapping labels carry
    little that is new, so `stride` keeps one bar in so many, staggered between instruments.
    """
    usable = complete_windows(panel, window) & np.isfinite(panel.labels)
    blocks: list[Floats] = []
    targets: list[Floats] = []
    for i in range(len(panel.instruments)):
        chosen = np.arange(start + (i % stride), stop, stride, dtype=np.int64)
        chosen = chosen[usable[i, chosen]]
        blocks.append(windows(panel, i, chosen, window))
        targets.append(panel.labels[i, chosen])
    return Samples(
        np.concatenate(blocks), np.concatenate(targets), panel.feature_names, panel.horizon, panel.cost_bps_per_side
    )


def first_usable(panel: Panel, window: int = 1) -> int:
    """The first bar at which every instrument has a complete window; the number of bars if there is none."""
    ready = complete_windows(panel, window).all(axis=0)
    return int(np.argmax(ready)) if ready.any() else len(panel.open_times)
