"""The order flow of the present: a market maker around the fair price, and takers of three kinds.

Each step of market time (at most `STEP_SECONDS`) the fair price of `LiveProcess` moves first. Then, per instrument:

1. An informed taker who sees the new fair price takes what the maker's old quotes offer beyond it.
2. The maker withdraws its ladder and quotes again: `LEVELS` prices per side around the fair price, the first half a
   spread away, each next one a fraction of a spread further, sizes of a few typical trades with lognormal scatter.
3. A breakout taker follows whenever the fair price leaves the range it had since the minute began: stop orders lie
   there. Without it the extremes of a minute would mostly pass untraded, and live ranges be narrower than history's.
4. Noise takers arrive as a Poisson process, buy or sell with equal chance, and take exponentially distributed sizes
   within `REACH` half-spreads of the fair price. They make the volume that the process asks for and 1 and 3 do not.

The agents are ordinary owners in the book: they pay with their own balances, and they trade with whoever rests there.
They write commands; `market.requests.execute` carries them out.
"""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from lake.instruments import INSTRUMENTS, Instrument
from lake.intervals import MINUTE
from market.book import BUY, SELL, Integers
from market.engine import (
    DO_FIELDS,
    DO_INSTRUMENT,
    DO_KIND,
    DO_LOTS,
    DO_OWNER,
    DO_PRICE,
    DO_SIDE,
    QUOTE_LEVEL,
    TAKE,
    WITHDRAW,
    Engine,
)
from market.kernel import njit
from market.scenario import INSTRUMENT_PROCESSES, Floats, Flow, History, LiveProcess
from market.strain import STRAIN_ROOM, Strain

MAKER, TAKER = 1, 2
"""Owner numbers in the book."""
STEP_SECONDS = 0.5
LEVELS = 10
"""Price levels the maker quotes per side."""
LEVEL_GAP = 0.5
"""Distance of two levels, in spreads."""
LEVEL_TRADES = 3.5
"""Typical size of a level, in typical trades."""
SIZE_SCATTER = 0.4
"""Deviation of the logarithm of a level's size."""
INFORMED_CHANCE = 0.4
"""Chance per step that an informed taker looks."""
INFORMED_TRADES, BREAKOUT_TRADES = 0.5, 0.25
"""Typical sizes of an informed and of a breakout taker's order, in typical trades."""
NOISE_SHARE = 0.75
"""Share of the wanted volume that noise takers trade; all kinds together trade 0.9 to 1.4 times what is wanted."""
NOISE_TRADES = 1.5
"""Typical size of a noise taker's order, in typical trades."""
MOOD = 0.45
"""Deviation of the logarithm of the noise from minute to minute: the scatter of the history's volumes."""
REACH = 12.0
"""How far a noise taker goes, in half-spreads from the fair price."""
MOST_TAKERS = 200
"""Noise takers per instrument and step at most; beyond, each takes more."""


class FairPrices(Protocol):
    """What agents trade around: `LiveProcess`, or anything that follows it."""

    def step(self, dt_seconds: float) -> Flow:
        """Advance market time; prices of the agents' instruments in their order."""


class Agents:
    """Turn the process's flow into commands for the book, with randomness of their own."""

    _first = 0
    """The venue's number of the first instrument; the others follow."""

    def __init__(
        self,
        history: History,
        scales: Integers,
        process: FairPrices | None = None,
        instruments: Sequence[Instrument] | None = None,
        stream: int = 1,
    ) -> None:
        """Trade the history's instruments.

        Args:
            history: names the instruments and says where the present begins.
            scales: the books' units, one row per instrument.
            process: fair prices; without it the history's own process goes on.
            instruments: whose ticks and steps hold, in the history's order; without it those of the first venue.
            stream: number of the random stream beside the scenario's seed; two sets of agents need two.
        """
        self._process = LiveProcess(history.state) if process is None else process
        self._rng = np.random.Generator(np.random.PCG64([history.state.scenario.seed, stream]))
        grids = [INSTRUMENTS[name] for name in history.instruments] if instruments is None else instruments
        rows = [INSTRUMENT_PROCESSES[name] for name in history.instruments]
        self._ticks = np.array([float(1 / instrument.price_tick) for instrument in grids])
        self._lots = np.array([float(1 / instrument.quantity_step) for instrument in grids])
        self._trade_lots = np.array([row.trade_quantity for row in rows]) * self._lots
        self._half_spread = np.array([row.spread_bps for row in rows]) * 0.5e-4
        self._range = np.zeros((2, len(rows)))
        self._mood = np.ones(len(rows))
        self._minute = -1
        self.strain: Strain | None = None
        """What bends the flow beyond the ordinary (`market/adversity_events.py`); none by default."""
        self.flow = Flow(np.zeros(len(rows)), np.zeros(len(rows)), np.zeros(len(rows)))
        """Levels of the last step."""
        self.commands = np.zeros((len(rows) * (4 + 2 * LEVELS + MOST_TAKERS) + STRAIN_ROOM, DO_FIELDS), np.int64)

    def act(self, seconds: float, time_us: int) -> int:
        """Let market time pass until `time_us` and write what the agents now want; returns how many commands.

        A step must not reach beyond the end of its minute.
        """
        flow: Flow = self._process.step(seconds)
        minute = (time_us - 1) // MINUTE
        if minute != self._minute:
            self._range[0], self._range[1], self._minute = np.inf, 0.0, minute
            self._mood = np.exp(MOOD * self._rng.standard_normal(len(self._mood)) - 0.5 * MOOD**2)
        half_spread, depth = self._half_spread, np.ones(len(self._mood))
        if self.strain is not None:
            flow = self.strain.bend(flow, time_us)
            half_spread, depth = half_spread * self.strain.spread, self.strain.depth
        self.flow = flow
        fair = np.exp(flow.log_price) * self._ticks
        noise = NOISE_SHARE * self._mood * flow.volume_per_second * self._lots * seconds
        count = int(_decide(self._rng, self.commands, fair, half_spread, noise, self._trade_lots, depth, self._range))
        return count if self.strain is None else self.strain.add(self.commands, count, fair, self._trade_lots)

    def watch(self, engine: Callable[[], Engine]) -> None:
        """Say where the books are, by a function because the engine's arrays may grow; these agents do not look."""

    @property
    def numbers(self) -> range:
        """The venue's numbers of the instruments."""
        return range(self._first, self._first + len(self._ticks))

    @property
    def fair_prices(self) -> Floats:
        """In quote, [instruments]: for tests."""
        return np.exp(self.flow.log_price)


