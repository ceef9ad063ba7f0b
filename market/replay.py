"""Rebuild order books and bars from a recorded capture of depth diffs, best quotes and trades.

The venue's procedure: buffer diffs, take the snapshot, drop diffs that end at or before its `last_id`, apply the rest
in order. The first one applied must span the snapshot's id and each later one follow on the one before (spot: U is the
last u plus one; futures: pu is the last u); where one does not, messages were lost and diffs are buffered again until
the next snapshot. A snapshot nobody waits for is ignored. A capture is parsed once into integer arrays (ticks, lots);
the book is then rebuilt in compiled code.
"""

import gzip
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lake import command
from lake.errors import BadInput
from lake.intervals import format_time, timeframe_us
from lake.wire.binance_depth import BestQuote, DepthDiff, DepthSnapshot, Message, TradeEvent, message_from_capture_line
from market import l2
from market.kernel import njit
from market.l2 import ASK, BID, UPDATE_FIELDS, UPDATE_LOTS, UPDATE_TICK, Integers, Levels

DECIMALS = 8
"""Prices and quantities are read exactly, in units of 1e-8."""

SNAPSHOT, DIFF, QUOTE, TRADE = range(4)
# Columns of Capture.events; an id of -1 was not sent. START and END are rows of Capture.updates.
KIND, RECEIVED_NS, EVENT_TIME, FIRST_ID, FINAL_ID, PREVIOUS_ID, START, END, EVENT_FIELDS = range(9)
# A trade keeps its id in FINAL_ID, its tick and lots in one update row, and in FIRST_ID whether the buyer is the maker.

# Columns of a row of best prices.
BEST_ID, BID_TICK, BID_LOTS, ASK_TICK, ASK_LOTS, BEST_FIELDS = range(6)


@dataclass(frozen=True, slots=True)
class Capture:
    """A recording in integers, in the order received."""

    events: Integers
    """[n, EVENT_FIELDS]; times in µs but RECEIVED_NS."""
    updates: Integers
    """[m, UPDATE_FIELDS]: a quote has two rows (bid, ask), a trade one."""
    tick: Fraction
    step: Fraction

    def prices(self, ticks: Integers) -> NDArray[np.float64]:
        """The float64 nearest to the venue's decimal."""
        return np.asarray(ticks * self.tick.numerator / self.tick.denominator)

    def quantities(self, lots: Integers) -> NDArray[np.float64]:
        return np.asarray(lots * self.step.numerator / self.step.denominator)


class Rebuilt(NamedTuple):
    """What the procedure gave."""

    book: Levels
    """As of the last diff."""
    best: Integers
    """[diffs applied, BEST_FIELDS]: best prices after each, by its final id."""
    dropped: int
    """Diffs the snapshot already held."""
    gaps: int
    """Times a diff did not follow on the one before."""
    unused: int
    """Diffs with no snapshot to apply them to: before the first, or after a gap."""


def units(text: str) -> int:
    """A decimal text in units of 1e-8, exactly.

    Raises:
        BadInput: not a plain decimal, or finer than that.
    """
    whole, point, part = text.partition(".")
    if not (whole.isdecimal() and whole.isascii()) or (point and not (part.isdecimal() and part.isascii())):
        raise BadInput(f"{text!r}: expected a decimal number")
    if part[DECIMALS:].strip("0"):
        raise BadInput(f"{text!r}: expected at most {DECIMALS} decimals")
    part = part[:DECIMALS]
    return int(whole + part + "0" * (DECIMALS - len(part)))


def read_messages(paths: Sequence[Path]) -> Iterator[tuple[int, Message]]:
    """Messages of one or more gzipped captures, joined in the order given.

    Raises:
        BadInput: names the file and line that does not parse.
    """
    for path in paths:
        try:
            with gzip.open(path) as lines:
                for number, line in enumerate(lines, 1):
                    try:
                        yield message_from_capture_line(line)
                    except BadInput as error:
                        raise BadInput(f"{path}:{number}: {error}") from None
        except (OSError, EOFError) as error:
            raise BadInput(f"{path}: expected a gzipped capture: {error}") from None


def read_capture(paths: Sequence[Path]) -> Capture:
    """Parse captures into integers. Tick and step are the greatest common divisors of all prices and quantities."""
    return capture_from_messages(read_messages(paths))


