"""What bends the agents' flow while an adversity runs: fair prices, spreads, depth, volume, and orders of its own.

Agents hold at most one `Strain`, none by default. Each step it starts neutral, every running event contributes, and
what an event leaves behind for good is carried on. Arrays are float64 [instruments] unless said otherwise.
"""

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lake.intervals import SECOND
from market.engine import DO_INSTRUMENT, DO_KIND, DO_LOTS, DO_OWNER, DO_PRICE, DO_SIDE, QUOTE_LEVEL
from market.scenario import Floats, Flow

STRAIN_ROOM = 512
"""Commands an adversity may add to one step."""
_MAKER, _TAKER = 1, 2


class Bending(Protocol):
    """An event that runs for a while."""

    def bend(self, strain: "Strain", elapsed: float) -> bool:
        """Contribute at `elapsed` seconds of market time since the start; returns whether it goes on afterwards."""


class Strain:
    """The sum of all running events."""

    def __init__(self, instruments: int, seed: int) -> None:
        self.rng = np.random.Generator(np.random.PCG64([seed, 911]))
        self.count = instruments
        self.carried = np.zeros(instruments)
        """Log price that ended events left behind."""
        self._running: list[tuple[int, Bending]] = []
        self._fair: Floats | None = None
        self._neutral()

    def _neutral(self) -> None:
        self.shift, self.spread, self.depth, self.volume, self.gain = (
            np.zeros(self.count), np.ones(self.count), np.ones(self.count), np.ones(self.count), np.ones(self.count),
        )  # fmt: skip
        self.silent = False
        """The agents send nothing at all."""
        self._orders: list[tuple[int, int, int, float, float]] = []

    @property
    def running(self) -> list[Bending]:
        return [event for _, event in self._running]

    def start(self, event: Bending, time_us: int) -> None:
        """Let an event run from a market time (µs)."""
        self._running.append((time_us, event))

    def order(self, i: int, kind: int, side: int, distance: float, trades: float) -> None:
        """Ask for an order at the fair price times e^distance, of so many typical trades; valid for this step."""
        self._orders.append((i, kind, side, distance, trades))

    def bend(self, flow: Flow, time_us: int) -> Flow:
        """The flow as it is now: prices shifted, moves enlarged by `gain`, volume multiplied."""
        self._neutral()
        self._running = [
            (start, event)
            for start, event in self._running
            if time_us < start or event.bend(self, (time_us - start) / SECOND)
        ]
        moved = np.zeros(self.count) if self._fair is None else flow.log_price - self._fair
        self._fair = flow.log_price
        self.carried += (self.gain - 1.0) * moved
        return Flow(
            flow.log_price + self.carried + self.shift, flow.sigma * self.gain, flow.volume_per_second * self.volume
        )

    def add(self, commands: NDArray[np.int64], count: int, fair_ticks: Floats, trade_lots: Floats) -> int:
        """Append the events' orders to a step's commands; returns the new count."""
        if self.silent:
            return 0
        for i, kind, side, distance, trades in self._orders[: min(STRAIN_ROOM, len(commands) - count)]:
            row = commands[count]
            row[DO_INSTRUMENT], row[DO_KIND], row[DO_SIDE] = i, kind, side
            row[DO_OWNER] = _MAKER if kind == QUOTE_LEVEL else _TAKER
            row[DO_PRICE] = max(1, int(fair_ticks[i] * math.exp(distance)))
            row[DO_LOTS] = max(1, int(trades * trade_lots[i]))
            count += 1
        return count
