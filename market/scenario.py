"""The embedded market's past and present: one seeded process, with a weak structure planted in it on purpose.

Momentum by under-reaction. For each instrument, with fair log price x and hidden signal S (a drift):

    dx = S dt + dr − convexity dt                 dr: the return shock, diffusion plus rare jumps
    dS = −κ S dt + γ (ρ dr + √(1 − ρ²) dr')       κ = ln 2 / half-life, dr' independent of dr, of equal variance

A shock is thus followed by more of the same, fading with a half-life of 12 h: S is mostly an exponentially weighted
memory of past returns, so it shows in the features `log_return_12 … log_return_480` of five-minute bars. ρ = 0.9 leaves
a part that no price reveals. Shocks have a common factor (pairwise correlation 0.3), and a volatility
σ(t) = σ · regime(t) · intraday(t) · exp(v(t)), with two regimes, a peak at 15:00 UTC and v mean-reverting.

Calibration. Over an hour h, with s the stationary deviation of S, γ = s √(2κ)/σ and a = (1 − e^{−κh})/κ:

    explained variance   s² a²
    whole variance       σ² h + 2 s² b + 2 ρ σ s √(2κ) b          b = (κh − 1 + e^{−κh}) / κ²

Setting their ratio to R² = 5 % gives a quadratic in s (`signal_deviation`). `structure=0` sets γ = S = 0 and draws the
same shocks: prices are then a martingale, and no feature can predict them. docs/market.md shows pictures and figures.

Presets. `Scenario(preset=…)` takes another market from `market/worlds.py`: four labelled regimes, volatility on
several time scales, jumps that excite it. The same signal is planted in it. docs/market-scenarios.md compares them
with real data.
"""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lake.errors import UsageError
from lake.instruments import INSTRUMENTS
from lake.intervals import DAY, HOUR, MINUTE, SECOND, WEEK
from market import process, regimes, worlds
from market.process import LOG_PRICE, LOG_VOLATILITY, LOG_VOLUME, SIGNAL, Coefficients

Floats = NDArray[np.float64]

FIRST_MONDAY_US = 1_672_617_600 * SECOND
"""Monday 2023-01-02 00:00 UTC."""
MAX_STEP_SECONDS = 10.0
"""A longer live step is taken in parts of at most this, like the history."""


def epoch_us(seed: int) -> int:
    """Open of the first bar: a Monday 00:00 UTC of the year from 2023-01-02, fixed by the seed."""
    return FIRST_MONDAY_US + (seed % 52) * WEEK


@dataclass(frozen=True, slots=True)
class InstrumentProcess:
    """What differs from instrument to instrument."""

    start_price: float
    """Fair price at the market epoch, in quote."""
    volatility_bps: float
    """Root mean square of the one-minute return without jumps, in basis points."""
    volume_per_minute: float
    """Typical base quantity traded in a minute."""
    trade_quantity: float
    """Typical base quantity of one trade."""
    spread_bps: float
    """Quoted spread in basis points; never less than one tick."""


