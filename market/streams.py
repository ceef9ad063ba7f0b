"""Spot's WebSocket fan-out: what is published when, in Binance's exact form; who listens is `market.listeners`.

Event times are market time; cadence (depth every 100 ms, klines every second) is wall time.
"""

from collections.abc import Callable, Iterable

import orjson

from market import book as books
from market.candles import INTERVALS
from market.exchange import Exchange
from market.listeners import Client, Listeners
from market.reports import milliseconds
from market.stream_events import (
    Depth,
    Event,
    Stream,
    aggregate_event,
    average_price_event,
    book_ticker_event,
    kline_event,
    levels_event,
    parse_stream,
    trade_event,
)
from market.tickers import DAY_MINUTES, WINDOWS, book_ticker, mini_ticker_event, rolling, ticker_event
from market.trades import AGG_INSTRUMENT


class Hub(Listeners[Stream]):
    """All clients of spot, their subscriptions, and what was last published."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__({exchange.contracts[i].venue_symbol.lower(): i for i in exchange.spot}, parse_stream)
        self._exchange = exchange
        self._users: dict[int, set[tuple[Client, int]]] = {}
        self._tickers: dict[int, list[str]] = {}
        self._depths: dict[tuple[int, bool], Depth] = {}
        self._sent: dict[str, object] = {}

    # -- clients --------------------------------------------------------------------------------------------------

    def _watch(self, stream: Stream) -> None:
        if stream.kind == "depth":
            key = (self._symbols[stream.symbol], stream.fast)
            if key not in self._depths:
                self._depths[key] = Depth(self._exchange, key[0])

    def unsubscribe(self, client: Client, streams: Iterable[str]) -> None:
        super().unsubscribe(client, streams)
        self._sent = {name: what for name, what in self._sent.items() if name.partition("/")[0] in self._streams}
        wanted = {(self._symbols[s.symbol], s.fast) for s in self._streams.values() if s.kind == "depth"}
        self._depths = {key: depth for key, depth in self._depths.items() if key in wanted}

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

    def _forget_user(self, client: Client) -> None:
        self.unsubscribe_user(client, None)

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

    # -- publishing -----------------------------------------------------------------------------------------------

    def publish(self) -> None:
        """Send what the exchange's outbox holds, and the best prices where they changed."""
        outbox = self._exchange.outbox
        if self._listeners and not self.frozen:
            self._publish_trades(outbox.trades, "trade", books.TAPE_INSTRUMENT, trade_event)
            self._publish_trades(outbox.aggregates, "aggTrade", AGG_INSTRUMENT, aggregate_event)
            for minute in outbox.closed_minutes:
                self._publish_closed(minute)
        for owner, event in () if self.frozen else outbox.user:
            for client, subscription in tuple(self._users.get(owner, ())):
                client.deliver("user", orjson.dumps({"subscriptionId": subscription, "event": event}).decode())
        for happened in (outbox.trades, outbox.aggregates, outbox.closed_minutes, outbox.user):
            happened.clear()
        if not self.frozen:
            self._publish_best()

    def _publish_trades(
        self, rows: list[list[int]], kind: str, column: int, render: Callable[[Exchange, list[int]], Event]
    ) -> None:
        names = {i: f"{symbol}@{kind}" for symbol, i in self._symbols.items() if f"{symbol}@{kind}" in self._listeners}
        for row in rows if names else ():
            name = names.get(row[column])
            if name is not None:
                self._emit(name, render(self._exchange, row))

    def _publish_best(self) -> None:
        for symbol, i in self._symbols.items():
            if f"{symbol}@bookTicker" in self._listeners:
                best = book_ticker(self._exchange, i)
                if best != self._tickers.get(i):
                    self._tickers[i] = best
                    self._emit(f"{symbol}@bookTicker", book_ticker_event(self._exchange, i, best))

    def publish_depth(self) -> None:
        """Send what changed in the books whose listeners want it every 100 ms."""
        self._publish_books(fast=True)

    def publish_second(self) -> None:
        """Send what comes every second: open bars, tickers, average prices, and the slower books."""
        self._publish_books(fast=False)
        if self.frozen:
            return
        for name, stream in tuple(self._streams.items()):
            if stream.kind == "kline":
                self._publish_kline(name, stream, closed=False)
            elif stream.kind in ("ticker", "miniTicker"):
                self._publish_ticker(name, stream)
            elif stream.kind == "avgPrice":
                self._emit(name, average_price_event(self._exchange, self._symbols[stream.symbol]))

    def _publish_books(self, fast: bool) -> None:
        if self.frozen:
            return
        events = {i: depth.difference() for (i, cadence), depth in self._depths.items() if cadence == fast}
        for name, stream in tuple(self._streams.items()):
            if stream.fast != fast or stream.kind not in ("depth", "levels"):
                continue
            i = self._symbols[stream.symbol]
            if stream.kind == "depth" and events.get(i) is not None:
                self._emit(name, events[i] or {})
            elif stream.kind == "levels" and self._is_news(name, self._exchange.update_id(i)):
                self._emit(name, levels_event(self._exchange, i, int(stream.argument)))

    def _publish_ticker(self, name: str, stream: Stream) -> None:
        """One symbol's statistics, or those of all symbols in which something changed."""
        minutes = WINDOWS.get(stream.argument, DAY_MINUTES)
        events = []
        for i in [self._symbols[stream.symbol]] if stream.symbol else self._symbols.values():
            window = rolling(self._exchange, i, minutes)
            if self._is_news(f"{name}/{i}" if not stream.symbol else "", window._replace(closed=0)):
                events.append(
                    mini_ticker_event(self._exchange, i, window)
                    if stream.kind == "miniTicker"
                    else ticker_event(self._exchange, i, window, stream.argument or "24hr")
                )
        if stream.symbol:
            self._emit(name, events[0])
        elif events:
            self._emit(name, events)

    def _is_news(self, name: str, what: object) -> bool:
        """Whether this differs from what was sent under the name; always, without a name."""
        news = not name or self._sent.get(name) != what
        if name:
            self._sent[name] = what
        return news

    def _publish_closed(self, minute: int) -> None:
        for name, stream in tuple(self._streams.items()):
            if stream.kind == "kline" and (minute + 1) % INTERVALS[stream.argument] == 0:
                self._publish_kline(name, stream, closed=True, minute=minute)

    def _publish_kline(self, name: str, stream: Stream, closed: bool, minute: int | None = None) -> None:
        last = self._exchange.candles.minutes - 1 if minute is None else minute
        i, number = self._symbols[stream.symbol], last // INTERVALS[stream.argument]
        self._emit(name, kline_event(self._exchange, i, stream.argument, number, closed))
