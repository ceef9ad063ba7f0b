"""A recording that a venue can play: levels and trades in ticks and lots, in the order of market time.

Three kinds of files give one: captures of depth diffs and trades (`market/replay.py` says how they are read and which
diffs count), files of trades, and files of bars. Bars and trades know no book, so one is put around them and said so:
`LEVELS` prices a side, one `SPREAD` apart, each as large as `SHARE` of a bar's volume, or a typical trade. A bar is
played as four trades (open, then the extreme nearer to the open, the other one, close), a quarter of its volume each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lake.errors import BadInput, UsageError
from lake.instruments import Instrument
from market import replay as r
from market.bars import COLUMNS, file_frame, times_us
from market.kernel import njit
from market.l2 import ASK, BID, UPDATE_FIELDS, UPDATE_LOTS, UPDATE_SIDE, UPDATE_TICK, Integers

# Columns of Recording.events; START and END are rows of Recording.updates. LEVELS_SET gives quantities of prices,
# BOOK_SET of all there are; TRADED has one row, whose side is the one that rested.
TIME, KIND, START, END, FIELDS = range(5)
LEVELS_SET, BOOK_SET, TRADED = range(3)
LEVELS, SPREAD, SHARE = 5, 2e-4, 0.1


@dataclass(frozen=True, slots=True)
class Recording:
    """What happened at one instrument."""

    instrument: Instrument
    events: Integers
    """[n, FIELDS], times in µs, ascending."""
    updates: Integers
    """[m, UPDATE_FIELDS], in ticks and lots of the instrument."""
    ids: Integers
    """[n]: the venue's update id after a LEVELS_SET, or -1."""
    first_trade: int = 1
    """The venue's id of the first trade."""


@njit(cache=True, nogil=True)
def _applied(events, times, order, out):  # type: ignore[no-untyped-def]
    """Which snapshot and diffs count, in order, and when each is played; answers how many (replay.py's procedure)."""
    count, last, first, waiting, newest = 0, -1, False, 0, 0
    for k in range(len(events)):
        start = k
        if events[k, r.KIND] == r.SNAPSHOT and last < 0:
            last, first, start = events[k, r.FINAL_ID], True, waiting
            newest = max(newest, times[k])
            order[count], out[count] = k, newest
            count += 1
        elif events[k, r.KIND] != r.DIFF:
            continue
        for j in range(start, k + 1):
            if events[j, r.KIND] != r.DIFF or last < 0 or events[j, r.FINAL_ID] <= last:
                continue
            if not r.follows(events[j], last, first):
                last, waiting = -1, j
                continue
            last, first = events[j, r.FINAL_ID], False
            newest = max(newest, times[j])
            order[count], out[count] = j, newest
            count += 1
    return count


