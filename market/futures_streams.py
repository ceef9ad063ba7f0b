"""WebSocket streams of derivatives: market data, user data by listen key, in Binance's USDⓈ-M form.

`FuturesHub` is published by the venue beside spot's hub and before it (spot's empties the outbox). Its endpoints are
Binance's present ones: /public (books and best prices), /market (everything else) and /private (user data), each with
/ws and /stream; here every stream is served on both public paths.
"""

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

import orjson
from aiohttp import web

from market import book as books
from market.candles import INTERVALS
from market.contracts import PERPETUAL
from market.futures_desk import FuturesDesk
from market.listeners import Client, Listeners
from market.reports import milliseconds
from market.sockets import Sockets
from market.stream_events import (
    Depth,
    Event,
    aggregate_event,
    book_ticker_event,
    kline_event,
    levels_event,
    trade_event,
)
from market.tickers import book_ticker, mini_ticker_event, rolling, ticker_event
from market.trades import AGG_INSTRUMENT

if TYPE_CHECKING:
    from market.venue import Venue

_ONE = re.compile(
    r"(?P<plain>trade|aggTrade|bookTicker|miniTicker|ticker|forceOrder)|kline_(?P<interval>\w+)"
    r"|markPrice(@1s)?(?P<mark>)|depth(?P<levels>5|10|20)?(@(100|250|500)ms)?",
    re.ASCII,
)
_ALL = re.compile(r"!(?P<plain>miniTicker|ticker|forceOrder)@arr|!markPrice@arr(@1s)?(?P<mark>)|!(?P<best>bookTicker)")


class FuturesStream(NamedTuple):
    """A stream's name, taken apart."""

    symbol: str
    """In lower case; empty for the streams of all symbols."""
    kind: str
    argument: str = ""


def parse_stream(name: str) -> FuturesStream | None:
    """Take a stream's name apart; None where no such stream exists, whatever the symbol."""
    every = _ALL.fullmatch(name)
    if every:
        return FuturesStream("", every["plain"] or every["best"] or "markPrice")
    symbol, _, kind = name.partition("@")
    found = _ONE.fullmatch(kind)
    if not found:
        return None
    if found["plain"]:
        return FuturesStream(symbol, found["plain"])
    if found["interval"]:
        return FuturesStream(symbol, "kline", found["interval"]) if found["interval"] in INTERVALS else None
    if found["mark"] is not None:
        return FuturesStream(symbol, "markPrice")
    return FuturesStream(symbol, "levels" if found["levels"] else "depth", found["levels"] or "")


