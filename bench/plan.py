"""What a lake of thousands of instruments costs: unit costs measured here, then the arithmetic.

    python bench/plan.py [--messages N] [--instruments 5000] [--years 5] [--per-day N] [--json] [prices]

Measured with our own jobs, on trades whose prices walk at random and whose sizes and waits are skewed, as real ones:

    bytes    of a trade in bronze (the text as received, its hash, four clocks) and in silver, as the files on disk are
             after compaction; checked beside them: the text of the real captures under `BITACORA_DATA`
    store    core-seconds a million trades take into bronze through `jobs.bronze.store`
    build    the same from bronze to `trades_v1` through `jobs.build_market`, checks and quarantine included, on a cold
             table; Spark is up already
    compact  the same for `jobs.maintain` over both tables

The arithmetic: storage is trades x bytes; a node's core does what one of this machine's does, and a cluster keeps
--efficiency of its cores busy. Prices are list prices of us-east-1, in dollars; give your own.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import zstandard

from jobs import build_market, maintain
from jobs.bronze import store
from jobs.command import Job
from jobs.raw_frames import raw_frames
from lake.intervals import DAY, parse_time
from lake.settings import HomeSettings
from lake.spark import spark_session
from lake.storage import Lake
from lake.table import Table
from lake.tables import RAW_FRAMES, TRADES
from lake.wire.captures import read_capture

START = parse_time("2024-01-01")
CHUNK = 500_000
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
CORES = 2
"""Of `local[2]`, on which everything here runs."""
GIGA = 1e9
WRITES = 3
"""Of one commit of a recorder: the rows, the log's entry, the probe of the newest version."""


