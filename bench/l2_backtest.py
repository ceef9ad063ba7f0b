"""Speed of the tick backtest on one core, beside hftbacktest and NautilusTrader on the same recorded capture.

python bench/l2_backtest.py [CAPTURE…] [--runs 5] [--sizes 1 4 16]         one JSON line per comparison

The capture (default: USDⓈ-M BTC/USDT of the shared data) is laid end to end for the larger sizes. All rates are in
millions of events a second of CPU time of one process, an event being one changed level or one trade.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from peers import ROOT, compared, run_peer

from lake.intervals import SECOND
from market import feed as f
from market import replay
from market.l2_backtest import run_step
from market.latency import parse_latency
from market.queues import parse_queue
from market.tick_conditions import TickConditions
from market.tick_strategy import StepStrategy

sys.path.insert(0, str(ROOT / "docs/examples"))
from market_maker import MarketMaker

CAPTURE = ROOT.parent / "shared/data/orderbook/binance_usdm_btcusdt_20240808.jsonl.gz"
LATENCY = parse_latency("feed=1ms,entry=5ms,ack=5ms")
CONDITIONS = TickConditions(
    latency=LATENCY, queue=parse_queue("power3:3"), maker_fee_bps=0.0, taker_fee_bps=0.0, leverage=1e6, shorts=True
)
DISTANCE, QUOTED, MOST = 0, 10, 100
# hftbacktest's flags (its types.py).
DEPTH, TRADE, CLEAR, VENUE_SEES, WE_SEE, BUYER, SELLER = 1, 2, 3, 1 << 31, 1 << 30, 1 << 29, 1 << 28
EVENT = np.dtype(
    [("ev", "u8"), ("exch_ts", "i8"), ("local_ts", "i8"), ("px", "f8"), ("qty", "f8"), ("order_id", "u8"),
     ("ival", "i8"), ("fval", "f8")], align=True,
)  # fmt: skip


def tiled(feed: f.Feed, times: int) -> f.Feed:
    """The same recording so many times one after another; each begins by losing the book."""
    length = int(feed.rows[-1, f.TIME] - feed.rows[0, f.TIME]) + SECOND
    blocks = []
    for n in range(times):
        block = feed.rows.copy()
        block[:, [f.TIME, f.HEARD]] += n * length
        blocks.append(block)
    return f.Feed(feed.instruments, np.concatenate(blocks), feed.ticks, feed.offsets, feed.grid, feed.has_book)


def events_of(feed: f.Feed) -> np.ndarray:
    """The same rows in hftbacktest's format."""
    rows, tick, lot = feed.rows, *feed.grid[0]
    kinds = {
        f.SET_BID: DEPTH | BUYER, f.SET_ASK: DEPTH | SELLER, f.BUY: TRADE | BUYER, f.SELL: TRADE | SELLER,
        f.LOST: CLEAR,
    }  # fmt: skip
    out = np.zeros(len(rows), EVENT)
    flags = np.array([kinds[k] for k in range(len(kinds))], np.uint64)
    out["ev"] = flags[rows[:, f.KIND]] | np.uint64(VENUE_SEES | WE_SEE)
    out["exch_ts"], out["local_ts"] = rows[:, f.TIME] * 1_000, rows[:, f.HEARD] * 1_000
    priced = rows[:, f.KIND] != f.LOST
    out["px"] = np.where(priced, feed.ticks[rows[:, f.AT]] * tick, 0.0)
    out["qty"] = np.where(priced, rows[:, f.LOTS] * lot, 0.0)
    return out


def rates(strategy: StepStrategy, feed: f.Feed, events: int, runs: int) -> tuple[list[float], dict[str, float]]:
    """Millions of events a second, and what the last run did."""
    desk = run_step(strategy, feed, CONDITIONS)
    measured = []
    for _ in range(runs):
        began = time.thread_time()
        desk = run_step(strategy, feed, CONDITIONS)
        measured.append(events / (time.thread_time() - began) / 1e6)
    from market import desk as d

    done = {"orders": int(desk.counters[d.IDS]), "fills": int(desk.counters[d.FILLS])}
    return measured, done | {
        "position": int(desk.positions[0]),
        "balance": round(float(desk.money[d.CASH]) - 10_000, 4),
    }


