"""The recorder: connections that stay up, frames kept as they came, books that are whole or say where they are not.

What it did itself is recorded among the frames, on the stream `recorder`, as JSON with `e`: `connected`, `lost`
(disconnected, with the reason), `gap` (a book's chain broke, or nothing was recorded since the run before), `overrun`
(frames dropped because storing was too slow), `snapshot` (a book's snapshot did not come). A sequence number that is
missing within a connection is a frame lost to an overrun.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
import polars as pl

from jobs.bronze import store
from jobs.raw_frames import RECORDER, raw_frames
from lake.errors import BitacoraError, Overtaken, TryAgain
from lake.storage import Lake
from lake.tables import RAW_FRAMES
from lake.wire.books import broken_chains, missing_frames
from lake.wire.feeds import FEEDS
from lake.wire.frames import parse
from lake.wire.subscriptions import Socket, Subscription

log = logging.getLogger("jobs.recorder")

FIRST_DELAY, MAX_DELAY = 0.3, 15.0
MOST_CONNECTS, WINDOW_SECONDS = 60, 300.0
"""No more connects in any five minutes, whatever happens."""
LIFE_SECONDS = 23.5 * 3600
"""Venues cut a connection after 24 hours: it is replaced before."""
SNAPSHOT_TRIES = 6
Frame = tuple[str, str, int, int, int | None, str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to record and how."""

    feed: str
    symbols: tuple[str, ...]
    kinds: tuple[str, ...]
    ws: str
    rest: str
    market_clock: bool
    """The venue's time is not the wall's (an embedded exchange): the market's clock is what its frames tell."""
    every_seconds: float = 5.0
    most_rows: int = 20_000
    """A commit is made after so many seconds or frames."""
    most_waiting: int = 500_000
    """Frames in memory before new ones are dropped, and counted."""
    silence_seconds: float = 60.0


@dataclass(slots=True)
class Connection:
    """One connection's life."""

    name: str
    sequence: int = 0
    dropped: int = 0
    asked: set[str] = field(default_factory=set)
    """Symbols whose snapshot was asked for."""
    ws: aiohttp.ClientWebSocketResponse | None = None
    last: str = ""
    """The newest frame that was looked at, where the venue counts frames."""


