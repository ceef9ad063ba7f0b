"""Small recorded markets for the tests of the tick backtest."""

from collections.abc import Sequence

import numpy as np

from market import feed as f
from market.feed import Feed, Part
from market.latency import Latency, parse_latency
from market.tick_conditions import TickConditions

NAME = "test:A/USD"
START = 1_000_000_000
MS = 1_000
FREE = TickConditions(maker_fee_bps=0.0, taker_fee_bps=0.0, leverage=1e9, shorts=True, capital=1e6)


def feed_of(rows: Sequence[tuple[int, int, int, int]], latency: str | Latency = "0ms", has_book: bool = True) -> Feed:
    """One instrument of tick 0.5 and lot 0.1 from rows of (milliseconds, kind, tick, lots)."""
    times = [START + round(at * MS) for at, *_ in rows]
    table = np.array([(t, t, *row[1:]) for t, row in zip(times, rows, strict=True)], np.int64)
    part = Part(NAME, table, 0.5, 0.1, has_book)
    return f.join([part]).heard(parse_latency(latency) if isinstance(latency, str) else latency)


def random_rows(count: int, seed: int) -> list[tuple[int, int, int, int]]:
    """Levels and trades around a wandering price, a few milliseconds apart."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[int, int, int, int]] = []
    at, middle = 0, 1_000
    for level in range(1, 9):
        rows += [(0, f.SET_BID, middle - level, 20), (0, f.SET_ASK, middle + level, 20)]
    for _ in range(count):
        at += int(rng.integers(0, 8))
        middle += int(rng.integers(-1, 2)) if rng.random() < 0.05 else 0
        side, away, lots = int(rng.integers(0, 2)), int(rng.integers(1, 5)), int(rng.integers(0, 25))
        if rng.random() < 0.25:
            kind, tick = (f.SELL, middle - away + 1) if side == 0 else (f.BUY, middle + away - 1)
            rows.append((at, kind, tick, max(lots, 1)))
        elif side == 0:
            rows.append((at, f.SET_BID, middle - away, lots))
            rows.append((at, f.SET_ASK, middle - away, 0))
        else:
            rows.append((at, f.SET_ASK, middle + away, lots))
            rows.append((at, f.SET_BID, middle + away, 0))
    return rows
