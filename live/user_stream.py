"""The account's own events: `userDataStream.subscribe.signature` over the venue's WebSocket API.

Events are a faster way to learn what REST answers too. While the stream is down nothing new is sent; after every
(re)connect `on_connect` polls what may have been missed before orders pass again.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import orjson

from live.errors import VenueUnavailable
from live.venue import Credentials

log = logging.getLogger("live.user_stream")
_FIRST_DELAY, _MAX_DELAY = 0.2, 10.0
CLOSE_TIMEOUT = aiohttp.ClientWSTimeout(ws_close=1.0)
"""A venue that does not answer a close is left after a second."""
STEADY_SECONDS = 60.0
"""A connection that held for this long starts the back-off anew."""


class UserStream:
    """Keeps one subscription alive. `on_event` gets each unwrapped event; `on_state` True once subscribed."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, credentials: Credentials, timestamp: Callable[[], int],
        on_event: Callable[[dict[str, Any]], None], on_connect: Callable[[], Awaitable[None]],
        on_state: Callable[[bool], None],
    ) -> None:  # fmt: skip
        self._session, self._url, self._credentials, self._timestamp = session, url, credentials, timestamp
        self._on_event, self._on_connect, self._on_state = on_event, on_connect, on_state

    async def run(self) -> None:
        """Connect, subscribe, read; for ever, with jittered back-off (at most 60 connects in 5 minutes)."""
        delay = _FIRST_DELAY
        while True:
            try:
                async with self._session.ws_connect(self._url, heartbeat=20, timeout=CLOSE_TIMEOUT) as socket:
                    connected = time.monotonic()
                    await self._follow(socket)
                    if time.monotonic() - connected > STEADY_SECONDS:
                        delay = _FIRST_DELAY
                    log.warning("user stream closed by the venue (%s)", socket.close_code)
            except (aiohttp.ClientError, OSError, TimeoutError, TypeError, ValueError, VenueUnavailable) as error:
                log.warning("user stream: %s", type(error).__name__)
            await asyncio.sleep(delay * (1 + random.random()))
            delay = min(delay * 2, _MAX_DELAY)

    async def _follow(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Subscribe, catch up, read until the end; the state falls before the socket is closed, which may take time."""
        try:
            await self._subscribe(socket)
            await self._on_connect()
            self._on_state(True)
            await self._read(socket)
        finally:
            self._on_state(False)

    async def _subscribe(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        parameters = {"apiKey": self._credentials.api_key, "timestamp": self._timestamp()}
        text = "&".join(f"{name}={value}" for name, value in sorted(parameters.items()))
        request = {
            "id": "subscribe",
            "method": "userDataStream.subscribe.signature",
            "params": parameters | {"signature": self._credentials.sign(text)},
        }
        await socket.send_str(orjson.dumps(request).decode())
        async with asyncio.timeout(10):
            while True:
                answer = orjson.loads(await socket.receive_str())
                if answer.get("id") == "subscribe":
                    break
                self._dispatch(answer)
        if answer.get("status") != 200:
            error = answer.get("error") or {}
            log.error("user stream refused: %s %s", error.get("code"), str(error.get("msg", ""))[:200])
            raise ValueError("subscription refused")

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                self._dispatch(orjson.loads(message.data))

    def _dispatch(self, message: Any) -> None:
        event = message.get("event", message) if isinstance(message, dict) else None
        if isinstance(event, dict) and "e" in event:
            self._on_event(event)
