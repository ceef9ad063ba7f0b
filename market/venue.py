"""The running exchange: its clock drives the core, and what happens goes out on the streams."""

import asyncio
from decimal import Decimal

import numpy as np

from lake.instruments import INSTRUMENTS
from lake.intervals import MINUTE, SECOND
from market import book as books
from market.agents import Agents
from market.candles import Candles
from market.clock import MarketClock
from market.exchange import Exchange, scales_of
from market.scenario import Scenario, simulate_history
from market.streams import Hub

TICK_SECONDS = 0.1
"""Wall time between two looks at the clock, and between two depth events."""
SLICE = 60 * SECOND
"""Market time simulated at one go; between slices requests are answered."""


class Venue:
    """Exchange, clock and streams of one process."""

    def __init__(self, exchange: Exchange, clock: MarketClock) -> None:
        self.exchange, self.clock = exchange, clock
        self.hub = Hub(exchange)
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

    async def run(self) -> None:
        """Advance and publish until cancelled: every tick, and right when a bar closes."""
        loop = asyncio.get_running_loop()
        tick = second = loop.time()
        while True:
            await self._advance_in_slices()
            now = loop.time()
            if now >= tick:
                self.hub.publish_depth()
                tick = max(tick + TICK_SECONDS, now)
            if now >= second:
                if not self.clock.paused:
                    self.hub.publish_klines()
                second = max(second + 1.0, now)
            close = self.clock.seconds_until(self.exchange.candles.open_time + MINUTE)
            await asyncio.sleep(max(0.001, min(tick - loop.time(), close)))

    async def _advance_in_slices(self) -> None:
        target = self.clock.now()
        while self.exchange.time < target:
            self.exchange.advance(min(target, self.exchange.time + SLICE))
            self.hub.publish()
            if self.exchange.time < target:
                await asyncio.sleep(0)


def build_venue(
    scenario: Scenario, speed: float, agents: bool, accounts: int, fee_bps: Decimal, quote_balance: Decimal
) -> Venue:
    """Simulate the past and stand at its end, paused."""
    history = simulate_history(scenario)
    instruments = [INSTRUMENTS[name] for name in history.instruments]
    scales = scales_of(instruments)
    ticks = np.array([float(1 / instrument.price_tick) for instrument in instruments])
    lots = np.array([float(1 / instrument.quantity_step) for instrument in instruments])
    candles = Candles.after(history, scales, ticks, lots)
    crowd = Agents(history, scales) if agents else None
    exchange = Exchange(instruments, candles, scales, crowd, fee_bps, accounts, scenario.seed, quote_balance)
    warm_up(exchange)
    return Venue(exchange, MarketClock(exchange.time, speed))


def warm_up(exchange: Exchange) -> None:
    """Load or compile every kernel that a client's first request would otherwise wait for."""
    trial = books.new_book(scales_of(exchange.instruments), 2, len(exchange.assets))
    _, _, slot = books.place(trial, 0, 1, books.BUY, 0, 1, True, 0)
    books.sweep(trial, 0, books.BUY, 0, 1, 0)
    books.cancel(trial, 0, slot, 1)
    books.execute(trial, np.zeros((1, books.DO_FIELDS), np.int64), 0, 0)
    exchange.candles.page(0, "1m", None, None, 1)
    exchange.candles.page(0, "5m", None, None, 1)
    exchange.candles.record(trial.tape[:0].copy())
