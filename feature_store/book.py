"""Features of order books and trades: one row of numbers after every book update and every trade.

`compute_book` scans rows that are held, `BookStream` takes one at a time; both run the same compiled update and start
empty at midnight UTC, so they agree bit for bit. `BookRows` makes the rows from books and trades as `lake.wire` reads
them.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

import numpy as np
import polars as pl

from feature_store.book_inputs import (
    ASK_PRICE,
    ASK_QUANTITY,
    BID_PRICE,
    BID_QUANTITY,
    BOOK_INPUTS,
    BUCKET,
    LEVELS,
    TIME,
    TRADE_PRICE,
    TRADE_QUANTITY,
    TRADE_SIDE,
    WIDTH,
)
from feature_store.errors import BarsRefused
from feature_store.fuse import fused_scan
from feature_store.source import kernel_source
from feature_store.view import FeatureView, Floats, Output
from feature_store.views.book_depth import BOOK_DEPTH
from feature_store.views.book_imbalance import BOOK_IMBALANCE
from feature_store.views.book_prices import BOOK_PRICES
from feature_store.views.order_flow_imbalance import ORDER_FLOW_IMBALANCE
from feature_store.views.trade_flow import TRADE_FLOW
from feature_store.views.vpin import VPIN
from lake.intervals import DAY
from lake.wire.books import Book, Side, rebuild


@dataclass(frozen=True)
class BookService:
    """Views over book and trade rows in a fixed order; its period is the UTC day, without warm-up."""

    name: str
    views: tuple[FeatureView, ...]
    timeframe = "event"

    def __post_init__(self) -> None:
        unknown = sorted({name for view in self.views for name in view.inputs} - set(BOOK_INPUTS))
        if unknown:
            raise ValueError(f"service {self.name}: {unknown} are no inputs of books: expected {BOOK_INPUTS}")

    @cached_property
    def outputs(self) -> tuple[Output, ...]:
        return tuple(output for view in self.views for output in view.outputs)

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(output.name for output in self.outputs)

    @property
    def warm_up(self) -> int:
        """Updates or trades, whichever a view counts, until every column is a number."""
        return max(view.warm_up for view in self.views)

    @property
    def state_size(self) -> int:
        return sum(view.state_size for view in self.views)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256, hex, over everything that decides a value."""
        parts = [self.timeframe, str(LEVELS), "day"]
        for view in self.views:
            parts += [view.name, str(view.version), ",".join(view.inputs), str(view.state_size)]
            parts += [f"{output.name} [{output.unit}]" for output in view.outputs]
            parts.append(kernel_source(view.update))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


BOOK: Final = BookService("book_1", (BOOK_PRICES, BOOK_IMBALANCE, BOOK_DEPTH, ORDER_FLOW_IMBALANCE, TRADE_FLOW, VPIN))


def compute_book(service: BookService, rows: Floats) -> Floats:
    """Features after every row: float64[n, k], NaN until warm, from rows float64[n, WIDTH] in the order of receipt.

    Rows reach back to midnight UTC of their first day, or the first values are NaN for longer. An event time that runs
    back over midnight starts no new day.

    Raises:
        BarsRefused: of another shape.
    """
    rows = np.ascontiguousarray(rows, np.float64)
    if rows.ndim != 2 or rows.shape[1] != WIDTH:
        raise BarsRefused(f"expected rows [n, {WIDTH}] as of feature_store.book_inputs, found {rows.shape}.")
    outputs, scratch = np.empty((len(rows), len(service.outputs))), np.empty(len(service.outputs))
    scan = fused_scan(service.views)
    days = np.maximum.accumulate(rows[:, TIME] // DAY) if len(rows) else np.empty(0)
    edges = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(rows)]
    for first, end in pairwise(edges):
        scan(np.zeros(service.state_size), rows[first:end], scratch, outputs[first:end])
    return outputs


class BookStream:
    """One instrument's features, one row at a time; bitwise what `compute_book` gives over the same rows."""

    def __init__(self, service: BookService = BOOK) -> None:
        self.service = service
        self._scan, self._scratch = fused_scan(service.views), np.empty(len(service.outputs))
        self._shape = (1, len(service.outputs))
        self._state = np.zeros(service.state_size)
        self._day_end = 0.0

    def update(self, row: Floats) -> Floats:
        """Take one row, float64[WIDTH], and return its float64[k]."""
        if row[TIME] >= self._day_end:
            self._state[:] = 0.0
            self._day_end = row[TIME] // DAY * DAY + DAY
        outputs = np.empty(self._shape)
        self._scan(self._state, row.reshape(1, -1), self._scratch, outputs)
        return outputs[0]


class BookRows:
    """Writes rows: keeps the last book's levels, so that a trade stands beside the book it met.

    Args:
        bucket: VPIN's bucket in base, for example a fiftieth of the instrument's usual daily volume.
    """

    def __init__(self, bucket: float) -> None:
        self._row = np.full(WIDTH, np.nan)
        self._row[[*range(BID_QUANTITY, ASK_PRICE), *range(ASK_QUANTITY, TRADE_PRICE)]] = 0.0
        self._row[[TRADE_QUANTITY, TRADE_SIDE]] = 0.0
        self._row[BUCKET] = bucket

    def book(self, time: int, book: Book) -> Floats:
        """The row of a book that has just changed."""
        self._levels(BID_PRICE, BID_QUANTITY, book.bids)
        self._levels(ASK_PRICE, ASK_QUANTITY, book.asks)
        self._row[TIME] = time
        return self._row.copy()

    def trade(self, time: int, price: float, quantity: float, taker_bought: bool) -> Floats:
        """The row of a trade, beside the book as it stood."""
        row = self._row.copy()
        row[TIME], row[TRADE_PRICE], row[TRADE_QUANTITY] = time, price, quantity
        row[TRADE_SIDE] = 1.0 if taker_bought else -1.0
        return row

    def _levels(self, price: int, quantity: int, side: Side) -> None:
        levels = side.best(LEVELS)
        for level in range(LEVELS):
            known = level < len(levels)
            self._row[price + level] = float(levels[level][0]) if known else np.nan
            self._row[quantity + level] = float(levels[level][1]) if known else 0.0


def rows_of(feed: str, books: pl.DataFrame, trades: pl.DataFrame, bucket: float) -> Floats:
    """Rows of one symbol on one connection in the order of receipt, float64[n, WIDTH].

    Args:
        feed: whose rules rebuild the book.
        books, trades: `book` and `trade` events as `lake.wire.frames.parse` gives them.

    A trade before the first book stands beside an empty one.
    """
    writer, rows = BookRows(bucket), list[Floats]()
    waiting = iter(trades.sort("row", "position", maintain_order=True).iter_rows(named=True))
    trade = next(waiting, None)
    for event, book in rebuild(feed, books):
        while trade is not None and trade["row"] < event["row"]:
            rows.append(_trade(writer, trade))
            trade = next(waiting, None)
        rows.append(writer.book(event["time"] or 0, book))
    while trade is not None:
        rows.append(_trade(writer, trade))
        trade = next(waiting, None)
    return np.array(rows).reshape(-1, WIDTH)


def _trade(writer: BookRows, event: dict[str, Any]) -> Floats:
    return writer.trade(event["time"], float(event["price"]), float(event["quantity"]), event["side"] == "buy")
