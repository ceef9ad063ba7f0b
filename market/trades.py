"""Trades the exchange remembers for queries: single ones as the tape has them, and Binance's aggregate trades.

Trades of one taker order at one price and instant make one aggregate. All of them happen within one engine call, so
an aggregate never spans two drains of the tape. Memory is bounded: the newest `KEPT` trades of an instrument stay.
"""

import numpy as np

from market.book import (
    TAPE_BUYER_IS_MAKER,
    TAPE_ID,
    TAPE_INSTRUMENT,
    TAPE_LOTS,
    TAPE_PRICE,
    TAPE_TAKER_ORDER,
    TAPE_TIME,
    Integers,
)

KEPT = 50_000
"""Trades per instrument at least; the same number of aggregates."""

# Columns of a remembered trade: id, µs, ticks, lots, 1 where the buyer was the maker.
TRADE_ID, TRADE_TIME, TRADE_PRICE, TRADE_LOTS, TRADE_BUYER_IS_MAKER, TRADE_FIELDS = range(6)
# Columns of an aggregate; the first five as a trade's, then the first and the last trade id and the instrument.
AGG_FIRST, AGG_LAST, AGG_INSTRUMENT, AGG_FIELDS = range(5, 9)
_OF_TAPE = [TAPE_ID, TAPE_TIME, TAPE_PRICE, TAPE_LOTS, TAPE_BUYER_IS_MAKER]


class Rows:
    """The newest rows of a growing int64 table whose first column is an id and whose second a time; both rise."""

    def __init__(self, fields: int, kept: int = KEPT) -> None:
        self._held, self._kept, self._count = np.zeros((1024, fields), np.int64), kept, 0

    @property
    def all(self) -> Integers:
        """[rows, fields]; a view, valid until the next `append`."""
        return self._held[: self._count]

    def append(self, rows: Integers) -> None:
        rows = rows[-self._kept :]
        if self._count + len(rows) > len(self._held):
            old = self._held[max(0, self._count - self._kept) : self._count]
            size = min(2 * (len(old) + len(rows)), 2 * self._kept)
            self._held = np.zeros((max(size, len(old) + len(rows)), self._held.shape[1]), np.int64)
            self._held[: len(old)], self._count = old, len(old)
        self._held[self._count : self._count + len(rows)] = rows
        self._count += len(rows)

    def page(self, limit: int, from_id: int | None, start: int | None, end: int | None) -> list[list[int]]:
        """The first rows from an id or a time (µs, `end` included), or the last ones where neither is given."""
        rows = self.all
        if end is not None:
            rows = rows[: np.searchsorted(rows[:, TRADE_TIME], end, "right")]
        if from_id is None and start is None:
            return _lists(rows[-limit:])
        first = np.searchsorted(rows[:, TRADE_ID], from_id) if from_id is not None else 0
        if start is not None:
            first = max(first, np.searchsorted(rows[:, TRADE_TIME], start))
        return _lists(rows[first : first + limit])


def _lists(rows: Integers) -> list[list[int]]:
    listed: list[list[int]] = rows.tolist()
    return listed


class TradeLog:
    """Trades and aggregates of all instruments."""

    def __init__(self, next_ids: Integers) -> None:
        """Aggregates are numbered from each instrument's next trade id, so that ids never repeat the history's."""
        self.trades = [Rows(TRADE_FIELDS) for _ in next_ids]
        self.aggregates = [Rows(AGG_FIELDS) for _ in next_ids]
        self._next = [int(value) for value in next_ids]

    def record(self, tape: Integers) -> list[list[int]]:
        """Remember a drained tape; returns the aggregates it makes, in order of their last trade."""
        found: list[list[int]] = []
        for i in np.unique(tape[:, TAPE_INSTRUMENT]).tolist():
            rows = tape[tape[:, TAPE_INSTRUMENT] == i]
            aggregates = self._aggregated(i, rows)
            self.trades[i].append(rows[:, _OF_TAPE])
            self.aggregates[i].append(aggregates)
            found += aggregates.tolist()
        return sorted(found, key=lambda row: row[TRADE_TIME])

    def _aggregated(self, i: int, rows: Integers) -> Integers:
        keys = rows[:, [TAPE_TAKER_ORDER, TAPE_PRICE, TAPE_TIME]]
        starts = np.flatnonzero(np.r_[True, (keys[1:] != keys[:-1]).any(axis=1)])
        ends = np.r_[starts[1:], len(rows)] - 1
        made = np.empty((len(starts), AGG_FIELDS), np.int64)
        made[:, TRADE_ID : TRADE_BUYER_IS_MAKER + 1] = rows[starts][:, _OF_TAPE]
        made[:, TRADE_ID] = self._next[i] + np.arange(len(starts))
        made[:, TRADE_LOTS] = np.add.reduceat(rows[:, TAPE_LOTS], starts)
        made[:, AGG_FIRST], made[:, AGG_LAST] = rows[starts, TAPE_ID], rows[ends, TAPE_ID]
        made[:, AGG_INSTRUMENT] = i
        self._next[i] += len(starts)
        return made
