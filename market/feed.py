"""Recorded market data of one or many instruments as one stream of integers, as a tick backtest plays it.

A row is one change of a price level, one trade, one funding payment, or the loss of a book. Every price an instrument
ever shows gets a number, ascending within the instrument; a book is then two plain arrays by that number. The numbers
say nothing to a strategy: it sees prices. `time` is the venue's clock, `heard` the strategy's (market/latency.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lake.errors import BadInput, UnknownInstrument, UsageError
from lake.instruments import instrument
from market import replay
from market.execution import Floats
from market.kernel import njit
from market.latency import Latency
from market.replay import Capture

Integers = NDArray[np.int64]

SET_BID, SET_ASK, BUY, SELL, LOST, FUNDING = range(6)
"""Kinds of a row; BUY and SELL are trades by their taker, LOST says that the book is unknown from here on."""
# Columns of a row. AT is the level's number; LOTS the level's new quantity, the trade's, or a funding rate in 1e-12.
TIME, HEARD, KIND, INSTRUMENT, AT, LOTS, ROW_FIELDS = range(7)
TICK_SIZE, LOT_SIZE = range(2)
RATE = 1e12


@dataclass(frozen=True, slots=True)
class Part:
    """One instrument's rows before they are joined: kind, tick (not its number) and lots, in the venue's order."""

    name: str
    rows: Integers
    """[n, 5]: time, received, kind, tick, lots; µs, `time` ascending."""
    tick: float
    lot: float
    has_book: bool


@dataclass(frozen=True, slots=True)
class Feed:
    """The joined stream."""

    instruments: tuple[str, ...]
    rows: Integers
    """[n, ROW_FIELDS] by TIME; HEARD ascends too."""
    ticks: Integers
    """[levels]: the price of each number in ticks."""
    offsets: Integers
    """[k + 1]: the first number of each instrument."""
    grid: Floats
    """[k, 2]: tick and lot size."""
    has_book: NDArray[np.bool_]
    """[k]: False where only trades are known."""

    def head(self, count: int) -> "Feed":
        """The first `count` rows."""
        return Feed(self.instruments, self.rows[:count], self.ticks, self.offsets, self.grid, self.has_book)

    def heard(self, latency: Latency, received: Integers | None = None) -> "Feed":
        """The same with the strategy's times; `received` are the recorder's, where they are asked for."""
        rows = self.rows.copy()
        rows[:, HEARD] = latency.feed_times(rows[:, TIME], rows[:, HEARD] if received is None else received)
        return Feed(self.instruments, rows, self.ticks, self.offsets, self.grid, self.has_book)


def join(parts: Sequence[Part]) -> Feed:
    """One stream of all instruments by the venue's time; HEARD holds the recorder's clock until `Feed.heard`."""
    if len({part.name for part in parts}) != len(parts):
        raise UsageError(f"instruments: expected each once, found {', '.join(part.name for part in parts)}.")
    if not any(len(part.rows) for part in parts):
        raise BadInput("market data: expected at least one event, found none.")
    ticks, offsets, blocks = [], [0], []
    for j, part in enumerate(parts):
        priced = part.rows[:, 2] <= SELL
        known = np.unique(part.rows[priced, 3])
        block = np.zeros((len(part.rows), ROW_FIELDS), np.int64)
        block[:, TIME], block[:, HEARD], block[:, KIND] = part.rows[:, 0], part.rows[:, 1], part.rows[:, 2]
        block[:, INSTRUMENT], block[:, LOTS] = j, part.rows[:, 4]
        block[priced, AT] = offsets[-1] + np.searchsorted(known, part.rows[priced, 3])
        ticks.append(known)
        offsets.append(offsets[-1] + len(known))
        blocks.append(block)
    rows = np.concatenate(blocks)
    rows = np.ascontiguousarray(rows[np.argsort(rows[:, TIME], kind="stable")])
    grid = np.array([(part.tick, part.lot) for part in parts], np.float64)
    books = np.array([part.has_book for part in parts])
    return Feed(
        tuple(part.name for part in parts), rows, np.concatenate(ticks), np.array(offsets, np.int64), grid, books
    )


@njit(cache=True, nogil=True)
def _in_force(events: Any, out: Any) -> int:
    """Rows of `out`: the event and the time from which it holds, as the venue's procedure has it (market/replay.py).

    A diff buffered before the snapshot holds from the snapshot on. Event −1 says that the book is lost.
    """
    rows, last, first, waiting, now = 0, -1, False, 0, 0
    for k in range(len(events)):  # a snapshot has no time of its own: the last one known, or the first
        now = events[k, replay.EVENT_TIME]
        if now > 0:
            break
    for k in range(len(events)):
        now = max(now, events[k, replay.EVENT_TIME])
        if events[k, replay.KIND] == replay.TRADE:
            out[rows, 0], out[rows, 1] = k, events[k, replay.EVENT_TIME]
            rows += 1
            continue
        start = k
        if events[k, replay.KIND] == replay.SNAPSHOT and last < 0:
            out[rows, 0], out[rows, 1] = k, now
            rows += 1
            last, first, start = events[k, replay.FINAL_ID], True, waiting
        elif events[k, replay.KIND] != replay.DIFF:
            continue
        for j in range(start, k + 1):
            if events[j, replay.KIND] != replay.DIFF or last < 0 or events[j, replay.FINAL_ID] <= last:
                continue
            if not replay.follows(events[j], last, first):
                out[rows, 0], out[rows, 1] = -1, now
                rows += 1
                last, waiting = -1, j
                continue
            out[rows, 0], out[rows, 1] = j, now if j < k else events[j, replay.EVENT_TIME]
            rows += 1
            last, first = events[j, replay.FINAL_ID], False
    return rows


def part_of_capture(name: str, capture: Capture, grid: tuple[Fraction, Fraction] | None = None) -> Part:
    """An instrument's rows out of a capture of diffs, snapshots and trades; best quotes are not used.

    Args:
        grid: the venue's tick and lot, made finer only where the recording is; by default what was recorded alone.
    """
    events = capture.events
    room = np.empty((2 * len(events) + 1, 2), np.int64)
    chosen = room[: _in_force(events, room)]
    lost = chosen[:, 0] < 0
    # A snapshot replaces the book, so it begins by losing the old one.
    kinds = np.where(lost, -1, events[chosen[:, 0], replay.KIND])
    starts, ends = events[chosen[:, 0], replay.START], events[chosen[:, 0], replay.END]
    counts = np.where(lost, 1, np.where(kinds == replay.SNAPSHOT, ends - starts + 1, ends - starts))
    source = np.repeat(np.arange(len(chosen)), counts)
    within = np.arange(len(source)) - np.repeat(np.cumsum(counts) - counts, counts)
    marker = lost[source] | ((kinds[source] == replay.SNAPSHOT) & (within == 0))
    update = np.minimum(starts[source] + within - (kinds[source] == replay.SNAPSHOT), len(capture.updates) - 1)
    update = np.maximum(update, 0)
    rows = np.empty((len(source), 5), np.int64)
    rows[:, 0] = chosen[source, 1]
    rows[:, 1] = events[np.maximum(chosen[source, 0], 0), replay.RECEIVED_NS] // 1_000
    side, traded = capture.updates[update, 0], kinds[source] == replay.TRADE
    seller = events[chosen[source, 0], replay.FIRST_ID] == 1  # the buyer is the maker
    rows[:, 2] = np.where(marker, LOST, np.where(traded, np.where(seller, SELL, BUY), side))
    rows[:, 3:] = capture.updates[update, 1:]
    tick, lot = capture.tick, capture.step
    if grid is not None:
        tick, lot = _common(tick, grid[0]), _common(lot, grid[1])
    rows[:, 3] *= (capture.tick / tick).numerator
    rows[:, 4] *= (capture.step / lot).numerator
    ordered = rows[np.argsort(rows[:, 0], kind="stable")]
    return Part(name, ordered, float(tick), float(lot), True)


def _common(one: Fraction, other: Fraction) -> Fraction:
    """The coarsest step that both are whole multiples of."""
    top = gcd(one.numerator * other.denominator, other.numerator * one.denominator)
    return Fraction(top, one.denominator * other.denominator)


def catalogue_grid(name: str) -> tuple[Fraction, Fraction] | None:
    """Tick and lot of an instrument of the catalogue, so that a longer recording cannot make them finer."""
    try:
        known = instrument(name)
    except UnknownInstrument:
        return None
    return Fraction(known.price_tick), Fraction(known.quantity_step)


TIMES, SIZES = ("time", "timestamp", "ts", "trade_time"), ("quantity", "amount", "size", "qty", "volume")


def part_of_trades(name: str, path: Path, grid: tuple[Fraction, Fraction] | None = None) -> Part:
    """An instrument's trades out of a parquet, feather or csv file: time, price, quantity, and the taker's side.

    The side is `side` (buy, sell) or the venue's `buyer_maker`, `is_buyer_maker` (the taker then sells).

    Raises:
        BadInput: a column is missing or does not parse, or a price or quantity is not above zero.
    """
    from market.bars import file_frame, times_us

    frame = file_frame(path, "trades")
    wanted = {"price": ("price",), "quantity": SIZES, "side": ("side", "buyer_maker", "is_buyer_maker")}
    found = {what: name for what, names in wanted.items() for name in names if name in frame.columns}
    missing = [what for what in wanted if what not in found]
    if missing or frame.is_empty():
        raise BadInput(f"{path}: expected trades with time, price, quantity and side, lacking {missing or 'rows'}.")
    times = times_us(frame, path, TIMES).to_numpy()
    sells = frame[found["side"]].cast(pl.String).str.to_lowercase().is_in(["sell", "true"]).to_numpy()
    try:
        price, quantity = (frame[found[what]].cast(pl.Float64).to_numpy() for what in ("price", "quantity"))
    except pl.exceptions.PolarsError as error:
        raise BadInput(f"{path}: not numbers: {str(error).splitlines()[0]}") from None
    if not (np.isfinite(price) & np.isfinite(quantity) & (price > 0) & (quantity > 0)).all():
        raise BadInput(f"{path}: expected prices and quantities above zero.")
    tick, lot = grid or (_finest(price), _finest(quantity))
    rows = np.column_stack(
        [times, times, np.where(sells, SELL, BUY), np.rint(price / float(tick)), np.rint(quantity / float(lot))]
    ).astype(np.int64)
    return Part(name, rows[np.argsort(times, kind="stable")], float(tick), float(lot), False)


def _finest(values: Floats) -> Fraction:
    """The greatest common divisor of decimals with at most eight places."""
    return Fraction(int(np.gcd.reduce(np.rint(values * 1e8).astype(np.int64))), 10**replay.DECIMALS)


def with_funding(feed: Feed, payments: Sequence[tuple[int, int, float]]) -> Feed:
    """The same with funding payments of (time in µs, instrument, rate): a long position pays rate × its worth."""
    if not payments:
        return feed
    rows = np.zeros((len(payments), ROW_FIELDS), np.int64)
    for row, (time, j, rate) in zip(rows, payments, strict=True):
        row[TIME], row[HEARD], row[KIND], row[INSTRUMENT], row[LOTS] = time, time, FUNDING, j, round(rate * RATE)
        row[AT] = feed.offsets[j]
    inside = (rows[:, TIME] >= feed.rows[0, TIME]) & (rows[:, TIME] <= feed.rows[-1, TIME])
    whole = np.concatenate([feed.rows, rows[inside]])
    whole = np.ascontiguousarray(whole[np.argsort(whole[:, TIME], kind="stable")])
    return Feed(feed.instruments, whole, feed.ticks, feed.offsets, feed.grid, feed.has_book)


def _named(source: str) -> tuple[str, list[Path]]:
    name, equals, files = source.partition("=")
    paths = [Path(file) for file in (files if equals else source).split(",") if file]
    if not paths:
        raise UsageError(f"{source!r}: expected [NAME=]FILE, continued files after commas.")
    return (name if equals else paths[0].name.split(".")[0]), paths


def read_feed(l2: Sequence[str], trades: Sequence[str], latency: Latency) -> Feed:
    """Read `[NAME=]FILE[,FILE…]` sources: captures of order books and files of trades, one instrument each."""
    parts = []
    for source in l2:
        name, paths = _named(source)
        parts.append(part_of_capture(name, replay.read_capture(paths), catalogue_grid(name)))
    for source in trades:
        name, paths = _named(source)
        if len(paths) != 1:
            raise UsageError(f"{source!r}: expected one file of trades.")
        parts.append(part_of_trades(name, paths[0], catalogue_grid(name)))
    return join(parts).heard(latency)


def as_dict(feed: Feed) -> dict[str, Any]:
    """Counts for a report."""
    kinds = np.bincount(feed.rows[:, KIND], minlength=6)
    return {
        "rows": len(feed.rows), "level_changes": int(kinds[SET_BID] + kinds[SET_ASK]),
        "trades": int(kinds[BUY] + kinds[SELL]), "books_lost": int(kinds[LOST]), "funding": int(kinds[FUNDING]),
    }  # fmt: skip