def capture_from_messages(messages: Iterator[tuple[int, Message]]) -> Capture:
    events: list[tuple[int, ...]] = []
    updates: list[tuple[int, int, int]] = []
    for received, message in messages:
        start = len(updates)
        match message:
            case DepthSnapshot(last, bids, asks):
                _append(updates, bids, asks)
                events.append((SNAPSHOT, received, 0, last, last, -1, start, len(updates)))
            case DepthDiff(at, first, final, previous, bids, asks):
                _append(updates, bids, asks)
                before = -1 if previous is None else previous
                events.append((DIFF, received, at, first, final, before, start, len(updates)))
            case BestQuote(final, quoted, bid, bid_quantity, ask, ask_quantity):
                _append(updates, [[bid, bid_quantity]], [[ask, ask_quantity]])
                events.append((QUOTE, received, quoted or 0, final, final, -1, start, len(updates)))
            case TradeEvent(trade, at, price, quantity, buyer_is_maker, True):
                updates.append((BID if buyer_is_maker else ASK, units(price), units(quantity)))
                events.append((TRADE, received, at, int(buyer_is_maker), trade, -1, start, len(updates)))
    if not events:
        raise BadInput("capture: expected at least one message, found none")
    rows = np.array(updates, np.int64).reshape(-1, UPDATE_FIELDS)
    grid = [max(1, int(np.gcd.reduce(rows[:, column]))) for column in (UPDATE_TICK, UPDATE_LOTS)]
    rows[:, UPDATE_TICK] //= grid[0]
    rows[:, UPDATE_LOTS] //= grid[1]
    tick, step = (Fraction(units, 10**DECIMALS) for units in grid)
    return Capture(np.array(events, np.int64), rows, tick, step)


def _append(updates: list[tuple[int, int, int]], bids: list[list[str]], asks: list[list[str]]) -> None:
    updates += [(BID, units(price), units(quantity)) for price, quantity in bids]
    updates += [(ASK, units(price), units(quantity)) for price, quantity in asks]


@njit(cache=True, nogil=True)
def follows(event: Any, last: int, first: bool) -> bool:
    """Whether a diff may be applied to a book as of `last`; the first one after a snapshot only has to span it."""
    if first:
        return bool(event[FIRST_ID] <= last + 1)
    if event[PREVIOUS_ID] >= 0:
        return bool(event[PREVIOUS_ID] == last)
    return bool(event[FIRST_ID] == last + 1)


@njit(cache=True, nogil=True)
def _rebuild(events: Any, updates: Any, levels: Any, out: Any) -> Any:
    """The procedure over all events; answers the rows of `out` filled, the diffs dropped, the gaps."""
    rows, dropped, gaps = 0, 0, 0
    last, first, waiting = -1, False, 0  # `waiting`: from here on diffs are buffered while there is no book
    for k in range(len(events)):
        start = k
        if events[k, KIND] == SNAPSHOT and last < 0:
            l2.clear(levels)
            l2.apply_updates(levels, updates, events[k, START], events[k, END])
            last, first, start = events[k, FINAL_ID], True, waiting
        elif events[k, KIND] != DIFF:
            continue
        for j in range(start, k + 1):
            if events[j, KIND] != DIFF or last < 0:
                continue
            if events[j, FINAL_ID] <= last:
                dropped += 1
                continue
            if not follows(events[j], last, first):
                gaps += 1
                last, waiting = -1, j
                continue
            l2.apply_updates(levels, updates, events[j, START], events[j, END])
            last, first = events[j, FINAL_ID], False
            out[rows, BEST_ID] = last
            out[rows, BID_TICK], out[rows, BID_LOTS] = l2.best(levels, BID)
            out[rows, ASK_TICK], out[rows, ASK_LOTS] = l2.best(levels, ASK)
            rows += 1
    return rows, dropped, gaps


def rebuild(capture: Capture) -> Rebuilt:
    """Rebuild the book of a capture, noting the best prices after every diff."""
    diffs = int(np.count_nonzero(capture.events[:, KIND] == DIFF))
    out = np.empty((diffs, BEST_FIELDS), np.int64)
    book = l2.with_room(l2.new_levels(), len(np.unique(capture.updates[:, UPDATE_TICK])))
    rows, dropped, gaps = _rebuild(capture.events, capture.updates, book, out)
    return Rebuilt(book, out[:rows], dropped, gaps, diffs - rows - dropped)


