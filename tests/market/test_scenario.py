"""The simulated market: valid bars, the structure it claims to have, none without it, and exact repeatability."""

import functools
import hashlib
import math
import subprocess
import sys

import numpy as np
import pytest

from lake.errors import UsageError
from lake.instruments import INSTRUMENTS
from lake.intervals import MINUTE, WEEK, parse_time, week_start
from market import worlds
from market.scenario import (
    INSTRUMENT_PROCESSES,
    History,
    LiveProcess,
    Scenario,
    coefficients,
    epoch_us,
    signal_deviation,
    simulate_history,
)

SEEDS = (1, 2, 3)


@functools.cache
def history(seed: int, structure: int = 1, days: int = 180) -> History:
    return simulate_history(Scenario(seed, days, structure))


def hourly_returns(past: History) -> np.ndarray:
    """Log returns from each full hour to the next [6, hours]."""
    return np.diff(np.log(past.close[:, 59::60]), axis=1)


def explained(past: History) -> float:
    """R² of the hourly return on the signal known at its start, over all instruments."""
    signal, returns = past.signal[:, 59::60][:, :-1], hourly_returns(past)
    scale = returns.std(axis=1, keepdims=True)
    return float(np.corrcoef((signal / scale).ravel(), (returns / scale).ravel())[0, 1] ** 2)


def test_the_epoch_is_a_monday_fixed_by_the_seed() -> None:
    assert epoch_us(0) == parse_time("2023-01-02")
    assert epoch_us(3) == epoch_us(55) == epoch_us(0) + 3 * WEEK
    assert all(week_start(epoch_us(seed)) == epoch_us(seed) for seed in range(60))
    assert Scenario(51).end < parse_time("2024-12-31")


def test_bars_are_valid_and_on_the_venues_grids() -> None:
    past = history(1)
    assert past.instruments == tuple(INSTRUMENTS) == tuple(INSTRUMENT_PROCESSES)
    assert past.close.shape == (6, 180 * 1440)
    assert np.array_equal(np.diff(past.open_time), np.full(180 * 1440 - 1, MINUTE))
    low_end, high_end = np.minimum(past.open, past.close), np.maximum(past.open, past.close)
    assert (past.low > 0).all() and (past.low <= low_end).all() and (high_end <= past.high).all()
    assert (past.volume > 0).all() and (past.trade_count >= 1).all()
    mean_price = past.quote_volume / past.volume
    assert (mean_price >= past.low * (1 - 1e-12)).all() and (mean_price <= past.high * (1 + 1e-12)).all()
    for i, row in enumerate(INSTRUMENTS.values()):
        for values, grid in (
            (past.open, row.price_tick),
            (past.high, row.price_tick),
            (past.volume, row.quantity_step),
        ):
            per_unit = float(1 / grid)
            assert np.array_equal(values[i], np.rint(values[i] * per_unit) / per_unit)


def test_a_bar_opens_about_where_the_last_closed() -> None:
    past = history(1)
    ticks = np.array([float(row.price_tick) for row in INSTRUMENTS.values()])[:, None]
    spread = np.array([row.spread_bps * 1e-4 for row in INSTRUMENT_PROCESSES.values()])[:, None]
    gap = np.abs(past.open[:, 1:] - past.close[:, :-1])
    assert (gap <= 1.001 * spread * past.close[:, :-1] + 1.01 * ticks).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_signal_explains_about_five_percent_of_the_hourly_return(seed: int) -> None:
    assert 0.03 <= explained(history(seed)) <= 0.07


def test_the_signal_halves_in_about_twelve_hours() -> None:
    lag = 240
    correlations = [np.corrcoef(row[:-lag], row[lag:])[0, 1] for seed in SEEDS for row in history(seed).signal]
    half_life_hours = lag / 60 * math.log(0.5) / math.log(float(np.mean(correlations)))
    assert 9 <= half_life_hours <= 15


