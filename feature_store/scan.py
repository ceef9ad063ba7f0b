"""Batch and live over the same compiled update.

`compute` scans a history period by period, `compute_period` one period (Spark's unit of work), and `Stream` takes one
bar at a time; every scan starts empty at its period's start minus the warm-up, so all three agree bit for bit. Bars are
float64[n, 5]: open, high, low, close, volume; times are UTC microseconds. A missing bar is simply absent: windows count
bars, not minutes.
"""

from dataclasses import dataclass

import numpy as np

from feature_store.errors import BarsRefused
from feature_store.fuse import fused_scan
from feature_store.period import WARM_UP_BARS, Periods
from feature_store.service import FeatureService
from feature_store.view import BAR_COLUMNS, VOLUME, Floats, Times
from lake.intervals import format_time


def compute(service: FeatureService, open_times: Times, bars: Floats) -> Floats:
    """Features of every bar: float64[n, len(service.feature_names)], NaN until warm.

    A row has the value that live would have had, provided `open_times` reaches back to the row's scan start
    (`service.periods.scan_start`); with less history the first rows of the first period are NaN for longer.

    Raises:
        BarsRefused: shapes differ, times are not strictly increasing or off the grid, a number is not finite,
            a price is not positive, a volume negative.
    """
    open_times, bars = check_bars(service, open_times, bars)
    outputs = np.empty((len(bars), len(service.feature_names)))
    if len(bars):
        for start in service.periods.starts(int(open_times[0]), int(open_times[-1])):
            _scan_period(service, open_times, bars, start, outputs)
    return outputs


def compute_period(service: FeatureService, open_times: Times, bars: Floats, period_start: int) -> Floats:
    """Features of the bars that open in the period starting at `period_start`, one row each, in order.

    The input holds the period's bars and those of the warm-up before it; bars outside both are not looked at.

    Raises:
        BarsRefused: as `compute`; also if `period_start` starts no period.
    """
    if service.periods.start(period_start) != period_start:
        raise BarsRefused(f"{format_time(period_start)} starts no period of {service.timeframe} bars.")
    open_times, bars = check_bars(service, open_times, bars)
    first, end = np.searchsorted(open_times, (period_start, service.periods.end(period_start)))
    outputs = np.empty((len(bars), len(service.feature_names)))
    _scan_period(service, open_times, bars, period_start, outputs)
    return outputs[first:end]


def _scan_period(service: FeatureService, open_times: Times, bars: Floats, start: int, outputs: Floats) -> Floats:
    """Fill the rows of the period in `outputs`; return the state after its last bar."""
    periods = service.periods
    edges = (start - periods.warm_up_us, start, periods.end(start))
    warm, first, end = (int(i) for i in np.searchsorted(open_times, edges))
    state = np.zeros(service.state_size)
    scratch = np.empty(len(service.feature_names))
    fused_scan(service.views)(state, bars[warm:end], scratch, outputs[first:end])
    return state


def check_bars(service: FeatureService, open_times: Times, bars: Floats) -> tuple[Times, Floats]:
    """The same values as contiguous int64[n] and float64[n, 5], or [n, 6] with event times if a view reads them.

    Raises:
        BarsRefused: names the first row that breaks the contract.
    """
    times = np.ascontiguousarray(open_times, dtype=np.int64)
    rows = np.ascontiguousarray(bars, dtype=np.float64)
    if times.ndim != 1 or rows.shape != (len(times), len(BAR_COLUMNS)):
        raise BarsRefused(f"expected times [n] and bars [n, {len(BAR_COLUMNS)}], found {times.shape} and {rows.shape}.")
    if rows.size and not (rows.min() > 0.0 and rows.max() < np.inf):  # false for NaN too; a volume may be zero
        sound = np.isfinite(rows).all(axis=1) & (rows[:, :VOLUME] > 0).all(axis=1) & (rows[:, VOLUME] >= 0)
        _refuse_first(times, ~sound, f"expected finite {', '.join(BAR_COLUMNS)}, prices above zero, volume not below")
    _refuse_first(times, times % service.periods.bar_us != 0, f"expected open times on the {service.timeframe} grid")
    _refuse_first(times, np.diff(times, prepend=times[:1] - 1) <= 0, "expected open times sorted, each once")
    if service.bar_width > len(BAR_COLUMNS):
        rows = np.column_stack([rows, times + service.periods.bar_us])
    return times, rows


def _refuse_first(times: Times, bad: np.ndarray[tuple[int], np.dtype[np.bool_]], expected: str) -> None:
    if bad.any():
        at = int(np.argmax(bad))
        raise BarsRefused(f"{expected}; the bar of {format_time(int(times[at]))} (row {at}) breaks it.")


