"""Speed of the matching kernel on one core: the plain book, then with accounts, fees and all order types.

python bench/matching.py                    one JSON line per size: operations a second, minimum, median, maximum
python bench/matching.py --oracle 1000000   so many random requests of all types against the naive engine of the tests
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from peers import compared, run_peer

from lake.instruments import INSTRUMENTS
from market import book as books
from market import engine as engines
from market.accounts import FREE
from market.book import BUY, Integers
from market.contracts import spot
from market.kernel import kernel
from market.order_entry import cancel
from market.requests import amend, pass_time, submit

OPERATIONS = 1_000_000
RUNS = 7
RING = 1024
"""Orders the traffic remembers and may cancel."""

ADD, CANCEL, HIT = range(3)
OP_KIND, OP_SIDE, OP_OFFSET, OP_LOTS, OP_PICK, OP_MIDDLE, OP_FIELDS = range(7)


def traffic(count: int, seed: int = 1) -> Integers:
    """[count, OP_FIELDS]: half adds near the touch, four in ten cancels, one in ten takes; the middle price wanders."""
    rng = np.random.default_rng(seed)
    operations = np.zeros((count, OP_FIELDS), np.int64)
    operations[:, OP_KIND] = rng.choice([ADD, CANCEL, HIT], count, p=[0.5, 0.4, 0.1])
    operations[:, OP_SIDE] = rng.integers(0, 2, count)
    operations[:, OP_OFFSET] = np.minimum(rng.geometric(0.3, count), 40)
    operations[:, OP_LOTS] = rng.integers(1, 20, count)
    operations[:, OP_PICK] = rng.integers(0, RING, count)
    operations[:, OP_MIDDLE] = 100_000 + np.cumsum(rng.choice([-1, 0, 1], count, p=[0.01, 0.98, 0.01]))
    return operations


@kernel
def plain(book: Any, operations: Any, ring: Any) -> int:
    """Run the traffic through the matching alone; returns the lots traded."""
    traded, at = 0, 0
    for k in range(len(operations)):
        operation = operations[k]
        side, lots = operation[OP_SIDE], operation[OP_LOTS]
        if operation[OP_KIND] == CANCEL:
            pick = operation[OP_PICK]
            books.remove(book, 0, ring[pick, 0], ring[pick, 1])
            continue
        towards = operation[OP_OFFSET] if operation[OP_KIND] == HIT else -operation[OP_OFFSET]
        price = operation[OP_MIDDLE] + (towards if side == BUY else -towards)
        order_id, filled, slot = books.place(book, 0, 1, side, price, lots, operation[OP_KIND] == ADD, k)
        traded += filled
        book.tape_rows[0] = 0
        if slot >= 0:
            ring[at % RING, 0], ring[at % RING, 1] = slot, order_id
            at += 1
    return traded


def plain_run(operations: Integers) -> Callable[[], int]:
    book, ring = books.new_book(1, slots=65_536, tape=70_000), np.zeros((RING, 2), np.int64)
    ring[:, 1] = -1
    return lambda: int(plain(book, operations, ring))


def requests(operations: Integers, seed: int = 2) -> Integers:
    """[count, REQ_FIELDS]: the same traffic as orders of all types, of eight owners.

    Of the adds 8 % are icebergs, 8 % post-only, 8 % good till a date and 6 % wait for a price (stops, take profits,
    trailing stops); of the takes a third each are immediate or cancel, fill or kill, market. A tenth prevents
    self-trades. In REQ_KIND a cancel is −1 and, one cancel in eight, an amend −2.
    """
    rng, count = np.random.default_rng(seed), len(operations)
    rows = np.zeros((count, engines.REQ_FIELDS), np.int64)
    kind, side, middle = operations[:, OP_KIND], operations[:, OP_SIDE], operations[:, OP_MIDDLE]
    away = np.where(side == BUY, -1, 1)
    hits, draw = kind == HIT, rng.random(count)
    rows[:, engines.REQ_OWNER], rows[:, engines.REQ_SIDE] = rng.integers(1, 9, count), side
    rows[:, engines.REQ_LOTS] = operations[:, OP_LOTS]
    rows[:, engines.REQ_PRICE] = middle + np.where(hits, -1, 1) * away * operations[:, OP_OFFSET]
    rows[:, engines.REQ_KIND] = np.where(hits & (draw < 1 / 3), engines.MARKET, engines.LIMIT)
    rows[:, engines.REQ_TIF] = np.where(hits, np.where(draw < 2 / 3, engines.IOC, engines.FOK), engines.GTC)
    rows[:, engines.REQ_STP] = np.where(draw % 0.1 < 0.01, engines.EXPIRE_MAKER, engines.STP_NONE)
    adds = kind == ADD
    rows[adds & (draw < 0.08), engines.REQ_DISPLAY] = 4
    rows[adds & (draw > 0.92), engines.REQ_TIF] = engines.POST_ONLY
    dated = adds & (draw > 0.84) & (draw <= 0.92)
    rows[dated, engines.REQ_TIF] = engines.GTD
    rows[dated, engines.REQ_EXPIRY] = np.flatnonzero(dated) + 3_000
    waits = adds & (draw > 0.78) & (draw <= 0.84)
    rows[waits, engines.REQ_KIND] = rng.integers(engines.STOP_MARKET, engines.TRAILING_STOP + 1, waits.sum())
    rises = (side == BUY) ^ np.isin(rows[:, engines.REQ_KIND], (engines.TAKE_PROFIT_MARKET, engines.TAKE_PROFIT_LIMIT))
    rows[waits, engines.REQ_STOP] = (middle + np.where(rises, 1, -1) * 4 * operations[:, OP_OFFSET])[waits]
    trails = waits & (rows[:, engines.REQ_KIND] == engines.TRAILING_STOP)
    rows[trails, engines.REQ_STOP], rows[trails, engines.REQ_TRAIL] = 0, rng.integers(1, 6, trails.sum())
    rows[kind == CANCEL, engines.REQ_KIND] = -1
    rows[(kind == CANCEL) & (draw < 1 / 8), engines.REQ_KIND] = -2
    return rows


@kernel
def full(engine: Any, rows: Any, operations: Any, ring: Any) -> int:
    """Run the traffic through the engine with accounts and fees; returns the lots traded."""
    traded, at = 0, 0
    for k in range(len(rows)):
        pick, kind = operations[k, OP_PICK], rows[k, engines.REQ_KIND]
        slot, order_id = -1, 0
        if kind == -1:
            cancel(engine, 0, ring[pick, 0], ring[pick, 1], k)
        elif kind == -2:
            order_id, _, slot = amend(
                engine, 0, ring[pick, 0], ring[pick, 1], rows[k, engines.REQ_PRICE], rows[k, engines.REQ_LOTS], k
            )
        else:
            order_id, _, slot = submit(engine, rows[k], k)
        for row in range(engine.book.tape_rows[0]):
            traded += engine.book.tape[row, books.TAPE_LOTS]
        engine.book.tape_rows[0] = engine.event_rows[0] = 0
        if slot >= 0:
            ring[at % RING, 0], ring[at % RING, 1] = slot, order_id
            at += 1
        if k % 64 == 0:
            pass_time(engine, k)
    return traded


def full_run(operations: Integers) -> Callable[[], int]:
    engine = engines.new_engine([spot(INSTRUMENTS["binance:BTC/USDT"])], 9, slots=65_536, tape=200_000)
    engine.accounts.balances[1:9, :, FREE] = 10**16
    engine.accounts.fees.rates[1:9] = 500
    total = engine.accounts.balances.sum(axis=(0, 2))
    rows, ring = requests(operations), np.zeros((RING, 2), np.int64)

    def run() -> int:
        lots = int(full(engine, rows, operations, ring))
        if (engine.accounts.balances.sum(axis=(0, 2)) != total).any():
            raise RuntimeError("money was made or lost: the engine does not conserve; run the tests of market.engine")
        return lots

    return run


def timed(build: Callable[[Integers], Callable[[], int]], count: int) -> dict[str, float]:
    """Millions of operations a second of thread time."""
    operations, rates, lots = traffic(count), [], 0
    build(operations[:1000])()
    for _ in range(RUNS):
        run = build(operations)
        began = time.thread_time()
        lots = run()
        rates.append(count / (time.thread_time() - began) / 1e6)
    return {
        "operations": count, "lots_traded": lots, "median_million_per_second": round(statistics.median(rates), 1),
        "minimum": round(min(rates), 1), "maximum": round(max(rates), 1),
    }  # fmt: skip


def against_peer(count: int) -> dict[str, Any]:
    """The plain book and lightmatchingengine over the same traffic, one after the other."""
    operations, rates, lots = traffic(count), [], 0
    plain_run(operations[:1000])()
    for _ in range(RUNS):
        run = plain_run(operations)
        began = time.thread_time()
        lots = run()
        rates.append(count / (time.thread_time() - began) / 1e6)
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file.name, operations)
        answer = run_peer("peer_lightmatchingengine.py", file.name, 3)
    return {"path": "plain book, lightmatchingengine", "lots_traded": lots, **compared(rates, answer)}


def oracle(count: int) -> dict[str, object]:
    """Both engines through the same random requests in parts of 50,000; AssertionError at the first difference."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "market"))
    from engine_duel import duel

    began, trades, kinds = time.monotonic(), 0, set[tuple[int, int]]()
    for part, first in enumerate(range(0, count, 50_000)):
        fight = duel(1_000 + part, min(50_000, count - first))
        trades, kinds = trades + fight.trades, kinds | fight.kinds
    return {
        "requests": count, "trades": trades, "kinds_of_events": len(kinds), "identical_fills": True, "conserved": True,
        "never_crossed": True, "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip


def main() -> None:
    if sys.argv[1:2] == ["--oracle"]:
        print(json.dumps(oracle(int(sys.argv[2]))))
        return
    for path, build in (("plain book", plain_run), ("all order types, accounts, fees", full_run)):
        for factor in (1, 4, 16):
            print(json.dumps({"path": path, **timed(build, factor * OPERATIONS)}), flush=True)
    print(json.dumps(against_peer(OPERATIONS // 5)))


if __name__ == "__main__":
    main()
