"""One instrument's closed bars, and its features beside the instruments that the service compares it with. No I/O.

A row waits for the reference bars of its close until `GRACE` of market time is over; what has not come by then is null
in that row, never an older value. A reference bar that comes after all counts from the next row on: the features are
then begun anew from the bars held, so they are what a batch over the published bars gives.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from feature_store.errors import BarsRefused
from feature_store.inputs import GRACE
from feature_store.period import Periods
from feature_store.service import FeatureService
from feature_store.view import CLOSE
from lake.instruments import Instrument
from lake.intervals import format_time
from live.bars import ClosedBar
from live.decide import Reason
from live.features import LiveFeatures, history_start


@dataclass(frozen=True, slots=True)
class Held:
    """A bar's numbers as the kernels read them, and the market time at which it was known."""

    values: tuple[float, float, float, float, float]
    known: int


@dataclass(frozen=True, slots=True)
class Row:
    """A bar whose features wait for references. `hold_for` says why not to trade; without `decide` it was decided."""

    bar: ClosedBar
    hold_for: Reason | None
    received: float
    decide: bool


class Track:
    """Bars in order, each once; without a service it is heard as a reference only."""

    def __init__(self, instrument: Instrument, periods: Periods) -> None:
        self.instrument, self._periods, self._bar_us = instrument, periods, periods.bar_us
        self.held: dict[int, Held] = {}
        self.waiting: list[ClosedBar] = []
        """Bars until the gap before them is closed."""
        self.decided: set[int] = set()
        """Which of those have their decision already."""
        self.rows: deque[Row] = deque()
        self.asked = 0
        """Up to which open time a gap of a reference was asked for."""
        self.service: FeatureService | None = None
        self.features: LiveFeatures | None = None
        self._references: list[Track | None] = []
        self._nulls: set[int] = set()
        self._outdated = True

    @property
    def next_open_time(self) -> int | None:
        """Open time of the bar that follows without a gap; None before the first bar."""
        return next(reversed(self.held)) + self._bar_us if self.held else None

    @property
    def others(self) -> "list[Track]":
        """The references among other instruments."""
        return [one for one in self._references if one is not None and one is not self]

    def serve(self, service: FeatureService, references: "list[Track | None]") -> None:
        """Compute this service from the next row on; a reference in the order of `service.extras`, None if unknown."""
        self.service, self.features, self._references = service, LiveFeatures(service), references
        self._nulls, self._outdated = set(), True

    def hold(self, bar: ClosedBar) -> None:
        """Add the next bar.

        Raises:
            BarsRefused: it does not follow the last one, or lies off the grid.
        """
        if bar.open_time % self._bar_us or bar.open_time < (self.next_open_time or 0):
            raise BarsRefused(
                f"{self.instrument.id}: the bar of {format_time(bar.open_time)} is off the grid or out of order."
            )
        self.held[bar.open_time] = Held(bar.values, max(bar.market_time, bar.close_time))
        self._forget(history_start(self._periods, bar.open_time))

    def hold_history(self, bars: Iterable[ClosedBar]) -> None:
        """Begin with bars in order."""
        self.held = {bar.open_time: Held(bar.values, max(bar.market_time, bar.close_time)) for bar in bars}
        self._outdated = True

    def heard_late(self, reference: "Track", open_time: int) -> None:
        """A reference's bar came: if a row went without it, the next one counts it."""
        if reference in self._references and open_time in self._nulls:
            self._outdated = True

    def is_complete(self, open_time: int, now: int) -> bool:
        """Whether the references' bars are here, are known to be absent, or need not be waited for any more."""
        if now > open_time + self._bar_us + GRACE:
            return True
        return all((other.next_open_time or 0) > open_time for other in self.others)

    def take(self, bar: ClosedBar) -> int:
        """Bring the features up to this bar, which is held; returns when all that its row rests on was known."""
        assert self.features is not None
        if self._outdated:
            self.seed(bar.open_time)
        beside = self._beside(bar.open_time)
        self.features.update(bar, beside)
        known = [self.held[bar.open_time].known]
        for other in self.others:
            there = other.held.get(bar.open_time)
            known.append(there.known if there else bar.close_time + GRACE)
        if np.isnan(beside).any():
            self._nulls.add(bar.open_time)
        return max(known)

    def seed(self, until: int) -> None:
        """Begin the features from the bars held before `until`."""
        assert self.features is not None and self.service is not None
        times = [time for time in self.held if time < until]
        rows = np.array([(*self.held[time].values, *self._beside(time)) for time in times], np.float64)
        self.features.seed(np.array(times, np.int64), rows.reshape(len(times), len(self.service.given)))
        self._nulls |= {time for time in times if np.isnan(self._beside(time)).any()}
        self._outdated = False

    def _beside(self, open_time: int) -> list[float]:
        """The references' closes of that bar; NaN where there is none."""
        found = [None if one is None else one.held.get(open_time) for one in self._references]
        return [float("nan") if bar is None else bar.values[CLOSE] for bar in found]

    def _forget(self, before: int) -> None:
        while (first := next(iter(self.held))) < before:
            del self.held[first]
            self._nulls.discard(first)
