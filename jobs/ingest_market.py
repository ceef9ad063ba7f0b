"""Fetch market data by REST into bronze, from any exchange that ccxt knows, each answer with the exchange's own text.

Reads   --kind trades | books | tickers | funding | open_interest | marks of --venue (a ccxt id), or options (Deribit)
Writes  bronze raw_frames_v1; `python -m jobs.build_market` makes tables of it

Histories (trades, funding, open_interest) go on where the last run stopped, or begin at --start; what is held is
skipped. Trades are paged by id where the exchange can. The other kinds are what holds now: one answer per instrument.

VENUE_REST names another host than the exchange's own (the embedded exchange), for Binance's and Deribit's formats.
"""

import hashlib
import time
from collections.abc import Iterator
from typing import Any

import orjson
import polars as pl

from jobs.bronze import store
from jobs.command import Job, main, parser
from jobs.exchanges import PAGE, Exchange, exchange
from jobs.raw_frames import raw_frames
from jobs.settings import VenueSettings
from lake.errors import UsageError
from lake.intervals import HOUR, MILLISECOND, Interval
from lake.settings import read_settings, refuse_unknown
from lake.storage import Lake
from lake.tables import RAW_FRAMES
from lake.wire.ccxt_frames import PREFIX, payload

HISTORIES = ("trades", "funding", "open_interest")
KINDS = (*HISTORIES, "books", "tickers", "marks", "options")
Row = dict[str, Any]


def trades(asked: Exchange, symbol: str, span: Interval, last: int | None, limit: int = PAGE) -> Iterator[list[Row]]:
    """Pages of trades from the id after `last`, else from the span's start, each trade once."""
    by_id = asked.id.startswith("binance")
    end = min(span.end, _market_now(asked, symbol) + 1)
    since, seen = span.start // MILLISECOND, set[str]()
    options: Row = {"fromId": 0 if last is None else last + 1} if by_id and (last is not None or not since) else {}
    while since * MILLISECOND < end:
        page = asked.ask("fetch_trades", symbol, None if options else since, limit, params=options)
        fresh = [row for row in page if row["id"] not in seen]
        kept = [row for row in fresh if span.start <= row["timestamp"] * MILLISECOND < end]
        if kept:
            yield kept
        if not fresh and (options or not by_id):
            return
        if not fresh:  # Binance looks an hour ahead of a time, and no further
            since += HOUR // MILLISECOND
            continue
        seen, since = {row["id"] for row in page}, fresh[-1]["timestamp"]
        if by_id:
            options = {"fromId": int(fresh[-1]["id"]) + 1}


def series(asked: Exchange, method: str, symbol: str, span: Interval, **options: Any) -> Iterator[list[Row]]:
    """Pages of a history by time: funding rates, open interest."""
    since = span.start // MILLISECOND
    while True:
        arguments = (symbol, options["timeframe"]) if "timeframe" in options else (symbol,)
        page = asked.ask(method, *arguments, since, min(PAGE, 500))
        kept = [row for row in page if since <= row["timestamp"] and row["timestamp"] * MILLISECOND < span.end]
        if not kept:
            return
        yield kept
        since = kept[-1]["timestamp"] + 1


def answers(asked: Exchange, kind: str, symbol: str, span: Interval, last: int | None) -> Iterator[list[Row]]:
    """Pages of unified structures of one instrument."""
    if kind == "trades":
        return trades(asked, symbol, span, last)
    if kind == "funding":
        return series(asked, "fetch_funding_rate_history", symbol, span)
    if kind == "open_interest":
        return series(asked, "fetch_open_interest_history", symbol, span, timeframe="5m")
    method = {"books": "fetch_order_book", "tickers": "fetch_ticker", "marks": "fetch_funding_rate"}[kind]
    return iter([[asked.ask(method, symbol)]])


def frames(asked: Exchange, kind: str, symbol: str, rows: list[Row], clock: int) -> pl.DataFrame:
    """Bronze frames of a page; the key of each is made of what it is, so that fetching again adds nothing."""
    market, received = asked.client.market(symbol), time.time_ns() // 1000
    stream = f"rest:history:{kind}" if kind in HISTORIES else f"rest:{kind}"
    when = (clock or received) // MILLISECOND
    texts = [payload({"symbol": symbol} | row, market, when) for row in rows]
    told = [int(row.get("timestamp") or when) for row in rows]
    numbers = [_number(row, at) if kind == "trades" else at for row, at in zip(rows, told, strict=True)]
    return pl.DataFrame(
        {
            "venue": PREFIX + asked.id, "connection": f"rest:{kind}:{symbol}", "sequence": numbers,
            "received_us": received, "market_us": max(clock, max(told) * MILLISECOND) if asked.market_clock else None,
            "stream": stream, "payload": texts,
        },
        schema_overrides={"market_us": pl.Int64, "received_us": pl.Int64, "sequence": pl.Int64},
    )  # fmt: skip


