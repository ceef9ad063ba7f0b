"""Take the closed bars out of recorded WebSocket frames, so that they become silver like those fetched by REST.

Reads   bronze raw_frames_v1: bar messages of every feed; open bars and timeframes that silver has no use for are left
Writes  bronze raw_bars_v1, streams ws:bars_<timeframe>; `python -m jobs.build_bars` makes silver of it

Without --start and --end it goes on, venue by venue, with the day of the newest bar it took; older days, as of an
imported capture, are asked for. What is held is skipped, so any interval can be taken again. Bars whose volume is not
in base (contracts) are counted and left: they stay in frames.
"""

import hashlib
from typing import Any

import polars as pl

from jobs.bronze import store
from jobs.command import Job, main, parser
from jobs.lock import writing
from jobs.progress import Work
from jobs.raw_frames import RECORDER
from lake.errors import NothingStored
from lake.intervals import DAY, TIMEFRAMES, Interval, format_time, month_of, parse_time
from lake.storage import Lake
from lake.tables import RAW_BARS, RAW_FRAMES
from lake.wire.bars import WS_STREAM, bar_payload
from lake.wire.feeds import FEEDS, feed
from lake.wire.frames import parse

_TIME = pl.Datetime("us", "UTC")
_NUMBERS = ("open", "high", "low", "close", "volume", "quote_volume", "trade_count")


def closed_bars(frames: pl.DataFrame, run_id: str) -> tuple[pl.DataFrame, int]:
    """Rows of raw_bars_v1 out of frames of one feed, and how many bars were left for their unit or symbol.

    Args:
        frames: rows of raw_frames_v1 of one venue, in any order.
    """
    source = feed(str(frames["venue"][0]))
    frames = frames.sort("market_time", "connection", "sequence").with_row_index("row")
    bars = parse(source, frames, "bar").of("bar")
    bars = bars.filter("closed", pl.col("timeframe").is_in(list(TIMEFRAMES)))
    found = {symbol: source.instrument(symbol) for symbol in bars["symbol"].unique()}
    names = {symbol: named[0] for symbol, named in found.items() if named and named[1] == "base"}
    kept = bars.filter(pl.col("symbol").is_in(list(names)))
    timed = kept.join(frames.select("row", "market_time", "received_time"), on="row", how="left", maintain_order="left")
    numbers = timed.select("time", *_NUMBERS).iter_rows(named=True)
    payloads = [bar_payload(row.pop("time"), row) for row in numbers]
    rows = timed.select(
        "market_time",
        "received_time",
        venue=pl.lit(source.venue),
        stream=pl.lit(WS_STREAM) + pl.col("timeframe"),
        instrument=pl.col("symbol").replace_strict(names, default=None, return_dtype=pl.String),
        event_time=pl.col("time").cast(_TIME),
        payload=pl.Series(payloads, dtype=pl.String),
        payload_hash=pl.Series([hashlib.sha256(p.encode()).hexdigest() for p in payloads], dtype=pl.String),
        month=pl.Series([month_of(t) for t in timed["time"]], dtype=pl.String),
        run_id=pl.lit(run_id),
    )
    return rows.select(RAW_BARS.schema.names), bars.height - kept.height


def run(job: Job) -> dict[str, Any]:
    """Raises:
    NothingStored: there are no frames.
    """
    lake = job.lake
    if not lake.exists(RAW_FRAMES):
        raise NothingStored("no frames yet: run python -m jobs.record, or jobs.import_frames, first.")
    version, marks = lake.version(RAW_FRAMES), {} if job.interval else _marks(lake)
    starts = sorted(parse_time(day) for day in lake.partitions(RAW_FRAMES, "day", version))
    days = [day for start in starts if _meets(day := Interval(start, start + DAY), job.interval)]
    stored = left = 0
    with writing(job.home.home, RAW_BARS), Work("days of frames", len(days)) as work:
        for day in days:
            done = [name for name in FEEDS if marks.get(FEEDS[name].venue, 0) >= day.end]
            for _, part in _frames(lake, version, day, done).group_by("venue", maintain_order=True):
                rows, other = closed_bars(part, job.run_id)
                left += other
                stored += store(lake, RAW_BARS, rows, job.run_id) if len(rows) else 0
            work.done(1)
    return {
        "table": RAW_BARS.name,
        "version": lake.version(RAW_BARS) if lake.exists(RAW_BARS) else None,
        "rows": stored,
        "not_in_base": left,
        "start": format_time(days[0].start) if days else None,
        "end": format_time(days[-1].end) if days else None,
    }


def _marks(lake: Lake) -> dict[str, int]:
    """Per venue the open time of the newest bar that was taken out of frames, in microseconds."""
    if not lake.exists(RAW_BARS):
        return {}
    taken = lake.scan(RAW_BARS).filter(pl.col("stream").str.starts_with(WS_STREAM))
    newest = taken.group_by("venue").agg(pl.col("event_time").max().dt.epoch("us"))
    return dict(newest.collect().iter_rows())


def _meets(day: Interval, asked: Interval | None) -> bool:
    return asked is None or (day.start < asked.end and asked.start < day.end)


def _frames(lake: Lake, version: int, day: Interval, done: list[str]) -> pl.DataFrame:
    """A day's frames that may tell of bars, without the feeds that are done."""
    told = pl.col("payload").str.contains("kline|candle") & (pl.col("stream") != RECORDER)
    named = (pl.col("day") == format_time(day.start)[:10]) & ~pl.col("venue").is_in(done)
    return lake.scan(RAW_FRAMES, day, version).filter(named, told).collect()


if __name__ == "__main__":
    main("lift_bars", run, parser("lift_bars", __doc__))
