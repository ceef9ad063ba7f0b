"""The lake's writers beside plain Spark: appends into bronze, bronze to silver, and the same interval once more.

    python bench/lake_write.py [--append N] [--messages N] [--rounds N] [--json]

Ours and the peer run in turns on the same rows, in one process, with one Spark session:

    append   N trades as frames (text, hash, clocks) from Parquet into bronze by `jobs.bronze.store`, which looks for
             what is held before every commit; Spark reads the same Parquet and appends it to a Delta table, unchecked
    build    N raw messages of bronze to `trades_v1` by `jobs.build_market`: parsed, checked, refused rows quarantined,
             validated, committed; one message in 500 is broken
    again    the same interval once more by the same job; Spark merges the finished rows into a copy of the table
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
from delta.tables import DeltaTable
from pyspark.sql import SparkSession

from jobs import build_market
from jobs.bronze import store
from jobs.command import Job
from jobs.raw_frames import raw_frames
from lake.intervals import DAY, format_time, parse_time
from lake.settings import HomeSettings
from lake.spark import spark_session
from lake.storage import Lake
from lake.tables import RAW_FRAMES, TRADES

START = parse_time("2024-01-01")
CHUNK = 1_000_000
"""Rows per commit of ours, and per file of the Parquet that both read."""
PER_DAY = 500_000
BROKEN = 500
"""One message in so many has a negative price."""


def frames(first: int, count: int) -> pl.DataFrame:
    """Trade frames of Binance's spot stream, `PER_DAY` a day, numbered from `first`; rows of raw_frames_v1."""
    number = pl.int_range(first, first + count, dtype=pl.Int64, eager=True)
    time_us = START + number * (DAY // PER_DAY)
    cents = 6_000_000 + (number * 7919) % 50_000
    sign = pl.select(pl.when(number % BROKEN == BROKEN - 1).then(pl.lit("-")).otherwise(pl.lit(""))).to_series()
    rows = pl.DataFrame({"number": number, "ms": time_us // 1000, "us": time_us, "cents": cents, "sign": sign})
    price = pl.format("{}{}.{}", "sign", pl.col("cents") // 100, (pl.col("cents") % 100).cast(pl.String).str.zfill(2))
    size = (pl.col("number") * 104_729 % 99_999 + 1).cast(pl.String).str.zfill(5)
    maker = pl.when(pl.col("number") % 3 == 0).then(pl.lit("true")).otherwise(pl.lit("false"))
    text = '{"e":"trade","E":{},"s":"BTCUSDT","t":{},"p":"{}","q":"0.{}","T":{},"m":{},"M":true}'
    parts = text.split("{}")
    values = (pl.col("ms"), pl.col("number"), price, size, pl.col("ms"), maker)
    joined = [pl.lit(parts[0])]
    for value, after in zip(values, parts[1:], strict=True):
        joined += [value.cast(pl.String), pl.lit(after)]
    payload = pl.concat_str(joined)
    received = rows.select(
        venue=pl.lit("binance"), connection=pl.lit("bench"), sequence="number", received_us=pl.col("us") + 20_000,
        market_us=pl.col("us") + 20_000, stream=pl.lit("ws"), payload=payload,
    )  # fmt: skip
    return raw_frames(received, "bench")


def written(folder: Path, count: int) -> list[Path]:
    """The frames as Parquet files of `CHUNK` rows."""
    folder.mkdir()
    paths = []
    for first in range(0, count, CHUNK):
        paths.append(folder / f"{first:012}.parquet")
        chunk = frames(first, min(CHUNK, count - first))
        pq.write_table(chunk.to_arrow(compat_level=pl.CompatLevel.oldest()), paths[-1], compression="zstd")
    return paths


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def stored(lake: Lake, paths: list[Path]) -> None:
    for path in paths:
        store(lake, RAW_FRAMES, pl.read_parquet(path), "bench")


def appended(session: SparkSession, paths: list[Path], target: Path) -> None:
    rows = session.read.parquet(*map(str, paths))
    rows.write.format("delta").partitionBy("venue", "day").save(str(target))


def built(home: Path, lake: Lake, **interval: str) -> None:
    asked = argparse.Namespace(**{"start": None, "end": None, "instruments": None, "table": TRADES.name, **interval})
    build_market.run(Job("build_market", HomeSettings(home=home), lake, asked))


def merged(session: SparkSession, rows: Path, target: Path) -> None:
    same = " AND ".join(f"t.{name} = s.{name}" for name in ("day", *TRADES.key))
    table, source = DeltaTable.forPath(session, str(target)).alias("t"), session.read.parquet(str(rows)).alias("s")
    table.merge(source, same).whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()


def bench_append(session: SparkSession, folder: Path, count: int, rounds: int) -> list[dict[str, float]]:
    paths, found = written(folder / "append", count), []
    for number in range(rounds):
        ours, peer = folder / f"bronze{number}", folder / f"plain{number}"
        found.append({
            "ours": count / timed(lambda at=ours: stored(Lake(str(at)), paths)),
            "spark": count / timed(lambda at=peer: appended(session, paths, at)),
        })  # fmt: skip
        shutil.rmtree(ours)
        shutil.rmtree(peer)
    shutil.rmtree(folder / "append")
    return found


def bench_build(session: SparkSession, folder: Path, count: int, rounds: int) -> tuple[list[Any], list[Any]]:
    source = Lake(str(folder / "source"))
    stored(source, written(folder / "messages", count))
    shutil.rmtree(folder / "messages")
    whole = {"start": format_time(START), "end": format_time(START + (count // PER_DAY + 1) * DAY)}
    first, again = [], []
    for number in range(rounds):
        home = folder / f"home{number}"
        shutil.copytree(source.root, home / "lake")
        lake = Lake(str(home / "lake"))
        first.append({"ours": count / timed(lambda h=home, at=lake: built(h, at))})
        rows, target = home / "rows", home / "plain"
        session.read.format("delta").load(lake.uri(TRADES)).write.parquet(str(rows))
        session.read.parquet(str(rows)).write.format("delta").partitionBy("day").save(str(target))
        again.append({
            "ours": count / timed(lambda h=home, at=lake: built(h, at, **whole)),
            "spark": count / timed(lambda r=rows, t=target: merged(session, r, t)),
        })  # fmt: skip
        shutil.rmtree(home)
    return first, again


def told(name: str, rows: int, found: list[dict[str, float]]) -> dict[str, Any]:
    """Minimum, median and maximum of rows a second, and of the ratio round by round."""
    columns = {key: [each[key] for each in found] for key in found[0]}
    if "spark" in columns:
        columns["ratio"] = [ours / spark for ours, spark in zip(columns["ours"], columns["spark"], strict=True)]
    spread = {
        key: [round(value, 2 if key == "ratio" else -3) for value in (min(all_), statistics.median(all_), max(all_))]
        for key, all_ in columns.items()
    }
    return {"bench": f"lake {name}", "rows": rows, **spread}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--append", type=int, default=20_000_000, help="trades appended")
    parser.add_argument("--messages", type=int, default=10_000_000, help="messages from bronze to silver")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="lake-bench-"))
    try:
        session = spark_session(Lake(str(folder)), "bench")
        bench_append(session, folder, 10_000, 1)  # everything is loaded
        if arguments.append:
            found = bench_append(session, folder, arguments.append, arguments.rounds)
            print(json.dumps(told("append", arguments.append, found)), flush=True)
        if arguments.messages:
            first, again = bench_build(session, folder, arguments.messages, arguments.rounds)
            print(json.dumps(told("build", arguments.messages, first)), flush=True)
            print(json.dumps(told("again", arguments.messages, again)), flush=True)
        session.stop()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
