"""Books and trades of the instruments a strategy listens to, on their way from the socket to it.

Of a book the newest state waits, so a slow strategy skips what lay between (`coalesced`); trades wait one by one, and
where more than `MOST_TRADES` do, the oldest are dropped and counted. A book that lost its place, is crossed or has
been silent too long is shown as unknown (both sides empty) and asked for again, by one request at a time. Everything
that went wrong is counted in `counts`, which the metrics show.
"""

import asyncio
import logging
import random
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Protocol

import orjson

from lake.errors import BadInput, BitacoraError
from lake.instruments import Instrument
from lake.wire.binance_depth import BestQuote, DepthDiff, DepthSnapshot, TradeEvent, message_from_payload
from live.books import UNKNOWN, DepthBook, LiveBook, QuoteBook, View
from live.clock import MarketClock
from market.strategy import Book, Trade
from market.turns import Heard

log = logging.getLogger("live.market_data")
MOST_TRADES = 65_536
DEPTH_LEVELS, QUOTE_LEVELS = 1000, 5
"""Levels of a snapshot: for a whole book, for the best quote or a look whether a quiet book still stands."""
STALE_SECONDS = 2.0
"""A book that nothing has confirmed for this long is unknown; after half of it the venue is asked."""
WATCH_SECONDS = 0.25
MOST_DELAY = 1.0
"""Longest pause before the next snapshot of a book that keeps getting lost."""
STEADY_SECONDS = 10.0


class DepthReader(Protocol):
    """What a snapshot needs of a venue."""

    async def read(self, path: str, parameters: dict[str, str], signed: bool = True) -> Any: ...


class Place:
    """One instrument's book, and how far its trades have come."""

    def __init__(self, traded: Instrument, book: LiveBook) -> None:
        self.traded, self.book = traded, book
        self.shown: View | None = UNKNOWN
        """None: it was about to be shown when a newer one came."""
        self.dirty = False
        self.market_time = self.received = 0
        self.proven = self.restored = 0.0
        """Monotonic: when something last said that the book is right; when the last snapshot was adopted."""
        self.delay = 0.0
        self.last_trade = -1
        self.task: asyncio.Task[None] | None = None


