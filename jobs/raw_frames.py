"""Frames on their way into bronze: the declared columns around the text as received."""

import hashlib

import polars as pl

from lake.intervals import DAY
from lake.tables import RAW_FRAMES
from lake.wire.feeds import feed

RECORDER = "recorder"
"""The stream of what a recorder says of itself: connected, snapshot refused, frames lost, gap found."""
_TIME = pl.Datetime("us", "UTC")


def raw_frames(frames: pl.DataFrame, run_id: str) -> pl.DataFrame:
    """Rows of raw_frames_v1.

    Args:
        frames: venue (the feed), connection, sequence, received_us, market_us (null: the wall clock is the market's),
            stream, payload; any order.
    """
    parts = [_timed(part, str(venue)) for (venue,), part in frames.group_by("venue", maintain_order=True)]
    rows = pl.concat(parts) if parts else _timed(frames, "binance")
    return rows.with_columns(
        day=pl.col("event_time").dt.strftime("%Y-%m-%d"),
        payload_hash=pl.Series(
            [hashlib.sha256(text.encode()).hexdigest() for text in rows["payload"]], dtype=pl.String
        ),
        run_id=pl.lit(run_id),
    ).select(RAW_FRAMES.schema.names)


def _timed(frames: pl.DataFrame, venue: str) -> pl.DataFrame:
    """With the market time of receipt, and the time each frame tells of itself unless it is absurd."""
    market = pl.coalesce("market_us", "received_us")
    told = feed(venue).clock
    plausible = told.is_between(market - 40_000 * DAY, market + DAY)
    return frames.with_columns(
        event_time=pl.when(plausible & (pl.col("stream") != RECORDER)).then(told).otherwise(market).cast(_TIME),
        market_time=market.cast(_TIME),
        received_time=pl.col("received_us").cast(_TIME),
    )
