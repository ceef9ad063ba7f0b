"""Every feature view alone: microseconds per bar and the budget they are held to.

A view is compiled by itself and scanned over 20,000 bars; printed is the fastest round, since whatever else runs on the
machine only adds to it. Exit code 1 if a view is over its budget.

    python bench/views.py [--rounds N] [--json]
"""

import argparse
import json
import sys
import time

import numpy as np

from feature_store.scan import compute
from feature_store.service import FeatureService, services
from feature_store.view import FeatureView, Floats, Times
from lake.intervals import MINUTE

BARS = 20_000
START = 1_704_067_200_000_000
BUDGET_US = 1.0
"""Of a view that is not named below: a window or two of up to 60 bars."""
BUDGETS_US = {
    "detrended_fluctuation": 6.0,  # four passes over 256 closes
    "higuchi": 5.0,  # eight passes over 128 closes
    "hurst": 16.0,  # ten passes over 256 returns
    "levels": 6.0,  # four passes over 288 bars
    "pivots": 5.0,  # up to 96 bars backwards, four neighbours each
    "return_quantiles": 2.0,  # 257 bins
    "variance_ratio": 6.0,  # four passes over 288 closes
    "vwap_distance": 2.0,  # a pass over 288 bars and one over 48
    "yang_zhang": 2.0,  # six passes over 60 bars
}


def walk(n: int) -> tuple[Times, Floats]:
    """A random walk of five-minute bars; the values do not matter to the clock."""
    rng = np.random.default_rng(1)
    close = 40_000 * np.exp(np.cumsum(rng.normal(0, 1e-3, n)))
    open_ = np.concatenate([close[:1], close[:-1]])
    high, low = np.maximum(open_, close) * 1.0005, np.minimum(open_, close) * 0.9995
    bars = np.column_stack([open_, high, low, close, rng.lognormal(2, 1, n)])
    return START + 5 * MINUTE * np.arange(n, dtype=np.int64), bars


def microseconds(view: FeatureView, rounds: int) -> float:
    """Of the fastest round, per bar; the warm-up before each week is scanned too and counts in."""
    service, (times, bars) = FeatureService(view.name, "5m", (view,)), walk(BARS)
    compute(service, times, bars)  # compiled, warm
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        compute(service, times, bars)
        taken.append(time.perf_counter() - start)
    return min(taken) / BARS * 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    views = [view for service in services().values() for view in service.views]
    rows = [
        {
            "view": view.name,
            "us": microseconds(view, arguments.rounds),
            "budget_us": BUDGETS_US.get(view.name, BUDGET_US),
        }
        for view in views
    ]
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        for row in rows:
            print(f"{row['view']:22} {row['us']:7.2f} µs per bar, budget {row['budget_us']:.1f}")
    return int(any(row["us"] > row["budget_us"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
