"""One instrument's order book as the venue's streams tell it: from diffs after a snapshot, or from best quotes. No I/O.

A book is `known` only while everything since its snapshot was heard; then it is the venue's as of the update `id`. A
message that does not follow, a crossed book, or levels beyond what the snapshot reached make it unknown until the next
snapshot. Prices and quantities are read exactly, in units of 1e-8 (`market/replay.py` has the procedure and the rules).
"""

from collections import deque
from typing import Protocol, TypeAlias

import numpy as np

from lake.errors import BadInput
from lake.wire.binance_depth import BestQuote, DepthDiff, DepthSnapshot
from lake.wire.binance_depth import Levels as Texts
from market import l2
from market.l2 import ASK, BID, TICK
from market.replay import DECIMALS, EVENT_FIELDS, FINAL_ID, FIRST_ID, PREVIOUS_ID, follows, units

MOST_WAITING = 1000
"""Diffs kept while a snapshot is on its way: 100 seconds of them."""
SCALE = float(10**DECIMALS)
Side: TypeAlias = tuple[tuple[float, float], ...]
"""Price and quantity, best first."""
View: TypeAlias = tuple[Side, Side]
"""Bids and asks."""
UNKNOWN: View = ((), ())


class LiveBook(Protocol):
    """What both kinds of books can do. `take` and `restore` answer why the book is lost, or nothing."""

    id: int
    known: bool

    def take(self, message: DepthDiff | BestQuote) -> str: ...
    def restore(self, snapshot: DepthSnapshot, limit: int) -> str: ...
    def proven_by(self, snapshot: DepthSnapshot) -> bool: ...
    def lose(self) -> None: ...
    def top(self, count: int) -> View: ...


class DepthBook:
    """The whole book, of `depthUpdate` events."""

    def __init__(self, shown: int) -> None:
        """`shown` best levels of each side have to be right."""
        self.id, self.known, self._shown = -1, False, max(shown, 1)
        self._first = False
        self._levels = l2.new_levels(2048)
        self._edges: list[int | None] = [None, None]
        """The worst price of each side that the snapshot reached; None where it held the whole side."""
        self._waiting: deque[DepthDiff] = deque(maxlen=MOST_WAITING)

    def take(self, message: DepthDiff | BestQuote) -> str:
        """Apply a diff, or keep it for the snapshot; one that the book already holds changes nothing."""
        if not isinstance(message, DepthDiff):
            raise BadInput("expected a depthUpdate event")
        if not self.known:
            self._waiting.append(message)
            return ""
        if message.final_id <= self.id:
            return ""
        row = np.zeros(EVENT_FIELDS, np.int64)
        previous = -1 if message.previous_id is None else message.previous_id
        row[[FIRST_ID, FINAL_ID, PREVIOUS_ID]] = message.first_id, message.final_id, previous
        if not follows(row, self.id, self._first):
            self.lose()
            self._waiting.append(message)
            return "gap"
        self._apply(message.bids, message.asks)
        self.id, self._first = message.final_id, False
        return self._doubt()

    def restore(self, snapshot: DepthSnapshot, limit: int) -> str:
        """Begin from a snapshot of up to `limit` levels a side, then apply the diffs that waited."""
        l2.clear(self._levels)
        self._apply(snapshot.bids, snapshot.asks)
        self._edges = [None, None]
        for side, rows in ((BID, snapshot.bids), (ASK, snapshot.asks)):
            if len(rows) >= limit:
                self._edges[side] = int(self._levels.rows[side, 0, TICK])
        self.id, self.known, self._first = snapshot.last_id, True, True
        waiting, self._waiting = self._waiting, deque(maxlen=MOST_WAITING)
        why = self._doubt()
        for diff in waiting:
            why = self.take(diff) or why
        return why

    def proven_by(self, snapshot: DepthSnapshot) -> bool:
        """Whether the venue knows nothing newer."""
        return self.known and snapshot.last_id <= self.id

    def lose(self) -> None:
        self.known, self.id = False, -1

    def top(self, count: int) -> View:
        """The best levels; none of a book that is unknown."""
        if not self.known:
            return UNKNOWN
        bids, asks = (
            tuple((price / SCALE, lots / SCALE) for price, lots in l2.depth(self._levels, side, count).tolist())
            for side in (BID, ASK)
        )
        return bids, asks

    def _apply(self, bids: Texts, asks: Texts) -> None:
        rows = [(BID, units(price), units(quantity)) for price, quantity in bids]
        rows += [(ASK, units(price), units(quantity)) for price, quantity in asks]
        if any(row[1] <= 0 for row in rows):
            raise BadInput("a price of 0")
        self._levels = l2.with_room(self._levels, len(rows))
        l2.apply_updates(self._levels, np.array(rows, np.int64).reshape(-1, l2.UPDATE_FIELDS), 0, len(rows))

    def _doubt(self) -> str:
        """Why the levels shown cannot be true, which loses the book; nothing where they can."""
        bid, ask = l2.best(self._levels, BID)[0], l2.best(self._levels, ASK)[0]
        if 0 <= ask <= bid:
            self.lose()
            return "crossed"
        for side, edge in enumerate(self._edges):
            shown = l2.depth(self._levels, side, self._shown)[:, TICK]
            if edge is not None and (len(shown) < self._shown or (shown[-1] - edge) * (1 if side == BID else -1) < 0):
                self.lose()
                return "edge"
        return ""


class QuoteBook:
    """The best level of each side, of `bookTicker` events; each says all there is, so none has to follow another."""

    def __init__(self) -> None:
        self.id, self.known = -1, False
        self._view: View = UNKNOWN

    def take(self, message: DepthDiff | BestQuote) -> str:
        """Adopt a quote; an older one changes nothing."""
        if not isinstance(message, BestQuote):
            raise BadInput("expected a bookTicker event")
        bid, ask = [[message.bid, message.bid_quantity]], [[message.ask, message.ask_quantity]]
        return self._adopt(message.update_id, bid, ask)

    def restore(self, snapshot: DepthSnapshot, limit: int) -> str:
        """Adopt the snapshot's best levels."""
        return self._adopt(snapshot.last_id, snapshot.bids[:1], snapshot.asks[:1])

    def proven_by(self, snapshot: DepthSnapshot) -> bool:
        """The snapshot is as good as a quote: it is adopted."""
        return not self.restore(snapshot, 0) and self.known

    def lose(self) -> None:
        self.known, self.id, self._view = False, -1, UNKNOWN

    def top(self, count: int) -> View:
        return self._view

    def _adopt(self, update_id: int, bids: Texts, asks: Texts) -> str:
        if update_id < self.id:
            return ""
        bid, ask = _quoted(bids), _quoted(asks)
        self.id, self.known, self._view = update_id, True, (bid, ask)
        if bid and ask and bid[0][0] >= ask[0][0]:
            self.lose()
            return "crossed"
        return ""


def _quoted(rows: Texts) -> Side:
    """The side's best level; nothing where its quantity is zero."""
    read = [(units(price), units(quantity)) for price, quantity in rows]
    if any(price <= 0 < quantity for price, quantity in read):
        raise BadInput("a price of 0")
    return tuple((price / SCALE, quantity / SCALE) for price, quantity in read if quantity)