def quotes(capture: Capture) -> Integers:
    """[n, BEST_FIELDS]: the venue's own best quotes, by update id."""
    rows = capture.events[capture.events[:, KIND] == QUOTE]
    bid, ask = capture.updates[rows[:, START]], capture.updates[rows[:, START] + 1]
    return np.column_stack([rows[:, FINAL_ID], bid[:, UPDATE_TICK:], ask[:, UPDATE_TICK:]])


def compare_quotes(rebuilt: Integers, quoted: Integers) -> tuple[int, int]:
    """How many quotes belong to an update id at which the book is known, and how many of them it equals."""
    at = np.searchsorted(rebuilt[:, BEST_ID], quoted[:, BEST_ID])
    known = at < len(rebuilt)
    known[known] = rebuilt[at[known], BEST_ID] == quoted[known, BEST_ID]
    equal = (rebuilt[at[known]] == quoted[known]).all(axis=1)
    return int(known.sum()), int(equal.sum())


def bars_from_trades(capture: Capture, timeframe: str) -> dict[str, NDArray[Any]]:
    """Bars of the trades by trade time: open_time [µs], open, high, low, close, volume, trade_count.

    An interval without a trade has no bar; the first and last ones hold what the capture holds of them.
    """
    events = capture.events[capture.events[:, KIND] == TRADE]
    events = events[np.argsort(events[:, FINAL_ID], kind="stable")]
    tick, lots = capture.updates[events[:, START], UPDATE_TICK], capture.updates[events[:, START], UPDATE_LOTS]
    length = timeframe_us(timeframe)
    open_time = events[:, EVENT_TIME] // length * length
    starts = np.flatnonzero(np.diff(open_time, prepend=-1))
    ends = np.append(starts[1:], len(open_time)) - 1
    if not len(starts):
        return {name: np.array([]) for name in ("open_time", "open", "high", "low", "close", "volume", "trade_count")}
    return {
        "open_time": open_time[starts],
        "open": capture.prices(tick[starts]),
        "high": capture.prices(np.maximum.reduceat(tick, starts)),
        "low": capture.prices(np.minimum.reduceat(tick, starts)),
        "close": capture.prices(tick[ends]),
        "volume": capture.quantities(np.add.reduceat(lots, starts)),
        "trade_count": ends - starts + 1,
    }


def summary(capture: Capture, timeframe: str) -> dict[str, Any]:
    """What the command prints: counts, agreement with the venue's quotes, speed of the rebuild (CPU time), bars."""
    result = rebuild(capture)  # compiles or loads
    seconds = []
    for _ in range(3):
        began = time.thread_time()
        rebuild(capture)
        seconds.append(time.thread_time() - began)
    kinds = np.bincount(capture.events[:, KIND], minlength=4)
    compared, equal = compare_quotes(result.best, quotes(capture))
    depth_events = np.isin(capture.events[:, KIND], (SNAPSHOT, DIFF))
    changes = int((capture.events[depth_events, END] - capture.events[depth_events, START]).sum())
    bars = bars_from_trades(capture, timeframe)
    return {
        "snapshots": int(kinds[SNAPSHOT]), "diffs": int(kinds[DIFF]), "quotes": int(kinds[QUOTE]),
        "trades": int(kinds[TRADE]), "price_tick": float(capture.tick), "quantity_step": float(capture.step),
        "diffs_applied": len(result.best), "diffs_dropped": result.dropped, "diffs_unused": result.unused,
        "gaps": result.gaps, "crossed": int((result.best[:, BID_TICK] >= result.best[:, ASK_TICK]).sum()),
        "quotes_compared": compared, "quotes_equal": equal,
        "level_changes": changes, "level_changes_per_second": round(changes / min(seconds)),
        "bars": [
            {"open_time": format_time(int(row[0])), **dict(zip(list(bars)[1:], map(float, row[1:]), strict=True))}
            for row in zip(*bars.values(), strict=True)
        ],
    }  # fmt: skip


def main() -> int:
    parser = command.parser("market.replay", __doc__)
    parser.add_argument("captures", nargs="+", type=Path, metavar="FILE", help="gzipped captures, in order")
    parser.add_argument("--timeframe", default="5m", help="of the bars built from the trades")
    arguments = parser.parse_args()
    print(json.dumps(summary(read_capture(arguments.captures), arguments.timeframe)))
    return 0


if __name__ == "__main__":
    command.run(main)
