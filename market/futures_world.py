"""What drives the derivatives of the present: index, mark, premium, funding, open interest, expiry, and their agents.

`FuturesWorld.step` is called with the end of every step of market time, after the agents acted. Per second it reads the
books, computes index and mark prices and hands the marks to `market.clearing`, which checks margins; every five seconds
it samples the premium; every eight hours it pays funding; at its expiry a dated future settles at the index. Formulas
are those of `market.basis`, with their sources. The agents are those of spot around another fair price: the spot
process's, times one plus the fair basis.
"""

import math
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lake.instruments import instrument
from lake.intervals import MINUTE, SECOND
from market import clearing
from market.accounts import FREE, POS_LOTS, TICK_LOT_UNITS
from market.agents import MAKER, TAKER, Agents
from market.basis import BasisAverage, fair_ticks, funding_rate, mark_price, premium_index
from market.book import BUY, BUY_LEVELS, LEVEL_LOTS, LEVEL_PRICE, SELL, UNIT, Integers
from market.contracts import CON_MARGIN, FUTURE, PERPETUAL
from market.engine import DO_INSTRUMENT, STATE_LAST, Engine
from market.futures_past import FUNDING_PERIOD, OPEN_INTEREST_STEP, Funding, Past
from market.kernel import njit
from market.margin import POS_COST, POS_LEVERAGE
from market.scenario import INSTRUMENT_PROCESSES, Floats, Flow

MARK_STEP, PREMIUM_STEP = 1 * SECOND, 5 * SECOND
IMPACT_NOTIONAL = 25_000
"""Quote of the impact prices: Binance's impact margin notional of BTCUSDT (200 USDT at 125 times)."""
AGENT_MARGIN = 10_000_000_000
"""Quote in each agent's margin wallet: no price liquidates them."""
AGENT_STREAM = 20
"""Random stream of the agents beside the seed."""
BID, ASK, IMPACT_BID, IMPACT_ASK, SURVEYED = range(5)


class Venue(Protocol):
    """As much of the exchange as the world needs."""

    time: int
    engine: Engine


class Following:
    """Fair prices of derivatives: the spot agents' last step times one plus the basis."""

    def __init__(self, spot: Agents, past: Past) -> None:
        self._spot, self._rows, self._basis = spot, list(past.spot_rows), past.basis
        self._time = float(past.history.state.time_us)
        coins = [INSTRUMENT_PROCESSES[f"binance:{contract.base_asset}/USDT"] for contract in past.contracts]
        pairs = zip(past.processes, coins, strict=True)
        self._volume = np.array([own.volume_per_minute / coin.volume_per_minute for own, coin in pairs])

    def step(self, dt_seconds: float) -> Flow:
        self._time += dt_seconds * SECOND
        flow, rows = self._spot.flow, self._rows
        basis = self._basis.step(round(self._time))
        return Flow(
            flow.log_price[rows] + np.log1p(basis), flow.sigma[rows], flow.volume_per_second[rows] * self._volume
        )


class DerivativeAgents(Agents):
    """The agents of the derivatives, whose first contract has the number `first` on its venue."""

    def __init__(self, past: Past, scales: Integers, spot: Agents, first: int) -> None:
        coins = tuple(f"binance:{contract.base_asset}/USDT" for contract in past.contracts)
        named = replace(past.history, instruments=coins)
        instruments = [contract.instrument for contract in past.contracts]
        super().__init__(named, scales[first:], Following(spot, past), instruments, AGENT_STREAM)
        self._trade_lots = np.array([p.trade_quantity for p in past.processes]) * self._lots
        self._half_spread = np.array([p.spread_bps for p in past.processes]) * 0.5e-4
        self._first = first

    def act(self, seconds: float, time_us: int) -> int:
        count = super().act(seconds, time_us)
        self.commands[:count, DO_INSTRUMENT] += self._first
        return count