class FuturesHub(Listeners[FuturesStream]):
    """Who listens to what of the derivatives, and what was last published."""

    def __init__(self, desk: FuturesDesk) -> None:
        contracts = desk.exchange.contracts
        super().__init__({contracts[i].venue_symbol.lower(): i for i in desk.derivatives}, parse_stream)
        self._desk, self._exchange, self._world = desk, desk.exchange, desk.world
        self._users: dict[int, set[Client]] = {}
        self._best: dict[int, list[str]] = {}
        self._depths: dict[int, tuple[Depth, int]] = {}
        self._sent: dict[str, int] = {}

    # -- clients --------------------------------------------------------------------------------------------------

    def _watch(self, stream: FuturesStream) -> None:
        if stream.kind == "depth":
            i = self._symbols[stream.symbol]
            self._depths.setdefault(i, (Depth(self._exchange, i), self._exchange.update_id(i)))

    def unsubscribe(self, client: Client, streams: Iterable[str]) -> None:
        super().unsubscribe(client, streams)
        wanted = {self._symbols[s.symbol] for s in self._streams.values() if s.kind == "depth"}
        self._depths = {i: depth for i, depth in self._depths.items() if i in wanted}

    def subscribe_user(self, client: Client, owner: int) -> None:
        self._users.setdefault(owner, set()).add(client)

    def _forget_user(self, client: Client) -> None:
        for listeners in self._users.values():
            listeners.discard(client)

    # -- publishing -----------------------------------------------------------------------------------------------

    def publish(self) -> None:
        """Send what happened to derivatives since the last call; lets countdowns and listen keys run out."""
        self._desk.run_timers()
        outbox = self._exchange.outbox
        if not self.frozen:
            self._publish_trades(outbox.trades, "trade", books.TAPE_INSTRUMENT, _trade)
            self._publish_trades(outbox.aggregates, "aggTrade", AGG_INSTRUMENT, _aggregate)
            for minute in outbox.closed_minutes:
                self._publish_klines(minute, True)
            for event in self._desk.liquidations:
                self._emit(f"{event['o']['s'].lower()}@forceOrder", event)
                self._emit("!forceOrder@arr", event)
            for owner, event in outbox.futures_user:
                self._tell(owner, event)
            self._publish_best()
        outbox.futures_user.clear()
        self._desk.liquidations.clear()
        for held in self._desk.expired_keys():
            self._tell(held.owner, {
                "e": "listenKeyExpired", "E": milliseconds(self._exchange.time), "listenKey": held.key})  # fmt: skip
            self._users.pop(held.owner, None)

    def _tell(self, owner: int, event: Event) -> None:
        for client in tuple(self._users.get(owner, ())):
            client.deliver("user", orjson.dumps(event).decode())

    def _publish_trades(
        self, rows: list[list[int]], kind: str, column: int, render: Callable[[FuturesDesk, list[int]], Event]
    ) -> None:
        names = {i: f"{symbol}@{kind}" for symbol, i in self._symbols.items() if f"{symbol}@{kind}" in self._listeners}
        for row in rows if names else ():
            name = names.get(row[column])
            if name is not None:
                self._emit(name, render(self._desk, row))

    def _publish_best(self) -> None:
        everybody = "!bookTicker" in self._listeners
        for symbol, i in self._symbols.items():
            name = f"{symbol}@bookTicker"
            if not everybody and name not in self._listeners:
                continue
            best = book_ticker(self._exchange, i)
            if best != self._best.get(i):
                self._best[i] = best
                now = milliseconds(self._exchange.time)
                event = {"e": "bookTicker", **book_ticker_event(self._exchange, i, best), "T": now, "E": now}
                self._emit(name, event)
                self._emit("!bookTicker", event)

    def publish_depth(self) -> None:
        """Send what changed in the books that somebody listens to, every 100 ms, and the partial books."""
        if self.frozen:
            return
        events: dict[int, Event] = {}
        for i, (depth, last) in list(self._depths.items()):
            event = depth.difference()
            if event is not None:
                events[i] = {**event, "T": event["E"], "pu": last}
                self._depths[i] = (depth, event["u"])
        for name, stream in tuple(self._streams.items()):
            if stream.kind == "depth" and self._symbols[stream.symbol] in events:
                self._emit(name, events[self._symbols[stream.symbol]])
            elif stream.kind == "levels":
                i = self._symbols[stream.symbol]
                last = self._exchange.update_id(i)
                if self._sent.get(name) != last:
                    self._sent[name] = last
                    self._emit(name, self._levels(i, int(stream.argument)))

    def _levels(self, i: int, levels: int) -> Event:
        now, event = milliseconds(self._exchange.time), levels_event(self._exchange, i, levels)
        last = event["lastUpdateId"]
        return {
            "e": "depthUpdate", "E": now, "T": now, "s": self._exchange.contracts[i].venue_symbol, "U": last, "u": last,
            "pu": last - 1, "b": event["bids"], "a": event["asks"],
        }  # fmt: skip

    def publish_second(self) -> None:
        """Send what comes every second: marks, open bars, tickers."""
        if self.frozen:
            return
        self._publish_klines(self._exchange.candles.minutes - 1, False)
        for name, stream in tuple(self._streams.items()):
            if stream.kind == "markPrice":
                self._each(name, stream, self.mark_event)
            elif stream.kind == "ticker":
                self._each(name, stream, self._ticker)
            elif stream.kind == "miniTicker":
                self._each(name, stream, lambda i: mini_ticker_event(self._exchange, i, rolling(self._exchange, i)))

    def _each(self, name: str, stream: FuturesStream, render: Callable[[int], Event]) -> None:
        if stream.symbol:
            self._emit(name, render(self._symbols[stream.symbol]))
        else:
            self._emit(name, [render(i) for i in self._symbols.values()])

    def _ticker(self, i: int) -> Event:
        event = ticker_event(self._exchange, i, rolling(self._exchange, i))
        return {key: value for key, value in event.items() if key not in "xbBaA"}

    def mark_event(self, i: int) -> Event:
        """The event of `@markPrice`."""
        world, contract, k = self._world, self._exchange.contracts[i], i - self._world.first
        perpetual = contract.kind == PERPETUAL
        return {
            "e": "markPriceUpdate", "E": milliseconds(self._exchange.time), "s": contract.venue_symbol,
            "p": f"{world.mark[k]:.8f}", "i": f"{world.index[k]:.8f}", "P": f"{world.index[k]:.8f}",
            "r": f"{world.funding_estimate(k):.8f}" if perpetual else "",
            "T": milliseconds(world.next_funding()) if perpetual else 0,
        }  # fmt: skip

    def _publish_klines(self, minute: int, closed: bool) -> None:
        for name, stream in tuple(self._streams.items()):
            if stream.kind != "kline" or (closed and (minute + 1) % INTERVALS[stream.argument]):
                continue
            i, number = self._symbols[stream.symbol], minute // INTERVALS[stream.argument]
            self._emit(name, kline_event(self._exchange, i, stream.argument, number, closed))


