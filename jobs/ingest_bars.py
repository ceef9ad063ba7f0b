"""Fetch an exchange's bars into bronze, from any exchange that ccxt knows.

Reads   the exchange's REST bars through ccxt, in pages, no faster than it allows: Binance spot's klines exactly as
        sent, of any other exchange (--venue) what ccxt makes of its answer
Writes  bronze raw_bars_v1, in commits of about a month per instrument: a killed run goes on where it stopped

Without --start each instrument goes on after its last stored bar, or begins with the venue's first one. The interval
ends at the last closed bar: a bar is closed when the venue's market clock, read from its newest bar, has passed it.
A payload that is already held is skipped, so any interval can be fetched again.

Not every exchange tells of long ago: Kraken's REST has the newest 720 bars only, and holes stay in gaps_v1.
VENUE_REST names another host than the venue's own (the embedded exchange); VENUE_REQUESTS_PER_SECOND the pace.
"""

import hashlib
import time
from collections.abc import Iterator
from typing import Any

import orjson
import polars as pl
import pyarrow as pa

from jobs.bronze import store
from jobs.command import Job, main, parser
from jobs.exchanges import Exchange, exchange, ohlcv_pages
from jobs.lock import writing
from jobs.progress import Work
from jobs.settings import VenueSettings
from lake.errors import UsageError
from lake.instruments import INSTRUMENTS
from lake.intervals import DAY, MILLISECOND, Interval, format_time, month_of, timeframe_us
from lake.settings import read_settings, refuse_unknown
from lake.storage import Lake
from lake.tables import RAW_BARS
from lake.wire.bars import bar_from_payload
from lake.wire.binance import KLINE_PAGE
from lake.wire.ccxt_frames import unit

CHUNK = 30 * DAY
KLINES = "binance"
"""The exchange whose bars are asked for in its own words, with quote volume and trade count."""


def newest(asked: Exchange, symbol: str, timeframe: str) -> int:
    """Open time of the newest bar, which is still open, in microseconds; 0 before the first."""
    if asked.id == KLINES:
        page = asked.ask("public_get_klines", _request(symbol, timeframe, limit=1))
    else:
        page = asked.ask("fetch_ohlcv", symbol, timeframe, None, 1)
    return int(page[-1][0]) * MILLISECOND if page else 0


def first(asked: Exchange, symbol: str, timeframe: str) -> int | None:
    """Open time of the first bar the exchange has; None where it does not tell."""
    if asked.id == KLINES:
        page = asked.ask("public_get_klines", _request(symbol, timeframe, startTime=0, limit=1))
    else:
        page = asked.ask("fetch_ohlcv", symbol, timeframe, 0, 1)
    return int(page[0][0]) * MILLISECOND if page else None


