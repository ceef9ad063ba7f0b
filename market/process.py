"""The price process in compiled form: one random step of six log prices, and a history of one-minute bars made of it.

`market/scenario.py` holds the words, units and calibration; here is only the arithmetic. Both kernels live in this
one file because Numba's cache follows the file a kernel is written in, not the files it calls.

The state is float64 [4, instruments]: log price of the fair value, hidden signal (log return per second), log
volatility and log volume (both stationary around zero). The regime, int64 [1], is shared by all instruments.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from market.kernel import njit

LOG_PRICE, SIGNAL, LOG_VOLATILITY, LOG_VOLUME = range(4)

REGIME_LEVEL = (0.85, 1.35)
"""Volatility multiplier when calm and when turbulent; with the rates below the mean square is one."""
REGIME_RATE = (1 / (36 * 3600), 1 / (12 * 3600))
"""Chance per second to leave the calm and the turbulent regime: 36 h and 12 h on average."""
VOLATILITY_HALF_LIFE, VOLATILITY_DEVIATION = 2 * 3600.0, 0.20
VOLUME_HALF_LIFE, VOLUME_DEVIATION = 3600.0, 0.45
OWN_JUMP_RATE, COMMON_JUMP_RATE = 0.5 / 86400, 0.2 / 86400
"""Jumps per second of one instrument alone and of all together."""
JUMP_SIZE = 10 * math.sqrt(60.0)
"""Standard deviation of a jump, in deviations of one second: ten typical one-minute moves."""
JUMP_SHARE = (OWN_JUMP_RATE + COMMON_JUMP_RATE) * JUMP_SIZE**2
"""Variance that jumps add, as a fraction of the diffusion's: about 5 %."""
SUBSTEPS = 6
"""Steps of ten seconds in one bar; between them the extremes of a Brownian bridge are drawn."""
_RANGE = math.sqrt(60.0 * 8 / math.pi)
"""Expected range of a minute in deviations of one second."""


class Coefficients(NamedTuple):
    """What the kernels read of a scenario; arrays are float64 [instruments]."""

    sigma: NDArray[np.float64]
    """Standard deviation of the log return of one second."""
    gain: NDArray[np.float64]
    """Signal (per second) gained per unit of shock; zero without structure."""
    mean_reversion: float
    """Decay of the signal per second: ln 2 / half-life."""
    shock_weight: float
    """Correlation of the signal's innovation with the return shock."""
    pair_correlation: float
    volume: NDArray[np.float64]
    """Typical base quantity traded per second."""
    trade_quantity: NDArray[np.float64]
    """Typical base quantity of one trade."""
    half_spread: NDArray[np.float64]
    """Half the quoted spread as a fraction of price."""
    ticks_per_unit: NDArray[np.float64]
    steps_per_unit: NDArray[np.float64]


