"""Every feature view and service: microseconds and the budget they are held to.

`scan`: a view compiled by itself over 20,000 bars, or rows of a book; the fastest round, since whatever else runs on
the machine only adds to it. `update`: the median of 1,500 updates of a stream of that view alone, and of each service,
as live pays them. Budgets are those of `feature_store.catalogue`. Exit code 1 if one is over its budget.

    python bench/views.py [--rounds N] [--json]
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

from feature_store.book import BookService, BookStream, compute_book
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
from feature_store.catalogue import all_services, budget_us, update_budget_us
from feature_store.scan import Stream, compute
from feature_store.service import FeatureService
from feature_store.view import FeatureView, Floats, Times
from lake.intervals import MINUTE

BARS = 20_000
START = 1_704_067_200_000_000
SEEDED, UPDATES = 500, 1_500
"""Bars of one week: no update begins a new period."""


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


def rows_for(service: FeatureService) -> tuple[Times, Floats]:
    """Bars, and behind them whatever else the service reads."""
    times, bars = walk(BARS)
    extras = 50.0 * np.exp(np.cumsum(np.random.default_rng(2).normal(0, 1e-3, (BARS, len(service.extras))), axis=0))
    return times, np.hstack([bars, extras])


def scan_us(service: FeatureService | BookService, rounds: int) -> float:
    if isinstance(service, BookService):
        rows = books(BARS)
        return fastest(lambda: compute_book(service, rows), rounds)
    times, matrix = rows_for(service)
    return fastest(lambda: compute(service, times, matrix), rounds)


def update_us(service: FeatureService | BookService) -> float:
    """Median microseconds of one update of the service's stream."""
    calls: list[Callable[[], object]]
    if isinstance(service, BookService):
        book = BookStream(service)
        calls = [lambda r=row: book.update(r) for row in books(SEEDED + UPDATES)]
    else:
        stream, (times, matrix) = Stream(service), rows_for(service)
        stream.seed(times[:SEEDED], matrix[:SEEDED])
        calls = [lambda t=int(times[i]), r=matrix[i]: stream.update(t, r) for i in range(SEEDED, SEEDED + UPDATES)]
    taken = []
    for call in calls:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken)) * 1e6


def alone(view: FeatureView, service: FeatureService | BookService) -> FeatureService | BookService:
    if isinstance(service, BookService):
        return BookService(view.name, (view,))
    return FeatureService(view.name, "5m", (view,))


def measured(rounds: int) -> Iterator[tuple[str, str, float, float]]:
    """(what, scan or update, microseconds, budget) of every view and every service."""
    every = all_services().values()
    for view, home in {view: service for service in every for view in service.views}.items():
        one = alone(view, home)
        yield view.name, "scan", scan_us(one, rounds), budget_us(view)
        yield view.name, "update", update_us(one), update_budget_us(one)
    for service in every:
        five = service if isinstance(service, BookService) else service.at("5m")
        yield service.name, "update", update_us(five), update_budget_us(service)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    over, rows = 0, []
    for name, kind, taken, budget in measured(arguments.rounds):
        over += taken > budget
        rows.append({"name": name, "kind": kind, "us": round(taken, 3), "budget_us": budget, "held": taken <= budget})
        if not arguments.json:
            verdict = "held" if taken <= budget else "OVER"
            print(f"{name:22} {kind:6} {taken:7.2f} µs, budget {budget:5.2f}: {verdict}", flush=True)
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        print(f"{len(rows) - over} of {len(rows)} budgets held")
    return int(over > 0)


if __name__ == "__main__":
    sys.exit(main())