@pytest.mark.parametrize("seed", SEEDS)
def test_instruments_move_together_at_about_thirty_percent(seed: int) -> None:
    pairs = np.corrcoef(hourly_returns(history(seed)))[np.triu_indices(6, 1)]
    assert 0.2 <= pairs.mean() <= 0.4


def test_minutes_are_as_volatile_as_declared_with_heavy_tails() -> None:
    declared = np.array([row.volatility_bps for row in INSTRUMENT_PROCESSES.values()])
    for seed in SEEDS:
        returns = np.diff(np.log(history(seed).close), axis=1) * 1e4
        assert returns.std(axis=1) == pytest.approx(declared, rel=0.15)
        kurtosis = ((returns - returns.mean(axis=1, keepdims=True)) ** 4).mean(axis=1) / returns.var(axis=1) ** 2
        assert (kurtosis > 4).all()  # a normal distribution has 3


def test_volatility_clusters_and_volume_follows_it() -> None:
    past = history(2)
    moves = np.abs(np.diff(np.log(past.close), axis=1))
    span, volume = np.log(past.high / past.low), np.log(past.volume)
    for i in range(6):
        assert np.corrcoef(moves[i, :-30], moves[i, 30:])[0, 1] > 0.05
        assert np.corrcoef(span[i], volume[i])[0, 1] > 0.3
    by_hour = past.volume.reshape(6, -1, 24, 60).mean(axis=(1, 3))
    assert (by_hour[:, 15] > 1.5 * by_hour[:, 3]).all()


def test_the_range_of_a_minute_fits_its_volatility() -> None:
    past = history(1)
    spread = np.array([row.spread_bps for row in INSTRUMENT_PROCESSES.values()]) * 1e-4
    span = np.log(past.high / past.low).mean(axis=1) - spread
    deviation = np.diff(np.log(past.close), axis=1).std(axis=1)
    # a Brownian path's expected range is 1.596 deviations; mixing volatilities and jumps lowers the ratio
    assert ((span / deviation > 1.2) & (span / deviation < 1.7)).all()


def test_the_signal_shows_in_past_returns() -> None:
    """Fit on the first 60 days, judge on the rest: what a linear model finds in five features of five-minute bars."""
    for seed in SEEDS:
        past = history(seed)
        closes, signal = np.log(past.close[:, 4::5]), past.signal[:, 4::5]
        lags, longest, split = (12, 48, 144, 288, 480), 480, 60 * 288
        ahead = np.full_like(closes, np.nan)
        ahead[:, :-12] = closes[:, 12:] - closes[:, :-12]
        features = np.stack([closes - np.roll(closes, lag, axis=1) for lag in lags], axis=-1)
        train = features[:, longest : split - 12].reshape(-1, 5)
        weights = np.linalg.lstsq(train, ahead[:, longest : split - 12].ravel(), rcond=None)[0]
        found = features[:, split:] @ weights
        assert np.corrcoef(found.ravel(), signal[:, split:].ravel())[0, 1] >= 0.6


def test_without_structure_nothing_is_hidden_and_the_shocks_stay() -> None:
    bare, planted = history(1, structure=0), history(1)
    assert not bare.signal.any()
    day = 1440
    momentum = []
    for past in (bare, planted):
        daily = np.log(past.close[:, day::day] / past.close[:, :-day:day])
        momentum.append(float(np.mean([np.corrcoef(row[:-1], row[1:])[0, 1] for row in daily])))
    assert abs(momentum[0]) < 0.1 < momentum[1]
    shocks = [np.diff(np.log(past.close[0, :5000])) for past in (bare, planted)]
    assert np.corrcoef(*shocks)[0, 1] > 0.99


def test_the_calibration_solves_its_own_equation() -> None:
    scenario, sigma = Scenario(0), 0.006
    s, kappa = signal_deviation(scenario, sigma), math.log(2) / 12
    a, b = (1 - math.exp(-kappa)) / kappa, (kappa - 1 + math.exp(-kappa)) / kappa**2
    whole = sigma**2 + 2 * s * s * b + 2 * 0.9 * sigma * s * math.sqrt(2 * kappa) * b
    assert s * s * a * a / whole == pytest.approx(0.05)