def _number(row: Row, at: int) -> int:
    """A trade's id where it is a number, else 63 bits of its digest."""
    name = str(row.get("id") or orjson.dumps([at, row["price"], row["amount"], row["side"]]))
    if name.isdigit() and len(name) < 19:
        return int(name)
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 1


def held(lake: Lake, venue: str, connection: str) -> tuple[int, int] | None:
    """The newest sequence and its event time, µs, that bronze holds of a history; None where it holds none."""
    if not lake.exists(RAW_FRAMES):
        return None
    rows = lake.scan(RAW_FRAMES).filter(pl.col("venue") == venue, pl.col("connection") == connection)
    newest = rows.select("sequence", pl.col("event_time").dt.epoch("us")).sort("event_time", "sequence").tail(1)
    found: list[tuple[int, int]] = newest.collect().rows()
    return found[0] if found else None


def options_chain(asked: Exchange, coin: str, clock: int) -> pl.DataFrame:
    """A whole chain of Deribit, one row per option as sent."""
    if asked.id != "deribit":
        raise UsageError(f"--kind options: expected --venue deribit, found {asked.id}.")
    request = {"currency": coin, "kind": "option"}
    chain = asked.ask("public_get_get_book_summary_by_currency", request)["result"]
    received = time.time_ns() // 1000
    told = [int(row["creation_timestamp"]) * MILLISECOND for row in chain]
    return pl.DataFrame(
        {
            "venue": "deribit", "connection": f"rest:options:{coin}:{max(told, default=0)}",
            "sequence": range(len(chain)), "received_us": received,
            "market_us": max([clock, *told]) if asked.market_clock else None, "stream": "rest:summary",
            "payload": [orjson.dumps(row).decode() for row in chain],
        },
        schema_overrides={"market_us": pl.Int64, "received_us": pl.Int64, "sequence": pl.Int64},
    )  # fmt: skip


def run(job: Job) -> dict[str, Any]:
    refuse_unknown(VenueSettings)
    kind = job.arguments.kind
    if kind not in KINDS:
        raise UsageError(f"--kind {kind}: expected one of {', '.join(KINDS)}.")
    asked = exchange(job.arguments.venue, read_settings(VenueSettings))
    names = [name.strip() for name in (job.arguments.instruments or "").split(",") if name.strip()]
    if not names:
        raise UsageError(f"--instruments: expected ids like {asked.venue}:BTC/USDT (options: coins), found none.")
    stored = 0
    if kind == "options":
        pages: Iterator[pl.DataFrame] = (options_chain(asked, name, 0) for name in names)
    else:
        asked.ask("load_markets")
        symbols = [asked.symbol(name) for name in names]
        pages = (page for symbol in symbols for page in _pages(job, asked, kind, symbol))
    for page in pages:
        stored += store(job.lake, RAW_FRAMES, raw_frames(page, job.run_id), job.run_id) if len(page) else 0
    version = job.lake.version(RAW_FRAMES) if job.lake.exists(RAW_FRAMES) else None
    return {"table": RAW_FRAMES.name, "version": version, "rows": stored, "kind": kind, "instruments": len(names)}


def _pages(job: Job, asked: Exchange, kind: str, symbol: str) -> Iterator[pl.DataFrame]:
    """Frames to store of one instrument, a page at a time, from where the last run stopped."""
    before = held(job.lake, PREFIX + asked.id, f"rest:{kind}:{symbol}") if kind in HISTORIES else None
    start = job.start if job.start is not None else before[1] if before else 0
    last = before[0] if before and job.start is None else None
    clock = _market_now(asked, symbol) if asked.market_clock else 0
    for rows in answers(asked, kind, symbol, Interval.open(start, job.end), last):
        yield frames(asked, kind, symbol, rows, clock)


def _market_now(asked: Exchange, symbol: str) -> int:
    """The market's clock, µs, as the newest trade tells it; 0 before the first."""
    newest = asked.ask("fetch_trades", symbol, None, 1)
    return int(newest[-1]["timestamp"]) * MILLISECOND if newest else 0


def arguments(name: str, doc: str | None, kind: str | None = None) -> Any:
    """The command's arguments; `kind` fixes what is fetched."""
    made = parser(name, doc)
    made.add_argument("--venue", default="binance", help="ccxt id: binance, binanceusdm, kraken, okx, deribit, …")
    if kind:
        made.set_defaults(kind=kind)
    else:
        made.add_argument("--kind", required=True, help=", ".join(KINDS))
    return made


if __name__ == "__main__":
    main("ingest_market", run, arguments("ingest_market", __doc__))
