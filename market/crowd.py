"""A richer order flow than `market/agents.py`: prices are made by the flow, not only followed by it.

    python -m market.server --agents crowd

Who trades, per instrument and half second of market time:

- **Patient traders** hold latent interest around the price: no density at the price itself, more the further away. They
  think again (interest moves to neighbouring prices) and some of them come anew, around the fair price. What is eaten
  is not there again at once; therefore a large order moves the price with the square root of its size (Tóth et al.
  2011; the model is that of Donier, Bonart, Mastromatteo and Bouchaud 2015, "A fully consistent, minimal model for
  non-linear market impact"). Only the nearest `VISIBLE` cells show in the book.
- **Makers** quote a touch around where patient bids and asks meet, wider when prices are wild, shifted against what
  they hold (Avellaneda and Stoikov 2008), and sell off what they hold to the patient.
- **Takers**: those who pick off stale quotes (informed of the fair price), noise, momentum (one minute against ten),
  mean reversion (against the hour), value (against the fair price).
- **Large orders** with Pareto sizes, sliced at a steady share of the volume. They give order signs their long memory
  (Lillo and Farmer 2004). `finished` lists them for measurement; nobody in the market can see that list.

The fair price is the scenario's. News moves everybody's prices with it; what the flow adds is `displaced`, and it
fades because new patient traders come around the fair price.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from lake.instruments import Instrument
from lake.intervals import DAY, SECOND
from market import crowd_flow as flow_kernels
from market.agents import Agents, FairPrices
from market.book import Integers
from market.crowd_flow import CELLS, DONE_FIELDS, HALF_CELLS, MAKERS, META_FIELDS, METAS, MOST_TAKERS, PLAN_FIELDS, ROWS
from market.engine import DO_FIELDS, Engine
from market.scenario import Floats, Flow, History, coefficients
from market.strain import STRAIN_ROOM

IMPACT = 2.5
"""Y of the square-root law: price moves by Y σ √(Q/V) with day's volatility σ and volume V (Tóth et al. 2011: about
one)."""
CELL_SPREADS = 2.0
"""Width of a cell, in declared spreads."""
REASSESSMENT = 0.3
"""Volume that patient traders' second thoughts make by themselves, as a share of all: small, so that large orders eat
into the field faster than it heals."""
FORGET_MINUTES = 180.0
"""Half-life of the patient interest, and so of what the flow did to the price."""
SKEW, UNLOAD_SECONDS = 0.04, 30.0
SHARES = (0.75, 0.06, 0.04, 0.08, 0.4)
"""Noise, momentum, reversion, value: of the volume at one deviation; and the chance per step to pick off a side."""
METAS_PER_HOUR = 10.0
META_LEAST, META_MOST, META_TAIL = 1.5e-4, 0.02, 1.5
"""Sizes of large orders as shares of the day's volume: Pareto with the tail exponent of Gopikrishnan et al. (2000)."""
PARTICIPATION = (0.15, 0.35)
KEPT = 20_000
"""Finished large orders kept."""


class Crowd(Agents):
    """Agents whose quotes remember what traded."""

    def __init__(
        self,
        history: History,
        scales: Integers,
        process: FairPrices | None = None,
        instruments: Sequence[Instrument] | None = None,
        stream: int = 3,
    ) -> None:
        """As `Agents`; call `watch` before the first step."""
        super().__init__(history, scales, process, instruments, stream)
        count = len(self._ticks)
        self._engine: Callable[[], Engine] | None = None
        self._model = self._calibrated(history)
        self._state = _empty(count, self._model, np.log(history.close[:, -1]))
        rows = count * (3 + ROWS + MAKERS + 5 * MOST_TAKERS) + STRAIN_ROOM
        self.commands = np.zeros((rows, DO_FIELDS), np.int64)

    def _calibrated(self, history: History) -> flow_kernels.Model:
        plain = coefficients(history.state.scenario)
        cell = 2 * CELL_SPREADS * self._half_spread
        day = DAY / SECOND
        variance = plain.sigma**2 * day
        volume = plain.volume * self._lots
        slope = 2 * volume * day / (IMPACT**2 * variance)  # lots per squared log price
        return flow_kernels.Model(
            ticks=self._ticks,
            trade_lots=self._trade_lots,
            half_spread=self._half_spread,
            sigma=plain.sigma,
            volume=volume,
            cell=cell,
            slope=slope * cell**2,
            diffusion=REASSESSMENT * IMPACT**2 * variance / 2 / day / cell**2,
            forget=math.log(2) / (FORGET_MINUTES * 60),
            skew=SKEW,
            unload=1 / UNLOAD_SECONDS,
            shares=np.array(SHARES),
            metas_per_second=METAS_PER_HOUR / 3600,
            meta_least=META_LEAST,
            meta_most=META_MOST,
            meta_tail=META_TAIL,
            participation=np.array(PARTICIPATION),
        )

    def watch(self, engine: Callable[[], Engine]) -> None:
        """Say where the crowd sees what its quotes traded: a function, because the engine's arrays may grow."""
        self._engine = engine

    def act(self, seconds: float, time_us: int) -> int:
        """Let market time pass until `time_us` and write what the crowd now wants; returns how many commands."""
        flow: Flow = self._process.step(seconds)
        spread = depth = np.ones(len(flow.log_price))
        if self.strain is not None:
            flow = self.strain.bend(flow, time_us)
            spread, depth = self.strain.spread, self.strain.depth
        self.flow = flow
        if self._engine is not None:
            engine = self._engine()
            flow_kernels.observe(self._state, engine.book, engine.quotes, engine.state)
        self._state.planned_rows[:] = 0
        count = int(
            flow_kernels.step(
                self._rng, self.commands, self._state, self._model, seconds, time_us, flow.log_price,
                flow.sigma, flow.volume_per_second * self._lots, spread, depth,
            )
        )  # fmt: skip
        if self.strain is None:
            return count
        return self.strain.add(self.commands, count, np.exp(flow.log_price) * self._ticks, self._trade_lots)

    @property
    def displaced(self) -> Floats:
        """How far the flow has moved each price from the fair one, log price [instruments]."""
        return self._state.displaced

    @property
    def inventories(self) -> Floats:
        """What each maker holds, in typical trades [instruments, MAKERS]."""
        return self._state.inventory / self._trade_lots[:, None]

    @property
    def finished(self) -> Floats:
        """Large orders that ended, oldest first [rows, DONE_FIELDS]; the last 20,000."""
        rows = int(self._state.done_rows[0])
        done = self._state.done
        return done[:rows].copy() if rows <= len(done) else np.roll(done, -(rows % len(done)), axis=0)


def _empty(count: int, model: flow_kernels.Model, log_price: Floats) -> flow_kernels.State:
    """Patient interest as it is when nothing has happened for long; nobody holds anything."""
    distance = np.arange(CELLS) - HALF_CELLS + 0.5
    return flow_kernels.State(
        field=-model.slope[:, None] * distance[None, :],
        displaced=np.zeros(count),
        inventory=np.zeros((count, MAKERS)),
        averages=np.repeat(log_price[:, None], 3, axis=1),
        metas=np.zeros((count, METAS, META_FIELDS)),
        planned=np.zeros((count, ROWS, PLAN_FIELDS), np.int64),
        planned_rows=np.zeros(count, np.int64),
        done=np.zeros((KEPT, DONE_FIELDS)),
        done_rows=np.zeros(1, np.int64),
    )
