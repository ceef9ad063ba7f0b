"""The ten adversities: frozen dataclasses, each one event with its parameters and a seed.

Log price shifts follow one function of the time since the start, so that stored bars (`market/adversity_bars.py`) and a
running venue (`market/adversity_live.py`) tell the same story. Real ones to compare with: the flash crash of 2010-05-06
(−9 % and back in 36 minutes), ETH on GDAX 2017-06-21 (320 to 0.10 within seconds), USDC 2023-03-11 (0.88 for a day),
the false "ETF approved" post of 2023-10-16 (+10 % and back within half an hour).
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lake.errors import UsageError
from market.book import BUY, SELL
from market.engine import QUOTE_LEVEL, TAKE
from market.scenario import Floats
from market.strain import Strain


@dataclass(frozen=True, slots=True)
class Adversity:
    """One event: when it starts and whom it hits."""

    name: ClassVar[str]
    everywhere: ClassVar[bool] = False
    """It hits the price itself, at every venue."""
    start_minutes: float = 0.0
    """From the first bar, or live from now."""
    instruments: tuple[str, ...] = ()
    """Ids; empty hits all that the event can hit."""
    seed: int = 1
    """Of its own randomness."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float | int) and not (math.isfinite(value) and value >= 0) and field.name != "rate":
                raise UsageError(f"adversity {self.name}: expected {field.name} of at least 0, found {value}.")

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        raise NotImplementedError

    def shift(self, elapsed: Floats) -> Floats:
        """Log price added at so many seconds since the start; also before and after."""
        return np.zeros_like(elapsed)

    def hits(self, instrument: str) -> bool:
        return not self.instruments or instrument in self.instruments

    def bend(self, strain: Strain, elapsed: float, hit: list[int]) -> bool:
        """Strain the agents of a venue; what lasts goes into `strain.carried` at the end."""
        going = elapsed < self.seconds
        change = self.shift(np.array([elapsed if going else math.inf]))[0]
        (strain.shift if going else strain.carried)[hit] += change
        return going


def _way_back(share: Floats) -> Floats:
    """Exponential from 0 to 1 over a recovery, fast at first; 1 after it."""
    return np.asarray((1 - np.exp(-3 * np.minimum(share, 1.0))) / (1 - math.exp(-3)))


@dataclass(frozen=True, slots=True)
class FlashCrash(Adversity):
    """A fall within minutes that mostly comes back, while makers step away and stop orders trade."""

    name: ClassVar[str] = "flash_crash"
    everywhere: ClassVar[bool] = True
    depth: float = 0.15
    """Share of the price lost at the bottom."""
    fall_minutes: float = 4.0
    recovery_minutes: float = 20.0
    """Time constant of the way back is a third of it."""
    recovered: float = 0.85
    """Share of the fall that comes back."""
    volume: float = 6.0
    """Multiplier of the volume while it lasts."""
    left_depth: float = 0.15
    """Share of the makers' depth that stays."""

    @property
    def seconds(self) -> float:
        return 60 * (self.fall_minutes + self.recovery_minutes)

    def shift(self, elapsed: Floats) -> Floats:
        bottom, fall = math.log1p(-min(self.depth, 0.99)), 60 * self.fall_minutes
        down = np.clip(elapsed / max(fall, 1e-9), 0, 1) ** 1.5
        after = np.maximum(elapsed - fall, 0.0)
        back = self.recovered * _way_back(after / max(60 * self.recovery_minutes, 1e-9))
        return np.asarray(bottom * down * (1 - back))

    def bend(self, strain: Strain, elapsed: float, hit: list[int]) -> bool:
        strain.depth[hit] *= self.left_depth
        strain.volume[hit] *= self.volume
        strain.spread[hit] *= 4.0
        if elapsed < 60 * self.fall_minutes:
            for i in hit:
                strain.order(i, TAKE, SELL, -0.01, 5.0)
        return Adversity.bend(self, strain, elapsed, hit)


