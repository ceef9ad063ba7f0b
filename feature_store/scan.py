"""Batch and live over the same compiled update.

`compute` scans a history period by period, `compute_period` one period (Spark's unit of work), and `Stream` takes one
bar at a time; every scan starts empty at its period's start minus the warm-up, so all three agree bit for bit. Bars are
float64[n, 5]: open, high, low, close, volume, and behind them a column for each of `service.extras` (closes of
reference instruments, further series; NaN where unknown); times are UTC microseconds. A missing bar is simply absent:
windows count bars, not minutes.
"""

from collections import deque
from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt

from feature_store.errors import BarsRefused
from feature_store.fuse import Scan, fused_scan
from feature_store.inputs import REFERENCE_NAMES, place
from feature_store.period import WARM_UP_BARS, Periods
from feature_store.service import FeatureService
from feature_store.view import BAR_COLUMNS, VOLUME, Floats, Times
from lake.intervals import format_time


def compute(service: FeatureService, open_times: Times, bars: Floats, out: Floats | None = None) -> Floats:
    """Features of every bar: float64[n, len(service.feature_names)], NaN until warm.

    A row has the value that live would have had, provided `open_times` reaches back to the row's scan start
    (`service.periods.scan_start`); with less history the first rows of the first period are NaN for longer.

    Args:
        out: what to fill and return, for one instrument after the other; new memory costs a tenth of a scan and more.

    Raises:
        BarsRefused: shapes differ, times are not strictly increasing or off the grid, a number is not finite,
            a price is not positive, a volume negative.
    """
    open_times, bars = check_bars(service, open_times, bars)
    shape = (len(bars), len(service.feature_names))
    if out is None:
        out = np.empty(shape)
    elif out.shape != shape or out.dtype != np.float64 or not out.flags.c_contiguous or not out.flags.writeable:
        raise BarsRefused(f"out: expected a writable, contiguous float64{list(shape)}, found {out.dtype}{out.shape}.")
    _scan_periods(service, open_times, bars, out)
    return out


def compute_period(service: FeatureService, open_times: Times, bars: Floats, period_start: int) -> Floats:
    """Features of the bars that open in the period starting at `period_start`, one row each, in order.

    The input holds the period's bars and those of the warm-up before it; bars outside both are not looked at.

    Raises:
        BarsRefused: as `compute`; also if `period_start` starts no period.
    """
    if service.periods.start(period_start) != period_start:
        raise BarsRefused(f"{format_time(period_start)} starts no period of {service.timeframe} bars.")
    open_times, bars = check_bars(service, open_times, bars)
    warm, first, end = (int(i) for i in np.searchsorted(open_times, service.periods.edges(period_start)))
    outputs = np.empty((end - first, len(service.feature_names)))
    scan_of(service)(np.zeros(service.state_size), bars[warm:end], scratch_of(service), outputs)
    return outputs


def _scan_periods(service: FeatureService, open_times: Times, bars: Floats, outputs: Floats) -> tuple[Floats, int]:
    """Fill `outputs` period by period; return the state after the last bar and its period's end, 0 without bars."""
    state, periods, scan, scratch = np.zeros(service.state_size), service.periods, scan_of(service), scratch_of(service)
    edges = [periods.edges(start) for start in periods.starts(*open_times[[0, -1]].tolist())] if len(bars) else []
    for warm, first, end in np.searchsorted(open_times, np.array(edges, np.int64).reshape(-1, 3)).tolist():
        state[:] = 0.0
        scan(state, bars[warm:end], scratch, outputs[first:end])
    return state, edges[-1][2] if edges else 0


def scan_of(service: FeatureService) -> Scan:
    """The service's compiled scan over rows of `service.columns`."""
    places = tuple(map(place, service.columns))
    return fused_scan(service.views, () if places == tuple(range(len(places))) else places)


def scratch_of(service: FeatureService) -> Floats:
    """What a scan writes while it warms up, and its row of inputs behind it."""
    return np.empty(len(service.feature_names) + place(service.columns[-1]) + 1)


