"""The richer price process in compiled form: four regimes, volatility on several time scales, jumps that excite it.

`market/worlds.py` holds the words, presets and sources; the hidden signal and the bars' grid are those of
`market/process.py`, whose `_write_bar` is compiled in.

The state is float64 [5 + SCALES, instruments]: the four rows of process.py (log volatility is the sum of the scales),
the log price at which the regime began, and the scales. The regime, int64 [1], is shared by all instruments.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from market.kernel import njit
from market.process import (
    _RANGE,
    COMMON_JUMP_RATE,
    JUMP_SHARE,
    JUMP_SIZE,
    LOG_PRICE,
    LOG_VOLATILITY,
    LOG_VOLUME,
    OWN_JUMP_RATE,
    SIGNAL,
    SUBSTEPS,
    VOLUME_DEVIATION,
    VOLUME_HALF_LIFE,
    _write_bar,
)

Floats = NDArray[np.float64]

SCALES = 5
ANCHOR, FIRST_SCALE = 4, 5
ROWS = FIRST_SCALE + SCALES


class Coefficients(NamedTuple):
    """What the kernels read of a world; float64 [4] by regime where not said otherwise."""

    leave_rate: Floats
    """Chance per second to leave."""
    follows: Floats
    """[4, 4]: cumulated chances of the regime entered."""
    drift: Floats
    """Per second, in deviations of one second: daily drift in daily deviations over √86400."""
    level: Floats
    """Volatility multiplier."""
    correlation: Floats
    jumps: Floats
    jump_bias: Floats
    volume: Floats
    reversion: Floats
    """Pull to the anchor per second."""
    scale_rate: Floats
    """[SCALES] per second."""
    scale_deviation: Floats
    """[SCALES]."""
    shared_volatility: float
    leverage: float
    jump_excitation: float
    season: float
    sessions: float


@njit(cache=True)
def _next_regime(rng, dt, state, regime, world):  # type: ignore[no-untyped-def]
    leave, where = rng.random(), rng.random()
    if leave < 1.0 - math.exp(-world.leave_rate[regime[0]] * dt):
        chances = world.follows[regime[0]]
        entered = 0
        while entered < len(chances) - 1 and where >= chances[entered]:
            entered += 1
        regime[0] = entered
        state[ANCHOR] = state[LOG_PRICE]


@njit(cache=True)
def advance(rng, dt, time_us, state, regime, model, world, sigma, volume):  # type: ignore[no-untyped-def]
    """Advance the state in place by `dt` seconds from `time_us`; the arguments of process.advance and the world.

    Fills `sigma` (per square-root second) and `volume` (base quantity per second) with the levels used in the step.
    """
    count = state.shape[1]
    _next_regime(rng, dt, state, regime, world)
    now = regime[0]
    hour = (time_us // 1_000_000 % 86_400) / 3600.0
    daily = world.season * math.cos((hour - 15.0) * math.pi / 12.0) + world.sessions * math.cos(hour * math.pi / 4.0)
    weekend = (time_us // 86_400_000_000 + 3) % 7 >= 5  # 1970-01-05 was a Monday
    busy = (1.0 + daily) * (0.8 if weekend else 1.08) * world.volume[now]
    level = world.level[now] * math.sqrt(1.0 + daily)

    common_jump = rng.random() < COMMON_JUMP_RATE * world.jumps[now] * dt
    own_jump = int(rng.random() / (OWN_JUMP_RATE * world.jumps[now] * dt))
    bias = world.jump_bias[now]
    common_size = (rng.standard_normal() + bias) * JUMP_SIZE
    own_size = (rng.standard_normal() + bias) * JUMP_SIZE

    pair = world.correlation[now]
    shared, own = math.sqrt(pair), math.sqrt(1.0 - pair)
    vol_shared, vol_own = math.sqrt(world.shared_volatility), math.sqrt(1.0 - world.shared_volatility)
    factor, signal_factor = rng.standard_normal(), rng.standard_normal()
    decay = math.exp(-model.mean_reversion * dt)
    drift_time = (1.0 - decay) / model.mean_reversion
    settle = math.sqrt((1.0 - decay * decay) / (2.0 * model.mean_reversion * dt))
    other_weight = math.sqrt((1.0 - model.shock_weight**2) * (1.0 + JUMP_SHARE) * dt)
    volume_decay = 0.5 ** (dt / VOLUME_HALF_LIFE)
    volume_kick = VOLUME_DEVIATION * math.sqrt(1.0 - volume_decay * volume_decay)
    kicks = rng.standard_normal(SCALES)
    variance = 0.0
    for k in range(SCALES):
        variance += world.scale_deviation[k] ** 2

    for i in range(count):
        relative = level * math.exp(state[LOG_VOLATILITY, i] - variance)
        state[LOG_VOLUME, i] = volume_decay * state[LOG_VOLUME, i] + volume_kick * rng.standard_normal()
        sigma[i] = model.sigma[i] * relative
        scatter = math.exp(state[LOG_VOLUME, i] - 0.5 * VOLUME_DEVIATION**2)
        volume[i] = model.volume[i] * busy * relative * scatter

        normal = shared * factor + own * rng.standard_normal()
        shock = relative * math.sqrt(dt) * normal
        jumped = common_jump or i == own_jump
        if common_jump:
            shock += common_size
        if i == own_jump:
            shock += own_size
        other = relative * other_weight * (shared * signal_factor + own * rng.standard_normal())
        convexity = 0.5 * (model.sigma[i] ** 2) * (relative * relative + JUMP_SHARE * world.jumps[now]) * dt
        signal = state[SIGNAL, i]
        pull = world.reversion[now] * (state[ANCHOR, i] - state[LOG_PRICE, i])
        steady = world.drift[now] * model.sigma[i] * world.level[now] + pull
        state[LOG_PRICE, i] += (signal * drift_time + steady * dt) + model.sigma[i] * shock - convexity
        state[SIGNAL, i] = decay * signal + settle * model.gain[i] * (model.shock_weight * shock + other)

        total = 0.0
        for k in range(SCALES):
            fade = math.exp(-world.scale_rate[k] * dt)
            kick = vol_shared * kicks[k] + vol_own * rng.standard_normal()
            if k < 2:
                kick = math.sqrt(1.0 - world.leverage**2) * kick - world.leverage * normal
            spread = world.scale_deviation[k] * math.sqrt(1.0 - fade * fade)
            state[FIRST_SCALE + k, i] = fade * state[FIRST_SCALE + k, i] + spread * kick
            if k == 0 and jumped:
                state[FIRST_SCALE, i] += world.jump_excitation
            total += state[FIRST_SCALE + k, i]
        state[LOG_VOLATILITY, i] = total


@njit(cache=True)
def simulate_bars(  # type: ignore[no-untyped-def]
    rng, first_open, state, regime, model, world, prices, volumes, trades, signals, regimes
):
    """Fill one-minute bars as process.simulate_bars does, and `regimes` int8 [n] with the regime at each close."""
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
            at = open_time + k * 60_000_000 // SUBSTEPS
            advance(rng, dt, at, state, regime, model, world, sigma, flow)
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
            busier = (high[i] - low[i]) / (_RANGE * deviation[i])
            _write_bar(
                rng, i, m, first[i], high[i], low[i], state[LOG_PRICE, i],
                expected[i] * busier**0.8, model, prices, volumes, trades,
            )  # fmt: skip