@dataclass(frozen=True, slots=True)
class MicroSpikes(Adversity):
    """Prints far from the price for an instant: bad ticks, fat fingers, thin books."""

    name: ClassVar[str] = "micro_spikes"
    count: int = 12
    size: float = 0.02
    """Distance of a spike, as a share of the price."""
    minutes: float = 60.0
    """They fall somewhere within."""

    @property
    def seconds(self) -> float:
        return 60 * self.minutes

    def times(self) -> tuple[Floats, Floats]:
        """Seconds since the start, sorted, and signs."""
        rng = np.random.default_rng([self.seed, 17])
        return np.sort(rng.random(self.count)) * self.seconds, np.where(rng.random(self.count) < 0.5, -1.0, 1.0)

    def bend(self, strain: Strain, elapsed: float, hit: list[int]) -> bool:
        times, signs = self.times()
        for sign in signs[(times <= elapsed) & (times > elapsed - 1.0)]:
            for i in hit:  # one thin order far away, and a taker who goes there
                far = math.log1p(sign * min(self.size, 0.9))
                strain.depth[i] *= 0.05
                strain.order(i, QUOTE_LEVEL, SELL if sign > 0 else BUY, far, 1.0)
                strain.order(i, TAKE, BUY if sign > 0 else SELL, far, 30.0)
        return elapsed < self.seconds


@dataclass(frozen=True, slots=True)
class VolatilityShock(Adversity):
    """Every move becomes larger; the excess fades."""

    name: ClassVar[str] = "volatility_shock"
    everywhere: ClassVar[bool] = True
    factor: float = 4.0
    """Multiplier of the moves at the start."""
    minutes: float = 180.0
    half_life_minutes: float = 60.0

    @property
    def seconds(self) -> float:
        return 60 * self.minutes

    def gain(self, elapsed: Floats) -> Floats:
        """Multiplier of the moves at so many seconds since the start; one outside."""
        fade = 0.5 ** (elapsed / max(60 * self.half_life_minutes, 1e-9))
        return np.where((elapsed >= 0) & (elapsed < self.seconds), 1 + (self.factor - 1) * fade, 1.0)

    def bend(self, strain: Strain, elapsed: float, hit: list[int]) -> bool:
        gain = float(self.gain(np.array([elapsed]))[0])
        strain.gain[hit] *= gain
        strain.spread[hit] *= math.sqrt(gain)
        return elapsed < self.seconds


@dataclass(frozen=True, slots=True)
class LiquidityWithdrawal(Adversity):
    """Makers leave: little depth, wide spread, less volume; the fair price does not care."""

    name: ClassVar[str] = "liquidity_withdrawal"
    minutes: float = 60.0
    left: float = 0.1
    """Share of depth and volume that stays."""
    spread: float = 8.0
    """Multiplier of the spread."""

    @property
    def seconds(self) -> float:
        return 60 * self.minutes

    def bend(self, strain: Strain, elapsed: float, hit: list[int]) -> bool:
        strain.depth[hit] *= self.left
        strain.volume[hit] *= max(self.left, 0.05)
        strain.spread[hit] *= self.spread
        return elapsed < self.seconds


@dataclass(frozen=True, slots=True)
class FeedFreeze(Adversity):
    """The market goes on, but nobody hears: bars repeat the last close, streams are mute, then all catches up."""

    name: ClassVar[str] = "feed_freeze"
    minutes: float = 10.0

    @property
    def seconds(self) -> float:
        return 60 * self.minutes


@dataclass(frozen=True, slots=True)
class Spoofing(Adversity):
    """Large orders near the touch on one side that are never meant to trade; the price leans away and comes back."""

    name: ClassVar[str] = "spoofing"
    minutes: float = 15.0
    trades: float = 150.0
    """Size of the false wall, in typical trades."""
    distance_bps: float = 6.0
    push_bps: float = 12.0
    """How far others let themselves be pushed before it vanishes."""

    @property
    def seconds(self) -> float:
        return 60 * self.minutes

    @property
    def side(self) -> int:
        """Of the wall: bids push up, offers down."""
        return BUY if np.random.default_rng([self.seed, 23]).random() < 0.5 else SELL

    def shift(self, elapsed: Floats) -> Floats:
        sign = 1.0 if self.side == BUY else -1.0
        share = np.clip(elapsed / max(self.seconds, 1e-9), 0, 1)
        return np.asarray(np.where(share < 1, sign * self.push_bps * 1e-4 * np.sin(share * math.pi), 0.0))

    def bend(self, strain: Strain, elapsed: float, hit: list[int]) -> bool:
        away = -self.distance_bps * 1e-4 if self.side == BUY else self.distance_bps * 1e-4
        if elapsed < self.seconds:
            for i in hit:
                for rung in range(3):
                    strain.order(i, QUOTE_LEVEL, self.side, away * (1 + 0.2 * rung), self.trades / 3)
        return Adversity.bend(self, strain, elapsed, hit)


