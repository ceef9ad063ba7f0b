"""`python -m live.node`: the trading process. Order path first (journal, recovery, READY), signal path after it.

    python -m live.node                     trade until SIGTERM or SIGINT
    python -m live.node --strategy FILE.py [--set NAME=VALUE]     by a strategy file instead of a model
    python -m live.node --max-seconds N     the same, stopping by itself
    python -m live.node --check             verify installation, settings, journal and bundle; send nothing

Standard output carries one JSON line, when the order path is ready; the log goes to standard error. A stop cancels
every open order, waits until every outcome is known, and writes the venue's balances into the journal.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import orjson

from lake.command import Parser
from lake.errors import BitacoraError, UsageError
from lake.instruments import Instrument, instruments
from lake.settings import HomeSettings, read_settings, refuse_unknown
from live.account import Account
from live.check import check
from live.clock import MarketClock, process_age_seconds
from live.errors import VenueUnavailable
from live.journal import Journal
from live.lockstep import Reached, standing_of
from live.metrics import Metrics, serve
from live.reconcile import Reconciler
from live.redaction import set_up_logging
from live.risk import Gateway, Limits
from live.settings import LiveSettings
from live.shutdown import stop
from live.user_stream import UserStream
from live.venue import Credentials, Venue

log = logging.getLogger("live.node")
StrategyFile: TypeAlias = tuple[str, dict[str, str]]
"""FILE.py or FILE.py:NAME, and its parameters as texts."""
SYNC_SECONDS = 1.0
FIRST_READY_SECONDS = 60.0


class Node:
    """Composition of one account's process."""

    def __init__(
        self, settings: LiveSettings, home: Path, journal: Journal, session: aiohttp.ClientSession,
        strategy: StrategyFile | None = None,
    ) -> None:  # fmt: skip
        self.settings, self.home, self.session, self.strategy = settings, home, session, strategy
        self.reached = Reached()
        self.traded: dict[str, Instrument] = {each.id: each for each in instruments(settings.instruments)}
        self.clock = MarketClock()
        self.account = Account(journal, self.clock)
        self.credentials = Credentials(settings.api_key.get_secret_value(), settings.api_secret.get_secret_value())
        self.venue = Venue(session, settings.rest_url, self.credentials, settings.recv_window_ms)
        limits = Limits(settings.max_order_notional, settings.max_position_notional)
        self.gateway = Gateway(self.account, limits, self.venue, dict(self.traded))
        self.reconciler = Reconciler(self.account, self.venue, self.gateway, self.traded)
        self.metrics = Metrics(self.account, self.gateway, self.traded)
        self.stopping = asyncio.Event()
        self.failure: BaseException | None = None
        self._order_tasks: list[asyncio.Task[None]] = []
        self._signal_tasks: list[asyncio.Task[None]] = []
        self._subscribed = asyncio.Event()

    async def run(self) -> int:
        """Recover, get ready, trade until told to stop, stop; returns the exit code."""
        how = await self._recover()
        if how is None:
            return os.EX_OK
        self.gateway.not_ready.discard("recovery")
        runner, port = await serve(self.metrics, self.gateway, self.settings.metrics_port)
        try:
            stream = UserStream(
                self.session, self.settings.user_stream_url, self.credentials, self.venue.timestamp,
                self._on_user_event, self._catch_up, self._note_user_stream,
            )  # fmt: skip
            self._start(self._order_tasks, stream.run(), self.reconciler.watch(), self._keep_synced())
            if await self._first_ready():
                self._announce(how, process_age_seconds(), port)
                self._start(self._signal_tasks, self._signal_path())
                await self.stopping.wait()
            return await self._stop()
        finally:
            await _cancel(self._signal_tasks + self._order_tasks)
            await runner.cleanup()

    async def _recover(self) -> str | None:
        """Recovery, or None if a stop came first: nothing was sent then."""
        tasks = [asyncio.create_task(self.reconciler.recover()), asyncio.create_task(self.stopping.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        recovery = tasks[0]
        if not recovery.done():
            await _cancel(tasks)
            return None
        await _cancel(tasks[1:])
        return str(await recovery)

    async def _signal_path(self) -> None:
        """Load kernels and ONNX, or the strategy, beside the running order path; then follow the market."""
        if self.strategy is not None:
            wire_strategy = await asyncio.to_thread(_import_strategy_path)
            feed, strategy_path = wire_strategy(self, *self.strategy)
            self._start(self._signal_tasks, feed.run(), strategy_path.run(feed.frames))
            return
        wire = await asyncio.to_thread(_import_signal_path)
        feed, keeper, path = wire(self)
        await keeper.restore()
        polling = keeper.run(self.settings.registry_poll_seconds)
        self._start(self._signal_tasks, feed.run(), polling, path.run(feed.frames))

    def _on_user_event(self, event: dict[str, Any]) -> None:
        self.reconciler.on_event(event)
        if standing := standing_of(event):
            self.reached.note(standing)

    async def _catch_up(self) -> None:
        await self.reconciler.sweep()
        await self.reconciler.settle()

    def _note_user_stream(self, up: bool) -> None:
        if up:
            self.gateway.not_ready.discard("user stream")
            self._subscribed.set()
        else:
            self.gateway.not_ready.add("user stream")

    async def _first_ready(self) -> bool:
        """Wait for the first subscription; False if a stop came first.

        Raises:
            VenueUnavailable: the user stream does not come up.
        """
        waits = [asyncio.create_task(event.wait()) for event in (self._subscribed, self.stopping)]
        done, _ = await asyncio.wait(waits, timeout=FIRST_READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        await _cancel(waits)
        if not done:
            raise VenueUnavailable(
                f"{self.settings.user_stream_url}: no user stream within {FIRST_READY_SECONDS:.0f} s. "
                "Check LIVE_WS_API_URL and the key's rights."
            )
        return self._subscribed.is_set() and not self.stopping.is_set()

    def _announce(self, how: str, seconds: float, port: int) -> None:
        self.account.write("ready", self.clock.now, how=how, seconds=round(seconds, 3))
        self.account.journal.sync()
        line = {
            "ready": True, "how": how, "seconds": round(seconds, 3), "journal_id": self.account.journal.id,
            "metrics": f"http://127.0.0.1:{port}/metrics", "pid": os.getpid(),
        }  # fmt: skip
        print(orjson.dumps(line).decode(), flush=True)

    async def _keep_synced(self) -> None:
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            self.account.journal.sync()

    def _start(self, group: list[asyncio.Task[None]], *works: Coroutine[Any, Any, None]) -> None:
        for work in works:
            task = asyncio.create_task(work)
            task.add_done_callback(self._ended)
            group.append(task)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """A task that dies takes the process to its stop: nothing trades on half a process."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.failure = self.failure or error
            self.gateway.halt(f"a part failed: {error!r:.300}")
            self.stopping.set()

    async def _stop(self) -> int:
        self.gateway.halt("stopping")
        await _cancel(self._signal_tasks)
        await stop(self.account, self.venue, self.gateway, self.reconciler)
        if isinstance(self.failure, BitacoraError):
            raise self.failure
        if self.failure is not None:
            log.error("stopped after a failure", exc_info=self.failure)
            return os.EX_SOFTWARE
        return os.EX_OK


def _import_signal_path() -> Any:
    from feature_store.service import DEFAULT
    from live.model import warm_up
    from live.wiring import wire

    warm_up(DEFAULT)
    return wire


def _import_strategy_path() -> Any:
    from live.strategy_wiring import wire

    return wire


async def _cancel(tasks: Sequence["asyncio.Task[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def trade(
    settings: LiveSettings, home: Path, max_seconds: float | None, strategy: StrategyFile | None = None
) -> int:
    """Open the journal, run a node on it, close it."""
    journal = Journal.open(home / "live" / "journal")
    try:
        connector = aiohttp.TCPConnector(keepalive_timeout=15, limit=32)
        async with aiohttp.ClientSession(connector=connector) as session:
            node = Node(settings, home, journal, session, strategy)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, node.stopping.set)
            if max_seconds is not None:
                loop.call_later(max_seconds, node.stopping.set)
            return await node.run()
    finally:
        with contextlib.suppress(BitacoraError):
            journal.sync()
        journal.close()


def strategy_file(source: str | None, pairs: Sequence[str]) -> StrategyFile | None:
    """What --strategy and --set name; the file is loaded beside the order path.

    Raises:
        UsageError: no such file, or a setting without a value or a strategy.
    """
    if source is None:
        if pairs:
            raise UsageError("--set: expected with --strategy FILE.py only.")
        return None
    if not Path(source.partition(":")[0]).is_file():
        raise UsageError(f"--strategy {source}: no such file.")
    for pair in pairs:
        if "=" not in pair:
            raise UsageError(f"--set {pair}: expected NAME=VALUE.")
    return source, dict(pair.split("=", 1) for pair in pairs)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m live.node", description="The trading process.")
    parser.add_argument("--check", action="store_true", help="verify installation, settings, journal and bundle")
    parser.add_argument("--max-seconds", type=float, help="stop by itself after so many seconds")
    parser.add_argument("--strategy", metavar="FILE.py", help="trade by this strategy file instead of a model")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the strategy")
    options = parser.parse_args(arguments)
    try:
        refuse_unknown(LiveSettings)
        home = read_settings(HomeSettings).home
        if options.check:
            return check(home)
        settings = read_settings(LiveSettings)
        settings.refuse_real_venue(home)
        set_up_logging(settings)
        strategy = strategy_file(options.strategy, options.set)
        if settings.lockstep and strategy is None:
            raise UsageError("LIVE_LOCKSTEP: expected with --strategy FILE.py; a model follows the market's clock.")
        return asyncio.run(trade(settings, home, options.max_seconds, strategy))
    except BitacoraError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