def frames(first: int, count: int, per_day: int) -> pl.DataFrame:
    """Trades of Binance's spot stream, `per_day` of them a day over all symbols; rows of raw_frames_v1."""
    random = np.random.default_rng(first)
    waits = random.exponential(DAY / per_day, count)
    at_us = START + first * (DAY // per_day) + np.cumsum(waits * (count * (DAY / per_day) / waits.sum())).astype(int)
    price = 6_000_000 + np.cumsum(random.integers(-9, 10, count))
    size = np.clip(random.lognormal(7.0, 1.8, count), 1, 10_000_000).astype(int)
    rows = pl.DataFrame({"n": np.arange(first, first + count), "us": at_us, "price": price, "size": size,
                         "maker": random.random(count) < 0.5, "symbol": random.integers(0, len(SYMBOLS), count),
                         "wait": random.integers(5_000, 60_000, count)})  # fmt: skip
    text = '{{"e":"trade","E":{},"s":"{}","t":{},"p":"{}.{}000000","q":"{}.{}000","T":{},"m":{},"M":true}}'
    cents, parts = pl.col("price") % 100, pl.col("size") % 100_000
    payload = pl.format(
        text.replace("{{", "<").replace("}}", ">"), pl.col("us") // 1000,
        pl.col("symbol").replace_strict(dict(enumerate(SYMBOLS))), "n", pl.col("price") // 100,
        cents.cast(pl.String).str.zfill(2), pl.col("size") // 100_000, parts.cast(pl.String).str.zfill(5),
        pl.col("us") // 1000, pl.when("maker").then(pl.lit("true")).otherwise(pl.lit("false")),
    ).str.replace("<", "{", literal=True).str.replace(">", "}", literal=True)  # fmt: skip
    received = rows.select(
        venue=pl.lit("binance"), connection=pl.lit("plan"), sequence="n", received_us=pl.col("us") + pl.col("wait"),
        market_us=pl.col("us") + pl.col("wait"), stream=pl.lit("ws"), payload=payload,
    )  # fmt: skip
    return raw_frames(received, "plan")


def on_disk(lake: Lake, table: Table) -> int:
    """Bytes of the files of the newest version."""
    return int(pl.DataFrame(lake.delta(table).get_add_actions(flatten=True))["size_bytes"].sum())


def real_text() -> dict[str, float] | None:
    """Bytes a trade's text of the real spot captures takes, as sent and compressed by zstd; None without the data."""
    folder = Path(os.environ.get("BITACORA_DATA", "../shared/data")) / "orderbook"
    files = sorted(folder.glob("binance_spot_btcusdt_*.jsonl.gz"))
    if not files:
        return None
    texts = pl.concat(read_capture(file, "binance", "BTCUSDT") for file in files)["payload"]
    trades = texts.filter(texts.str.contains('"e":"trade"')).to_list()
    whole = "\n".join(trades).encode()
    return {"trades": len(trades), "sent": len(whole) / len(trades),
            "zstd": len(zstandard.compress(whole, 3)) / len(trades)}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one trade: bytes, and core-seconds a million."""

    bronze_bytes: float
    silver_bytes: float
    text_zstd_bytes: float
    store: float
    build: float
    compact: float


def measure(folder: Path, messages: int, per_day: int) -> Costs:
    """Do the work once and weigh it."""
    lake, home = Lake(str(folder / "lake")), HomeSettings(home=folder)
    common = {"start": None, "end": None, "instruments": None}

    def run(module: Any, **asked: Any) -> float:
        name = module.__name__.removeprefix("jobs.")
        began = time.perf_counter()
        module.run(Job(name, home, lake, argparse.Namespace(**common | asked)))
        return (time.perf_counter() - began) * CORES / messages * 1e6

    spent = 0.0
    sample = b""
    for first in range(0, messages, CHUNK):
        rows = frames(first, min(CHUNK, messages - first), per_day)
        sample = sample or "\n".join(rows["payload"].head(50_000)).encode()
        began = time.perf_counter()
        store(lake, RAW_FRAMES, rows, "plan")
        spent += time.perf_counter() - began
    spark_session(lake, "plan").range(1).count()
    build = run(build_market, table=TRADES.name)
    names = f"{RAW_FRAMES.name},{TRADES.name}"
    compact = run(maintain, tables=names, retention_days=30, target_mb=128)
    return Costs(
        on_disk(lake, RAW_FRAMES) / messages, on_disk(lake, TRADES) / messages,
        len(zstandard.compress(sample, 3)) / min(50_000, messages), spent * CORES / messages * 1e6, build, compact,
    )  # fmt: skip


def s3_month(gigabytes: float, prices: argparse.Namespace) -> float:
    """Dollars a month of S3 Standard, in its tiers: 50 TB, 450 TB, the rest."""
    first, second = min(gigabytes, 50_000), min(max(gigabytes - 50_000, 0), 450_000)
    rest = max(gigabytes - 500_000, 0)
    one, two, three = prices.s3_standard
    return first * one + second * two + rest * three


def plan(costs: Costs, per_day: int, asked: argparse.Namespace) -> dict[str, Any]:
    """The plan for one trading intensity.

    Args:
        per_day: trades of one instrument a day, on average over all.
    """
    daily = asked.instruments * per_day
    total = daily * 365 * asked.years
    bronze, silver = (total * size / GIGA for size in (costs.bronze_bytes, costs.silver_bytes))
    recent = bronze * min(1.0, 90 / (365 * asked.years))
    hot = s3_month(recent + silver, asked)
    cold = (bronze - recent) * asked.s3_archive
    cores = asked.nodes * asked.vcpus * asked.efficiency
    work = (costs.build + costs.compact) / 1e6
    backfill_hours = total * (work + costs.store / 1e6) / cores / 3600
    daily_hours = daily * work / cores / 3600
    node_hour = asked.ec2_hour + asked.emr_hour
    return {
        "trades_a_day": per_day, "trades": total, "bronze_tb": bronze / 1e3, "silver_tb": silver / 1e3,
        "all_standard_month": s3_month(bronze + silver, asked), "tiered_month": hot + cold,
        "backfill_hours": backfill_hours, "backfill_dollars": backfill_hours * asked.nodes * node_hour,
        "daily_minutes": daily_hours * 60, "daily_month": daily_hours * asked.nodes * node_hour * 30.4,
        "requests_month": asked.recorders * DAY / 1e6 / asked.every * 30.4 * WRITES / 1000 * asked.s3_put,
        "recorder_cores": daily * costs.store / 1e6 / 86_400,
    }  # fmt: skip


def table(costs: Costs, real: dict[str, float] | None, plans: list[dict[str, Any]], asked: argparse.Namespace) -> str:
    """The plan as Markdown."""
    lines = [
        "| unit cost, measured | |", "| --- | --- |",
        f"| bronze | {costs.bronze_bytes:.0f} bytes a trade (text alone, zstd: {costs.text_zstd_bytes:.0f}) |",
        f"| silver | {costs.silver_bytes:.0f} bytes a trade |",
        *([f"| real text | {real['sent']:.0f} bytes sent, zstd {real['zstd']:.0f} ({real['trades']:,.0f} trades) |"]
          if real else []),
        f"| store, build, compact | {costs.store:.1f}, {costs.build:.1f}, {costs.compact:.1f} core-seconds a million |",
        "", f"{asked.instruments:,} instruments, {asked.years} years, {asked.nodes} nodes of {asked.vcpus} vCPU:", "",
        "| trades per instrument and day | " + " | ".join(f"{p['trades_a_day']:,}" for p in plans) + " |",
        "| --- |" + " --- |" * len(plans),
    ]  # fmt: skip
    rows = [
        ("trades", "trades", "{:,.0f}"), ("bronze, TB", "bronze_tb", "{:,.1f}"), ("silver, TB", "silver_tb", "{:,.1f}"),
        ("S3 a month, all Standard", "all_standard_month", "${:,.0f}"),
        ("S3 a month, bronze archived after 90 days", "tiered_month", "${:,.0f}"),
        ("S3 requests a month", "requests_month", "${:,.2f}"),
        ("backfill, cluster hours", "backfill_hours", "{:,.1f}"), ("backfill", "backfill_dollars", "${:,.0f}"),
        ("a day's build and compaction, minutes", "daily_minutes", "{:,.1f}"),
        ("EMR a month", "daily_month", "${:,.0f}"), ("cores busy storing", "recorder_cores", "{:,.2f}"),
    ]  # fmt: skip
    lines += [f"| {name} | " + " | ".join(shape.format(p[key]) for p in plans) + " |" for name, key, shape in rows]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=4_000_000, help="trades measured")
    parser.add_argument("--measured-day", type=int, default=1_000_000, help="trades of a measured day")
    parser.add_argument("--instruments", type=int, default=5_000)
    parser.add_argument("--years", type=int, default=5)
    parser.add_argument("--per-day", type=int, nargs="+", default=[2_000, 20_000, 100_000], help="per instrument")
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--vcpus", type=int, default=4, help="of a node")
    parser.add_argument("--efficiency", type=float, default=0.7, help="share of cores that a cluster keeps busy")
    parser.add_argument("--ec2-hour", type=float, default=0.192, help="a node (m5.xlarge)")
    parser.add_argument("--emr-hour", type=float, default=0.048, help="EMR on it")
    parser.add_argument("--s3-standard", type=float, nargs=3, default=[0.023, 0.022, 0.021], help="a GB-month, by tier")
    parser.add_argument("--s3-archive", type=float, default=0.004, help="a GB-month of Glacier Instant Retrieval")
    parser.add_argument("--s3-put", type=float, default=0.005, help="a thousand writes")
    parser.add_argument("--recorders", type=int, default=10, help="processes of jobs.record")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between a recorder's commits")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="plan-"))
    try:
        costs = measure(folder, asked.messages, asked.measured_day)
    finally:
        shutil.rmtree(folder)
    plans = [plan(costs, per_day, asked) for per_day in asked.per_day]
    if asked.json:
        print(json.dumps({"costs": {n: getattr(costs, n) for n in Costs.__slots__}, "plans": plans}))
    else:
        print(table(costs, real_text(), plans, asked))


if __name__ == "__main__":
    main()
