"""Every feature view alone: microseconds per bar and the budget they are held to.

A view is compiled by itself and scanned over 20,000 bars, or rows of a book; printed is the fastest round, since
whatever else runs on the machine only adds to it. Last, one update of `BookStream` with every view of books (p50), as
live pays it. Exit code 1 if one is over its budget.

    python bench/views.py [--rounds N] [--json]
"""

import argparse
import json
import sys
import time
from collections.abc import Callable

import numpy as np

from feature_store.book import BOOK, BookService, BookStream, compute_book
from feature_store.book_inputs import (
    ASK_PRICE,
    ASK_QUANTITY,
    BID_PRICE,
    BID_QUANTITY,
    BUCKET,
    LEVELS,
    TIME,
    TRADE_PRICE,
    TRADE_QUANTITY,
    TRADE_SIDE,
    WIDTH,
)
from feature_store.catalogue import BUDGET_US, BUDGETS_US
from feature_store.scan import compute
from feature_store.service import FeatureService, services
from feature_store.view import FeatureView, Floats, Times
from lake.intervals import MINUTE

BARS = 20_000
START = 1_704_067_200_000_000
BOOK_UPDATE_US = 5.0


def walk(n: int) -> tuple[Times, Floats]:
    """A random walk of five-minute bars; the values do not matter to the clock."""
    rng = np.random.default_rng(1)
    close = 40_000 * np.exp(np.cumsum(rng.normal(0, 1e-3, n)))
    open_ = np.concatenate([close[:1], close[:-1]])
    high, low = np.maximum(open_, close) * 1.0005, np.minimum(open_, close) * 0.9995
    bars = np.column_stack([open_, high, low, close, rng.lognormal(2, 1, n)])
    return START + 5 * MINUTE * np.arange(n, dtype=np.int64), bars


def books(n: int) -> Floats:
    """Books of ten levels, every third row a trade."""
    rng = np.random.default_rng(1)
    rows, mid = np.zeros((n, WIDTH)), 60_000 + np.cumsum(rng.integers(-2, 3, n)) * 0.1
    rows[:, TIME] = START + 50_000 * np.arange(n)
    for price, quantity, sign in ((BID_PRICE, BID_QUANTITY, -0.1), (ASK_PRICE, ASK_QUANTITY, 0.1)):
        rows[:, price : price + LEVELS] = mid[:, None] + sign * (1 + np.arange(LEVELS))
        rows[:, quantity : quantity + LEVELS] = rng.lognormal(0, 1, (n, LEVELS))
    rows[::3, TRADE_SIDE], rows[::3, TRADE_PRICE] = rng.choice([-1.0, 1.0], len(rows[::3])), mid[::3]
    rows[::3, TRADE_QUANTITY], rows[:, BUCKET] = rng.lognormal(-2, 1.5, len(rows[::3])), 5.0
    return rows


def fastest(run: Callable[[], object], rounds: int) -> float:
    """Microseconds per row of the fastest round; the warm-up before each week is scanned too and counts in."""
    run()  # compiled, warm
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken) / BARS * 1e6


def microseconds(view: FeatureView, rounds: int) -> float:
    service, (times, bars) = FeatureService(view.name, "5m", (view,)), walk(BARS)
    extras = 50.0 * np.exp(np.cumsum(np.random.default_rng(2).normal(0, 1e-3, (BARS, len(service.extras))), axis=0))
    matrix = np.hstack([bars, extras])
    return fastest(lambda: compute(service, times, matrix), rounds)


def book_update() -> float:
    """Median microseconds of one update."""
    stream, taken = BookStream(), []
    for row in books(BARS):
        start = time.perf_counter()
        stream.update(row)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken)) * 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    views = dict.fromkeys(view for service in services().values() for view in service.views)
    rows_of_books = books(BARS)
    rows = [
        {
            "view": view.name,
            "us": microseconds(view, arguments.rounds),
            "budget_us": BUDGETS_US.get(view.name, BUDGET_US),
        }
        for view in views
    ]
    for view in BOOK.views:
        one = BookService(view.name, (view,))
        taken = fastest(lambda s=one: compute_book(s, rows_of_books), arguments.rounds)
        rows.append({"view": view.name, "us": taken, "budget_us": BUDGET_US})
    rows.append({"view": "one update of book_1", "us": book_update(), "budget_us": BOOK_UPDATE_US})
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        for row in rows:
            print(f"{row['view']:22} {row['us']:7.2f} µs, budget {row['budget_us']:.1f}")
    return int(any(row["us"] > row["budget_us"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