class FuturesWorld:
    """Prices and payments of the derivatives of one venue; rows follow `past.contracts`."""

    def __init__(self, venue: Venue, past: Past, first: int) -> None:
        """`first` is the number of the first derivative among the venue's contracts; spot coins keep their numbers."""
        self.contracts, self.first, self._past, self._venue = past.contracts, first, past, venue
        self._ticks = np.array([float(contract.instrument.price_tick) for contract in past.contracts])
        self._spot_ticks = _spot_ticks(past)
        self.marks = Series(past.marks)
        """At the end of every minute since the history began, quote."""
        self.open_interest = Series(past.open_interest.astype(float))
        """Lots, every `OPEN_INTEREST_STEP`."""
        self.funding: tuple[list[Funding], ...] = tuple(list(payments) for payments in past.funding)
        self.index = np.exp(past.history.state.values[0, list(past.spot_rows)])
        self.mark = past.marks[:, -1].copy()
        self._average = BasisAverage(len(past.contracts))
        self._premiums: list[list[float]] = [[] for _ in past.contracts]
        self._survey = np.empty((first + len(past.contracts), SURVEYED))
        self._time = past.history.state.time_us
        self.settled: set[int] = set()
        """Rows of the dated futures that have expired."""

    # -- time -----------------------------------------------------------------------------------------------------

    def step(self, time: int) -> None:
        """Do what is due up to `time`, µs."""
        if time // MARK_STEP > self._time // MARK_STEP:
            self._reprice(time)
        for period, act in (
            (PREMIUM_STEP, self._sample_premiums), (MINUTE, self._note_marks),
            (OPEN_INTEREST_STEP, self._note_interest), (FUNDING_PERIOD, self._pay_funding),
        ):  # fmt: skip
            if time // period > self._time // period:
                act(time)
        self._settle(time)
        self._time = time

    def _reprice(self, time: int) -> None:
        self._look()
        marks = np.zeros(len(self._survey), np.int64)
        last = self._venue.engine.state[:, STATE_LAST]
        left = (-time % FUNDING_PERIOD) / FUNDING_PERIOD
        for k in range(len(self.contracts)):
            if k in self.settled:
                continue
            i, index = self.first + k, float(self.index[k])
            middle = 0.5 * (self._survey[i, BID] + self._survey[i, ASK]) * self._ticks[k]
            average = self._average.value(k) if math.isnan(middle) else self._average.add(k, time, middle - index)
            traded = float(last[i] * self._ticks[k]) if last[i] else math.nan
            rate = self.funding[k][-1].rate if self.funding[k] else 0.0
            found = mark_price(index, traded, average, rate, left)
            marks[i] = max(1, round(found / self._ticks[k]))
            self.mark[k] = marks[i] * self._ticks[k]
        self._venue.engine = clearing.with_room(self._venue.engine)
        clearing.set_marks(self._venue.engine, marks, time)

    def _look(self) -> None:
        """Read best and impact prices of all books, and the index: the middle of the coin's spot book."""
        engine = self._venue.engine
        survey(engine.book.levels, engine.book.meta, engine.accounts.scales, IMPACT_NOTIONAL * UNIT, self._survey)
        for k, s in enumerate(self._past.spot_rows):
            middle = 0.5 * (self._survey[s, BID] + self._survey[s, ASK]) * self._spot_ticks[k]
            traded = engine.state[s, STATE_LAST] * self._spot_ticks[k]
            if not math.isnan(middle):
                self.index[k] = middle
            elif traded:
                self.index[k] = traded

    def _sample_premiums(self, time: int) -> None:
        for k, contract in enumerate(self.contracts):
            if contract.kind == PERPETUAL:
                impact = self._survey[self.first + k, [IMPACT_BID, IMPACT_ASK]] * self._ticks[k]
                known = not np.isnan(impact).any()
                self._premiums[k].append(premium_index(float(self.index[k]), *impact.tolist()) if known else 0.0)

    def _note_marks(self, time: int) -> None:
        self.marks.append(self.mark)

    def _note_interest(self, time: int) -> None:
        self.open_interest.append(self.interest().astype(float))

    def _pay_funding(self, time: int) -> None:
        for k, contract in enumerate(self.contracts):
            if contract.kind != PERPETUAL:
                continue
            rate = self.funding_estimate(k)
            self._premiums[k].clear()
            self.funding[k].append(Funding(time, rate, float(self.mark[k])))
            self._venue.engine = clearing.with_room(self._venue.engine)
            clearing.pay_funding(self._venue.engine, self.first + k, round(rate * clearing.RATE), time)

    def _settle(self, time: int) -> None:
        for k, contract in enumerate(self.contracts):
            if contract.kind == FUTURE and k not in self.settled and contract.expiry is not None:
                if time < contract.expiry:
                    continue
                self._look()
                ticks = fair_ticks(float(self.index[k]), 0.0, float(self._ticks[k]))
                self.settled.add(k)
                self.mark[k] = ticks * self._ticks[k]
                self._venue.engine = clearing.with_room(self._venue.engine)
                clearing.settle_expiry(self._venue.engine, self.first + k, ticks, time)

    # -- what is known --------------------------------------------------------------------------------------------

    def funding_estimate(self, k: int) -> float:
        """The rate that the premiums of the running period give so far."""
        return funding_rate(np.array(self._premiums[k]))

    def premium(self, k: int) -> float:
        """The last sample of the premium index; 0 before the first."""
        return self._premiums[k][-1] if self._premiums[k] else 0.0

    def next_funding(self) -> int:
        """µs."""
        return (self._venue.time // FUNDING_PERIOD + 1) * FUNDING_PERIOD

    def interest(self) -> NDArray[np.int64]:
        """[contracts] lots that are held long, the agents' included: open interest."""
        held = self._venue.engine.accounts.positions[:, self.first :, POS_LOTS]
        return np.maximum(held, 0).sum(axis=0)


class Series:
    """Rows of numbers that grow at the end: [contracts, n]."""

    def __init__(self, past: Floats) -> None:
        self._held, self._count = past, past.shape[1]

    @property
    def values(self) -> Floats:
        return self._held[:, : self._count]

    def append(self, column: Floats) -> None:
        if self._count == self._held.shape[1]:
            room = np.empty((self._held.shape[0], max(1024, self._count // 2)))
            self._held = np.concatenate((self._held, room), axis=1)
        self._held[:, self._count] = column
        self._count += 1


def _spot_ticks(past: Past) -> Floats:
    pairs = (f"{c.instrument.venue}:{c.base_asset}/USDT" for c in past.contracts)
    return np.array([float(instrument(pair).price_tick) for pair in pairs])


def endow_agents(engine: Engine, past: Past, first: int) -> None:
    """Give the agents margin, and the positions that make the open interest the past ends with: takers long."""
    accounts = engine.accounts
    for column in {int(accounts.contracts[first + k, CON_MARGIN]) for k in range(len(past.contracts))}:
        accounts.balances[[MAKER, TAKER], column, FREE] = AGENT_MARGIN * UNIT
    for k, contract in enumerate(past.contracts):
        i, lots = first + k, int(past.open_interest[k, -1])
        ticks = round(past.marks[k, -1] / float(contract.instrument.price_tick))
        for owner, signed in ((TAKER, lots), (MAKER, -lots)):
            accounts.positions[owner, i, [POS_LOTS, POS_COST]] = (
                signed,
                signed * ticks * accounts.scales[i, TICK_LOT_UNITS],
            )
            accounts.positions[owner, i, POS_LEVERAGE] = 1


@njit(cache=True, nogil=True)
def survey(levels, meta, scales, impact, out):  # type: ignore[no-untyped-def]
    """Fill [instruments, SURVEYED]: best prices, and the mean prices that `impact` units trade at, in ticks; NaN where
    a side is empty. What a book lacks of the impact is left out."""
    for i in range(len(out)):
        for side in (BUY, SELL):
            count = meta[i, BUY_LEVELS + side]
            out[i, side], out[i, IMPACT_BID + side] = np.nan, np.nan
            if count == 0:
                continue
            out[i, side] = levels[i, side, count - 1, LEVEL_PRICE]
            units, lots = 0.0, 0.0
            for at in range(count - 1, -1, -1):
                price = levels[i, side, at, LEVEL_PRICE] * scales[i, TICK_LOT_UNITS]
                taken = min(float(levels[i, side, at, LEVEL_LOTS]), (impact - units) / price)
                units += taken * price
                lots += taken
                if units >= impact * 0.999999:
                    break
            out[i, IMPACT_BID + side] = units / lots / scales[i, TICK_LOT_UNITS]


def open_derivatives(
    venue: Venue, past: Past, spot: Agents | None, first: int
) -> tuple[FuturesWorld, DerivativeAgents | None]:
    """The world of a venue's derivatives, and their agents where spot has some; the venue calls both in every step."""
    world = FuturesWorld(venue, past, first)
    if spot is None:
        return world, None
    endow_agents(venue.engine, past, first)
    return world, DerivativeAgents(past, venue.engine.accounts.scales, spot, first)