def pages(asked: Exchange, symbol: str, timeframe: str, interval: Interval) -> Iterator[list[list[Any]]]:
    """Pages of bars in time order that cover the interval; bars the venue does not have are simply absent."""
    if asked.id != KLINES:
        yield from ohlcv_pages(asked, symbol, timeframe, interval)
        return
    at = interval.start
    last = (interval.end - 1) // MILLISECOND
    while at < interval.end:
        span = {"startTime": at // MILLISECOND, "endTime": last, "limit": KLINE_PAGE}
        page = asked.ask("public_get_klines", _request(symbol, timeframe, **span))
        if not page:
            return
        yield page
        at = int(page[-1][0]) * MILLISECOND + timeframe_us(timeframe)


def _request(symbol: str, timeframe: str, **span: int) -> dict[str, Any]:
    return {"symbol": symbol.replace("/", ""), "interval": timeframe, **span}


def raw_rows(
    venue: str,
    stream: str,
    instrument: str,
    rows: list[list[Any]],
    market_time: int,
    received: int,
    run_id: str,
) -> pa.Table:
    """Bronze rows of bars as sent. Raises BadInput where one has another shape."""
    payloads = [orjson.dumps(row) for row in rows]
    times = [bar_from_payload(stream, payload.decode()).open_time for payload in payloads]
    count = len(rows)
    return pa.table(
        {
            "venue": [venue] * count,
            "stream": [stream] * count,
            "instrument": [instrument] * count,
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


def _wanted(job: Job, asked: Exchange, name: str, held: int | None, now: int) -> Interval:
    """What to fetch of one instrument: as asked, else from its watermark, else from the venue's first bar."""
    timeframe = job.arguments.timeframe
    start = job.start
    if start is None and held is not None:
        start = held + timeframe_us(timeframe)
    if start is None:
        start = first(asked, name.partition(":")[2], timeframe)
    if start is None:
        raise UsageError(f"{asked.id} does not tell when the bars of {name} begin: expected --start, found none.")
    end = now if job.end is None else min(job.end, now)
    return Interval(start, max(start, end))


def _instruments(job: Job, asked: Exchange) -> list[str]:
    """Ids to fetch, each one that the exchange trades; without --instruments the catalogue's, which is Binance's."""
    names = list(job.names if asked.id == KLINES else job.asked)
    if not names:
        raise UsageError(f"--instruments: expected ids like {asked.venue}:BTC/USDT, found none.")
    if asked.id != KLINES or not set(names) <= set(INSTRUMENTS):
        asked.ask("load_markets")
        for name in names:
            if unit(asked.client.market(asked.symbol(name))) != "base":
                raise UsageError(
                    f"{name}: {asked.id} tells its volume in contracts, and raw_bars_v1 holds base. "
                    'Read it with spark.read.format("ccxt"), which has a column for the unit.'
                )
    return names


def run(job: Job) -> dict[str, Any]:
    refuse_unknown(VenueSettings)
    settings = read_settings(VenueSettings)
    timeframe = job.arguments.timeframe
    step = timeframe_us(timeframe)
    asked = exchange(job.arguments.venue or settings.name, settings)
    instruments = _instruments(job, asked)
    if asked.id != KLINES and timeframe not in (asked.client.timeframes or {}):
        has = ", ".join(asked.client.timeframes or {}) or "none"
        raise UsageError(f"--timeframe {timeframe}: {asked.id} has bars of {has}.")
    stream = f"rest:{'klines' if asked.id == KLINES else 'ohlcv'}_{timeframe}"
    with writing(job.home.home, RAW_BARS):
        now = max(newest(asked, name.partition(":")[2], timeframe) for name in instruments)
        held = watermarks(job.lake, stream)
        wanted = {name: _wanted(job, asked, name, held.get(name), now) for name in instruments}
        stored = 0
        with Work(f"{timeframe} bars", sum((w.end - w.start) // step for w in wanted.values())) as work:
            for name, interval in wanted.items():
                for chunk in _chunks(interval):
                    stored += _store(job, asked, stream, name, chunk, now, work)
    spans = [w for w in wanted.values() if w.end > w.start]
    return {
        "table": RAW_BARS.name,
        "version": job.lake.version(RAW_BARS) if job.lake.exists(RAW_BARS) else None,
        "rows": stored,
        "start": format_time(min(s.start for s in spans)) if spans else None,
        "end": format_time(max(s.end for s in spans)) if spans else None,
    }


def _store(job: Job, asked: Exchange, stream: str, name: str, chunk: Interval, now: int, work: Work) -> int:
    bars: list[list[Any]] = []
    for page in pages(asked, name.partition(":")[2], job.arguments.timeframe, chunk):
        bars += page
        work.done(len(page), name)
    if not bars:
        return 0
    received = time.time_ns() // 1000
    rows = raw_rows(asked.venue, stream, name, bars, now, received, job.run_id)
    return store(job.lake, RAW_BARS, rows, job.run_id)


if __name__ == "__main__":
    arguments = parser("ingest_bars", __doc__)
    arguments.add_argument("--timeframe", default="1m", help="1m (default), 5m, 15m, 1h, 4h or 1d")
    arguments.add_argument("--venue", help="ccxt id: binance (default, or VENUE_NAME), binanceusdm, kraken, okx, …")
    main("ingest_bars", run, arguments)