def check_bars(service: FeatureService, open_times: Times, bars: Floats) -> tuple[Times, Floats]:
    """The same values as contiguous int64[n] and float64[n, len(service.columns)], event times among them if read.

    Raises:
        BarsRefused: names the first row that breaks the contract.
    """
    times = np.ascontiguousarray(open_times, dtype=np.int64)
    rows = np.ascontiguousarray(bars, dtype=np.float64)
    width, bar_width = len(service.given), len(BAR_COLUMNS)
    if times.ndim != 1 or rows.shape != (len(times), width):
        raise BarsRefused(
            f"expected times [n] and bars [n, {width}], found {times.shape} and {rows.shape}. "
            f"{service.name} reads {', '.join(service.given)}."
        )
    if not _all_positive(rows):  # a volume may be zero, an extra NaN
        prices, volume, extras = rows[:, :VOLUME], rows[:, VOLUME], rows[:, bar_width:]
        sound = np.isfinite(rows[:, :bar_width]).all(axis=1) & (prices > 0).all(axis=1) & (volume >= 0)
        _refuse_first(times, ~sound, f"expected finite {', '.join(BAR_COLUMNS)}, prices above zero, volume not below")
        if service.extras:
            _refuse_first(times, np.any(np.isinf(extras), axis=1), f"expected a number or NaN in {service.extras}")
            references = extras[:, [name in REFERENCE_NAMES for name in service.extras]]
            _refuse_first(times, np.any(references <= 0, axis=1), "expected reference closes above zero, or NaN")
    bar_us = service.periods.bar_us
    if len(times) and (times[0] % bar_us or np.any(times[1:] - times[:-1] != bar_us)):  # a bar may be missing
        _refuse_first(times, times % bar_us != 0, f"expected open times on the {service.timeframe} grid")
        _refuse_first(times, np.diff(times, prepend=times[:1] - 1) <= 0, "expected open times sorted, each once")
    if "event_time" in service.columns:
        rows = np.insert(rows, bar_width, times + bar_us, axis=1)
    return times, rows


def _all_positive(rows: Floats) -> bool:
    """Whether all numbers are finite and above zero; in blocks, so that the second look finds them in the cache."""
    blocks = (rows[first : first + _BLOCK] for first in range(0, len(rows), _BLOCK))
    return all(block.min() > 0.0 and block.max() < inf for block in blocks)


_BLOCK = 4_096


def _sound(values: list[float], references: int) -> bool:
    """Whether `check_bars` would take the row: five numbers of a bar, so many reference closes, then series."""
    opened, high, low, close, volume = values[:5]
    if not (0 < opened < inf and 0 < high < inf and 0 < low < inf and 0 < close < inf and 0 <= volume < inf):
        return False
    references += 5
    return not any(abs(value) == inf or (value <= 0 and i < references) for i, value in enumerate(values[5:], 5))


def _refuse_first(times: Times, bad: npt.NDArray[np.bool_], expected: str) -> None:
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
        self._scan, self._scratch = scan_of(service), scratch_of(service)
        self._state: Floats = np.zeros(service.state_size)
        self._times: deque[int] = deque(maxlen=WARM_UP_BARS)
        self._bars: deque[Floats] = deque(maxlen=WARM_UP_BARS)
        self._period_end = 0
        self._outputs, self._bar_us = len(service.feature_names), service.periods.bar_us
        self._width, self._timed = len(service.given), "event_time" in service.columns
        self._references = len(REFERENCE_NAMES & set(service.extras))

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
        self._state, self._period_end = _scan_periods(service, times, rows, outputs)
        self._times = deque(times[-WARM_UP_BARS:].tolist(), WARM_UP_BARS)
        self._bars = deque(rows[-WARM_UP_BARS:].copy(), WARM_UP_BARS)
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
        row = self._row(open_time, bar)
        if open_time >= self._period_end:
            self._anchor(open_time)
        outputs = np.empty((1, self._outputs))
        self._scan(self._state, row, self._scratch, outputs)
        self._times.append(open_time)
        self._bars.append(row[0])
        return outputs[0]

    def _row(self, open_time: int, bar: Floats) -> Floats:
        """One bar checked, as the scan takes it; what is wrong with it is `check_bars`'s to say."""
        row = np.array(bar, np.float64).reshape(1, -1)
        values = row[0].tolist()
        if len(values) != self._width or open_time % self._bar_us or not _sound(values, self._references):
            return check_bars(self.service, np.array([open_time]), row)[1]
        if self._timed:
            values.insert(len(BAR_COLUMNS), open_time + self._bar_us)
            return np.array([values])
        return row

    def save(self) -> StreamState:
        """Copy out everything the next values depend on."""
        bars = np.array(self._bars).reshape(-1, len(self.service.columns))
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
        self._times = deque(saved.open_times.tolist(), WARM_UP_BARS)
        self._bars = deque(saved.bars.copy(), WARM_UP_BARS)
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
