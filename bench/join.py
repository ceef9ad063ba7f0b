"""The point-in-time join beside pandas' merge_asof: 1 M labels, 3 tables, 5 M rows each.

    python bench/join.py [--labels N] [--rows N] [--tables N] [--entities N] [--rounds N] [--json]

Both get frames in memory in the order of `available_time`, the entity as a category, two value columns each; labels in
the order of time. pandas' join is the simpler one: it takes the row that became available last, whatever its event, so
a late correction of an old bar hides a newer bar from it, and it knows no age by `event_time`. With `--late` a share of
the rows comes late and out of order; ours then sorts, pandas is given sorted frames.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import polars as pl

from feature_store.offline import Source, join_sources

STEP, DELAY, LOOKBACK = 60_000_000, 1_000_000, 3_600_000_000


def world(labels: int, rows: int, tables: int, entities: int, late: float) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """Labels, and tables of which each has one row per entity and minute."""
    chance = np.random.default_rng(1)
    names = pl.Series([f"venue:COIN{i}/USDT" for i in range(entities)], dtype=pl.Categorical)
    made = []
    for table in range(tables):
        at = np.arange(rows)
        event = at // entities * STEP + table
        wait = np.where(chance.random(rows) < late, chance.integers(0, 100 * STEP, rows), DELAY)
        frame = pl.DataFrame({"event_time": event, "available_time": event + wait, "instrument": names[at % entities]})
        values = {f"t{table}_{i}": chance.normal(size=rows) for i in range(2)}
        made.append(frame.with_columns(**{name: pl.Series(column) for name, column in values.items()}))
    span = rows // entities * STEP
    who = names[chance.integers(0, entities, labels)]
    return pl.DataFrame({"instrument": who, "decision_time": np.sort(chance.integers(0, span, labels))}), made


def ours(labels: pl.DataFrame, tables: list[pl.DataFrame]) -> pl.DataFrame:
    sources = [Source(frame, tuple(frame.columns[3:]), LOOKBACK) for frame in tables]
    return join_sources(labels, sources)


def pandas(labels: pd.DataFrame, tables: list[pd.DataFrame]) -> pd.DataFrame:
    joined = labels
    for frame in tables:
        joined = pd.merge_asof(
            joined,
            frame.drop(columns="event_time"),
            left_on="decision_time",
            right_on="available_time",
            by="instrument",
            tolerance=LOOKBACK,
        ).drop(columns="available_time")
    return joined


def seconds(run: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--tables", type=int, default=3)
    parser.add_argument("--entities", type=int, default=50)
    parser.add_argument("--late", type=float, default=0.0, help="share of the rows that come up to 100 minutes late")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    labels, tables = world(arguments.labels, arguments.rows, arguments.tables, arguments.entities, arguments.late)
    wanted, sorted_tables = labels.to_pandas(), [one.sort("available_time").to_pandas() for one in tables]
    contenders: dict[str, Callable[[], object]] = {
        "point_in_time_join": lambda: ours(labels, tables),
        "pandas merge_asof": lambda: pandas(wanted, sorted_tables),
    }
    ours(labels.head(10), [one.head(10) for one in tables])  # compiled
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(arguments.rounds):
        for name, run in contenders.items():
            taken[name].append(seconds(run))
    result = {
        name: {
            "labels_per_second": sorted(arguments.labels / wall for wall, _ in times),
            "labels_per_cpu_second": sorted(arguments.labels / cpu for _, cpu in times),
        }
        for name, times in taken.items()
    }
    ratios = [slow[0] / fast[0] for fast, slow in zip(*taken.values(), strict=True)]
    cpu_ratios = [slow[1] / fast[1] for fast, slow in zip(*taken.values(), strict=True)]
    summary = {"contenders": result, "ratio": statistics.median(ratios), "cpu_ratio": statistics.median(cpu_ratios)}
    if arguments.json:
        print(json.dumps(summary | {"load": os.getloadavg()[0]}))
        return
    for name, one in result.items():
        for unit, values in one.items():
            print(f"{name:20} {unit:22} {values[0]:12,.0f} {statistics.median(values):12,.0f} {values[-1]:12,.0f}")
    print(f"ratio of medians of {arguments.rounds} rounds: {summary['ratio']:.2f} wall, {summary['cpu_ratio']:.2f} CPU")


if __name__ == "__main__":
    main()