@njit(cache=True, nogil=True)
def _command(out, k, i, kind, owner, side, price, lots):  # type: ignore[no-untyped-def]
    row = out[k]
    row[DO_INSTRUMENT], row[DO_KIND], row[DO_OWNER], row[DO_SIDE] = i, kind, owner, side
    row[DO_PRICE], row[DO_LOTS] = max(1, price), max(1, lots)
    return k + 1


@njit(cache=True, nogil=True)
def _decide(rng, out, fair, half_spread, noise, trade_lots, depth, ranges):  # type: ignore[no-untyped-def]
    k = 0
    for i in range(len(fair)):
        middle, half, size = fair[i], max(0.5, fair[i] * half_spread[i]), trade_lots[i]
        rung = LEVEL_TRADES * size * depth[i]
        if rng.random() < INFORMED_CHANCE:
            price = math.floor(middle - 0.25 * half)  # buys what is offered below the new fair price
            k = _command(out, k, i, TAKE, TAKER, BUY, price, int(rng.exponential(INFORMED_TRADES * size)))
            price = math.ceil(middle + 0.25 * half)  # and sells what is bid above it
            k = _command(out, k, i, TAKE, TAKER, SELL, price, int(rng.exponential(INFORMED_TRADES * size)))
        k = _command(out, k, i, WITHDRAW, MAKER, BUY, 0, 0)
        bid = math.floor(middle - half + 0.5)
        ask = max(math.floor(middle + half + 0.5), bid + 1)
        gap = max(1.0, 2.0 * half * LEVEL_GAP)
        for level in range(LEVELS):
            offset = int(level * gap + (0.3 * gap * rng.random() if level else 0.0))
            lots = rung * math.exp(SIZE_SCATTER * rng.standard_normal()) * (1.0 + 0.25 * level)
            k = _command(out, k, i, QUOTE_LEVEL, MAKER, BUY, bid - offset, int(lots))
            lots = rung * math.exp(SIZE_SCATTER * rng.standard_normal()) * (1.0 + 0.25 * level)
            k = _command(out, k, i, QUOTE_LEVEL, MAKER, SELL, ask + offset, int(lots))
        highest, lowest = int(middle + REACH * half), math.ceil(middle - REACH * half)
        if middle < ranges[0, i]:
            ranges[0, i] = middle
            k = _command(out, k, i, TAKE, TAKER, SELL, lowest, int(rng.exponential(BREAKOUT_TRADES * size)))
        if middle > ranges[1, i]:
            ranges[1, i] = middle
            k = _command(out, k, i, TAKE, TAKER, BUY, highest, int(rng.exponential(BREAKOUT_TRADES * size)))
        mean = max(NOISE_TRADES * size, noise[i] / MOST_TAKERS)
        takers = min(rng.poisson(noise[i] / mean), MOST_TAKERS)
        for _ in range(takers):
            lots = int(rng.exponential(mean)) + 1
            if rng.random() < 0.5:
                k = _command(out, k, i, TAKE, TAKER, BUY, highest, lots)
            else:
                k = _command(out, k, i, TAKE, TAKER, SELL, lowest, lots)
    return k
