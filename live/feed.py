"""The market feed: one WebSocket of raw events for all instruments, and REST for what it did not carry.

The reader keeps the market clock and hands on closed bars, and the first event of each instrument after a connect,
which says where history must reach. Bars still open are only looked at. Books and trades, where a strategy listens to
them, go to `live/market_data.py`.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import orjson

from lake.errors import BadInput
from lake.instruments import Instrument
from lake.intervals import MILLISECOND
from lake.wire.binance import KLINE_PAGE, Kline, kline_from_frame
from live.bars import REST_STREAM, WS_STREAM, ClosedBar, closed_bar
from live.clock import MarketClock
from live.lockstep import ADVANCE, HOLD, Standing, standing_of

if TYPE_CHECKING:
    from live.market_data import MarketData

log = logging.getLogger("live.feed")
_FIRST_DELAY, _MAX_DELAY = 0.2, 10.0
SILENCE_SECONDS = 15.0
"""Without any event for this long the socket counts as mute and is replaced; open bars come every second or two."""
CLOSE_TIMEOUT = aiohttp.ClientWSTimeout(ws_close=1.0)
"""A venue that does not answer a close is left after a second."""
STEADY_SECONDS = 60.0
"""A connection that held for this long starts the back-off anew: a storm stays below 60 connects in 5 minutes."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One kline event: the text as it came, `market_time` its E, `received` the monotonic clock."""

    instrument: str
    text: str
    kline: Kline
    market_time: int
    received: float


class Reader(Protocol):
    """What backfilling needs of a venue."""

    async def read(self, path: str, parameters: dict[str, str], signed: bool = True) -> list[list[object]]: ...


