"""Speed of the bar backtest on one core beside vectorbt: bars with a stop and costs, at 1×, 4× and 16× the bars.

python bench/backtest.py            one JSON line per size: both sides' millions of bars a second of CPU time, ratio
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from peers import compared, run_peer

from lake.intervals import MINUTE
from market.bars import Bars
from market.conditions import Conditions
from market.simulation import backtest, follow_weights
from market.strategy import Account, Bar, Command, Strategy, Target

BARS = 1_000_000
RUNS = 7
CONDITIONS = Conditions(stop_loss=0.02, impact=0.0)
"""vectorbt knows no market impact."""


def random_bars(n: int) -> Bars:
    """A random walk of one instrument."""
    rng = np.random.default_rng(1)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, 0.001, n)))
    opens = np.concatenate(([100.0], closes[:-1]))
    highs, lows = np.maximum(opens, closes) * 1.0005, np.minimum(opens, closes) * 0.9995
    values = np.stack([opens, highs, lows, closes, rng.lognormal(6, 1, n)], axis=1)[:, None, :]
    return Bars(("bench:A/USD",), np.arange(n, dtype=np.int64) * 5 * MINUTE, np.ascontiguousarray(values), 5 * MINUTE)


def timed(n: int, every: int) -> dict[str, Any]:
    """Long or flat, decided anew every so many bars; equity and fills are written. vectorbt gets the same signals."""
    bars = random_bars(n)
    held = np.repeat(np.random.default_rng(2).random(n // every + 1) < 0.5, every)[:n].astype(float)
    weights = held[:, None].copy()
    run = follow_weights(weights, bars, CONDITIONS)
    rates = []
    for _ in range(RUNS):
        began = time.thread_time()
        follow_weights(weights, bars, CONDITIONS)
        rates.append(n / (time.thread_time() - began) / 1e6)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bars.npy"
        np.save(file, np.column_stack([bars.values[:, 0, :4], held]))
        costs = CONDITIONS.fee_bps * 1e-4, CONDITIONS.slippage_bps * 1e-4
        peer = run_peer("peer_vectorbt.py", file, min(RUNS, 3 if n > BARS else RUNS), *costs, CONDITIONS.stop_loss)
    line = {"bench": "bars with a stop and costs", "peer_name": "vectorbt", "bars": n}
    return line | compared(rates, peer) | {"did": {"fills": len(run.fills), "final": round(float(run.equity[-1]), 2)}}


class Alternate(Strategy):
    """A target every hundredth bar: the event loop with little to do."""

    def on_bar(self, bar: Bar, account: Account) -> list[Command]:
        count = bar.open_time // (5 * MINUTE)
        return [Target(bar.instrument, count // 100 % 2)] if count % 100 == 0 else []


def main() -> None:
    for factor in (1, 4, 16):
        print(json.dumps(timed(factor * BARS, 1_000)), flush=True)
    bars = random_bars(200_000)
    backtest(Alternate(), bars.head(300), CONDITIONS)
    began = time.thread_time()
    backtest(Alternate(), bars, CONDITIONS)
    rate = round(0.2 / (time.thread_time() - began), 2)
    print(json.dumps({"bench": "bars event by event", "bars": 200_000, "ours": rate}))


if __name__ == "__main__":
    main()
