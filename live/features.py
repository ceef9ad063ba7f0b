"""One instrument's features in live: the batch scan's own kernels, seeded from history, then one bar at a time."""

from collections import deque
from collections.abc import Sequence

import numpy as np

from feature_store.period import Periods
from feature_store.scan import Stream
from feature_store.service import FeatureService
from feature_store.view import Floats, Times
from live.bars import ClosedBar
from live.model import MAX_WINDOW


def history_start(periods: Periods, open_time: int) -> int:
    """The first open time that a decision on the bar at `open_time` can depend on, windows included."""
    return periods.scan_start(open_time - MAX_WINDOW * periods.bar_us)


class LiveFeatures:
    """Keeps the stream's state and the newest rows, as many as any model's window may ask for."""

    def __init__(self, service: FeatureService) -> None:
        self._service, self._stream = service, Stream(service)
        self._rows: deque[Floats] = deque(maxlen=MAX_WINDOW)
        self.bars_seen = 0

    @property
    def next_open_time(self) -> int | None:
        """Open time of the bar that follows without a gap; None until seeded."""
        return self._stream.next_open_time

    def seed(self, open_times: Times, rows: Floats) -> None:
        """Start anew from bars in time order, float64[n, len(service.given)]."""
        self._rows = deque(self._stream.seed(open_times, rows), maxlen=MAX_WINDOW)
        self.bars_seen = len(open_times)

    def update(self, bar: ClosedBar, beside: Sequence[float] = ()) -> None:
        """Take one bar and the closes of the service's references, NaN where there is none."""
        self._rows.append(self._stream.update(bar.open_time, np.array((*bar.values, *beside))))
        self.bars_seen += 1

    def is_warm(self, window: int) -> bool:
        """Whether so many bars were seen that every value of the window should be a number."""
        return self.bars_seen >= self._service.warm_up + window

    def rows(self, window: int) -> Floats:
        """The newest rows, float64[up to window, k], oldest first."""
        newest = list(self._rows)[-window:]
        return np.array(newest).reshape(len(newest), len(self._service.feature_names))
