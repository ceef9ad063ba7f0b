"""The running exchange: its clock drives the core, and what happens goes out on the streams."""

import asyncio
import contextlib
from collections.abc import Hashable, Iterable
from decimal import Decimal

import numpy as np

from lake.instruments import INSTRUMENTS
from lake.intervals import MINUTE, SECOND
from market import engine as engines
from market.agents import Agents
from market.candles import Candles
from market.clock import MarketClock, Speed
from market.contracts import scales_of, spot
from market.exchange import Exchange
from market.fault_state import Faults
from market.limits import Limiter
from market.lockstep import Lockstep
from market.scenario import Scenario, simulate_history
from market.streams import MOST_QUEUED, Hub

TICK_SECONDS = 0.1
"""Wall time between two looks at the clock, and between two depth events."""
SLICE = 60 * SECOND
"""Market time simulated at one go; between slices requests are answered."""
MOST_WAITING = MOST_QUEUED // 4
"""Frames that may wait for one reader while the market runs as fast as it can."""
READERS_WAITS = 200
"""How often a slice waits 5 ms for a reader that has more waiting: a second in all."""


class Venue:
    """Exchange, clock and streams of one process."""

    def __init__(self, exchange: Exchange, clock: MarketClock) -> None:
        self.exchange, self.clock = exchange, clock
        self.hub = Hub(exchange)
        self.lockstep = Lockstep()
        self.limiter = Limiter()
        self.faults = Faults(self)
        self.accounts = {account.api_key: account for account in exchange.accounts}

    def catch_up(self) -> None:
        """Bring the exchange to the clock; call before anything that acts on it. Paused, nothing happens."""
        self.exchange.advance(self.clock.now())

    def pause(self) -> None:
        """Stop the clock, the agents and matching, all at one instant; queries and cancels still work."""
        self.clock.pause()
        self.catch_up()
        self.exchange.trading = False
        self.hub.publish()

    def resume(self) -> None:
        self.exchange.trading = True
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
                self.hub.publish_depth()
                tick = max(tick + TICK_SECONDS, now)
            if now >= second:
                if not self.clock.paused:
                    self.hub.publish_klines()
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
                self.hub.publish_depth()
                self.lockstep.note_stop()
                self.hub.publish_standing(self.lockstep.participants)

    async def _advance_to(self, target: int) -> None:
        """Advance and publish in slices, so that requests are answered in between."""
        while self.exchange.time < target:
            self.exchange.advance(min(target, self.exchange.time + SLICE))
            if not self.clock.runs_by_itself:
                self.clock.move_to(self.exchange.time)
            self.hub.publish()
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
    scenario: Scenario, speed: Speed, agents: bool, accounts: int, fee_bps: Decimal, quote_balance: Decimal
) -> Venue:
    """Simulate the past and stand at its end, paused."""
    history = simulate_history(scenario)
    contracts = [spot(INSTRUMENTS[name]) for name in history.instruments]
    scales = scales_of(contracts)
    ticks = np.array([float(1 / contract.instrument.price_tick) for contract in contracts])
    lots = np.array([float(1 / contract.instrument.quantity_step) for contract in contracts])
    candles = Candles.after(history, scales, ticks, lots)
    crowds = [Agents(history, scales)] if agents else []
    exchange = Exchange(contracts, candles, crowds, fee_bps, accounts, scenario.seed, quote_balance)
    warm_up(exchange)
    return Venue(exchange, MarketClock(exchange.time, speed))


def warm_up(exchange: Exchange) -> None:
    """Load or compile every kernel that a client's first request would otherwise wait for."""
    trial = engines.warm(exchange.instruments)
    exchange.candles.page(0, "1m", None, None, 1)
    exchange.candles.page(0, "5m", None, None, 1)
    exchange.candles.record(trial.book.tape[:0].copy())