@njit(cache=True)
def advance(rng, dt, time_us, state, regime, model, sigma, volume):  # type: ignore[no-untyped-def]
    """Advance the state in place by `dt` seconds from `time_us`; exact in distribution for the linear parts.

    Fills `sigma` (per square-root second) and `volume` (base quantity per second) with the levels used in the step.
    Draws depend on nothing but the order of calls, and are the same with and without structure.
    """
    count = state.shape[1]
    hour = (time_us // 1_000_000 % 86_400) / 3600.0
    daily = math.cos((hour - 15.0) * math.pi / 12.0)
    if rng.random() < 1.0 - math.exp(-REGIME_RATE[regime[0]] * dt):
        regime[0] = 1 - regime[0]
    level = REGIME_LEVEL[regime[0]] * math.sqrt(1.0 + 0.2 * daily)
    # 1970-01-05 was a Monday: days five and six of the week are quieter.
    busy = (1.0 + 0.2 * daily) * (0.9 if (time_us // 86_400_000_000 + 3) % 7 >= 5 else 1.04)

    common_jump = rng.random() < COMMON_JUMP_RATE * dt
    own_jump = int(rng.random() / (OWN_JUMP_RATE * dt))  # the instrument that jumps, beyond the last for none
    common_size = rng.standard_normal() * JUMP_SIZE
    own_size = rng.standard_normal() * JUMP_SIZE

    shared, own = math.sqrt(model.pair_correlation), math.sqrt(1.0 - model.pair_correlation)
    factor = rng.standard_normal() * shared
    signal_factor = rng.standard_normal() * shared
    decay = math.exp(-model.mean_reversion * dt)
    drift_time = (1.0 - decay) / model.mean_reversion
    settle = math.sqrt((1.0 - decay * decay) / (2.0 * model.mean_reversion * dt))
    other_weight = math.sqrt((1.0 - model.shock_weight**2) * (1.0 + JUMP_SHARE) * dt)
    vol_decay = 0.5 ** (dt / VOLATILITY_HALF_LIFE)
    vol_kick = VOLATILITY_DEVIATION * math.sqrt(1.0 - vol_decay * vol_decay)
    volume_decay = 0.5 ** (dt / VOLUME_HALF_LIFE)
    volume_kick = VOLUME_DEVIATION * math.sqrt(1.0 - volume_decay * volume_decay)

    for i in range(count):
        state[LOG_VOLATILITY, i] = vol_decay * state[LOG_VOLATILITY, i] + vol_kick * rng.standard_normal()
        state[LOG_VOLUME, i] = volume_decay * state[LOG_VOLUME, i] + volume_kick * rng.standard_normal()
        relative = level * math.exp(state[LOG_VOLATILITY, i] - VOLATILITY_DEVIATION**2)
        sigma[i] = model.sigma[i] * relative
        volume[i] = model.volume[i] * busy * relative * math.exp(state[LOG_VOLUME, i] - 0.5 * VOLUME_DEVIATION**2)

        shock = relative * math.sqrt(dt) * (factor + own * rng.standard_normal())
        if common_jump:
            shock += common_size
        if i == own_jump:
            shock += own_size
        other = relative * other_weight * (signal_factor + own * rng.standard_normal())
        convexity = 0.5 * (model.sigma[i] ** 2) * (relative * relative + JUMP_SHARE) * dt
        signal = state[SIGNAL, i]
        state[LOG_PRICE, i] += signal * drift_time + model.sigma[i] * shock - convexity
        state[SIGNAL, i] = decay * signal + settle * model.gain[i] * (model.shock_weight * shock + other)


@njit(cache=True)
def simulate_bars(  # type: ignore[no-untyped-def]
    rng, first_open, state, regime, model, prices, volumes, trades, signals, regimes
):
    """Fill one-minute bars from `first_open` (µs) and leave the state at the end of the last.

    prices float64 [4, instruments, n] (open, high, low, close), volumes float64 [2, instruments, n] (base, quote),
    trades int64 [instruments, n], signals float64 [instruments, n]: the hidden signal at the bar's close, per second;
    regimes int8 [n]: the regime at the bar's close.
    """
    count, minutes = trades.shape
    dt = 60.0 / SUBSTEPS
    sigma, flow = np.empty(count), np.empty(count)
    before, first = np.empty(count), np.empty(count)
    high, low, expected, deviation = np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    for m in range(minutes):
        open_time = first_open + m * 60_000_000
        first[:] = state[LOG_PRICE]
        high[:] = state[LOG_PRICE]
        low[:] = state[LOG_PRICE]
        expected[:] = 0.0
        deviation[:] = 0.0
        for k in range(SUBSTEPS):
            before[:] = state[LOG_PRICE]
            advance(rng, dt, open_time + k * 60_000_000 // SUBSTEPS, state, regime, model, sigma, flow)
            for i in range(count):
                a, b = before[i], state[LOG_PRICE, i]
                spread, bridge = (b - a) ** 2, 2.0 * sigma[i] * sigma[i] * dt
                up = 0.5 * (a + b + math.sqrt(spread - bridge * math.log(1.0 - rng.random())))
                down = 0.5 * (a + b - math.sqrt(spread - bridge * math.log(1.0 - rng.random())))
                high[i] = max(high[i], up)
                low[i] = min(low[i], down)
                expected[i] += flow[i] * dt
                deviation[i] += sigma[i] / SUBSTEPS
        regimes[m] = regime[0]
        for i in range(count):
            signals[i, m] = state[SIGNAL, i]
            span = high[i] - low[i]
            _write_bar(
                rng, i, m, first[i], high[i], low[i], state[LOG_PRICE, i],
                expected[i] * (span / (_RANGE * deviation[i])) ** 0.8, model, prices, volumes, trades,
            )  # fmt: skip


@njit(cache=True)
def _write_bar(rng, i, m, first, high, low, last, quantity, model, prices, volumes, trades):  # type: ignore[no-untyped-def]
    """Put one bar on the tick and lot grid: trades print at bid or ask, so extremes lie half a spread outside."""
    half, ticks, steps = model.half_spread[i], model.ticks_per_unit[i], model.steps_per_unit[i]
    sides = int(rng.random() * 4.0)
    open_ = max(1.0, np.rint(math.exp(first) * (1.0 + half * (2 * (sides & 1) - 1)) * ticks))
    close = max(1.0, np.rint(math.exp(last) * (1.0 + half * ((sides & 2) - 1)) * ticks))
    top = max(np.rint(math.exp(high) * (1.0 + half) * ticks), open_, close)
    bottom = max(1.0, min(np.rint(math.exp(low) * (1.0 - half) * ticks), open_, close))
    prices[0, i, m] = open_ / ticks
    prices[1, i, m] = top / ticks
    prices[2, i, m] = bottom / ticks
    prices[3, i, m] = close / ticks

    quantity *= math.exp(0.35 * rng.standard_normal() - 0.5 * 0.35**2)
    lots = max(1.0, np.rint(quantity * steps))
    mean = 0.25 * (open_ + top + bottom + close) + 0.15 * (top - bottom) * (rng.random() - 0.5)
    notional = min(max(np.rint(lots * mean), lots * bottom), lots * top)
    volumes[0, i, m] = lots / steps
    volumes[1, i, m] = notional / (ticks * steps)
    trades[i, m] = 1 + int(lots / steps / model.trade_quantity[i] * (0.6 + 0.8 * rng.random()))
