"""Steps a second of the environments on one core, and of gym-anytrading in the same run.

python bench/env.py                 JSON lines: median, minimum and maximum of the runs, in million steps a second

Ours is measured through `MarketVectorEnv.step`, observations copied out, actions prepared; the cost of a step does not
depend on how many are played (1×, 4×, 16×).
"""

import json
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lake.intervals import MINUTE
from market.env import MarketEnv, MarketVectorEnv, World
from market.env_bars import BarsWorld
from market.env_book import BookWorld
from market.strategy import BarArrays

RUNS = 7
BARS = 100_000
PEER = Path(".tools/peers/bin/python")
PEER_CODE = """
import time, json, warnings
warnings.filterwarnings("ignore")
import gymnasium, numpy, pandas
from gym_anytrading.envs import StocksEnv
rng = numpy.random.default_rng(1)
closes = 100 * numpy.exp(numpy.cumsum(rng.normal(0, 0.001, 50_000)))
frame = pandas.DataFrame({"Open": closes, "High": closes, "Low": closes, "Close": closes, "Volume": 1.0})
env = StocksEnv(frame, window_size=10, frame_bound=(10, len(frame)))
actions, rates = rng.integers(0, 2, 40_000).tolist(), []
for _ in range(RUNS):
    env.reset(seed=1)
    began = time.thread_time()
    for action in actions:
        env.step(action)
    rates.append(len(actions) / (time.thread_time() - began) / 1e6)
print(json.dumps(rates))
""".replace("RUNS", str(RUNS))


def random_bars(n: int = BARS) -> BarArrays:
    """A random walk of one instrument."""
    rng = np.random.default_rng(1)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, 0.001, n)))
    opens = np.concatenate(([100.0], closes[:-1]))
    highs, lows = np.maximum(opens, closes) * 1.0005, np.minimum(opens, closes) * 0.9995
    return BarArrays(np.arange(n) * MINUTE, opens, highs, lows, closes, rng.lognormal(6, 1, n))


def rates(world: Callable[[int], World], n: int, steps: int) -> list[float]:
    """Million steps a second of each run, all environments together."""
    env = MarketVectorEnv(world, num_envs=n)
    env.reset(seed=1)
    rng = np.random.default_rng(2)
    actions = np.stack(
        [rng.choice([-1.0, 0.0, 0.0, 1.0], n), rng.choice([0.0, 0.0, 0.5], n), rng.choice([0.0, 0.5], n)], axis=1
    )
    env.step(actions)
    measured = []
    for _ in range(RUNS):
        began = time.thread_time()
        for _ in range(steps):
            env.step(actions)
        measured.append(n * steps / (time.thread_time() - began) / 1e6)
    return measured


def single_rates(world: Callable[[int], World], steps: int = 20_000) -> list[float]:
    """The same of one environment."""
    env, action = MarketEnv(world), np.array([1.0, 0.0, 0.0])
    measured = []
    for run in range(RUNS):
        env.reset(seed=run)
        began = time.thread_time()
        for _ in range(steps):
            *_, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        measured.append(steps / (time.thread_time() - began) / 1e6)
    return measured


def report(name: str, measured: list[float], **more: object) -> float:
    """Print one line; returns the median."""
    median = statistics.median(measured)
    numbers = {"median": median, "minimum": min(measured), "maximum": max(measured)}
    print(json.dumps({"bench": name, **more, **{k: float(f"{v:.3g}") for k, v in numbers.items()}}), flush=True)
    return median


def main() -> None:
    bars, features = random_bars(), np.random.default_rng(3).normal(size=(BARS, 6))

    def over_bars(n: int) -> BarsWorld:
        return BarsWorld(n, bars, features, list("abcdef"))

    ours = 0.0
    for factor in (1, 4, 16):
        ours = report("bars, 4096 environments", rates(over_bars, 4096, 100 * factor), steps=4096 * 100 * factor)
    for n in (512, 4096):
        for factor in (1, 4, 16):
            steps = max(1, 50_000 // n) * factor
            report(f"order book, {n} environments", rates(BookWorld, n, steps), steps=n * steps)
    report("bars, one environment", single_rates(over_bars))
    report("order book, one environment", single_rates(BookWorld))
    if not PEER.exists():
        print(json.dumps({"bench": "gym-anytrading", "skipped": "not installed: make peers"}))
        return
    answer = subprocess.run([str(PEER), "-c", PEER_CODE], capture_output=True, text=True, check=True)
    theirs = report("gym-anytrading, one environment", json.loads(answer.stdout))
    print(json.dumps({"bench": "bars over gym-anytrading", "ratio": round(ours / theirs)}))


if __name__ == "__main__":
    main()
