"""Bring your own history: one file of bars into bronze and silver, by the same contracts and checks as a venue's.

Reads   a parquet, CSV or feather file with the columns ts (or open_time), open, high, low, close, volume
Writes  bronze raw_bars_v1 (stream file:bars_<timeframe>), then silver as jobs.build_bars does

`ts` is the open time: a timestamp (UTC where no zone is given), ISO 8601 text, or a number of milliseconds. A file that
cannot be read as a whole is refused and nothing is stored; a single row that breaks the contract (a negative price,
high below low, a time off the grid or in the future) goes to quarantine with the reason. Duplicate rows are kept once,
missing bars are counted. The same file again changes nothing.
"""

import argparse
import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from jobs import build_bars
from jobs.bar_files import read_bars
from jobs.bronze import declared, store
from jobs.command import Job, main, parser
from jobs.lock import writing
from jobs.progress import Stages
from lake.errors import UsageError
from lake.instruments import Instrument, instrument
from lake.intervals import format_time, timeframe_us
from lake.tables import RAW_BARS
from lake.wire.bars import FILE_FIELDS, FILE_STREAM, bar_payload

TIMEFRAMES = ("1m", "5m")
"""Those that silver has a table for."""


def raw_rows(bars: pl.DataFrame, owner: Instrument, timeframe: str, now: int, run_id: str) -> pa.Table:
    """Bronze rows of a file's bars: the payload is the row's canonical JSON, `market_time` the moment of the import."""
    payloads = [
        bar_payload(open_time, dict(zip(FILE_FIELDS, numbers, strict=True)))
        for open_time, *numbers in bars.select("ts", *FILE_FIELDS).iter_rows()
    ]
    rows = pl.DataFrame(
        {"event_time": bars["ts"], "payload": payloads}, schema={"event_time": pl.Int64, "payload": pl.String}
    ).with_columns(
        pl.col("event_time").cast(pl.Datetime("us", "UTC")),
        venue=pl.lit(owner.venue),
        stream=pl.lit(FILE_STREAM + timeframe),
        instrument=pl.lit(owner.id),
        market_time=pl.lit(now).cast(pl.Datetime("us", "UTC")),
        payload_hash=pl.Series([hashlib.sha256(p.encode()).hexdigest() for p in payloads], dtype=pl.String),
        received_time=pl.lit(now).cast(pl.Datetime("us", "UTC")),
        run_id=pl.lit(run_id),
    )
    rows = rows.with_columns(month=pl.col("event_time").dt.strftime("%Y-%m")).select(RAW_BARS.schema.names)
    return declared(rows, RAW_BARS)


def run(job: Job) -> dict[str, Any]:
    timeframe, owner = job.arguments.timeframe, instrument(job.arguments.instrument)
    if timeframe not in TIMEFRAMES:
        raise UsageError(f"--timeframe {timeframe}: expected one of {', '.join(TIMEFRAMES)}; aggregate the file first.")
    path = Path(job.arguments.file)
    bars = read_bars(path, timeframe)
    say = Stages("import_bars")
    say(f"{path.name}: {bars.height:,} rows")
    with writing(job.home.home, RAW_BARS):
        rows = raw_rows(bars, owner, timeframe, time.time_ns() // 1000, job.run_id)
        new = store(job.lake, RAW_BARS, rows, job.run_id)
    say(f"{RAW_BARS.name}: {new:,} new")
    first, last = int(bars["ts"].min()), int(bars["ts"].max())  # type: ignore[arg-type]  # the file holds a row
    span = {"start": format_time(first), "end": format_time(last + timeframe_us(timeframe))}
    arguments = argparse.Namespace(**span, instruments=owner.id)
    summary = build_bars.run(replace(job, arguments=arguments))
    bronze = {"version": job.lake.version(RAW_BARS), "rows": new}
    return summary | {"file": path.name, "tables": {RAW_BARS.name: bronze, **summary["tables"]}}


if __name__ == "__main__":
    arguments = parser("import_bars", __doc__)
    arguments.add_argument("--file", required=True, help="the bars")
    arguments.add_argument("--instrument", required=True, help="id like binance:BTC/USDT")
    arguments.add_argument("--timeframe", required=True, help="1m or 5m")
    main("import_bars", run, arguments)
