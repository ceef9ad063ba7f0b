"""Candles of all instruments: the simulated history and what the tape adds, in ticks and lots, rendered on demand.

Only one-minute bars are stored; longer ones are aggregated when asked for, since every interval offered divides the
day and the history starts at a midnight. The last row is the open bar. A bar without trades repeats the last close.
Pages of `GET /api/v3/klines` are written by compiled code straight into bytes: clients pull millions of rows.
"""

import numpy as np

from lake.intervals import MILLISECOND, MINUTE
from market.accounts import LOT_UNITS, TICK_LOT_UNITS
from market.book import (
    TAPE_BUYER_IS_MAKER,
    TAPE_ID,
    TAPE_INSTRUMENT,
    TAPE_LOTS,
    TAPE_PRICE,
    UNIT,
    Integers,
)
from market.kernel import njit
from market.scenario import Floats, History

INTERVALS: dict[str, int] = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360, "8h": 480,
    "12h": 720, "1d": 1440,
}  # fmt: skip
"""Binance's interval names and their minutes."""

# Rows of Candles.bars; quote units are 1e-8, the taker-buy part is what buying takers traded.
OPEN, HIGH, LOW, CLOSE, LOTS, QUOTE_UNITS, TRADES, BUY_LOTS, BUY_UNITS, FIRST_ID, BAR_FIELDS = range(11)
_ROW_BYTES = 260


