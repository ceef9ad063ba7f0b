"""The point-in-time join beside Feast's, at a size that Feast takes in seconds; both join the same files.

    python bench/join_feast.py [--labels N] [--rows N] [--tables N] [--entities N] [--rounds N]

Feast's file store pairs every label with every row of its entity before it drops those of the future: its work grows
with labels × rows, ours with labels + rows. Each round ours reads the files and joins, so does Feast; the first round
of each, which imports and compiles, does not count. The joined values are compared: Feast knows one time a row, told to
be `available_time`, and rows come in order here, so both must find the same. Exit code 1 where they do not, or where
the ratio is below 1,000. Feast lives in an environment of its own: `make peers`.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
from join import DELAY, LOOKBACK, world
from peers import FEAST, run_peer

from feature_store.offline import Source, join_sources

TIME = pl.Datetime("us", "UTC")
BAR = 1_000.0


def write(folder: Path, arguments: argparse.Namespace) -> list[str]:
    """Labels and tables as files; returns the value columns."""
    labels, tables = world(arguments.labels, arguments.rows, arguments.tables, arguments.entities, 0.0)
    typed = labels.cast({"decision_time": TIME, "instrument": pl.String})
    typed.rename({"decision_time": "event_timestamp"}).with_row_index("label").write_parquet(folder / "labels.parquet")
    for i, table in enumerate(tables):
        kinds = {"event_time": TIME, "available_time": TIME, "instrument": pl.String}
        table.cast(kinds).write_parquet(folder / f"t{i}.parquet")
    return [name for table in tables for name in table.columns[3:]]


def ours(folder: Path, tables: int) -> pl.DataFrame:
    labels = pl.read_parquet(folder / "labels.parquet").rename({"event_timestamp": "decision_time"})
    frames = [pl.read_parquet(folder / f"t{i}.parquet") for i in range(tables)]
    return join_sources(labels, [Source(one, tuple(one.columns[3:]), LOOKBACK) for one in frames])


def seconds(folder: Path, arguments: argparse.Namespace) -> list[float]:
    taken = []
    for _ in range(arguments.rounds + 1):
        began = time.perf_counter()
        ours(folder, arguments.tables)
        taken.append(time.perf_counter() - began)
    return taken[1:]


def differing(folder: Path, tables: int, columns: list[str]) -> int:
    """Labels whose values are not the same on both sides."""
    theirs = pl.read_parquet(folder / "feast.parquet").sort("label").select(columns)
    mine = ours(folder, tables).sort("label").select(columns)
    same = pl.all_horizontal(mine[name].eq_missing(theirs[name].fill_nan(None)) for name in columns)
    return len(mine) - int(pl.select(same).to_series().sum())


def spread(labels: int, taken: list[float]) -> dict[str, float]:
    rates = sorted(labels / one for one in taken)
    return {"min": round(rates[0]), "median": round(statistics.median(rates)), "max": round(rates[-1])}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--tables", type=int, default=3)
    parser.add_argument("--entities", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="join-") as name:
        folder = Path(name)
        columns = write(folder, arguments)
        age_s = (LOOKBACK - DELAY) // 1_000_000  # Feast's counts from available_time
        peer = run_peer("peer_feast.py", folder, arguments.tables, arguments.rounds, age_s, python=FEAST)
        result = {"labels": arguments.labels, "rows": arguments.rows, "tables": arguments.tables}
        if "missing" in peer:
            print(json.dumps(result | {"feast": peer}))
            return 0
        mine = seconds(folder, arguments)
        ratio = statistics.median(peer["seconds"]) / statistics.median(mine)
        wrong = differing(folder, arguments.tables, columns)
    result |= {
        "ours_labels_per_second": spread(arguments.labels, mine),
        "feast_labels_per_second": spread(arguments.labels, peer["seconds"]),
        "ratio": round(ratio),
        "labels_that_differ": wrong,
    }
    print(json.dumps(result))
    return int(bool(wrong) or ratio < BAR)


if __name__ == "__main__":
    sys.exit(main())