class Still(StepStrategy):
    """Plays the events and does nothing."""


def idle() -> StepStrategy:
    """A strategy that never acts."""
    from numba import njit

    @njit
    def nothing(view):  # type: ignore[no-untyped-def]
        return 0

    Still.step = staticmethod(nothing)
    return Still()


def quotes_feed(capture: replay.Capture) -> tuple[f.Feed, np.ndarray]:
    """Best quotes and trades alone, as rows of ours and as NautilusTrader's ticks."""
    wanted = capture.events[np.isin(capture.events[:, replay.KIND], (replay.QUOTE, replay.TRADE))]
    wanted = wanted[np.argsort(wanted[:, replay.EVENT_TIME], kind="stable")]
    rows: list[tuple[int, int, int, int, int]] = []
    ticks, last = [], {0: -1, 1: -1}
    for event in wanted.tolist():
        at, start = event[replay.EVENT_TIME], event[replay.START]
        update = capture.updates[start].tolist()
        price, quantity = update[1] * float(capture.tick), update[2] * float(capture.step)
        if event[replay.KIND] == replay.TRADE:
            seller = event[replay.FIRST_ID] == 1
            rows.append((at, at, f.SELL if seller else f.BUY, update[1], update[2]))
            ticks.append((at * 1000, 1, price, quantity, 0.0 if seller else 1.0, 0.0))
            continue
        other = capture.updates[start + 1].tolist()
        for side, level in enumerate((update, other)):
            rows.append((at, at, side, level[1], level[2]))
            if last[side] not in (-1, level[1]):
                rows.append((at, at, side, last[side], 0))
            last[side] = level[1]
        ask, ask_quantity = other[1] * float(capture.tick), other[2] * float(capture.step)
        ticks.append((at * 1000, 0, price, quantity, ask, ask_quantity))
    part = f.Part("quotes", np.array(rows, np.int64), float(capture.tick), float(capture.step), True)
    return f.join([part]).heard(LATENCY), np.array(ticks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", nargs="*", type=Path, default=[CAPTURE])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--sizes", nargs="*", type=int, default=[1, 4, 16])
    arguments = parser.parse_args()
    capture = replay.read_capture(arguments.captures)
    base = f.join([f.part_of_capture("bench", capture)]).heard(LATENCY)
    maker = MarketMaker(distance=DISTANCE, lots=QUOTED, most=MOST)
    settings = (DISTANCE, QUOTED, MOST, *base.grid[0])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "events.npy"
        for size in arguments.sizes:
            feed = tiled(base, size)
            np.save(file, events_of(feed))
            for name, strategy, peer in (("replay", idle(), "replay"), ("market maker", maker, "maker")):
                ours, done = rates(strategy, feed, len(feed.rows), arguments.runs)
                theirs = run_peer("peer_hftbacktest.py", file, arguments.runs, peer, *settings)
                line = {"bench": f"L2 {name}", "peer_name": "hftbacktest", "size": size, "events": len(feed.rows)}
                print(json.dumps(line | compared(ours, theirs) | {"did": done}), flush=True)
        feed, ticks = quotes_feed(capture)
        np.save(file, ticks)
        for name, strategy, peer in (("counting", idle(), "counting"), ("market maker", maker, "maker")):
            ours, done = rates(strategy, feed, len(ticks), arguments.runs)
            theirs = run_peer("peer_nautilus.py", file, min(arguments.runs, 3), peer, *settings)
            line = {"bench": f"ticks {name}", "peer_name": "NautilusTrader", "events": len(ticks)}
            print(json.dumps(line | compared(ours, theirs) | {"did": done}), flush=True)


if __name__ == "__main__":
    main()