class Feed:
    """Reads events into `frames` until cancelled; `prices` and `last_event` serve metrics."""

    def __init__(
        self, session: aiohttp.ClientSession, ws_url: str, traded: dict[str, Instrument], clock: MarketClock,
        lockstep: bool = False, market: "MarketData | None" = None,
    ) -> None:  # fmt: skip
        self._market = market
        self._session, self._url, self._clock = session, ws_url.rstrip("/") + "/ws", clock
        self._by_symbol = {i.venue_symbol: i.id for i in traded.values()}
        self.frames: asyncio.Queue[Any] = asyncio.Queue()
        """Frames; in lockstep also where the market stands."""
        self._lockstep = lockstep
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._sending: set[asyncio.Future[None]] = set()
        self.prices: dict[str, Decimal] = {}
        self.last_event: dict[str, float] = {}
        self.connects = self.market_time = 0
        """How often connected; the newest market time among the bars' events."""
        self.on_event: Callable[[], None] = lambda: None
        """Called after every event that moved the market clock."""

    async def run(self) -> None:
        """Connect, subscribe, read; for ever, with jittered back-off."""
        if self._market is None:
            await self._keep_connected()
            return
        watching = asyncio.create_task(self._market.watch())
        try:
            await self._keep_connected()
        finally:
            watching.cancel()
            self._market.close()

    async def _keep_connected(self) -> None:
        delay = _FIRST_DELAY
        while True:
            try:
                async with self._session.ws_connect(
                    self._url, heartbeat=20, max_msg_size=1 << 20, timeout=CLOSE_TIMEOUT
                ) as socket:
                    await socket.send_str(orjson.dumps(self._subscription()).decode())
                    self._socket = socket
                    if self._lockstep:
                        await socket.send_str(HOLD)
                    if self._market is not None:
                        self._market.connected()
                    self.connects += 1
                    connected = time.monotonic()
                    await self._read(socket)
                    if time.monotonic() - connected > STEADY_SECONDS:
                        delay = _FIRST_DELAY
                    log.warning("market feed closed by the venue (%s)", socket.close_code)
            except TimeoutError:
                log.warning("market feed silent for %.0f s: connecting again", SILENCE_SECONDS)
            except (aiohttp.ClientError, OSError) as error:
                log.warning("market feed: %s", type(error).__name__)
            await asyncio.sleep(delay * (1 + random.random()))
            delay = min(delay * 2, _MAX_DELAY)

    async def advance(self) -> None:
        """In lockstep: let the market go on. Without a connection it stands anyway, and is asked to again."""
        if self._socket is not None and not self._socket.closed:
            await self._send(ADVANCE)

    def watch(self, instruments: Iterable[Instrument]) -> None:
        """Listen to bars of further instruments, from now on and after every connect."""
        new = {one.venue_symbol: one.id for one in instruments if one.venue_symbol not in self._by_symbol}
        self._by_symbol |= new
        if new and self._socket is not None and not self._socket.closed:
            text = orjson.dumps(self._subscription(new)).decode()
            sending = asyncio.ensure_future(self._send(text))
            self._sending.add(sending)
            sending.add_done_callback(self._sending.discard)

    async def _send(self, text: str) -> None:
        """A socket that closes meanwhile is replaced, and the next one subscribes to everything."""
        if self._socket is not None:
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                await self._socket.send_str(text)

    def _subscription(self, to: Iterable[str] | None = None) -> dict[str, object]:
        symbols = [symbol.lower() for symbol in (self._by_symbol if to is None else to)]
        streams = [f"{symbol}@kline_5m" for symbol in symbols]
        if self._market is not None:
            streams += [stream for symbol in symbols for stream in self._market.streams(symbol)]
        return {"method": "SUBSCRIBE", "params": streams, "id": 1}

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        seen: set[str] = set()
        while True:
            message = await socket.receive(timeout=SILENCE_SECONDS)
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            frame = self._parse(message.data)
            if isinstance(frame, Standing):
                self.frames.put_nowait(frame)
                continue
            if frame is None:
                continue
            if frame.kline.closed or frame.instrument not in seen:
                seen.add(frame.instrument)
                self.frames.put_nowait(frame)

    def _parse(self, text: str) -> Frame | Standing | None:
        """The frame of one message; None for answers and for what is no event of ours."""
        try:
            event = orjson.loads(text)
            if self._lockstep and (standing := standing_of(event)):
                return standing
            if not isinstance(event, dict):
                return None
            if event.get("e") != "kline":
                self._take(event, text)
                return None
            kline, instrument_id = kline_from_frame(event), self._by_symbol[event["s"]]
            market_time = int(event["E"]) * MILLISECOND
            price = Decimal(kline.close)
        except (BadInput, KeyError, TypeError, ValueError, ArithmeticError) as error:
            log.warning("market feed: event skipped: %s", error)
            return None
        received = time.monotonic()
        self.market_time = max(self.market_time, market_time)
        self._clock.observe(market_time)
        self.prices[instrument_id], self.last_event[instrument_id] = price, received
        self.on_event()
        return Frame(instrument_id, text, kline, market_time, received)

    def _take(self, event: dict[str, Any], text: str) -> None:
        """A book's or a trade's event, or an answer, which has no symbol."""
        if self._market is not None and event.get("s") in self._by_symbol:
            name = self._by_symbol[event["s"]]
            self.last_event[name] = time.monotonic()
            self._market.take(name, text)
            self.on_event()


def bar_of(frame: Frame) -> ClosedBar | None:
    """The bar of a frame that closed one; None, logged, where it is no bar."""
    try:
        return closed_bar(frame.instrument, WS_STREAM, frame.text, frame.market_time, frame.kline)
    except BadInput as error:
        log.error("bar refused: %s", error)
        return None


async def fetch_bars(reader: Reader, traded: Instrument, start: int, end: int, market_time: int) -> list[ClosedBar]:
    """Closed 5m bars with open time in `[start, end)`, oldest first; the payload is the row's JSON.

    A bar the venue does not have is left out, one that is no bar is logged and left out.

    Raises:
        VenueUnavailable: no usable answer.
    """
    bars: list[ClosedBar] = []
    while start < end:
        parameters = {
            "symbol": traded.venue_symbol, "interval": "5m", "limit": str(KLINE_PAGE),
            "startTime": str(start // MILLISECOND), "endTime": str(end // MILLISECOND - 1),
        }  # fmt: skip
        rows = await reader.read("/api/v3/klines", parameters, signed=False)
        for row in rows:
            try:
                bar = closed_bar(traded.id, REST_STREAM, orjson.dumps(row).decode(), market_time)
            except BadInput as error:
                log.warning("%s", error)
                continue
            if start <= bar.open_time < end:
                bars.append(bar)
                start = bar.close_time
        if len(rows) < KLINE_PAGE:
            return bars
    return bars