def _trade(desk: FuturesDesk, row: list[int]) -> Event:
    event = trade_event(desk.exchange, row)
    event.pop("M", None)
    return {**event, "X": "MARKET"}


def _aggregate(desk: FuturesDesk, row: list[int]) -> Event:
    event = aggregate_event(desk.exchange, row)
    event.pop("M", None)
    return event


class FuturesSockets(Sockets):
    """The WebSocket endpoints."""

    def __init__(self, venue: "Venue", desk: FuturesDesk, hub: FuturesHub) -> None:
        super().__init__(venue, hub)
        self._desk, self._futures = desk, hub

    def routes(self) -> list[web.RouteDef]:
        paths = [f"/{category}/{kind}" for category in ("public", "market") for kind in ("ws", "stream")]
        return [
            *(web.get(path, self._market) for path in paths),
            *(web.get(f"{path}/{{streams:.*}}", self._market) for path in paths if path.endswith("/ws")),
            web.get("/private/ws", self._private),
            web.get("/private/ws/{key}", self._private),
            web.get("/private/stream", self._private),
        ]

    async def _market(self, request: web.Request) -> web.WebSocketResponse:
        combined = request.path.endswith("/stream")
        text = request.query.get("streams", "") if combined else request.match_info.get("streams", "").strip("/")
        names = [name for name in text.split("/") if name and not name.isdigit()]
        for name in names:
            if not self._hub.known(name):
                raise web.HTTPBadRequest(text=f"unknown stream {name:.60}")
        return await self._converse(request, combined, names, self._answer, "futures")

    async def _private(self, request: web.Request) -> web.WebSocketResponse:
        key = request.query.get("listenKey") or request.match_info.get("key", "") or request.query.get("streams", "")
        owner = self._desk.owner_of(key)
        if owner is None:
            raise web.HTTPUnauthorized(text="unknown or expired listenKey")

        def welcome(client: Client) -> None:
            self._futures.subscribe_user(client, owner)

        return await self._converse(request, False, [], self._answer, "futures", welcome)
