"""Order books from `book` events: rebuilding, and the three checks that tell a broken one.

- **ids**: each venue chains its updates (Binance U, u, pu; Bybit and Kraken futures count up; OKX and Deribit name the
  update before): `broken_chains` finds where a chain of one symbol on one connection breaks.
- **frames**: Coinbase counts all frames of a connection: `missing_frames`.
- **checksums**: Kraken and OKX send a CRC-32 of the best levels: `Book.checksum`.
"""

import zlib
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl


class Side:
    """Levels of one side by price, best first; prices and quantities keep the venue's text."""

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._prices: list[float] = []
        self._levels: dict[float, tuple[str, str]] = {}

    def set(self, price: str, quantity: str) -> None:
        """Set a level's quantity; zero removes it."""
        key = self._sign * float(price)
        if float(quantity) == 0.0:
            if self._levels.pop(key, None) is not None:
                del self._prices[bisect_left(self._prices, key)]
        else:
            if key not in self._levels:
                insort(self._prices, key)
            self._levels[key] = (price, quantity)

    def best(self, count: int) -> list[tuple[str, str]]:
        return [self._levels[key] for key in self._prices[:count]]

    def __len__(self) -> int:
        return len(self._prices)


@dataclass(slots=True)
class Book:
    """One symbol's book; `last_id` is the newest update's, None before a snapshot or where the venue has no ids."""

    bids: Side = field(default_factory=lambda: Side(-1))
    asks: Side = field(default_factory=lambda: Side(1))
    last_id: int | None = None
    ready: bool = False

    def apply(self, event: dict[str, Any]) -> None:
        """Replace the book by a snapshot, or change it."""
        if event["is_snapshot"]:
            self.bids, self.asks, self.ready = Side(-1), Side(1), True
        for side, levels in ((self.bids, event["bids"]), (self.asks, event["asks"])):
            for level in levels:
                side.set(level[0], level[1])
        self.last_id = event["last_id"]

    @property
    def crossed(self) -> bool:
        """A bid at or above an ask: no such book stands at a venue."""
        return bool(len(self.bids) and len(self.asks)) and float(self.bids.best(1)[0][0]) >= float(
            self.asks.best(1)[0][0]
        )

    def checksum(self, feed: str) -> int | None:
        """The venue's CRC-32 of the best levels; None where it sends none.

        Kraken: ten asks, then ten bids, each number without point and leading zeros
        (docs.kraken.com/api/docs/guides/spot-ws-book-v1). OKX: the best 25 of both sides in turn, price:quantity joined
        by colons, signed (www.okx.com/docs-v5, "Checksum").
        """
        if feed == "kraken":
            levels = self.asks.best(10) + self.bids.best(10)
            digits = (number.replace(".", "").lstrip("0") for level in levels for number in level)
            return zlib.crc32("".join(digits).encode())
        if feed == "okx":
            bids, asks = self.bids.best(25), self.asks.best(25)
            turns = [side[at] for at in range(25) for side in (bids, asks) if at < len(side)]
            crc = zlib.crc32(":".join(f"{price}:{quantity}" for price, quantity in turns).encode())
            return crc - (1 << 32) if crc >= 1 << 31 else crc
        return None


def rebuild(feed: str, events: pl.DataFrame) -> Iterator[tuple[dict[str, Any], Book]]:
    """Every message that took part in one symbol's book, with the book after it.

    Args:
        feed: whose rules apply.
        events: `book` events of one symbol on one connection in the order of receipt, snapshots among them. Binance's
            snapshots come by REST, behind changes that they include or that still build on them: what came before and
            reaches past the snapshot is applied after it.

    A book whose chain breaks is not given out again before the next snapshot.
    """
    book, waiting = Book(), list[dict[str, Any]]()
    for event in events.iter_rows(named=True):
        if event["is_snapshot"]:
            book.apply(event)
            yield event, book
            due, waiting = waiting, []
        else:
            due = [event]
        for change in due:
            if not book.ready:
                waiting.append(change)
            elif _follows(feed, book, change):
                book.apply(change)
                yield change, book
            elif book.last_id is not None and change["last_id"] <= book.last_id:
                continue  # the snapshot holds it already
            else:
                book.ready = False
                waiting = [change]


def _follows(feed: str, book: Book, change: dict[str, Any]) -> bool:
    """Whether a change builds on the book: by its own id of the update before, else by counting."""
    if book.last_id is None or change["last_id"] is None:
        return True
    if change["last_id"] <= book.last_id:
        return False
    if change["previous_id"] == book.last_id:
        return True
    first_after_snapshot = bool(change["first_id"] <= book.last_id + 1)
    if change["previous_id"] is None:
        return first_after_snapshot
    return feed.startswith("binance") and first_after_snapshot


def broken_chains(feed: str, events: pl.DataFrame) -> pl.DataFrame:
    """Changes that do not follow the message before: `row`, `symbol`, `time`, `expected` and `found` update id.

    Args:
        events: `book` events of one connection in the order of receipt, any symbols.
    """
    ordered = events.filter(pl.col("last_id").is_not_null())
    if feed.startswith(("binance", "andina")):
        ordered = ordered.filter(~pl.col("is_snapshot"))  # by REST: no part of the chain
    before = pl.col("last_id").shift(1).over("symbol")
    named = pl.col("previous_id").is_not_null()
    expected = pl.when(named).then(before).otherwise(before + 1)
    found = pl.when(named).then("previous_id").otherwise("first_id")
    judged = ordered.with_columns(expected=expected, found=found)
    broken = ~pl.col("is_snapshot") & (pl.col("found") != pl.col("expected"))
    return judged.filter(broken).select("row", "symbol", "time", "expected", "found")


def missing_frames(payloads: pl.Series) -> pl.DataFrame:
    """Where Coinbase's `sequence_num` of one connection skips: `row`, `expected` and `found`."""
    numbers = payloads.str.extract(r'"sequence_num"\s*:\s*(\d+)').cast(pl.Int64)
    frame = pl.DataFrame({"found": numbers}).with_row_index("row").drop_nulls("found")
    judged = frame.with_columns(expected=pl.col("found").shift(1) + 1)
    return judged.filter(pl.col("found") != pl.col("expected")).select("row", "expected", "found")