def same(a: History, b: History) -> bool:
    names = ("open", "high", "low", "close", "volume", "quote_volume", "trade_count", "signal")
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)


def test_a_seed_gives_the_same_bars_and_another_seed_others() -> None:
    first, again = simulate_history(Scenario(5, days=3)), simulate_history(Scenario(5, days=3))
    assert same(first, again)
    assert not np.array_equal(first.close, simulate_history(Scenario(6, days=3)).close)


def test_a_longer_history_begins_with_the_shorter_one() -> None:
    short, long = history(1, days=3), history(1)
    assert np.array_equal(short.close, long.close[:, : 3 * 1440])
    assert np.array_equal(short.volume, long.volume[:, : 3 * 1440])


def test_the_number_of_threads_changes_nothing() -> None:
    code = (
        "import hashlib; from market.scenario import *; h = simulate_history(Scenario(7, days=2));"
        "print(hashlib.sha256(h.close.tobytes() + h.volume.tobytes()).hexdigest())"
    )
    digests = set()
    for threads in ("1", "2"):
        environment = {"NUMBA_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        digests.add(run.stdout)
    assert len(digests) == 1


def test_the_present_continues_the_past() -> None:
    past = history(1)
    live = LiveProcess(past.state)
    path = np.array([live.step(6.0).log_price for _ in range(6 * 60 * 10)])  # six hours
    assert live.state.time_us == past.state.time_us + 6 * 60 * MINUTE
    assert np.abs(path[0] - np.log(past.close[:, -1])).max() < 0.005
    minutes = np.diff(path[::10], axis=0).std(axis=0)
    recent = np.diff(np.log(past.close[:, -1440:]), axis=1).std(axis=1)
    assert ((minutes / recent > 0.5) & (minutes / recent < 2)).all()


def test_the_present_repeats_exactly_and_from_any_saved_state() -> None:
    live, twin = LiveProcess(history(1).state), LiveProcess(history(1).state)
    for dt in (0.1, 6.0, 45.0, 0.5):
        ours, theirs = live.step(dt), twin.step(dt)
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    resumed = LiveProcess(live.state)
    assert np.array_equal(live.step(6.0).log_price, resumed.step(6.0).log_price)


def test_the_size_of_a_step_does_not_change_how_far_the_signal_goes() -> None:
    coarse, fine = LiveProcess(history(1).state), LiveProcess(history(1).state)
    a = np.array([(coarse.step(10.0), coarse.signal)[1] for _ in range(20_000)])
    b = np.array([(fine.step(2.5), fine.signal)[1] for _ in range(80_000)])
    assert a.std(axis=0).mean() == pytest.approx(b.std(axis=0).mean(), rel=0.35)


def test_levels_of_the_present_are_positive_and_near_the_declared_ones() -> None:
    live, model = LiveProcess(history(2).state), coefficients(Scenario(2))
    flows = [live.step(10.0) for _ in range(3 * 8640)]  # three days
    sigma = np.sqrt(np.mean([flow.sigma**2 for flow in flows], axis=0))
    volume = np.mean([flow.volume_per_second for flow in flows], axis=0)
    assert ((sigma / model.sigma > 0.6) & (sigma / model.sigma < 1.6)).all()
    assert ((volume / model.volume > 0.4) & (volume / model.volume < 2.5)).all()


@pytest.mark.parametrize("arguments", [{"days": 0}, {"structure": 2}, {"seed": -1}])
def test_a_scenario_that_makes_no_sense_is_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="scenario"):
        Scenario(**({"seed": 1} | arguments))


def test_a_step_without_time_is_refused() -> None:
    with pytest.raises(UsageError, match="dt_seconds"):
        LiveProcess(history(1, days=3).state).step(0.0)


# -- presets ------------------------------------------------------------------------------------------------------


@functools.cache
def preset(name: str, seed: int = 1, structure: int = 1, days: int = 60) -> History:
    return simulate_history(Scenario(seed, days, structure, preset=name))


