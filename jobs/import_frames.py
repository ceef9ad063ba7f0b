"""Bring captures of other recorders into bronze: the same parser reads them as it reads what we record.

Reads   --file FILE, hftbacktest or cryptofeed format, plain, .gz or .zst (lake/wire/captures.py)
Writes  bronze raw_frames_v1; `python -m jobs.build_market` makes trades, books and quotes of it

A frame's place in the file is its sequence and the file's digest names the connection, so the same file again, or one
that a killed import left half stored, is completed and never doubled.
"""

import hashlib
from pathlib import Path
from typing import Any

import polars as pl

from jobs.bronze import store
from jobs.command import Job, main, parser
from jobs.lock import writing
from jobs.progress import Work
from jobs.raw_frames import raw_frames
from lake.errors import BadInput
from lake.intervals import format_time, to_us
from lake.tables import RAW_FRAMES
from lake.wire.captures import read_capture
from lake.wire.feeds import feed

CHUNK = 200_000
"""Frames per commit."""


def run(job: Job) -> dict[str, Any]:
    path, named = Path(job.arguments.file), job.arguments.feed
    if not path.is_file():
        raise BadInput(f"{path}: no such file.")
    frames = read_capture(path, named and feed(named).name, job.arguments.symbol)
    if frames.is_empty():
        raise BadInput(f"{path.name}: no frame in it.")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    rows = frames.with_columns(
        connection=pl.lit(f"file:{digest}"),
        sequence=pl.int_range(pl.len(), dtype=pl.Int64),
        market_us=pl.lit(None, pl.Int64),
    )
    stored = 0
    with writing(job.home.home, RAW_FRAMES), Work(f"frames of {path.name}", len(rows)) as work:
        for chunk in rows.iter_slices(CHUNK):
            stored += store(job.lake, RAW_FRAMES, raw_frames(chunk, job.run_id), job.run_id)
            work.done(len(chunk))
    times = raw_frames(rows, job.run_id)["event_time"]
    return {
        "table": RAW_FRAMES.name,
        "version": job.lake.version(RAW_FRAMES),
        "rows": stored,
        "held": len(rows) - stored,
        "start": format_time(to_us(times.min())),  # type: ignore[arg-type]  # the file holds a frame
        "end": format_time(to_us(times.max())),  # type: ignore[arg-type]
    }


if __name__ == "__main__":
    arguments = parser("import_frames", __doc__)
    arguments.add_argument("--file", required=True, help="the capture")
    arguments.add_argument("--feed", help="of an hftbacktest capture: binance, binance_usdm or binance_coinm")
    arguments.add_argument("--symbol", help="of an hftbacktest capture, the venue's own, e.g. BTCUSDT")
    main("import_frames", run, arguments)