INSTRUMENT_PROCESSES: dict[str, InstrumentProcess] = {
    "binance:BTC/USDT": InstrumentProcess(40_000.0, 6.0, 12.0, 0.3, 1.0),
    "binance:ETH/USDT": InstrumentProcess(2_500.0, 6.5, 130.0, 3.0, 1.0),
    "binance:SOL/USDT": InstrumentProcess(100.0, 7.5, 1_400.0, 35.0, 1.5),
    "binance:BNB/USDT": InstrumentProcess(300.0, 6.0, 270.0, 8.0, 1.5),
    "binance:XRP/USDT": InstrumentProcess(2.0, 7.0, 50_000.0, 1_200.0, 1.5),
    "binance:ADA/USDT": InstrumentProcess(1.0, 7.0, 70_000.0, 1_700.0, 2.0),
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole market, past and present; two equal scenarios give equal prices."""

    seed: int
    """Fixes every random draw and the market epoch."""
    days: int = 180
    """Length of the history; a longer one begins with the same bars."""
    structure: int = 1
    """1 plants the hidden signal, 0 leaves the same shocks without it."""
    r_squared: float = 0.05
    """Share of the variance of the hourly return that the signal explains."""
    half_life_hours: float = 12.0
    """Time in which the signal halves when nothing new happens."""
    shock_correlation: float = 0.9
    """ρ: how much of the signal's innovation is the return shock itself."""
    pair_correlation: float = 0.3
    """Correlation of two instruments' shocks."""
    preset: str = "default"
    """Name of a world of `market/worlds.py`; `default` is the process described above."""

    def __post_init__(self) -> None:
        worlds.world(self.preset)
        if self.days < 1:
            raise UsageError(f"scenario days: expected at least 1, found {self.days}.")
        if self.structure not in (0, 1):
            raise UsageError(f"scenario structure: expected 0 or 1, found {self.structure}.")
        if self.seed < 0:
            raise UsageError(f"scenario seed: expected a whole number from 0, found {self.seed}.")

    @property
    def start(self) -> int:
        """Open time of the first bar, µs."""
        return epoch_us(self.seed)

    @property
    def end(self) -> int:
        """Where the history ends and the present begins, µs."""
        return self.start + self.days * DAY


@dataclass(frozen=True, slots=True)
class ProcessState:
    """Where the process stands at `time_us`: all it takes to continue it."""

    scenario: Scenario
    time_us: int
    values: Floats
    """[4, 6]: log price, signal per second, log volatility, log volume; a preset has more (`market/regimes.py`)."""
    regime: int
    """Index into `worlds.labels(preset)`."""
    random_state: Any
    """Of a PCG64 bit generator: a dict of plain values."""


@dataclass(frozen=True, slots=True)
class History:
    """One-minute bars of every instrument, rows in `instruments` order; prices and quantities lie on their grids."""

    instruments: tuple[str, ...]
    open_time: NDArray[np.int64]
    """µs [n]"""
    open: Floats
    """[6, n], as are all below."""
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    """Base quantity."""
    quote_volume: Floats
    trade_count: NDArray[np.int64]
    signal: Floats
    """The hidden signal at each close, log return per hour: for tests and docs, never for a model."""
    regime: NDArray[np.int8]
    """Regime at each close [n], an index into `regimes`: for tests and docs, never for a model."""
    state: ProcessState = field(repr=False)
    """At the close of the last bar."""

    @property
    def regimes(self) -> tuple[str, ...]:
        """Labels of the regimes."""
        return worlds.labels(self.state.scenario.preset)


class Flow(NamedTuple):
    """What the present's agents quote and trade around; float64 [6] each."""

    log_price: Floats
    """Log of the fair price after the step."""
    sigma: Floats
    """Volatility of the log price per square-root second."""
    volume_per_second: Floats
    """Base quantity expected to trade per second."""


def signal_deviation(scenario: Scenario, sigma_hour: float) -> float:
    """Stationary deviation of the signal, per hour, that explains `r_squared` of the hourly return's variance.

    `sigma_hour` is the deviation of the hourly shock, jumps included. Zero without structure.
    """
    if not scenario.structure:
        return 0.0
    kappa = math.log(2) / scenario.half_life_hours
    decay = math.exp(-kappa)
    explained = ((1 - decay) / kappa) ** 2
    b = (kappa - 1 + decay) / kappa**2
    quadratic = explained - scenario.r_squared * 2 * b
    half_linear = scenario.r_squared * scenario.shock_correlation * sigma_hour * math.sqrt(2 * kappa) * b
    constant = scenario.r_squared * sigma_hour**2
    return (half_linear + math.sqrt(half_linear**2 + quadratic * constant)) / quadratic


def coefficients(scenario: Scenario) -> Coefficients:
    """Translate the scenario into the kernels' units: seconds, fractions, ticks and steps."""
    rows = [(INSTRUMENTS[name], row) for name, row in INSTRUMENT_PROCESSES.items()]
    sigma = np.array([row.volatility_bps * 1e-4 / math.sqrt(60) for _, row in rows])
    kappa = math.log(2) / (scenario.half_life_hours * 3600)
    jumpy = math.sqrt(1 + process.JUMP_SHARE)
    deviation = np.array([signal_deviation(scenario, s * 60 * jumpy) / 3600 for s in sigma])
    return Coefficients(
        sigma=sigma,
        gain=deviation * math.sqrt(2 * kappa) / jumpy,  # the kernel's shocks are in units of sigma
        mean_reversion=kappa,
        shock_weight=scenario.shock_correlation,
        pair_correlation=scenario.pair_correlation,
        volume=np.array([row.volume_per_minute / 60 for _, row in rows]),
        trade_quantity=np.array([row.trade_quantity for _, row in rows]),
        half_spread=np.array([row.spread_bps * 0.5e-4 for _, row in rows]),
        ticks_per_unit=np.array([float(1 / instrument.price_tick) for instrument, _ in rows]),
        steps_per_unit=np.array([float(1 / instrument.quantity_step) for instrument, _ in rows]),
    )


def _initial(scenario: Scenario, model: Coefficients, rng: np.random.Generator) -> tuple[Floats, NDArray[np.int64]]:
    """Draw the state at the epoch from its stationary distribution, at the start prices."""
    count = len(INSTRUMENT_PROCESSES)
    shared, own = math.sqrt(scenario.pair_correlation), math.sqrt(1 - scenario.pair_correlation)
    jumpy = math.sqrt(1 + process.JUMP_SHARE)
    deviation = model.gain * jumpy / math.sqrt(2 * model.mean_reversion)
    rich = worlds.world(scenario.preset)
    values = np.zeros((4 if rich is None else regimes.ROWS, count))
    values[LOG_PRICE] = [math.log(row.start_price) for row in INSTRUMENT_PROCESSES.values()]
    values[SIGNAL] = deviation * (shared * rng.standard_normal() + own * rng.standard_normal(count))
    values[LOG_VOLATILITY] = process.VOLATILITY_DEVIATION * rng.standard_normal(count)
    values[LOG_VOLUME] = process.VOLUME_DEVIATION * rng.standard_normal(count)
    if rich is None:
        return values, np.zeros(1, np.int64)
    values[regimes.ANCHOR] = values[LOG_PRICE]
    deviations = np.array(rich.scale_deviation)[:, None]
    mixed = math.sqrt(rich.shared_volatility) * rng.standard_normal((regimes.SCALES, 1))
    mixed = mixed + math.sqrt(1 - rich.shared_volatility) * rng.standard_normal((regimes.SCALES, count))
    values[regimes.FIRST_SCALE :] = deviations * mixed
    values[LOG_VOLATILITY] = values[regimes.FIRST_SCALE :].sum(axis=0)
    return values, rng.choice(len(rich.stay_hours), 1, p=worlds.stationary(rich)).astype(np.int64)


def simulate_history(scenario: Scenario) -> History:
    """Simulate `days` of one-minute bars from the market epoch; a pure function of the scenario."""
    model = coefficients(scenario)
    rng = np.random.Generator(np.random.PCG64(scenario.seed))
    values, regime = _initial(scenario, model, rng)
    count, minutes = len(INSTRUMENT_PROCESSES), scenario.days * DAY // MINUTE
    prices, volumes = np.empty((4, count, minutes)), np.empty((2, count, minutes))
    trades, signal = np.empty((count, minutes), np.int64), np.empty((count, minutes))
    at = np.zeros(minutes, np.int8)
    rich = _world(scenario)
    if rich is None:
        process.simulate_bars(rng, scenario.start, values, regime, model, prices, volumes, trades, signal, at)
    else:
        regimes.simulate_bars(rng, scenario.start, values, regime, model, rich, prices, volumes, trades, signal, at)
    signal *= HOUR // SECOND
    return History(
        instruments=tuple(INSTRUMENT_PROCESSES),
        open_time=scenario.start + np.arange(minutes, dtype=np.int64) * MINUTE,
        open=prices[0],
        high=prices[1],
        low=prices[2],
        close=prices[3],
        volume=volumes[0],
        quote_volume=volumes[1],
        trade_count=trades,
        signal=signal,
        regime=at,
        state=ProcessState(scenario, scenario.end, values, int(regime[0]), _random_state(rng)),
    )


def _world(scenario: Scenario) -> regimes.Coefficients | None:
    if scenario.preset == "default":
        return None
    return worlds.compiled(scenario.preset, scenario.structure, scenario.pair_correlation)


def _random_state(rng: np.random.Generator) -> Any:
    return dict(rng.bit_generator.state)


class LiveProcess:
    """Continue a process from where its history ended; the same steps give the same prices."""

    def __init__(self, state: ProcessState) -> None:
        self._scenario = state.scenario
        self._model = coefficients(state.scenario)
        self._world = _world(state.scenario)
        self._values = state.values.copy()
        self._regime = np.array([state.regime], np.int64)
        self._time_us = float(state.time_us)
        bits = np.random.PCG64()
        bits.state = state.random_state
        self._rng = np.random.Generator(bits)

    @property
    def signal(self) -> Floats:
        """The hidden signal, log return per hour [6]: for the informed agents, never for a model."""
        return self._values[SIGNAL] * 3600.0

    @property
    def state(self) -> ProcessState:
        """A copy of where the process stands now."""
        return ProcessState(
            self._scenario, int(self._time_us), self._values.copy(), int(self._regime[0]), _random_state(self._rng)
        )

    def step(self, dt_seconds: float) -> Flow:
        """Advance market time and return the levels around which to trade.

        Raises:
            UsageError: `dt_seconds` is not positive.
        """
        if not dt_seconds > 0:
            raise UsageError(f"LiveProcess.step: expected dt_seconds above 0, found {dt_seconds}.")
        count = self._values.shape[1]
        sigma, volume = np.empty(count), np.empty(count)
        parts = math.ceil(dt_seconds / MAX_STEP_SECONDS)
        dt = dt_seconds / parts
        for _ in range(parts):
            self._advance(dt, sigma, volume)
            self._time_us += dt * SECOND
        return Flow(self._values[LOG_PRICE].copy(), sigma, volume)

    def _advance(self, dt: float, sigma: Floats, volume: Floats) -> None:
        now = int(self._time_us)
        if self._world is None:
            process.advance(self._rng, dt, now, self._values, self._regime, self._model, sigma, volume)
        else:
            regimes.advance(
                self._rng, dt, now, self._values, self._regime, self._model, self._world, sigma, volume
            )  # fmt: skip

    @property
    def regime(self) -> str:
        """Label of the regime now: for reports, never for a model."""
        return worlds.labels(self._scenario.preset)[int(self._regime[0])]
