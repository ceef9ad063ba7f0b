"""The features job's compute through Spark beside what a Spark user would write by hand.

    python bench/features_spark.py [--instruments 10] [--bars 500000] [--rounds 3] [--json]

One Spark session of `local[2]`, one Delta table of five-minute bars partitioned by month, as silver is. In turns:

    compute  the default service's 18 columns into Spark's `noop` sink: ours is what `jobs.build_features` distributes;
             the peer reads the same table and computes the same columns by `applyInPandas`, one instrument a group,
             in plain pandas (rolling, ewm, shift)
    write    ours, computed from the bars, appended to a new Delta table by month; the peer appends the finished columns
             out of Parquet to another one, so that it computes nothing

Rows a second, and the ratio round by round. The peer's columns are compared with ours before anything is timed.
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

import numpy as np
import pandas as pd
import polars as pl
from pyspark.sql import DataFrame, SparkSession

from jobs.build_features import BAR, distribute
from lake.intervals import MINUTE, Interval, parse_time
from lake.spark import spark_session
from lake.storage import Lake
from lake.tables import BARS_5M, FEATURES_5M
from lake.tables.features import FEATURE_COLUMNS

START = parse_time("2019-12-30")
STEP = 5 * MINUTE
KEPT = ["instrument", "open_time", "event_time", "available_time", "month"]


def bars(name: str, count: int, seed: int) -> pl.DataFrame:
    """A random walk in silver's columns."""
    random = np.random.default_rng(seed)
    walk = 100 * np.exp(np.cumsum(random.normal(0, 1.5e-3, count + 1)))
    times = pl.Series(START + STEP * np.arange(count), dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
    frame = pl.DataFrame({"open_time": times, "open": walk[:-1], "close": walk[1:]})
    return frame.with_columns(
        instrument=pl.lit(name), event_time=pl.col("open_time") + pl.duration(minutes=5),
        available_time=pl.col("open_time") + pl.duration(minutes=5, seconds=1),
        high=pl.max_horizontal("open", "close") * 1.001, low=pl.min_horizontal("open", "close") * 0.999,
        volume=pl.Series(random.lognormal(1, 1, count)), quote_volume=pl.lit(None, pl.Float64),
        trade_count=pl.lit(None, pl.Int64), month=pl.col("open_time").dt.strftime("%Y-%m"),
        source=pl.lit("rest:klines_5m"), payload_hash=pl.lit("0" * 64),
    ).select(BARS_5M.schema.names)  # fmt: skip


def by_hand(frame: pd.DataFrame) -> pd.DataFrame:
    """The default service's columns in plain pandas, over one instrument."""
    frame = frame.sort_values("open_time")
    close, log_close = frame["close"], np.log(frame["close"])
    out = frame[KEPT].copy()
    for lag in (1, 12, 48, 144, 288, 480):
        out[f"log_return_{lag}"] = log_close - log_close.shift(lag)
    out["sma_20"] = close.rolling(20).mean()
    out["ema_20"] = close.ewm(span=20, adjust=False).mean()
    change = close.diff()
    gain = change.clip(lower=0).ewm(alpha=1 / 14, adjust=False).mean()
    loss = (-change.clip(upper=0)).ewm(alpha=1 / 14, adjust=False).mean()
    out["rsi_14"] = 100 - 100 / (1 + gain / loss)
    macd = close.ewm(span=12, adjust=False).mean() - close.ewm(span=26, adjust=False).mean()
    signal = macd.ewm(span=9, adjust=False).mean()
    out["macd_12_26"], out["macd_signal_12_26_9"], out["macd_hist_12_26_9"] = macd, signal, macd - signal
    before = close.shift()
    spans = [frame["high"] - frame["low"], (frame["high"] - before).abs(), (frame["low"] - before).abs()]
    out["atr_14"] = pd.concat(spans, axis=1).max(axis=1).ewm(alpha=1 / 14, adjust=False).mean()
    mid, width = close.rolling(20).mean(), 2 * close.rolling(20).std(ddof=0)
    out["bb_upper_20_2"], out["bb_mid_20_2"], out["bb_lower_20_2"] = mid + width, mid, mid - width
    out["realized_vol_60"] = out["log_return_1"].rolling(60).std()
    volume = frame["volume"].rolling(60)
    out["volume_z_60"] = (frame["volume"] - volume.mean()) / volume.std(ddof=0)
    return out[[*KEPT, *FEATURE_COLUMNS]]


def ours(session: SparkSession, lake: Lake, names: tuple[str, ...], span: Interval) -> DataFrame:
    rows = distribute(session, lake, {BARS_5M.name: lake.version(BARS_5M)}, span, names)
    return rows.where("superseded_time IS NULL").select(FEATURES_5M.schema.names)


def peer(session: SparkSession, lake: Lake) -> DataFrame:
    held = session.read.format("delta").load(lake.uri(BARS_5M)).select(*KEPT, *BAR)
    schema = "instrument string, open_time timestamp, event_time timestamp, available_time timestamp, month string, "
    return held.groupBy("instrument").applyInPandas(by_hand, schema + ", ".join(f"{n} double" for n in FEATURE_COLUMNS))


def compared(session: SparkSession, lake: Lake, names: tuple[str, ...], span: Interval) -> float:
    """The largest relative difference of the last bar's columns that do not depend on where an average began."""
    key = ["instrument", "open_time"]
    frames = [pl.from_pandas(rows.orderBy(*key).where(f"instrument = '{names[0]}'").toPandas())
              for rows in (ours(session, lake, names[:1], span), peer(session, lake))]  # fmt: skip
    mine, other = (frame.sort(key).tail(1_000).select(FEATURE_COLUMNS).to_numpy() for frame in frames)
    steady = [FEATURE_COLUMNS.index(name) for name in ("log_return_480", "sma_20", "bb_upper_20_2", "ema_20")]
    return float(np.max(np.abs(mine[:, steady] - other[:, steady]) / np.maximum(np.abs(mine[:, steady]), 1e-6)))


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def noop(rows: DataFrame) -> None:
    rows.write.format("noop").mode("overwrite").save()


def delta(rows: DataFrame, target: Path) -> None:
    rows.write.format("delta").partitionBy("month").save(str(target))


def told(name: str, rows: int, found: list[dict[str, float]]) -> dict[str, Any]:
    """Minimum, median and maximum of rows a second, and of the ratio round by round."""
    columns = {key: [rows / each[key] for each in found] for key in found[0]}
    columns["ratio"] = [a / b for a, b in zip(columns["ours"], columns["peer"], strict=True)]
    spread = {
        key: [round(value, 2 if key == "ratio" else -3) for value in (min(all_), statistics.median(all_), max(all_))]
        for key, all_ in columns.items()
    }
    return {"bench": f"features in spark, {name}", "rows": rows, **spread}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instruments", type=int, default=10)
    parser.add_argument("--bars", type=int, default=500_000, help="of each instrument")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="features-spark-"))
    lake, names = Lake(str(folder / "lake")), tuple(f"binance:A{n}/USDT" for n in range(asked.instruments))
    span, rows = Interval(START, START + asked.bars * STEP), asked.instruments * asked.bars
    try:
        session = spark_session(lake, "bench")
        for number, name in enumerate(names):
            arrow = bars(name, asked.bars, number).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(BARS_5M.schema)
            made = session.createDataFrame(arrow)
            made.write.format("delta").partitionBy("month").mode("append").save(lake.uri(BARS_5M))
        session.sql(f"OPTIMIZE delta.`{lake.uri(BARS_5M)}`")
        apart = compared(session, lake, names, span)
        print(json.dumps({"bench": "features in spark, agreement", "largest relative difference": apart}), flush=True)
        found = [
            {
                "ours": timed(lambda: noop(ours(session, lake, names, span))),
                "peer": timed(lambda: noop(peer(session, lake))),
            }
            for _ in range(asked.rounds)
        ]
        print(json.dumps(told("compute", rows, found)), flush=True)
        finished = folder / "finished"
        ours(session, lake, names, span).write.parquet(str(finished))
        found = []
        for number in range(asked.rounds):
            targets = folder / f"ours{number}", folder / f"peer{number}"
            found.append({
                "ours": timed(lambda to=targets[0]: delta(ours(session, lake, names, span), to)),
                "peer": timed(lambda to=targets[1]: delta(session.read.parquet(str(finished)), to)),
            })  # fmt: skip
            for target in targets:
                shutil.rmtree(target)
        print(json.dumps(told("write", rows, found)), flush=True)
        session.stop()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
