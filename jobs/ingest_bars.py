"""Fetch a venue's bars into bronze, each kline as it was sent.

Reads   the venue's REST klines through ccxt, in pages of 1,000, no faster than the venue allows
Writes  bronze raw_bars_v1, in commits of about a month per instrument: a killed run goes on where it stopped

Without --start each instrument goes on after its last stored bar, or begins with the venue's first one. The interval
ends at the last closed bar: a bar is closed when the venue's market clock, read from its newest bar, has passed it.
A payload that is already held is skipped, so any interval can be fetched again.

VENUE_REST names another host than the venue's own (the embedded exchange); VENUE_REQUESTS_PER_SECOND the pace.
"""

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl
import pyarrow as pa

from jobs.bronze import store
from jobs.command import Job, main, parser
from jobs.lock import writing
from jobs.progress import Work
from jobs.settings import VenueSettings
from lake.errors import CredentialsRefused, RateLimited, Unavailable
from lake.instruments import Instrument
from lake.intervals import DAY, MILLISECOND, Interval, format_time, month_of, timeframe_us
from lake.settings import read_settings, refuse_unknown
from lake.storage import Lake
from lake.tables import RAW_BARS
from lake.wire.binance import KLINE_PAGE, ccxt_client, kline_from_rest

CHUNK = 30 * DAY
ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Venue:
    """The venue's klines, raw."""

    name: str
    address: str
    client: Any

    def klines(self, instrument: Instrument, timeframe: str, **arguments: int) -> list[list[Any]]:
        """One page as sent; retried with jitter where the venue did not answer.

        Raises:
            Unavailable: it did not answer in four tries.
            RateLimited: it asked us to stop.
            CredentialsRefused: it refused the key.
        """
        request = {"symbol": instrument.venue_symbol, "interval": timeframe, **arguments}
        return patiently(lambda: self.client.public_get_klines(request), self.name, self.address)


def patiently(ask: Callable[[], Any], name: str, address: str) -> Any:
    """Call the venue, waiting with jitter between tries, and say its failure in our own words."""
    import ccxt

    for attempt in range(ATTEMPTS):
        try:
            return ask()
        except (ccxt.RateLimitExceeded, ccxt.DDoSProtection) as error:
            raise RateLimited(f"{name} at {address} asked us to slow down: {error}. Try again in a minute.") from None
        except (ccxt.AuthenticationError, ccxt.PermissionDenied) as error:
            raise CredentialsRefused(
                f"{name} at {address} refused the key: {error}. Check it and its rights."
            ) from None
        except ccxt.NetworkError as error:
            if attempt == ATTEMPTS - 1:
                raise Unavailable(
                    f"{name} at {address} did not answer {ATTEMPTS} times: {type(error).__name__}. "
                    "Is it running, and is VENUE_REST right?"
                ) from None
            time.sleep(random.uniform(0.5, 1.0) * 0.4 * 2**attempt)
        except ccxt.ExchangeError as error:
            raise Unavailable(f"{name} at {address} refused the request: {error}.") from None
    raise AssertionError("unreachable")


def market_now(venue: Venue, instruments: tuple[Instrument, ...], timeframe: str) -> int:
    """The venue's market clock as its bars tell it: the open time of the newest bar, which is still open."""
    newest = [venue.klines(instrument, timeframe, limit=1) for instrument in instruments]
    return max((int(page[-1][0]) * MILLISECOND for page in newest if page), default=0)


