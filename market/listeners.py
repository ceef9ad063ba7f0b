"""Who listens to what: the WebSocket connections of a hub, their streams, and how an event reaches them.

Every client has a bounded queue and a writer of its own: a client that does not read is disconnected, and never
delays another. What is published, and when, is a hub's own matter (`market.streams`, `market.futures_streams`).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, Protocol, TypeVar

import orjson
from aiohttp import web

from market.stream_events import Event

MOST_QUEUED = 8192
"""Frames waiting for one client before it is cut off."""
SLOW_SECONDS = 1.0
"""What a client that does not read has left to see why it is cut."""
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
        self._too_slow = False
        self.writer = asyncio.create_task(self._write())

    @property
    def is_open(self) -> bool:
        return self._request.transport is not None and not self._socket.closed

    def send(self, text: str) -> None:
        """Queue a frame. If the queue is full, the client is told so and cut, a second later at the latest."""
        if self._too_slow:
            return
        if len(self._queue) >= MOST_QUEUED:
            self._too_slow = True
            self._queue.clear()
            self._wake.set()
            asyncio.get_running_loop().call_later(SLOW_SECONDS, self.cut)
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
                if self._too_slow:
                    await self._socket.close(code=1008, message=b"slow consumer: too many frames waiting")
        except (ConnectionError, RuntimeError):
            self.cut()


class Named(Protocol):
    """A stream's name, taken apart."""

    @property
    def symbol(self) -> str:
        """In lower case; empty for the streams of all symbols."""


S = TypeVar("S", bound=Named)


class Listeners(Generic[S]):
    """The clients of a hub and their subscriptions."""

    def __init__(self, symbols: Mapping[str, int], parse: Callable[[str], S | None]) -> None:
        self.clients: set[Client] = set()
        self.frozen = False
        """Nothing is published while it is set, and what happened meanwhile is lost."""
        self._symbols, self._parse = symbols, parse
        self._listeners: dict[str, set[Client]] = {}
        self._streams: dict[str, S] = {}

    def known(self, stream: str) -> bool:
        """Whether the stream exists here."""
        parsed = self._parse(stream)
        return parsed is not None and (parsed.symbol in self._symbols or not parsed.symbol)

    def subscribe(self, client: Client, streams: Iterable[str]) -> None:
        for name in streams:
            stream = self._parse(name)
            if stream is None:
                raise ValueError(f"stream {name}: ask `known` first")
            client.streams.add(name)
            self._listeners.setdefault(name, set()).add(client)
            self._streams[name] = stream
            self._watch(stream)

    def unsubscribe(self, client: Client, streams: Iterable[str]) -> None:
        for name in streams:
            client.streams.discard(name)
            listeners = self._listeners.get(name, set())
            listeners.discard(client)
            if not listeners:
                self._listeners.pop(name, None)
                self._streams.pop(name, None)

    def forget(self, client: Client) -> None:
        self.clients.discard(client)
        self.unsubscribe(client, list(client.streams))
        self._forget_user(client)
        client.writer.cancel()

    def busiest(self) -> int:
        """Frames that wait for the client with the most."""
        return max((client.waiting for client in self.clients), default=0)

    def _watch(self, stream: S) -> None:
        """Begin to keep what the stream's events need."""
        raise NotImplementedError

    def _forget_user(self, client: Client) -> None:
        """End the client's user-data subscriptions."""
        raise NotImplementedError

    def _emit(self, stream: str, event: Event | list[Event]) -> None:
        text, wrapped = orjson.dumps(event).decode(), ""
        for client in tuple(self._listeners.get(stream, ())):
            if client.combined and not wrapped:
                wrapped = f'{{"stream":"{stream}","data":{text}}}'
            client.deliver(stream, wrapped if client.combined else text)