@dataclass(frozen=True, slots=True)
class FundingShock(Adversity):
    """Perpetuals part from the index and funding becomes extreme for some intervals."""

    name: ClassVar[str] = "funding_shock"
    rate: float = 0.003
    """Funding per interval at the height, as a fraction; negative pays longs."""
    hours: float = 24.0

    @property
    def seconds(self) -> float:
        return 3600 * self.hours

    def hits(self, instrument: str) -> bool:
        return ":USDT" in instrument and Adversity.hits(self, instrument)

    def shift(self, elapsed: Floats) -> Floats:
        share = np.clip(elapsed / max(self.seconds, 1e-9), 0, 1)
        return np.asarray(self.rate * np.sin(share * math.pi))


@dataclass(frozen=True, slots=True)
class ExchangeOutage(Adversity):
    """The venue is gone: no matching, no bars, no data; then trading starts again where the world is by then."""

    name: ClassVar[str] = "exchange_outage"
    minutes: float = 45.0

    @property
    def seconds(self) -> float:
        return 60 * self.minutes


@dataclass(frozen=True, slots=True)
class Depeg(Adversity):
    """The quote stablecoin loses its peg: all quoted in it rises by as much, with wide spreads, and comes back."""

    name: ClassVar[str] = "depeg"
    everywhere: ClassVar[bool] = True
    depth: float = 0.12
    """Share of its value the coin loses at worst."""
    fall_minutes: float = 120.0
    recovery_minutes: float = 1_440.0
    recovered: float = 0.98
    quote: str = "USDT"

    @property
    def seconds(self) -> float:
        return 60 * (self.fall_minutes + self.recovery_minutes)

    def hits(self, instrument: str) -> bool:
        return f"/{self.quote}" in instrument and Adversity.hits(self, instrument)

    def shift(self, elapsed: Floats) -> Floats:
        top, fall = -math.log1p(-min(self.depth, 0.99)), 60 * self.fall_minutes
        up = np.clip(elapsed / max(fall, 1e-9), 0, 1)
        after = np.maximum(elapsed - fall, 0.0)
        back = self.recovered * _way_back(after / max(60 * self.recovery_minutes, 1e-9))
        return np.asarray(top * up * (1 - back))

    def bend(self, strain: Strain, elapsed: float, hit: list[int]) -> bool:
        strain.spread[hit] *= 3.0
        strain.depth[hit] *= 0.4
        return Adversity.bend(self, strain, elapsed, hit)


@dataclass(frozen=True, slots=True)
class FalseNews(Adversity):
    """A headline that is not true: the price jumps at once, holds while people believe it, and reverts."""

    name: ClassVar[str] = "false_news"
    everywhere: ClassVar[bool] = True
    jump: float = 0.08
    hold_minutes: float = 12.0
    revert_minutes: float = 10.0
    up: bool = True
    volume: float = 5.0

    @property
    def seconds(self) -> float:
        return 60 * (self.hold_minutes + self.revert_minutes)

    def shift(self, elapsed: Floats) -> Floats:
        size = math.log1p(self.jump if self.up else -min(self.jump, 0.99))
        after = np.maximum(elapsed - 60 * self.hold_minutes, 0.0)
        kept = np.clip(1 - after / max(60 * self.revert_minutes, 1e-9), 0, 1)
        return np.asarray(np.where(elapsed > 0, size * kept, 0.0))

    def bend(self, strain: Strain, elapsed: float, hit: list[int]) -> bool:
        strain.volume[hit] *= self.volume
        strain.spread[hit] *= 2.0
        return Adversity.bend(self, strain, elapsed, hit)


EVENTS: dict[str, type[Adversity]] = {
    event.name: event
    for event in (
        FlashCrash, MicroSpikes, VolatilityShock, LiquidityWithdrawal, FeedFreeze, Spoofing, FundingShock,
        ExchangeOutage, Depeg, FalseNews,
    )
}  # fmt: skip