def of_capture(paths: Sequence[Path], instrument: Instrument) -> Recording:
    """A recorded order book with its trades. A trade is played before a diff of the same or a later time.

    Where the recording's grid is finer than the catalogue's, the instrument gets the recording's.

    Raises:
        BadInput: not a capture, or prices off the instrument's grid.
    """
    capture = r.read_capture(paths)
    kinds = capture.events[:, r.KIND]
    times = np.where(kinds == r.SNAPSHOT, capture.events[:, r.RECEIVED_NS] // 1000, capture.events[:, r.EVENT_TIME])
    order, played = np.zeros(len(kinds), np.int64), np.zeros(len(kinds), np.int64)
    count = _applied(capture.events, times, order, played)
    trades = np.flatnonzero(kinds == r.TRADE)
    trades = trades[np.argsort(capture.events[trades, r.FINAL_ID], kind="stable")]
    rows = np.concatenate([trades, order[:count]])
    at = np.concatenate([np.maximum.accumulate(times[trades]), played[:count]])
    turn = np.argsort(at, kind="stable")  # trades stand first in `rows`
    rows, at = rows[turn], at[turn]
    source = capture.events[rows]
    kind = np.select([source[:, r.KIND] == r.TRADE, source[:, r.KIND] == r.SNAPSHOT], [TRADED, BOOK_SET], LEVELS_SET)
    events = np.column_stack([at, kind, source[:, r.START], source[:, r.END]])
    ids = np.where(kind == LEVELS_SET, source[:, r.FINAL_ID], -1)
    updates, grid = capture.updates.copy(), []
    for column, found, own in (
        (UPDATE_TICK, capture.tick, instrument.price_tick),
        (UPDATE_LOTS, capture.step, instrument.quantity_step),
    ):
        grid.append(min(found, Fraction(own)))
        updates[:, column] *= _factor(found, grid[-1], instrument.id)
    finer = [Decimal(each.numerator) / each.denominator for each in grid]
    listed = replace(instrument, price_tick=finer[0], quantity_step=finer[1])
    first = int(capture.events[trades[0], r.FINAL_ID]) if len(trades) else 1
    return Recording(listed, events, updates, ids, first)


def _factor(found: Fraction, grid: Fraction, what: str) -> int:
    factor = found / grid
    if factor.denominator != 1:
        raise BadInput(f"{what}: expected prices and quantities in multiples of {float(grid)}, found {float(found)}.")
    return int(factor)


def of_trades(frame: pl.DataFrame, path: Path, instrument: Instrument) -> Recording:
    """Trades: a time, `price`, `quantity`, and `side` (of the taker) or `buyer_is_maker`."""
    times = times_us(frame, path, ("time", "event_time", "ts", "timestamp")).to_numpy()
    if "buyer_is_maker" in frame.columns:
        sold = frame["buyer_is_maker"].cast(pl.Boolean).to_numpy()
    elif "side" in frame.columns:
        sold = (frame["side"].cast(pl.String).str.to_lowercase() == "sell").to_numpy()
    else:
        raise BadInput(f"{path}: expected a column side or buyer_is_maker, found {frame.columns}.")
    turn = np.argsort(times, kind="stable")
    ticks, lots = _on_grid(frame["price"], instrument.price_tick), _on_grid(frame["quantity"], instrument.quantity_step)
    typical = np.full(len(times), max(1, int(np.median(lots))))
    return _around(times[turn], ticks[turn], lots[turn], sold[turn], typical, instrument)


def of_bars(frame: pl.DataFrame, path: Path, instrument: Instrument) -> Recording:
    """Bars of one instrument: `open_time`, open, high, low, close, volume."""
    times = times_us(frame, path).to_numpy()
    if len(times) < 2:
        raise BadInput(f"{path}: expected at least two bars, found {len(times)}.")
    turn = np.argsort(times, kind="stable")
    prices = [_on_grid(frame[name], instrument.price_tick)[turn] for name in COLUMNS[:4]]
    first, high, low, last = prices
    up = (high - first) < (first - low)
    path_ = np.column_stack([first, np.where(up, high, low), np.where(up, low, high), last])
    volume = _on_grid(frame["volume"], instrument.quantity_step)[turn]
    quarter = np.column_stack([volume // 4, volume // 4, volume // 4, volume - 3 * (volume // 4)])
    length = int(np.diff(times[turn]).min())
    at = times[turn][:, None] + np.array([0, length // 4, length // 2, length - 1])
    sold = np.diff(path_, axis=1, prepend=path_[:, :1]) < 0
    keep = quarter.ravel() > 0
    size = np.maximum(1, (np.repeat(volume, 4) * SHARE).astype(np.int64))
    return _around(
        at.ravel()[keep], path_.ravel()[keep], quarter.ravel()[keep], sold.ravel()[keep], size[keep], instrument
    )


def _around(
    times: Integers, ticks: Integers, lots: Integers, sold: NDArray[np.bool_], size: Integers, instrument: Instrument
) -> Recording:
    """Each trade, and the book that is put around its price after it."""
    n, rows = len(times), 1 + 2 * LEVELS
    updates = np.zeros((n, rows, UPDATE_FIELDS), np.int64)
    updates[:, 0] = np.column_stack([np.where(sold, BID, ASK), ticks, lots])
    gap = np.maximum(1, (ticks * SPREAD).astype(np.int64))
    for level in range(LEVELS):
        for side, sign in ((BID, -1), (ASK, 1)):
            row = updates[:, 1 + 2 * level + side]
            row[:, UPDATE_SIDE], row[:, UPDATE_LOTS] = side, size
            row[:, UPDATE_TICK] = np.maximum(1, ticks + sign * ((gap + 1) // 2 + level * gap))
    starts = np.arange(n, dtype=np.int64) * rows
    events = np.empty((2 * n, FIELDS), np.int64)
    events[0::2] = np.column_stack([times, np.full(n, TRADED), starts, starts + 1])
    events[1::2] = np.column_stack([times, np.full(n, BOOK_SET), starts + 1, starts + rows])
    return Recording(instrument, events, updates.reshape(-1, UPDATE_FIELDS), np.full(2 * n, -1))


def _on_grid(column: pl.Series, step: object) -> Integers:
    return np.rint(column.cast(pl.Float64).to_numpy() / float(str(step))).astype(np.int64)


def read_recording(sources: Sequence[str], instrument: Instrument) -> Recording:
    """Captures (`*.jsonl.gz`, in order), or one parquet, feather or csv file of bars or of trades, or a table of the
    lake: `lake:bars_1m_v1`.

    Raises:
        UsageError, BadInput: no such file, another kind, or columns that are missing.
    """
    if all(source.endswith(".jsonl.gz") for source in sources):
        return of_capture([Path(source) for source in sources], instrument)
    if len(sources) != 1:
        raise UsageError("--replay: expected captures (*.jsonl.gz), or one file of bars or trades, or one lake table.")
    path = Path(sources[0])
    frame = _table(sources[0]) if sources[0].startswith("lake:") else file_frame(path, "bars or trades")
    label = next((name for name in ("instrument", "symbol") if name in frame.columns), None)
    if label is not None:
        frame = frame.filter(pl.col(label).is_in([instrument.id, instrument.symbol, instrument.venue_symbol]))
    if frame.is_empty():
        raise BadInput(f"{path}: holds no rows of {instrument.id}.")
    if all(name in frame.columns for name in COLUMNS):
        return of_bars(frame, path, instrument)
    if {"price", "quantity"} <= set(frame.columns):
        return of_trades(frame, path, instrument)
    raise BadInput(f"{path}: expected columns {', '.join(COLUMNS)}, or price and quantity; found {frame.columns}.")


def _table(source: str) -> pl.DataFrame:
    """A table of the lake by its name."""
    from lake.settings import HomeSettings, LakeSettings, read_settings
    from lake.storage import Lake
    from lake.tables import table

    declared = table(source.removeprefix("lake:"))
    return Lake(read_settings(LakeSettings).root(read_settings(HomeSettings))).scan(declared).collect()