def pages(venue: Venue, instrument: Instrument, timeframe: str, interval: Interval) -> Iterator[list[list[Any]]]:
    """Pages of raw klines in time order that cover the interval; bars the venue does not have are simply absent."""
    at = interval.start
    last_ms = (interval.end - 1) // MILLISECOND
    while at < interval.end:
        page = venue.klines(instrument, timeframe, startTime=at // MILLISECOND, endTime=last_ms, limit=KLINE_PAGE)
        if not page:
            return
        yield page
        at = int(page[-1][0]) * MILLISECOND + timeframe_us(timeframe)


def raw_rows(
    venue: str,
    stream: str,
    instrument: Instrument,
    klines: list[list[Any]],
    market_time: int,
    received: int,
    run_id: str,
) -> pa.Table:
    """Bronze rows of raw klines. Raises BadInput where one has another shape."""
    times = [kline_from_rest(kline).open_time for kline in klines]
    payloads = [orjson.dumps(kline) for kline in klines]
    count = len(klines)
    return pa.table(
        {
            "venue": [venue] * count,
            "stream": [stream] * count,
            "instrument": [instrument.id] * count,
            "event_time": pa.array(times, pa.timestamp("us", tz="UTC")),
            "market_time": pa.array([market_time] * count, pa.timestamp("us", tz="UTC")),
            "payload": [payload.decode() for payload in payloads],
            "payload_hash": [hashlib.sha256(payload).hexdigest() for payload in payloads],
            "month": [month_of(t) for t in times],
            "received_time": pa.array([received] * count, pa.timestamp("us", tz="UTC")),
            "run_id": [run_id] * count,
        },
        schema=RAW_BARS.schema,
    )


def watermarks(lake: Lake, stream: str) -> dict[str, int]:
    """Per instrument the open time of the newest bar that bronze holds of the stream, in microseconds."""
    if not lake.exists(RAW_BARS):
        return {}
    newest = (
        lake.scan(RAW_BARS).filter(pl.col("stream") == stream).group_by("instrument").agg(pl.col("event_time").max())
    )
    rows = newest.with_columns(pl.col("event_time").dt.epoch("us")).collect()
    return dict(rows.iter_rows())


def _chunks(interval: Interval) -> Iterator[Interval]:
    for start in range(interval.start, interval.end, CHUNK):
        yield Interval(start, min(start + CHUNK, interval.end))


def _wanted(job: Job, venue: Venue, instrument: Instrument, held: int | None, now: int, timeframe: str) -> Interval:
    """What to fetch of one instrument: as asked, else from its watermark, else from the venue's first bar."""
    step = timeframe_us(timeframe)
    start = job.start
    if start is None and held is not None:
        start = held + step
    if start is None:
        first = venue.klines(instrument, timeframe, startTime=0, limit=1)
        start = int(first[0][0]) * MILLISECOND if first else now
    end = now if job.end is None else min(job.end, now)
    return Interval(start, max(start, end))


def run(job: Job) -> dict[str, Any]:
    refuse_unknown(VenueSettings)
    settings = read_settings(VenueSettings)
    timeframe = job.arguments.timeframe
    step = timeframe_us(timeframe)
    instruments = job.instruments
    client = ccxt_client(settings.rest)
    if settings.requests_per_second:
        client.rateLimit = 1000 / settings.requests_per_second
    venue = Venue(settings.name, settings.rest or "its own address", client)
    stream = f"rest:klines_{timeframe}"
    with writing(job.home.home, RAW_BARS):
        now = market_now(venue, instruments, timeframe)
        held = watermarks(job.lake, stream)
        wanted = {i: _wanted(job, venue, i, held.get(i.id), now, timeframe) for i in instruments}
        stored = 0
        with Work(f"{timeframe} bars", sum((w.end - w.start) // step for w in wanted.values())) as work:
            for instrument, interval in wanted.items():
                for chunk in _chunks(interval):
                    stored += _store(job, venue, stream, instrument, chunk, now, work)
    spans = [w for w in wanted.values() if w.end > w.start]
    return {
        "table": RAW_BARS.name,
        "version": job.lake.version(RAW_BARS) if job.lake.exists(RAW_BARS) else None,
        "rows": stored,
        "start": format_time(min(s.start for s in spans)) if spans else None,
        "end": format_time(max(s.end for s in spans)) if spans else None,
    }


def _store(job: Job, venue: Venue, stream: str, instrument: Instrument, chunk: Interval, now: int, work: Work) -> int:
    timeframe = job.arguments.timeframe
    klines: list[list[Any]] = []
    for page in pages(venue, instrument, timeframe, chunk):
        klines += page
        work.done(len(page), instrument.id)
    if not klines:
        return 0
    received = time.time_ns() // 1000
    rows = raw_rows(venue.name, stream, instrument, klines, now, received, job.run_id)
    return store(job.lake, RAW_BARS, rows, job.run_id)


if __name__ == "__main__":
    arguments = parser("ingest_bars", __doc__)
    arguments.add_argument("--timeframe", default="1m", help="1m (default), 5m, 15m, 1h, 4h or 1d")
    main("ingest_bars", run, arguments)