def test_the_default_market_is_the_one_it_was() -> None:
    past = simulate_history(Scenario(7, days=20))
    digest = hashlib.sha256()
    for values in (past.open, past.high, past.low, past.close, past.volume, past.quote_volume, past.trade_count):
        digest.update(np.ascontiguousarray(values).tobytes())
    digest.update(past.signal.tobytes())
    assert digest.hexdigest()[:16] == "ed9420727aa11e8b"
    assert past.regimes == ("calm", "turbulent")
    assert 0 < past.regime.mean() < 1


@pytest.mark.parametrize("name", worlds.PRESETS)
def test_every_preset_gives_valid_bars_and_a_present_that_continues_them(name: str) -> None:
    past = preset(name, days=10)
    low_end, high_end = np.minimum(past.open, past.close), np.maximum(past.open, past.close)
    assert (past.low > 0).all() and (past.low <= low_end).all() and (high_end <= past.high).all()
    assert (past.volume > 0).all() and set(np.unique(past.regime)) <= {0, 1, 2, 3}
    live = LiveProcess(past.state)
    first = live.step(0.5)
    assert np.abs(first.log_price - np.log(past.close[:, -1])).max() < 0.02
    assert live.regime in worlds.REGIMES
    assert same(past, simulate_history(Scenario(1, 10, preset=name)))


def test_regimes_last_and_move_as_they_are_named() -> None:
    past = preset("regimes", days=180)
    returns = np.diff(np.log(past.close), axis=1)
    at = past.regime[1:]
    drift = [returns[:, at == k].mean() * 1e6 for k in range(4)]
    deviation = [returns[:, at == k].std() for k in range(4)]
    together = [np.corrcoef(returns[:, at == k])[np.triu_indices(6, 1)].mean() for k in range(4)]
    assert drift[worlds.REGIMES.index("bull")] > 0 > drift[worlds.REGIMES.index("bear")]
    assert deviation[3] > 2 * max(deviation[:3]) > 2 * deviation[2] > 0
    assert together[3] > together[0] + 0.25
    changes = int((np.diff(past.regime) != 0).sum())
    assert 30 < changes < 200


def test_a_preset_without_structure_has_no_drift_that_regimes_could_tell() -> None:
    past = preset("bear", structure=0, days=90)
    moves = np.log(past.close[:, -1] / past.open[:, 0])
    planted = preset("bear", days=90)
    assert np.log(planted.close[:, -1] / planted.open[:, 0]).mean() < moves.mean() - 0.15
    daily = np.diff(np.log(past.close[:, ::1440]), axis=1)
    assert abs(np.mean([np.corrcoef(row[:-1], row[1:])[0, 1] for row in daily])) < 0.1


def test_volatility_remembers_for_a_day_in_the_regimes_and_hardly_in_the_default() -> None:
    def memory(past: History, lag: int) -> float:
        sizes = np.abs(np.diff(np.log(past.close), axis=1))
        return float(np.mean([np.corrcoef(row[:-lag], row[lag:])[0, 1] for row in sizes]))

    rich = preset("regimes", days=180)
    assert memory(rich, 1) > 0.2 and memory(rich, 240) > 0.1 and memory(rich, 1440) > 0.04


def test_shares_of_time_follow_the_chain() -> None:
    share = worlds.stationary(worlds.PRESETS["regimes"])
    seen = np.mean([np.bincount(preset("regimes", seed, days=180).regime, minlength=4) for seed in (1, 2)], axis=0)
    assert share.sum() == pytest.approx(1)
    assert np.abs(seen / seen.sum() - share).max() < 0.15


def test_a_world_that_does_not_add_up_is_refused() -> None:
    with pytest.raises(UsageError, match="sum to one"):
        worlds.World(follows=((0.0, 0.5, 0.2, 0.2),) * 4)
    with pytest.raises(UsageError, match="scales"):
        worlds.World(scale_hours=(1.0,))
    with pytest.raises(UsageError, match="preset"):
        Scenario(1, preset="sideways")
