"""The embedded exchange: a Binance-compatible spot venue on loopback, for tests, the demo and paper trading.

    python -m market.server [--port N] [--admin-port N] [--seed N] [--speed X|max|lockstep] [--step T] [--replay FILE…]
                            [--agents none|default|crowd] [--scenario NAME] [--accounts N] [--structure 0|1]
                            [--days N] [--fee-bps X] [--quote-balance X]

Prints one JSON line when ready and runs until SIGTERM or SIGINT. Every timestamp inside a payload is market time;
`/api/v3/time` and request signing are wall time. docs/market.md tells what is served and where it differs from Binance.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Literal, NoReturn

import orjson
from aiohttp import web

from lake.errors import BitacoraError, Misconfigured, UsageError
from lake.instruments import instrument
from lake.intervals import MINUTE
from market import gate, worlds
from market.admin import Admin
from market.clock import parse_speed
from market.exchange import CROWD_STEP
from market.faults import read_knobs
from market.lockstep import parse_step
from market.replay_venue import build_replay_venue
from market.rest import Rest
from market.scenario import Scenario
from market.second_venue import SecondVenue
from market.venue import Venue, build_venue
from market.websockets import WebSockets

HOST = "127.0.0.1"
MOST_SECONDS_EMPTY = 2.0
"""Wall time that readiness waits for the first orders: at a slow speed half a second of market time is long."""
AGENTS: dict[str, bool | Literal["crowd"]] = {"none": False, "default": True, "crowd": "crowd"}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. See python -m market.server --help.")


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="python -m market.server", description="The embedded exchange, on loopback.")
    parser.add_argument("--port", type=int, default=0, help="REST and WebSocket; 0 takes a free one")
    parser.add_argument("--admin-port", type=int, default=0, help="pause, speed, statistics; 0 takes a free one")
    parser.add_argument("--seed", type=int, default=1, help="fixes history, agents and test keys")
    parser.add_argument("--speed", type=parse_speed, default=1.0, help="market seconds per wall second; max; lockstep")
    parser.add_argument("--step", type=parse_step, default=MINUTE, help="between stops of lockstep: 1m, 5m, or in ms")
    parser.add_argument("--replay", nargs="+", metavar="FILE", help="captures, bars or trades, or lake:TABLE, instead")
    parser.add_argument("--replay-instrument", default="binance:BTC/USDT", help="which one the files hold")
    parser.add_argument("--agents", choices=tuple(AGENTS), default="default", help="none leaves the books empty")
    parser.add_argument("--scenario", choices=worlds.NAMES, default="default", help="docs/market-scenarios.md")
    parser.add_argument("--accounts", type=int, default=1, help="test accounts, keys printed on the ready line")
    parser.add_argument("--structure", type=int, choices=(0, 1), default=1, help="0 removes the learnable structure")
    parser.add_argument("--days", type=int, default=180, help="days of one-minute history")
    parser.add_argument("--fee-bps", type=_decimal, default=Decimal(5), help="fee of clients, in the asset received")
    parser.add_argument("--limits", choices=("binance", "off"), default="binance", help="enforce request weights")
    parser.add_argument("--faults", metavar="FILE", help="JSON knobs: docs/market-faults.md")
    parser.add_argument("--derivatives", action="store_true", help="perpetuals, futures and options beside spot")
    parser.add_argument("--venues", type=int, choices=(1, 2), default=1, help="2 adds `andina`, on a port of its own")
    parser.add_argument(
        "--second-latency-ms", type=_decimal, default=Decimal(25), help="to matching there, market time"
    )
    parser.add_argument("--second-jitter-ms", type=_decimal, default=Decimal(10), help="mean of a random part on top")
    parser.add_argument("--fee-tiers", action="store_true", help="clients' fees follow their 30-day volume instead")
    parser.add_argument("--quote-balance", type=_decimal, default=Decimal(100_000), help="USDT per account")
    return parser.parse_args(arguments)


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not value.is_finite() or not 0 <= value <= 10**9:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 10^9")
    return value


async def _listen(runner: web.AppRunner, port: int) -> int:
    """Serve on a loopback port; returns the port.

    Raises:
        Misconfigured: the port is taken or may not be used.
    """
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port, backlog=512).start()
    except OSError as error:
        raise Misconfigured(f"port {port}: {error.strerror}. Stop what holds it, or use --port 0.") from None
    return int(runner.addresses[0][1])


@contextlib.asynccontextmanager
async def listening(venue: Venue, port: int = 0, admin_port: int = 0) -> AsyncIterator[tuple[str, str]]:
    """Let the venue's time run and serve it on loopback; gives host:port of the public and of the admin side.

    Its companions listen on ports of their own; every venue's `address` says where. On leaving, every connection and
    all ports are closed. If the venue's own task fails, the body is cancelled.
    """
    applications = [
        gate.runner(Rest(one).routes() + WebSockets(one).routes() + one.more_routes, one) for one in venue.venues
    ]
    admin = gate.runner(Admin(venue).routes())
    try:
        for one, application in zip(venue.venues, applications, strict=True):
            one.address = f"{HOST}:{await _listen(application, port if one is venue else 0)}"
        admin_port = await _listen(admin, admin_port)
        async with asyncio.TaskGroup() as tasks:
            venue.resume()
            running = tasks.create_task(venue.run())
            try:
                yield venue.address, f"{HOST}:{admin_port}"
            finally:
                running.cancel()
                await _say_goodbye(venue)
    finally:
        for application in (*applications, admin):
            await application.cleanup()


async def _say_goodbye(venue: Venue) -> None:
    """Close every WebSocket properly, or cut it where the client does not answer."""
    clients = [client for one in venue.venues for client in one.hub.clients]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            await asyncio.gather(*(client.close() for client in clients), return_exceptions=True)
    for client in clients:
        client.cut()


async def serve(venue: Venue, port: int, admin_port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with listening(venue, port, admin_port) as (public, admin):
        began = venue.exchange.time
        await _first_orders(venue)
        _announce(venue, public, admin, began)
        await stopped.wait()


async def _first_orders(venue: Venue) -> None:
    """Wait until agents have filled the books, so that nobody who is told "ready" meets an empty market."""
    if not venue.clock.runs_by_itself:
        return
    acted = venue.exchange.time // CROWD_STEP
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(MOST_SECONDS_EMPTY):
            while venue.exchange.crowds and venue.exchange.time // CROWD_STEP == acted:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


def _announce(venue: Venue, public: str, admin: str, began: int) -> None:
    ready = {
        "ready": True,
        "rest": f"http://{public}",
        "ws": f"ws://{public}",
        "admin": f"http://{admin}",
        "market_time": began,
        "accounts": _keys(venue),
        "venues": [
            {"name": one.name, "rest": f"http://{one.address}", "ws": f"ws://{one.address}", "accounts": _keys(one)}
            for one in venue.venues
        ],
    }
    print(orjson.dumps(ready).decode(), flush=True)


def _keys(venue: Venue) -> list[dict[str, str]]:
    return [{"api_key": a.api_key, "api_secret": a.api_secret} for a in venue.exchange.accounts]


def _second(options: argparse.Namespace) -> SecondVenue | None:
    if options.venues == 1:
        return None
    return SecondVenue(float(options.second_latency_ms), float(options.second_jitter_ms))


def _build(options: argparse.Namespace) -> Venue:
    """The venue that the options ask for, paused."""
    if options.replay:
        return build_replay_venue(
            options.replay, instrument(options.replay_instrument), options.speed, options.accounts, options.fee_bps,
            options.quote_balance, options.seed,
        )  # fmt: skip
    scenario = Scenario(options.seed, options.days, options.structure, preset=options.scenario)
    return build_venue(
        scenario, options.speed, AGENTS[options.agents], options.accounts, options.fee_bps, options.quote_balance,
        _second(options), with_derivatives=options.derivatives,
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run the exchange; returns the exit code."""
    try:
        options = _parse(arguments)
        if not 0 <= options.accounts <= 1000:
            raise UsageError(f"--accounts: expected 0 to 1000, found {options.accounts}.")
        venue = _build(options)
        venue.lockstep.step = options.step
        for one in venue.venues:
            one.limiter.enforced = options.limits == "binance" and venue.clock.runs_by_itself
            if options.fee_tiers:
                one.exchange.join_fee_tiers()
        if options.faults:
            venue.faults.set(read_knobs(Path(options.faults)))
        asyncio.run(serve(venue, options.port, options.admin_port))
    except BitacoraError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