class Candles:
    """One-minute bars, int64 [instruments, minutes, BAR_FIELDS], growing at the end.

    The history has no taker sides: half of its volume counts as bought, rounded down.
    """

    def __init__(self, start: int, scales: Integers, last_prices: Integers) -> None:
        """Begin with one open bar at `start` (µs, a midnight) at the given prices in ticks."""
        self.start = start
        self.minutes = 1
        """Rows in use, the open bar included."""
        self._scales = scales
        self._bars = np.zeros((len(scales), 4096, BAR_FIELDS), np.int64)
        self._bars[:, 0, OPEN : CLOSE + 1] = last_prices[:, None]
        self._bars[:, 0, FIRST_ID] = 1

    @classmethod
    def after(cls, history: History, scales: Integers, ticks: Floats, lots: Floats) -> "Candles":
        """The history's bars and an open one behind them; `ticks` and `lots` are counts per unit, [instruments]."""
        candles = cls(int(history.open_time[0]), scales, np.ones(len(scales), np.int64))
        minutes = len(history.open_time)
        bars = np.zeros((len(scales), minutes + 4096, BAR_FIELDS), np.int64)
        held = bars[:, :minutes]
        for field, prices in ((OPEN, history.open), (HIGH, history.high), (LOW, history.low), (CLOSE, history.close)):
            held[:, :, field] = np.rint(prices * ticks[:, None])
        held[:, :, LOTS] = np.rint(history.volume * lots[:, None])
        held[:, :, QUOTE_UNITS] = np.rint(history.quote_volume * UNIT)
        held[:, :, TRADES] = history.trade_count
        held[:, :, BUY_LOTS], held[:, :, BUY_UNITS] = held[:, :, LOTS] // 2, held[:, :, QUOTE_UNITS] // 2
        held[:, :, FIRST_ID] = 1 + np.cumsum(history.trade_count, axis=1) - history.trade_count
        candles._bars, candles.minutes = bars, minutes
        candles.roll()
        return candles

    @property
    def open_time(self) -> int:
        """Open of the open bar, µs."""
        return self.start + (self.minutes - 1) * MINUTE

    @property
    def bars(self) -> Integers:
        """All rows in use; the last one is open."""
        return self._bars[:, : self.minutes]

    def next_trade_ids(self) -> Integers:
        last = self._bars[:, self.minutes - 1]
        return last[:, FIRST_ID] + last[:, TRADES]

    def roll(self) -> None:
        """Close the open bar and open the next."""
        if self.minutes == self._bars.shape[1]:
            self._bars = np.concatenate([self._bars, np.zeros_like(self._bars[:, :4096])], axis=1)
        last, fresh = self._bars[:, self.minutes - 1], self._bars[:, self.minutes]
        fresh[:] = 0
        fresh[:, OPEN : CLOSE + 1] = last[:, CLOSE, None]
        fresh[:, FIRST_ID] = last[:, FIRST_ID] + last[:, TRADES]
        self.minutes += 1

    def record(self, tape: Integers) -> None:
        """Add trades of the open minute."""
        _record(self._bars, self.minutes - 1, tape, self._scales)

    def aggregated(self, i: int, interval: str, first: int, count: int) -> Integers:
        """Bars `first … first+count` of an interval, [rows, BAR_FIELDS]; fewer where they do not exist yet."""
        step = INTERVALS[interval]
        available = -(-self.minutes // step)
        first, last = max(0, first), min(first + count, available)
        rows = self._bars[i, first * step : min(last * step, self.minutes)]
        return rows if step == 1 else _aggregate(rows, step)

    def page(self, i: int, interval: str, start_ms: int | None, end_ms: int | None, limit: int) -> bytes:
        """Body of `GET /api/v3/klines`: the first bars from `start_ms`, or without it the last up to `end_ms`."""
        step_ms = INTERVALS[interval] * MINUTE // MILLISECOND
        origin = self.start // MILLISECOND
        last = (self.open_time // MILLISECOND - origin) // step_ms
        if end_ms is not None:
            last = min(last, (end_ms - origin) // step_ms)
        first = last - limit + 1 if start_ms is None else -((origin - start_ms) // step_ms)
        first = max(0, first)
        count = min(limit, last - first + 1)
        if count <= 0:
            return b"[]"
        rows = self.aggregated(i, interval, first, count)
        out = np.empty(len(rows) * _ROW_BYTES + 2, np.uint8)
        price_units = self.price_units(i)
        lot_units = int(self._scales[i, LOT_UNITS])
        size = _render(rows, origin + first * step_ms, step_ms, price_units, lot_units, out)
        return out[:size].tobytes()

    def price_units(self, i: int) -> int:
        """Units of 1e-8 in one tick."""
        return int(self._scales[i, TICK_LOT_UNITS] * UNIT // self._scales[i, LOT_UNITS])

    def average_price(self, i: int, minutes: int) -> int:
        """Volume-weighted price of the last so many minutes, in ticks, rounded down; the last price if none traded."""
        rows = self._bars[i, max(0, self.minutes - minutes) : self.minutes]
        lots = int(rows[:, LOTS].sum())
        if not lots:
            return int(rows[-1, CLOSE])
        return int(rows[:, QUOTE_UNITS].sum()) // (lots * int(self._scales[i, TICK_LOT_UNITS]))


@njit(cache=True, nogil=True)
def _record(bars, minute, tape, scales):  # type: ignore[no-untyped-def]
    for k in range(len(tape)):
        i, price, lots = tape[k, TAPE_INSTRUMENT], tape[k, TAPE_PRICE], tape[k, TAPE_LOTS]
        bar = bars[i, minute]
        units = price * lots * scales[i, TICK_LOT_UNITS]
        if bar[TRADES] == 0:
            bar[OPEN] = bar[HIGH] = bar[LOW] = price
            bar[FIRST_ID] = tape[k, TAPE_ID]
        bar[HIGH], bar[LOW], bar[CLOSE] = max(bar[HIGH], price), min(bar[LOW], price), price
        bar[LOTS] += lots
        bar[QUOTE_UNITS] += units
        bar[TRADES] += 1
        if not tape[k, TAPE_BUYER_IS_MAKER]:
            bar[BUY_LOTS] += lots
            bar[BUY_UNITS] += units


@njit(cache=True, nogil=True)
def _aggregate(rows, step):  # type: ignore[no-untyped-def]
    count = (len(rows) + step - 1) // step
    out = np.empty((count, BAR_FIELDS), np.int64)
    for k in range(len(rows)):
        row, bar = rows[k], out[k // step]
        if k % step == 0:
            bar[:] = row
            continue
        bar[HIGH], bar[LOW], bar[CLOSE] = max(bar[HIGH], row[HIGH]), min(bar[LOW], row[LOW]), row[CLOSE]
        for field in (LOTS, QUOTE_UNITS, TRADES, BUY_LOTS, BUY_UNITS):
            bar[field] += row[field]
    return out


@njit(cache=True, nogil=True)
def _digits(out, at, value, least):  # type: ignore[no-untyped-def]
    """Write a whole number ≥ 0 with at least `least` digits."""
    digits, rest = 1, value // 10
    while rest > 0:
        digits += 1
        rest //= 10
    digits = max(digits, least)
    for k in range(digits - 1, -1, -1):
        out[at + k] = 48 + value % 10
        value //= 10
    return at + digits


@njit(cache=True, nogil=True)
def _quoted(out, at, units):  # type: ignore[no-untyped-def]
    """Write `,"123.45678900"` from units of 1e-8."""
    out[at], out[at + 1] = 44, 34
    at = _digits(out, at + 2, units // UNIT, 1)
    out[at] = 46
    at = _digits(out, at + 1, units % UNIT, 8)
    out[at] = 34
    return at + 1


@njit(cache=True, nogil=True)
def _render(rows, open_ms, step_ms, price_units, lot_units, out):  # type: ignore[no-untyped-def]
    out[0] = 91
    at = 1
    for k in range(len(rows)):
        bar = rows[k]
        if k:
            out[at] = 44
            at += 1
        out[at] = 91
        opened = open_ms + k * step_ms
        at = _digits(out, at + 1, opened, 1)
        for field in (OPEN, HIGH, LOW, CLOSE):
            at = _quoted(out, at, bar[field] * price_units)
        at = _quoted(out, at, bar[LOTS] * lot_units)
        out[at] = 44
        at = _digits(out, at + 1, opened + step_ms - 1, 1)
        at = _quoted(out, at, bar[QUOTE_UNITS])
        out[at] = 44
        at = _digits(out, at + 1, bar[TRADES], 1)
        at = _quoted(out, at, bar[BUY_LOTS] * lot_units)
        at = _quoted(out, at, bar[BUY_UNITS])
        for byte in (44, 34, 48, 34, 93):  # ,"0"]
            out[at] = byte
            at += 1
    out[at] = 93
    return at + 1
