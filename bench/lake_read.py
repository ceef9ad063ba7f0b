"""Reading one instrument's month out of the lake, as live and training do, beside plain Parquet.

    python bench/lake_read.py [--instruments N] [--rounds N]

Bars of one minute are imported and built by the real jobs. Three ways to the same rows, in turns:

    ours     Lake.scan: open the table's log, prune partitions, filter, collect
    files    Polars over the Parquet files of that month, with the same filter, no log
    alone    Polars reads a file that holds just these rows: nothing to find, nothing to leave out
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from lake.instruments import INSTRUMENTS
from lake.intervals import DAY, MINUTE, Interval, parse_time, to_datetime
from lake.storage import Lake
from lake.tables import BARS_1M

START, MONTHS = parse_time("2024-01-01"), 3
MONTH = Interval(parse_time("2024-02-01"), parse_time("2024-03-01"))


def minutes(path: Path, seed: int) -> None:
    """Three months of one instrument as a file that `jobs.import_bars` takes."""
    chance = np.random.default_rng(seed)
    count = 91 * DAY // MINUTE
    price = 100 * np.exp(np.cumsum(chance.normal(0, 7e-4, count + 1)))
    first, last = price[:-1], price[1:]
    columns = {
        "open": first, "high": np.maximum(first, last) * 1.0002, "low": np.minimum(first, last) * 0.9998,
        "close": last, "volume": chance.lognormal(1, 1, count),
    }  # fmt: skip
    times = pl.Series("ts", START + np.arange(count) * MINUTE).cast(pl.Datetime("us", "UTC"))
    pl.DataFrame({"ts": times, **columns}).write_parquet(path)


def filled(home: Path, count: int) -> tuple[Lake, str]:
    """A lake with so many instruments; the one in the middle is the one that is read."""
    names = sorted(INSTRUMENTS)[:count]
    for seed, name in enumerate(names):
        minutes(home / "bars.parquet", seed)
        command = [sys.executable, "-m", "jobs.import_bars", "--file", str(home / "bars.parquet"), "--instrument", name]
        environment = os.environ | {"BITACORA_HOME": str(home), "LAKE_URI": str(home / "lake")}
        subprocess.run([*command, "--timeframe", "1m"], env=environment, check=True, capture_output=True)
    return Lake(str(home / "lake")), names[count // 2]


def fastest(ways: dict[str, Callable[[], pl.DataFrame]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every round, the ways in turns."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            taken[name].append((time.perf_counter() - began) * 1e3)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instruments", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=50)
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="lake-read-"))
    try:
        lake, name = filled(home, arguments.instruments)
        mine = pl.col("instrument") == name
        within = pl.col("open_time").is_between(to_datetime(MONTH.start), to_datetime(MONTH.end), closed="left")
        rows = lake.scan(BARS_1M, MONTH).filter(mine).collect()
        rows.write_parquet(home / "alone.parquet", compression="zstd")
        folder = Path(lake.uri(BARS_1M)) / "month=2024-02"
        ways = {
            "ours": lambda: lake.scan(BARS_1M, MONTH).filter(mine).collect(),
            "files": lambda: pl.scan_parquet(folder / "*.parquet").filter(mine, within).collect(),
            "alone": lambda: pl.read_parquet(home / "alone.parquet"),
        }
        taken = fastest(ways, arguments.rounds)
        for other in ("files", "alone"):
            ratio = [a / b for a, b in zip(taken["ours"], taken[other], strict=True)]
            spread = [round(x, 2) for x in (min(ratio), statistics.median(ratio), max(ratio))]
            print(json.dumps({"bench": "lake read", "rows": len(rows), "times of": other, "ratio": spread}))
        told = {way: [round(x, 2) for x in (min(t), statistics.median(t), max(t))] for way, t in taken.items()}
        print(json.dumps({"milliseconds": told}))
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
