"""The running exchange: its clock drives the core, and what happens goes out on the streams."""

import asyncio
import contextlib
import random
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, Protocol

import numpy as np
from aiohttp import web

from lake.instruments import INSTRUMENTS
from lake.intervals import MILLISECOND, MINUTE, SECOND
from market import derivatives, requests
from market.agents import Agents
from market.candles import Candles
from market.clock import MarketClock, Speed
from market.contracts import scales_of, spot
from market.crowd import Crowd
from market.exchange import Exchange
from market.fault_state import Faults
from market.futures_past import joined
from market.leadlag import FairPath
from market.limits import Limiter
from market.listeners import MOST_QUEUED
from market.lockstep import Lockstep
from market.scenario import LiveProcess, Scenario, simulate_history
from market.second_venue import NAME as ANDINA_NAME
from market.second_venue import SecondVenue, build_second
from market.streams import Hub

TICK_SECONDS = 0.1
"""Wall time between two looks at the clock, and between two depth events."""
SLICE = 60 * SECOND
"""Market time simulated at one go; between slices requests are answered."""
TOGETHER = 10 * SECOND
"""Market time by which one venue may be ahead of another while both are brought to the same instant."""
MOST_WAITING = MOST_QUEUED // 4
"""Frames that may wait for one reader while the market runs as fast as it can."""
READERS_WAITS = 200
"""How often a slice waits 5 ms for a reader that has more waiting: a second in all."""


@dataclass(frozen=True, slots=True)
class Link:
    """How long a request travels to matching, in milliseconds of market time."""

    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    """Mean of an exponential part on top."""


class Streams(Protocol):
    """Something that publishes what an exchange does."""

    def publish(self) -> None:
        """What happened since the last call."""

    def publish_depth(self) -> None:
        """Every 100 ms."""

    def publish_second(self) -> None:
        """Every second."""


class Venue:
    """An exchange with its streams, and the clock: its own, or that of the venue it was joined to."""

    def __init__(self, exchange: Exchange, clock: MarketClock, name: str = "binance", link: Link = Link()) -> None:
        self.exchange, self.clock, self.name = exchange, clock, name
        self.hub = Hub(exchange)
        self.hubs: list[Streams] = [self.hub]
        """All that publishes what this exchange does."""
        self.more_routes: list[web.RouteDef] = []
        """What is served beside spot's REST and WebSocket."""
        self.address = ""
        """host:port, while it is served."""
        self.companions: list[Venue] = []
        """Other venues that live in this one's market time."""
        self._leader = self
        self._link, self._arrival = link, 0
        self._travel = random.Random(exchange.accounts[0].api_key if exchange.accounts else name)
        self.lockstep = Lockstep()
        self.limiter = Limiter(enforced=clock.runs_by_itself)
        self.faults = Faults(self)
        self.accounts = {account.api_key: account for account in exchange.accounts}

    @property
    def venues(self) -> tuple["Venue", ...]:
        """All that live in this market time, the leader first."""
        return (self._leader, *self._leader.companions)

    def join(self, companion: "Venue") -> None:
        """Let another venue live in this one's market time, a step behind it: its agents may look at ours."""
        self.companions.append(companion)
        companion._leader = self

    def catch_up(self) -> None:
        """Bring all exchanges to the clock; call before anything that acts on one. Paused, nothing happens."""
        self._leader.advance(self.clock.now())

    def advance(self, to_time: int) -> None:
        """Let market time pass at every venue, the leader's first; together in short parts."""
        while self.companions and self.exchange.time + TOGETHER < to_time:
            self._advance(self.exchange.time + TOGETHER)
        self._advance(to_time)

    def _advance(self, to_time: int) -> None:
        self.exchange.advance(to_time)
        for companion in self.companions:
            companion.exchange.advance(to_time)

    def publish(self) -> None:
        """Send what happened at every venue."""
        for venue in self.venues:
            for hub in venue.hubs:
                hub.publish()

    def publish_depth(self) -> None:
        for venue in self.venues:
            for hub in venue.hubs:
                hub.publish_depth()

    def publish_second(self) -> None:
        for venue in self.venues:
            for hub in venue.hubs:
                hub.publish_second()

    async def travel(self) -> None:
        """Let a request arrive: wait until market time has passed by what the link takes; first in, first out."""
        if not self._link.latency_ms and not self._link.jitter_ms:
            return
        jitter = self._travel.expovariate(1.0) * self._link.jitter_ms
        takes = int((self._link.latency_ms + jitter) * MILLISECOND)
        arrival = self._arrival = max(self._arrival, self.clock.now() + takes)
        if self.clock.runs_by_itself and not self.clock.paused:
            await asyncio.sleep(self.clock.seconds_until(arrival))

    def pause(self) -> None:
        """Stop the clock, the agents and matching, all at one instant; queries and cancels still work."""
        self.clock.pause()
        self.catch_up()
        for venue in self.venues:
            venue.exchange.trading = False
        self.publish()

    def resume(self) -> None:
        for venue in self.venues:
            venue.exchange.trading = True
        self.clock.start()

    def hold(self, who: Hashable) -> None:
        """Take part in lockstep: the market stands until `who` lets it go on."""
        self.lockstep.allow(who, self.exchange.time)
        self.say_standing((who,), users=False)

    def say_standing(self, clients: Iterable[Hashable], users: bool) -> None:
        """Say where the market stands, after the answers that are on their way."""
        asyncio.get_running_loop().call_soon(self.hub.publish_standing, tuple(clients), users)

    def let_go(self, who: Hashable, until: int | None = None) -> None:
        """Let the market run to the next stop, or until then, as far as `who` is concerned."""
        self.lockstep.allow(who, self.lockstep.next_stop(self.exchange.time) if until is None else until)

    async def run(self) -> None:
        """Advance and publish until cancelled: every tick, and right when a bar closes."""
        loop = asyncio.get_running_loop()
        tick = second = loop.time()
        while True:
            await self._pass_time(tick - loop.time())
            now = loop.time()
            if now >= tick:
                self.publish_depth()
                tick = max(tick + TICK_SECONDS, now)
            if now >= second:
                if not self.clock.paused:
                    self.publish_second()
                second = max(second + 1.0, now)
            if self.clock.runs_by_itself:
                close = self.clock.seconds_until(self.exchange.candles.open_time + MINUTE)
                await asyncio.sleep(max(0.001, min(tick - loop.time(), close)))

    async def _pass_time(self, seconds: float) -> None:
        """Let market time pass at the clock's pace, for at most so many wall seconds where nothing is due."""
        if self.clock.runs_by_itself:
            await self._advance_to(self.clock.now())
        elif self.clock.paused:
            await asyncio.sleep(max(seconds, 0.001))
        elif self.clock.speed == "max":
            await self._advance_to(self.exchange.time + SLICE)
            await self._wait_for_readers()
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(seconds, 0.001)):
                    target = await self.lockstep.permission(self.exchange.time)
                await self._advance_to(target)
                self.publish_depth()
                self.lockstep.note_stop()
                self.hub.publish_standing(self.lockstep.participants)

    async def _advance_to(self, target: int) -> None:
        """Advance and publish in slices, so that requests are answered in between."""
        while self.exchange.time < target:
            self.advance(min(target, self.exchange.time + SLICE))
            if not self.clock.runs_by_itself:
                self.clock.move_to(self.exchange.time)
            self.publish()
            if self.exchange.time < target:
                await asyncio.sleep(0)

    async def _wait_for_readers(self) -> None:
        """Give requests their turn, and slow readers up to a second: at full speed nobody is cut off for being busy."""
        await asyncio.sleep(0)
        for _ in range(READERS_WAITS):
            if self.hub.busiest() <= MOST_WAITING:
                return
            await asyncio.sleep(0.005)


