"""WebSocket fan-out: who listens to what, and the frames in Binance's exact form.

Every client has a bounded queue and a writer of its own: a client that does not read is disconnected, and never
delays another. Event times are market time; cadence (depth every 100 ms, klines every second) is wall time.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import orjson
from aiohttp import web

from lake.intervals import MINUTE
from market import book as books
from market.book import BUY, SELL
from market.candles import BUY_LOTS, BUY_UNITS, CLOSE, FIRST_ID, HIGH, INTERVALS, LOTS, LOW, OPEN, QUOTE_UNITS, TRADES
from market.exchange import Exchange
from market.reports import amount, milliseconds, price_text, quantity_text

MOST_QUEUED = 8192
"""Frames waiting for one client before it is cut off."""
MOST_STREAMS = 1024
"""Streams per connection, as at Binance."""
PING_SECONDS = 20.0


class Client:
    """One WebSocket connection."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request, combined: bool) -> None:
        self.streams: set[str] = set()
        self.combined = combined
        self.is_api = False
        """Speaks the WebSocket API, which wraps events."""
        self.filter: Callable[[Client, str, str], None] | None = None
        """Passes events on, or spoils them: `market.fault_streams`."""
        self._socket, self._request = socket, request
        self._queue: deque[str] = deque()
        self._wake = asyncio.Event()
        self.writer = asyncio.create_task(self._write())

    def send(self, text: str) -> None:
        """Queue a frame; cuts the connection if the queue is full."""
        if len(self._queue) >= MOST_QUEUED:
            self.cut()
            return
        self._queue.append(text)
        self._wake.set()

    def deliver(self, stream: str, text: str) -> None:
        """Send an event of a stream, through the filter; answers go by `send`."""
        if self.filter is None:
            self.send(text)
        else:
            self.filter(self, stream, text)

    @property
    def waiting(self) -> int:
        """Frames not yet written."""
        return len(self._queue)

    def cut(self) -> None:
        """Drop the connection at once, without a closing handshake."""
        self._queue.clear()
        if self._request.transport is not None:
            self._request.transport.abort()

    async def close(self) -> None:
        """Say goodbye; for a shutdown."""
        await self._socket.close(code=1001, message=b"server shutdown")

    async def _write(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    await self._socket.send_str(self._queue.popleft())
        except (ConnectionError, RuntimeError):
            self.cut()


class Hub:
    """All clients, their subscriptions, and what was last published."""

    def __init__(self, exchange: Exchange) -> None:
        self.clients: set[Client] = set()
        self._exchange = exchange
        self._symbols = {i.venue_symbol.lower(): n for n, i in enumerate(exchange.instruments)}
        self._listeners: dict[str, set[Client]] = {}
        self._users: dict[int, set[tuple[Client, int]]] = {}
        self._tickers: dict[int, list[str]] = {}
        self._depths: dict[int, Depth] = {}

    # -- clients --------------------------------------------------------------------------------------------------

    def known(self, stream: str) -> bool:
        """Whether the stream exists here."""
        symbol, _, kind = stream.partition("@")
        name, _, interval = kind.partition("_")
        if symbol not in self._symbols:
            return False
        return kind in ("trade", "bookTicker", "depth@100ms") or (name == "kline" and interval in INTERVALS)

    def subscribe(self, client: Client, streams: Iterable[str]) -> None:
        for stream in streams:
            client.streams.add(stream)
            self._listeners.setdefault(stream, set()).add(client)
            symbol, _, kind = stream.partition("@")
            i = self._symbols[symbol]
            if kind.startswith("depth") and i not in self._depths:
                self._depths[i] = Depth(self._exchange, i)

    def unsubscribe(self, client: Client, streams: Iterable[str]) -> None:
        for stream in streams:
            client.streams.discard(stream)
            listeners = self._listeners.get(stream, set())
            listeners.discard(client)
            if not listeners:
                self._listeners.pop(stream, None)
                if "@depth" in stream:
                    self._depths.pop(self._symbols[stream.partition("@")[0]], None)

    def subscribe_user(self, client: Client, owner: int, subscription: int) -> None:
        self._users.setdefault(owner, set()).add((client, subscription))

    def unsubscribe_user(self, client: Client, subscription: int | None) -> None:
        """End one subscription of a client, or all."""
        for entries in self._users.values():
            for entry in [e for e in entries if e[0] is client and subscription in (None, e[1])]:
                entries.discard(entry)

    def terminate_users(self) -> None:
        """End every user-data subscription with Binance's `eventStreamTerminated`; the sockets stay."""
        event = {"e": "eventStreamTerminated", "E": milliseconds(self._exchange.time)}
        for entries in self._users.values():
            for client, subscription in entries:
                client.send(orjson.dumps({"subscriptionId": subscription, "event": event}).decode())
        self._users.clear()

    def forget(self, client: Client) -> None:
        self.clients.discard(client)
        self.unsubscribe(client, list(client.streams))
        self.unsubscribe_user(client, None)
        client.writer.cancel()

    def busiest(self) -> int:
        """Frames that wait for the client with the most."""
        return max((client.waiting for client in self.clients), default=0)

    def publish_standing(self, clients: Iterable[object], users: bool = True) -> None:
        """Tell clients in lockstep, and every user-data subscription, that all up to this instant was sent."""
        event = {"e": "bitacora.standing", "E": milliseconds(self._exchange.time), "T": self._exchange.time}
        text = orjson.dumps(event).decode()
        for client in clients:
            if isinstance(client, Client):
                client.send(text)
        for entries in self._users.values() if users else ():
            for client, subscription in tuple(entries):
                client.send(f'{{"subscriptionId":{subscription},"event":{text}}}')

    def _emit(self, stream: str, event: dict[str, Any]) -> None:
        text, wrapped = orjson.dumps(event).decode(), ""
        for client in tuple(self._listeners.get(stream, ())):
            if client.combined and not wrapped:
                wrapped = f'{{"stream":"{stream}","data":{text}}}'
            client.deliver(stream, wrapped if client.combined else text)

    # -- publishing -----------------------------------------------------------------------------------------------

    def publish(self) -> None:
        """Send what the exchange's outbox holds, and the best prices where they changed."""
        outbox = self._exchange.outbox
        for row in outbox.trades if self._listeners else ():
            self._publish_trade(row)
        for minute in outbox.closed_minutes:
            self._publish_closed(minute)
        for owner, event in outbox.user:
            for client, subscription in tuple(self._users.get(owner, ())):
                client.deliver("user", orjson.dumps({"subscriptionId": subscription, "event": event}).decode())
        outbox.trades.clear()
        outbox.closed_minutes.clear()
        outbox.user.clear()
        for symbol, i in self._symbols.items():
            if f"{symbol}@bookTicker" in self._listeners:
                self._publish_ticker(symbol, i)

    def _publish_trade(self, row: list[int]) -> None:
        i = row[books.TAPE_INSTRUMENT]
        symbol = self._exchange.instruments[i].venue_symbol
        stream = f"{symbol.lower()}@trade"
        if stream in self._listeners:
            event = {
                "e": "trade", "E": milliseconds(self._exchange.time), "s": symbol, "t": row[books.TAPE_ID],
                "p": price_text(self._exchange, i, row[books.TAPE_PRICE]),
                "q": quantity_text(self._exchange, i, row[books.TAPE_LOTS]),
                "T": milliseconds(row[books.TAPE_TIME]), "m": bool(row[books.TAPE_BUYER_IS_MAKER]), "M": True,
            }  # fmt: skip
            self._emit(stream, event)

    def _publish_ticker(self, symbol: str, i: int) -> None:
        best = book_ticker(self._exchange, i)
        if best != self._tickers.get(i):
            self._tickers[i] = best
            bid, bid_quantity, ask, ask_quantity = best
            event = {
                "u": self._exchange.update_id(i), "s": symbol.upper(),
                "b": bid, "B": bid_quantity, "a": ask, "A": ask_quantity,
            }  # fmt: skip
            self._emit(f"{symbol}@bookTicker", event)

    def publish_depth(self) -> None:
        """Send the difference of each book that has listeners; every 100 ms."""
        for i, depth in self._depths.items():
            event = depth.difference()
            if event is not None:
                self._emit(f"{self._exchange.instruments[i].venue_symbol.lower()}@depth@100ms", event)

    def publish_klines(self) -> None:
        """Send every open bar that has listeners; every second."""
        for symbol, i, interval in self._klines():
            self._publish_kline(symbol, i, interval, (self._exchange.candles.minutes - 1) // INTERVALS[interval], False)

    def _publish_closed(self, minute: int) -> None:
        for symbol, i, interval in self._klines():
            if (minute + 1) % INTERVALS[interval] == 0:
                self._publish_kline(symbol, i, interval, minute // INTERVALS[interval], True)

    def _klines(self) -> list[tuple[str, int, str]]:
        found = [stream.partition("@kline_") for stream in self._listeners if "@kline_" in stream]
        return [(symbol, self._symbols[symbol], interval) for symbol, _, interval in found]

    def _publish_kline(self, symbol: str, i: int, interval: str, number: int, closed: bool) -> None:
        exchange = self._exchange
        bar = exchange.candles.aggregated(i, interval, number, 1)[0].tolist()
        length = INTERVALS[interval] * MINUTE
        opened = exchange.candles.start + number * length
        traded = bar[TRADES] > 0
        event = {
            "e": "kline", "E": milliseconds(exchange.time), "s": symbol.upper(),
            "k": {
                "t": milliseconds(opened), "T": milliseconds(opened + length) - 1, "s": symbol.upper(), "i": interval,
                "f": bar[FIRST_ID] if traded else -1, "L": bar[FIRST_ID] + bar[TRADES] - 1 if traded else -1,
                "o": price_text(exchange, i, bar[OPEN]), "c": price_text(exchange, i, bar[CLOSE]),
                "h": price_text(exchange, i, bar[HIGH]), "l": price_text(exchange, i, bar[LOW]),
                "v": quantity_text(exchange, i, bar[LOTS]), "n": bar[TRADES], "x": closed,
                "q": amount(bar[QUOTE_UNITS]), "V": quantity_text(exchange, i, bar[BUY_LOTS]),
                "Q": amount(bar[BUY_UNITS]), "B": "0",
            },
        }  # fmt: skip
        self._emit(f"{symbol}@kline_{interval}", event)


class Depth:
    """What the listeners of one book know, so that the next event holds the levels that differ."""

    def __init__(self, exchange: Exchange, i: int) -> None:
        self._exchange, self._i = exchange, i
        self._last_id = exchange.update_id(i)
        self._sides = [self._levels(BUY), self._levels(SELL)]

    def _levels(self, side: int) -> dict[int, int]:
        rows: list[list[int]] = self._exchange.depth(self._i, side, 1_000_000).tolist()
        return {price: lots for price, lots in rows}  # noqa: C416 - pairs come as lists

    def difference(self) -> dict[str, Any] | None:
        """The `depthUpdate` event since the last call, or None if the book did not change."""
        exchange, i = self._exchange, self._i
        update_id = exchange.update_id(i)
        if update_id == self._last_id:
            return None
        changes = []
        for side in (BUY, SELL):
            before, now = self._sides[side], self._levels(side)
            changed = [(price, lots) for price, lots in now.items() if before.get(price) != lots]
            changed += [(price, 0) for price in before if price not in now]
            changes.append([[price_text(exchange, i, p), quantity_text(exchange, i, q)] for p, q in changed])
            self._sides[side] = now
        event = {
            "e": "depthUpdate", "E": milliseconds(exchange.time), "s": exchange.instruments[i].venue_symbol,
            "U": self._last_id + 1, "u": update_id, "b": changes[BUY], "a": changes[SELL],
        }  # fmt: skip
        self._last_id = update_id
        return event


def book_ticker(exchange: Exchange, i: int) -> list[str]:
    """Bid, its quantity, ask, its quantity; zeros where a side is empty."""
    texts = []
    for side in (BUY, SELL):
        best = exchange.depth(i, side, 1).tolist()
        price, lots = best[0] if best else (0, 0)
        texts += [price_text(exchange, i, price), quantity_text(exchange, i, lots)]
    return texts
