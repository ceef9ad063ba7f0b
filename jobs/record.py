"""Record a venue's public WebSocket streams into bronze, every frame as it was received.

Reads   the venue's streams, and snapshots of its books over REST where the stream sends none
Writes  bronze raw_frames_v1, a commit every --every seconds; `python -m jobs.build_market` makes tables of it

Runs until SIGTERM or SIGINT, or for --minutes, and then stores what it holds. It connects again by itself, with jitter
and never more than 60 times in five minutes. A break in a book's chain, frames that had to be dropped and the time
between two runs are recorded as such: there is no silent gap. A kill loses what was not stored, at
most --every seconds.

VENUE_REST and VENUE_WS name another host than the venue's own (the embedded exchange), whose frames tell the time.
"""

import asyncio
import contextlib
import signal
from typing import Any

from jobs.command import Job, main, parser
from jobs.recorder import Plan, Recorder
from jobs.settings import VenueSettings
from lake.errors import UsageError
from lake.settings import read_settings, refuse_unknown
from lake.tables import RAW_FRAMES
from lake.wire.subscriptions import KINDS, subscription, venue_symbol


def plan_of(job: Job, settings: VenueSettings) -> Plan:
    """What was asked for.

    Raises:
        UsageError: no such venue, instrument or stream, or none was named.
    """
    asking = subscription(job.arguments.venue)
    names = [name.strip() for name in (job.arguments.instruments or "").split(",") if name.strip()]
    if not names:
        raise UsageError("--instruments: expected ids like binance:BTC/USDT, found none.")
    kinds = tuple(dict.fromkeys(kind.strip() for kind in job.arguments.streams.split(",")))
    for kind in kinds:
        if kind not in KINDS or not asking.carries(kind):
            carried = ", ".join(k for k in KINDS if asking.carries(k))
            raise UsageError(f"--streams {kind!r}: expected some of {carried} for {job.arguments.venue}.")
    rest = settings.rest.rstrip("/")
    ws = settings.ws.rstrip("/") or (rest and "ws" + rest.removeprefix("http"))
    return Plan(
        job.arguments.venue, tuple(venue_symbol(job.arguments.venue, name) for name in names), kinds,
        ws or asking.ws, rest or asking.rest, market_clock=bool(ws), every_seconds=job.arguments.every,
    )  # fmt: skip


async def record(recorder: Recorder, minutes: float | None) -> None:
    """Record until a signal, or for so many minutes."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError, RuntimeError):  # only a process's main thread hears signals
            loop.add_signal_handler(number, recorder.stop)
    if minutes is not None:
        loop.call_later(minutes * 60.0, recorder.stop)
    await recorder.run()


def run(job: Job) -> dict[str, Any]:
    refuse_unknown(VenueSettings)
    plan = plan_of(job, read_settings(VenueSettings))
    recorder = Recorder(plan, subscription(plan.feed), job.lake, job.run_id)
    asyncio.run(record(recorder, job.arguments.minutes))
    version = job.lake.version(RAW_FRAMES) if job.lake.exists(RAW_FRAMES) else None
    return {"table": RAW_FRAMES.name, "version": version, "rows": recorder.counts["frames"], **recorder.counts}


if __name__ == "__main__":
    arguments = parser("record", __doc__)
    arguments.add_argument("--venue", default="binance", help="the feed: binance, binance_usdm, bybit_linear, okx, …")
    arguments.add_argument("--streams", default="trades,book", help=f"some of {', '.join(KINDS)}")
    arguments.add_argument("--minutes", type=float, help="stop after so long (default: at a signal)")
    arguments.add_argument("--every", type=float, default=5.0, metavar="SECONDS", help="between commits (default: 5)")
    main("record", run, arguments)