class MarketData:
    """`on_news` is called whenever there is something to show; `show` gives it out."""

    def __init__(
        self, traded: dict[str, Instrument], reader: DepthReader, clock: MarketClock, levels: int, trades: bool,
        lockstep: bool = False,
    ) -> None:  # fmt: skip
        """`levels` a side of each book, 0 for no books; in lockstep wall time makes nothing stale."""
        self._reader, self._clock, self._levels, self._wants_trades = reader, clock, levels, trades
        self._lockstep = lockstep
        self._places = {
            name: Place(each, QuoteBook() if levels == 1 else DepthBook(levels)) for name, each in traded.items()
        }
        self._trades: deque[Heard] = deque()
        self.counts: Counter[str] = Counter()
        self.on_news: Callable[[], None] = lambda: None

    def streams(self, symbol: str) -> list[str]:
        """What to subscribe for one symbol beside its bars."""
        books = [] if not self._levels else [f"{symbol}@bookTicker" if self._levels == 1 else f"{symbol}@depth@100ms"]
        return books + ([f"{symbol}@trade"] if self._wants_trades else [])

    def is_known(self, name: str) -> bool:
        """Whether an order may rest on this instrument's book; always, where no books are asked for."""
        return not self._levels or self._places[name].book.known

    # -- what comes in --------------------------------------------------------------------------------------------

    def connected(self) -> None:
        """A new subscription begins: what was known may have missed something."""
        for place in self._places.values() if self._levels else ():
            self._lose(place, "connect")

    def take(self, name: str, text: str) -> None:
        """One message of the instrument.

        Raises:
            BadInput: it does not parse; its book is lost with it.
        """
        place, now = self._places[name], time.time_ns() // 1000
        try:
            message = message_from_payload(text)
            if isinstance(message, TradeEvent):
                self._take_trade(place, message, text, now)
            elif isinstance(message, DepthDiff | BestQuote):
                self._take_book(place, message, now)
        except BadInput:
            if self._levels:
                self._lose(place, "unreadable")
            raise

    def _take_trade(self, place: Place, trade: TradeEvent, text: str, now: int) -> None:
        if not trade.market or not self._wants_trades:
            return
        price, quantity = float(trade.price), float(trade.quantity)
        if not (0 < price < float("inf") and 0 < quantity < float("inf")):
            raise BadInput(f"{place.traded.id}: a trade of {trade.quantity} at {trade.price}")
        self._clock.observe(trade.trade_time)
        if trade.trade_id <= place.last_trade:
            self.counts["trades_twice"] += 1
            return
        if place.last_trade >= 0:
            self.counts["trades_missed"] += trade.trade_id - place.last_trade - 1
        place.last_trade = trade.trade_id
        if len(self._trades) >= MOST_TRADES:
            self._trades.popleft()
            self.counts["trades_dropped"] += 1
        shown = Trade(place.traded.id, 0, price, quantity, "sell" if trade.buyer_is_maker else "buy")
        self._trades.append(Heard(shown, trade.trade_id, trade.trade_time, now, text))
        self.on_news()

    def _take_book(self, place: Place, message: DepthDiff | BestQuote, now: int) -> None:
        if message.event_time is not None:
            self._clock.observe(message.event_time)
        before = place.book.id
        why, known = place.book.take(message), place.book.known
        if why:
            self._lose(place, why)
        elif known and place.book.id != before:
            self._note(place, message.event_time or self._clock.now, now)
        elif not known:
            self._ask(place)

    def _note(self, place: Place, market_time: int, received: int) -> None:
        """The book is right as of now."""
        self.counts["books_coalesced"] += place.dirty
        place.dirty, place.proven = True, time.monotonic()
        place.market_time, place.received = market_time, received
        self.on_news()

    def _lose(self, place: Place, why: str) -> None:
        """The book is unknown until a snapshot says what it is."""
        if why != "connect":
            log.warning("%s: book lost: %s", place.traded.id, why)
        self.counts[f"books_lost_{why}"] += 1
        place.book.lose()
        place.dirty = True
        self.on_news()
        self._ask(place)

    # -- snapshots ------------------------------------------------------------------------------------------------

    def _ask(self, place: Place) -> None:
        if place.task is None:
            place.task = asyncio.create_task(self._restore(place))
            place.task.add_done_callback(lambda task: self._asked(place, task))

    def _asked(self, place: Place, task: "asyncio.Task[None]") -> None:
        if place.task is task:
            place.task = None
            if not place.book.known and not task.cancelled():
                self._ask(place)

    async def _restore(self, place: Place) -> None:
        """Ask until a snapshot fits; the first time at once, then after a pause that grows."""
        if time.monotonic() - place.restored > STEADY_SECONDS:
            place.delay = 0.0
        while not place.book.known:
            await asyncio.sleep(place.delay * (0.5 + random.random() / 2))
            place.delay = min(max(2 * place.delay, 0.1), MOST_DELAY)
            limit = QUOTE_LEVELS if self._levels == 1 else DEPTH_LEVELS
            snapshot = await self._snapshot(place, limit)
            why = "no snapshot" if snapshot is None else self._adopt(place, snapshot, limit)
            if not why:
                place.restored = time.monotonic()
                self.counts["books_restored"] += 1
                self._note(place, self._clock.now, time.time_ns() // 1000)

    def _adopt(self, place: Place, snapshot: DepthSnapshot, limit: int) -> str:
        try:
            return place.book.restore(snapshot, limit)
        except BadInput as error:
            place.book.lose()
            return str(error)

    async def _snapshot(self, place: Place, limit: int) -> DepthSnapshot | None:
        parameters = {"symbol": place.traded.venue_symbol, "limit": str(limit)}
        try:
            body = await self._reader.read("/api/v3/depth", parameters, signed=False)
            found = message_from_payload(orjson.dumps(body))
        except BitacoraError as error:
            log.warning("%s: no snapshot: %s", place.traded.id, error)
            return None
        return found if isinstance(found, DepthSnapshot) else None

    async def settled(self) -> None:
        """Wait until no snapshot is on its way."""
        while tasks := [place.task for place in self._places.values() if place.task is not None]:
            await asyncio.wait(tasks)

    async def watch(self) -> None:
        """Ask about books that have gone quiet, and give up those that nobody vouches for, for ever."""
        while self._levels and not self._lockstep:
            await asyncio.sleep(WATCH_SECONDS)
            for place in self._places.values():
                self._look_at(place, time.monotonic() - place.proven)

    def close(self) -> None:
        """Give up the requests on their way."""
        for place in self._places.values():
            if place.task is not None:
                place.task.cancel()

    def _look_at(self, place: Place, silent: float) -> None:
        if place.book.known and silent > STALE_SECONDS:
            if place.task is not None:
                place.task.cancel()
            place.task = None
            self._lose(place, "stale")
        elif place.book.known and silent > STALE_SECONDS / 2 and place.task is None:
            place.task = asyncio.create_task(self._check(place))
            place.task.add_done_callback(lambda task: self._asked(place, task))

    async def _check(self, place: Place) -> None:
        """Ask whether a quiet book still is what the venue has."""
        snapshot = await self._snapshot(place, QUOTE_LEVELS)
        try:
            if snapshot is not None and place.book.proven_by(snapshot):
                self._note(place, self._clock.now, time.time_ns() // 1000)
        except BadInput as error:
            log.warning("%s: %s", place.traded.id, error)

    # -- what goes out --------------------------------------------------------------------------------------------

    @property
    def newest(self) -> dict[str, dict[str, int]]:
        """The last update and trade heard of each instrument: what a decision at a time rests on."""
        return {
            name: {"update_id": place.book.id, "trade_id": place.last_trade} for name, place in self._places.items()
        }

    def show(self, now: int) -> list[Heard]:
        """Trades that wait, and the books whose levels differ from those shown before; `now` is market µs."""
        heard = [self._timed(each, now) for each in self._trades]
        self._trades.clear()
        for name, place in self._places.items():
            if place.dirty:
                place.dirty = False
                heard += self._shown(name, place, now)
        return heard

    def is_superseded(self, heard: Heard) -> bool:
        """Whether a book given out by `show` has a newer state by now; the caller then leaves it out."""
        place = self._places[heard.event.instrument]
        if isinstance(heard.event, Trade) or not place.dirty or self._lockstep:
            return False
        place.shown = None
        self.counts["books_coalesced"] += 1
        return True

    @staticmethod
    def _timed(heard: Heard, now: int) -> Heard:
        trade = heard.event
        assert isinstance(trade, Trade)
        timed = Trade(trade.instrument, now, trade.price, trade.quantity, trade.side)
        return Heard(timed, heard.id, heard.market_time, heard.received, heard.payload)

    def _shown(self, name: str, place: Place, now: int) -> list[Heard]:
        view = place.book.top(self._levels)
        if view == place.shown:
            return []
        place.shown = view
        levels = {"instrument": name, "update_id": place.book.id, "bids": view[0], "asks": view[1]}
        text = orjson.dumps(levels).decode()
        return [Heard(Book(name, now, *view), place.book.id, place.market_time, place.received, text)]