@dataclass(frozen=True)
class StreamState:
    """A stream by value: what `Stream.save` copies out and `Stream.restore` copies in."""

    content_hash: str
    open_times: Times
    """Open times of the bars kept for the next period's warm-up, oldest first; the last is the last bar taken."""
    bars: Floats
    state: Floats
    """The views' states, one after the other in the service's order."""


class Stream:
    """One instrument's features, one closed bar at a time; bitwise what `compute` gives over the same bars.

    An update touches a fixed number of values. At a period's first bar the state starts empty again and the kept bars
    of the warm-up are scanned: about 500 updates, once a week.
    """

    def __init__(self, service: FeatureService) -> None:
        self.service = service
        self._scan = fused_scan(service.views)
        self._scratch: Floats = np.empty(len(service.feature_names))
        self._state: Floats = np.zeros(service.state_size)
        self._times: list[int] = []
        self._bars: list[Floats] = []
        self._period_end = 0

    @property
    def next_open_time(self) -> int | None:
        """Open time of the bar that follows without a gap; None before the first bar.

        A caller that holds a later bar fetches what lies between first, or goes on if the venue has none.
        """
        return self._times[-1] + self.service.periods.bar_us if self._times else None

    def seed(self, open_times: Times, bars: Floats) -> Floats:
        """Start anew from a history, missing bars allowed; returns its features, as `compute`.

        Reach back to `service.periods.scan_start(time of the first bar to decide on)`, or values differ from batch.

        Raises:
            BarsRefused: as `compute`; the stream is then unchanged.
        """
        service = self.service
        times, rows = check_bars(service, open_times, bars)
        outputs = np.empty((len(rows), len(service.feature_names)))
        state, end = np.zeros(service.state_size), 0
        if len(rows):
            for start in service.periods.starts(int(times[0]), int(times[-1])):
                state, end = _scan_period(service, times, rows, start, outputs), service.periods.end(start)
        self._state, self._period_end = state, end
        self._times = times[-WARM_UP_BARS:].tolist()
        self._bars = list(rows[-WARM_UP_BARS:].copy())
        return outputs

    def update(self, open_time: int, bar: Floats) -> Floats:
        """Take one closed bar and return its float64[k]; missing bars before it are taken as absent for good.

        Raises:
            BarsRefused: not after the last bar, off the grid, or not a sound bar; the stream is then unchanged.
        """
        if self._times and open_time <= self._times[-1]:
            raise BarsRefused(
                f"bar of {format_time(open_time)} is out of order: expected one after {format_time(self._times[-1])}."
            )
        _, rows = check_bars(self.service, np.array([open_time]), np.reshape(bar, (1, -1)))
        if open_time >= self._period_end:
            self._anchor(open_time)
        outputs = np.empty((1, len(self.service.feature_names)))
        self._scan(self._state, rows, self._scratch, outputs)
        self._keep(open_time, rows[0].copy())
        return outputs[0]

    def save(self) -> StreamState:
        """Copy out everything the next values depend on."""
        bars = np.array(self._bars).reshape(-1, self.service.bar_width)
        return StreamState(self.service.content_hash, np.array(self._times, np.int64), bars, self._state.copy())

    def restore(self, saved: StreamState) -> None:
        """Go on where `save` was called.

        Raises:
            BarsRefused: it was saved by a service with another content hash.
        """
        if saved.content_hash != self.service.content_hash:
            raise BarsRefused(
                f"expected a state of {self.service.name} {self.service.content_hash}, found {saved.content_hash}. "
                "Seed the stream instead."
            )
        periods: Periods = self.service.periods
        self._state = saved.state.copy()
        self._times, self._bars = saved.open_times.tolist(), list(saved.bars.copy())
        self._period_end = periods.end(periods.start(self._times[-1])) if self._times else 0

    def _anchor(self, open_time: int) -> None:
        periods = self.service.periods
        start = periods.start(open_time)
        kept = [bar for time, bar in zip(self._times, self._bars, strict=True) if time >= start - periods.warm_up_us]
        self._state = np.zeros(self.service.state_size)
        self._period_end = periods.end(start)
        if kept:
            nothing = np.empty((0, len(self.service.feature_names)))
            self._scan(self._state, np.array(kept), self._scratch, nothing)

    def _keep(self, open_time: int, bar: Floats) -> None:
        self._times.append(open_time)
        self._bars.append(bar)
        if len(self._times) > WARM_UP_BARS:
            del self._times[0], self._bars[0]