class Recorder:
    """Records until `stop` is called; then stores what it holds."""

    def __init__(self, plan: Plan, asking: Subscription, lake: Lake, run_id: str) -> None:
        self._plan, self._asking, self._lake, self._run_id = plan, asking, lake, run_id
        self._frames: deque[Frame] = deque()
        self._full = asyncio.Event()
        self._stopped = asyncio.Event()
        self._connects: deque[float] = deque()
        self._newest: dict[str, pl.DataFrame] = {}
        """Per connection the last book event of every symbol: the chain goes on from there."""
        self._open: dict[str, tuple[Connection, aiohttp.ClientSession]] = {}
        self._lacking: dict[str, Connection] = {}
        """Connections that dropped frames and have not told it yet."""
        self._clock = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.counts = {"frames": 0, "commits": 0, "connects": 0, "gaps": 0, "dropped": 0, "snapshots": 0}

    def stop(self) -> None:
        self._stopped.set()
        self._full.set()

    async def run(self) -> None:
        """Record until stopped.

        Raises:
            BitacoraError: storing failed for good; what was not stored is told.
        """
        self._say_silence()
        sockets = [s for s in self._asking.sockets if self._asking.messages(s, self._plan.kinds, self._plan.symbols)]
        async with aiohttp.ClientSession() as http:
            listening = [asyncio.create_task(self._listen(http, socket)) for socket in sockets]
            try:
                await self._store_on()
            finally:
                for task in (*listening, *self._tasks):
                    task.cancel()
                await asyncio.gather(*listening, *self._tasks, return_exceptions=True)
        for connection in list(self._lacking.values()):
            self._tell_overrun(connection)
        await self._flush()

    def _say_silence(self) -> None:
        """Say what is missing since the last frame that an earlier run stored."""
        if not self._lake.exists(RAW_FRAMES):
            return
        held = self._lake.scan(RAW_FRAMES).filter(pl.col("venue") == self._plan.feed)
        last = held.select(pl.col("received_time").max().dt.epoch("us"), pl.col("market_time").max().dt.epoch("us"))
        received, market = last.collect().row(0)
        if received is not None:
            self._clock = market if self._plan.market_clock else 0
            self.counts["gaps"] += 1
            event = {"e": "gap", "reason": "not recorded", "since": received, "until": _now()}
            self._keep(Connection(f"{self._run_id[:12]}-start"), RECORDER, orjson.dumps(event).decode())

    async def _listen(self, http: aiohttp.ClientSession, socket: Socket) -> None:
        """Connect, subscribe, read; for ever, with jittered back-off and within the budget of connects."""
        delay = FIRST_DELAY
        while not self._stopped.is_set():
            await self._within_budget()
            number = self.counts["connects"] = self.counts["connects"] + 1
            connection = Connection(f"{self._run_id[:12]}-{number}")
            began = time.monotonic()
            reason = await self._converse(http, socket, connection)
            self._tell(connection, "lost", reason=reason)
            self._newest.pop(connection.name, None)
            log.warning("%s %s: %s; connecting again", self._plan.feed, socket.path, reason)
            if time.monotonic() - began > 60.0:
                delay = FIRST_DELAY
            await asyncio.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(delay * 2, MAX_DELAY)

    async def _within_budget(self) -> None:
        """Wait until another connect keeps us below the limit."""
        while True:
            now = time.monotonic()
            while self._connects and now - self._connects[0] >= WINDOW_SECONDS:
                self._connects.popleft()
            if len(self._connects) < MOST_CONNECTS:
                self._connects.append(now)
                return
            await asyncio.sleep(WINDOW_SECONDS - (now - self._connects[0]))

    async def _converse(self, http: aiohttp.ClientSession, socket: Socket, connection: Connection) -> str:
        """Hold one connection; returns why it ended."""
        plan = self._plan
        try:
            async with asyncio.timeout(LIFE_SECONDS), http.ws_connect(
                plan.ws + socket.path, heartbeat=20, max_msg_size=1 << 26
            ) as ws:  # fmt: skip
                connection.ws = ws
                self._open[connection.name] = (connection, http)
                self._tell(connection, "connected", path=socket.path)
                for message in self._asking.messages(socket, plan.kinds, plan.symbols):
                    await ws.send_str(message)
                while True:
                    heard = await ws.receive(timeout=plan.silence_seconds)
                    if heard.type != aiohttp.WSMsgType.TEXT:
                        return f"closed ({ws.close_code})"
                    self._heard(connection, http, heard.data)
        except TimeoutError:
            return "silent, or at the end of its day"
        except (aiohttp.ClientError, OSError) as error:
            return type(error).__name__
        finally:
            self._open.pop(connection.name, None)

    def _heard(self, connection: Connection, http: aiohttp.ClientSession, text: str) -> None:
        self._keep(connection, "ws", text)
        if self._asking.snapshot and '"depthUpdate"' in text:
            symbol = text.partition('"s":"')[2].partition('"')[0]
            if symbol not in connection.asked:
                self._ask_snapshot(connection, http, symbol, int(text.partition('"U":')[2].partition(",")[0]))

    def _ask_snapshot(self, connection: Connection, http: aiohttp.ClientSession, symbol: str, first: int) -> None:
        connection.asked.add(symbol)
        self._start(self._snapshot(connection, http, symbol, first))

    async def _snapshot(self, connection: Connection, http: aiohttp.ClientSession, symbol: str, first: int) -> None:
        """Fetch a book that reaches the first change we hold, however often that takes."""
        address = self._plan.rest + self._asking.snapshot.format(symbol=symbol)
        for attempt in range(SNAPSHOT_TRIES):
            try:
                async with http.get(address, timeout=aiohttp.ClientTimeout(total=10)) as reply:
                    text = await reply.text()
                if reply.status == 200 and orjson.loads(text)["lastUpdateId"] >= first - 1:
                    self.counts["snapshots"] += 1
                    self._keep(connection, f"rest:depth:{symbol}", text)
                    return
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError) as error:
                log.warning("snapshot of %s: %s", symbol, type(error).__name__)
            await asyncio.sleep(min(0.5 * 2**attempt, 10.0) * random.uniform(0.5, 1.0))
        connection.asked.discard(symbol)
        self._tell(connection, "snapshot", symbol=symbol, reason=f"none in {SNAPSHOT_TRIES} tries")

    def _tell(self, connection: Connection, event: str, **what: Any) -> None:
        self._keep(connection, RECORDER, orjson.dumps({"e": event, **what}).decode())

    def _keep(self, connection: Connection, stream: str, text: str) -> None:
        """Queue a frame; where the queue is full it is dropped and counted, never silently."""
        if len(self._frames) >= self._plan.most_waiting and stream != RECORDER:
            connection.sequence += 1
            connection.dropped += 1
            self._lacking[connection.name] = connection
            self.counts["dropped"] += 1
            return
        if connection.dropped:
            self._tell_overrun(connection)
            connection.asked.clear()  # the books lack changes: ask for new snapshots
        self._append(connection, stream, text)
        if len(self._frames) >= self._plan.most_rows:
            self._full.set()

    def _tell_overrun(self, connection: Connection) -> None:
        """Say in the recording how many frames of a connection were dropped since this was said last."""
        event = {"e": "overrun", "dropped": connection.dropped, "before": connection.sequence}
        connection.dropped = 0
        self._lacking.pop(connection.name, None)
        self._append(connection, RECORDER, orjson.dumps(event).decode())

    def _append(self, connection: Connection, stream: str, text: str) -> None:
        row = (self._plan.feed, connection.name, connection.sequence, _now(), None, stream, text)
        connection.sequence += 1
        self._frames.append(row)

    async def _store_on(self) -> None:
        """Make a commit every few seconds, or when enough frames wait, until stopped."""
        while not self._stopped.is_set():
            try:
                async with asyncio.timeout(self._plan.every_seconds):
                    await self._full.wait()
            except TimeoutError:
                pass
            self._full.clear()
            await self._flush()

    async def _flush(self) -> None:
        """Store everything that waits; a lake that is busy or gone for a moment is tried again."""
        batch = [self._frames.popleft() for _ in range(len(self._frames))]
        if not batch:
            return
        frames = self._on_the_markets_clock(pl.DataFrame(batch, schema=_SCHEMA, orient="row"))
        if self._plan.market_clock and not self._clock:
            self._frames.extendleft(reversed(batch))  # no frame told a time yet: nothing of the market among them
            return
        rows = raw_frames(frames, self._run_id)
        for attempt in range(8):
            try:
                stored = await asyncio.to_thread(store, self._lake, RAW_FRAMES, rows, self._run_id)
                break
            except (TryAgain, Overtaken, OSError) as error:
                if attempt == 7:
                    raise BitacoraError(f"{len(batch):,} frames could not be stored: {error}") from None
                await asyncio.sleep(min(0.2 * 2**attempt, 5.0))
        self.counts["frames"] += stored
        self.counts["commits"] += 1
        self._look_for_gaps(frames)

    def _on_the_markets_clock(self, frames: pl.DataFrame) -> pl.DataFrame:
        """With `market_us`: the newest time that any frame told so far; null where the wall clock is the market's."""
        if not self._plan.market_clock:
            return frames
        told = frames.select(told=FEEDS[self._plan.feed].clock)["told"]
        known = pl.concat([pl.Series("told", [self._clock]), told.fill_null(0)]).cum_max()[1:]
        if not self._clock:  # what came before the first time told was known no later
            known = known.replace(0, None).fill_null(strategy="backward")
        self._clock = max(self._clock, int(known[-1] or 0))
        return frames.with_columns(market_us=known.cast(pl.Int64))

    def _look_for_gaps(self, frames: pl.DataFrame) -> None:
        """Check every connection's books against what came before; a broken one is told and asked for anew."""
        for (name,), part in frames.filter(pl.col("stream") != RECORDER).group_by("connection", maintain_order=True):
            if self._plan.feed == "coinbase":
                self._count_frames(str(name), part.filter(pl.col("stream") == "ws")["payload"])
            books = parse(FEEDS[self._plan.feed], part, "book").of("book")
            if books.is_empty():
                continue
            before = self._newest.get(str(name), books.clear())
            for broken in broken_chains(self._plan.feed, pl.concat([before, books])).iter_rows(named=True):
                self._repair(str(name), {key: broken[key] for key in ("symbol", "expected", "found")})
            both = pl.concat([before, books]).filter(pl.col("last_id").is_not_null())
            diffs = both.filter(~pl.col("is_snapshot")) if self._asking.snapshot else both
            self._newest[str(name)] = diffs.unique("symbol", keep="last", maintain_order=True)

    def _count_frames(self, name: str, texts: pl.Series) -> None:
        """Coinbase counts the frames of a connection: a missing one may have been of any book."""
        if name not in self._open or texts.is_empty():
            return
        connection = self._open[name][0]
        for missing in missing_frames(pl.concat([pl.Series(texts.name, [connection.last]), texts])).to_dicts():
            self._repair(name, {"symbol": None, "expected": missing["expected"], "found": missing["found"]})
        connection.last = texts[-1]

    def _repair(self, name: str, about: dict[str, Any]) -> None:
        """Tell of a gap, and get a new snapshot: by REST, or by connecting again where the stream brings it."""
        self.counts["gaps"] += 1
        connection, http = self._open.get(name, (Connection(name + "-late"), None))
        self._tell(connection, "gap", reason="a book's chain broke", **about)
        if http is not None and self._asking.snapshot:
            self._ask_snapshot(connection, http, about["symbol"], about["found"])
        elif connection.ws is not None:
            self._start(_close(connection.ws))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _close(ws: aiohttp.ClientWebSocketResponse) -> None:
    await ws.close()


_SCHEMA = {
    "venue": pl.String, "connection": pl.String, "sequence": pl.Int64, "received_us": pl.Int64, "market_us": pl.Int64,
    "stream": pl.String, "payload": pl.String,
}  # fmt: skip


def _now() -> int:
    return time.time_ns() // 1000