def build_venue(
    scenario: Scenario, speed: Speed, agents: bool | Literal["crowd"], accounts: int, fee_bps: Decimal,
    quote_balance: Decimal, second: SecondVenue | None = None, with_derivatives: bool = False,
) -> Venue:  # fmt: skip
    """Simulate the past and stand at its end, paused; with `second`, another venue joined to it."""
    history = simulate_history(scenario)
    past = derivatives.past_of(history) if with_derivatives else None
    contracts = [*(spot(INSTRUMENTS[name]) for name in history.instruments), *(past.contracts if past else ())]
    scales = scales_of(contracts)
    ticks = np.array([float(1 / contract.instrument.price_tick) for contract in contracts])
    lots = np.array([float(1 / contract.instrument.quantity_step) for contract in contracts])
    candles = Candles.after(joined(history, past) if past else history, scales, ticks, lots)
    path = FairPath(LiveProcess(history.state)) if second is not None else None
    kind = Crowd if agents == "crowd" else Agents
    crowds = [kind(history, scales, path)] if agents else []
    exchange = Exchange(contracts, candles, crowds, fee_bps, accounts, scenario.seed, quote_balance)
    for crowd in crowds:
        crowd.watch(lambda: exchange.engine)
    warm_up(exchange)
    venue = Venue(exchange, MarketClock(exchange.time, speed))
    if past is not None:
        derivatives.serve(venue, derivatives.open_desk(exchange, past, crowds[0] if crowds else None, quote_balance))
    if second is not None and path is not None:
        other, desk = build_second(history, path, second, bool(agents), accounts, quote_balance, with_derivatives)
        companion = Venue(other, venue.clock, ANDINA_NAME, Link(second.latency_ms, second.jitter_ms))
        if desk is not None:
            derivatives.serve(companion, desk)
        venue.join(companion)
    return venue


def warm_up(exchange: Exchange) -> None:
    """Load or compile every kernel that a client's first request would otherwise wait for."""
    trial = requests.warm(exchange.instruments)
    exchange.candles.page(0, "1m", None, None, 1)
    exchange.candles.page(0, "5m", None, None, 1)
    exchange.candles.record(trial.book.tape[:0].copy())
