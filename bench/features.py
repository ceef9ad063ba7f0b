"""Eight indicators over bars, one thread: the feature scan against TA-Lib, pandas and `ta`; and one live update.

SMA and EMA 20, MACD, RSI 14, ATR 14, Bollinger 20/2, volatility 60, correlation and beta 60 to a reference: 13 columns.
TA-Lib has no volatility, correlation or beta of log returns; `TA-Lib + pandas` takes those from pandas, `TA-Lib + its
own` takes what TA-Lib has instead: STDDEV, CORREL of log returns, and BETA, which is of simple returns and no column of
ours. Peers get each column contiguous and the whole history at once; ours fills one array for every instrument, checks
its input and scans the 500 bars before each week a second time, as the lake's rows do. In each round the contenders
take turns, so that a ratio compares neighbours in time; printed are minimum, median and maximum. Rows are counted per
second of the process's CPU time.

`live`: microseconds per closed bar of `Stream.update` of the default service with correlation and beta.

    python bench/features.py [--instruments N] [--bars N] [--rounds N] [--json]
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import talib

from feature_store.scan import Stream, compute
from feature_store.service import DEFAULT_REF, FeatureService
from feature_store.view import CLOSE, HIGH, LOW, Floats, Times
from feature_store.views.atr import ATR
from feature_store.views.bollinger import BOLLINGER
from feature_store.views.btc_correlation import BTC_CORRELATION
from feature_store.views.macd import MACD
from feature_store.views.moving_averages import MOVING_AVERAGES
from feature_store.views.realized_volatility import REALIZED_VOLATILITY
from feature_store.views.rsi import RSI
from lake.intervals import MINUTE

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # SyntaxWarnings of the peer's own source
    import ta

EIGHT = FeatureService(
    "eight", "5m", (MOVING_AVERAGES, MACD, RSI, ATR, BOLLINGER, REALIZED_VOLATILITY, BTC_CORRELATION)
)
START = 1_704_067_200_000_000
REFERENCE = 5
"""Column of the reference's close."""
OURS = "feature_store"
Columns = list[Floats]


def walk(n: int, seed: int = 1) -> tuple[Times, Floats]:
    """A random walk of five-minute bars and a reference's close; the values do not matter to the clock."""
    rng = np.random.default_rng(seed)
    market = np.cumsum(rng.normal(0, 1e-3, n))
    close = 40_000 * np.exp(market + np.cumsum(rng.normal(0, 5e-4, n)))
    open_ = np.concatenate([close[:1], close[:-1]])
    high, low = np.maximum(open_, close) * 1.0005, np.minimum(open_, close) * 0.9995
    bars = np.column_stack([open_, high, low, close, rng.lognormal(2, 1, n), 60_000 * np.exp(market)])
    return START + 5 * MINUTE * np.arange(n, dtype=np.int64), bars


def log_returns(close: Floats) -> Floats:
    return np.diff(np.log(close), prepend=np.nan)


def missing_parts(close: Floats, reference: Floats) -> Columns:
    """Volatility, correlation and beta of log returns, by pandas."""
    x, y = pd.Series(log_returns(close)), pd.Series(log_returns(reference))
    ours, other = x.rolling(60), y.rolling(60)
    return [ours.std().to_numpy(), ours.corr(y).to_numpy(), (ours.cov(y) / other.var()).to_numpy()]


def talib_parts(high: Floats, low: Floats, close: Floats) -> Columns:
    return [
        talib.SMA(close, 20),
        talib.EMA(close, 20),
        *talib.MACD(close, 12, 26, 9),
        talib.RSI(close, 14),
        talib.ATR(high, low, close, 14),
        *talib.BBANDS(close, 20, 2.0, 2.0),
    ]


def with_pandas(high: Floats, low: Floats, close: Floats, reference: Floats) -> Columns:
    return [*talib_parts(high, low, close), *missing_parts(close, reference)]


def with_its_own(high: Floats, low: Floats, close: Floats, reference: Floats) -> Columns:
    x, y = log_returns(close)[1:], log_returns(reference)[1:]
    deviation = talib.STDDEV(x, 60, np.sqrt(60 / 59))
    return [*talib_parts(high, low, close), deviation, talib.CORREL(x, y, 60), talib.BETA(reference, close, 60)]


def with_ta(high: Floats, low: Floats, close: Floats, reference: Floats) -> Columns:
    highs, lows, closes = pd.Series(high), pd.Series(low), pd.Series(close)
    macd = ta.trend.MACD(closes, 26, 12, 9)
    bands = ta.volatility.BollingerBands(closes, 20, 2)
    columns = [
        ta.trend.SMAIndicator(closes, 20).sma_indicator(),
        ta.trend.EMAIndicator(closes, 20).ema_indicator(),
        macd.macd(),
        macd.macd_signal(),
        macd.macd_diff(),
        ta.momentum.RSIIndicator(closes, 14).rsi(),
        ta.volatility.AverageTrueRange(highs, lows, closes, 14).average_true_range(),
        bands.bollinger_hband(),
        bands.bollinger_mavg(),
        bands.bollinger_lband(),
    ]
    return [*(column.to_numpy() for column in columns), *missing_parts(close, reference)]


def seconds(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    run()
    return clock() - start


def spread(values: list[float]) -> dict[str, float]:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def batch(instruments: int, bars_count: int, rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Rows per second of CPU time of each contender, and how many times longer than ours it took in the same round.

    A round is one instrument after the other, every contender on each; `ta`, which is slow, on the first one alone.
    """
    markets = []
    for seed in range(instruments):
        times, bars = walk(bars_count, seed)
        columns = tuple(np.ascontiguousarray(bars[:, i]) for i in (HIGH, LOW, CLOSE, REFERENCE))
        markets.append((times, bars, columns))
    out = np.empty((bars_count, len(EIGHT.feature_names)))
    peers = {"TA-Lib + pandas": with_pandas, "TA-Lib + its own": with_its_own, "ta + pandas": with_ta}
    rates: dict[str, list[float]] = {name: [] for name in (OURS, *peers)}
    ratios: dict[str, list[float]] = {name: [] for name in peers}
    for turn in range(rounds + 1):  # the first compiles, imports, warms up
        total, ours_alone = dict.fromkeys((OURS, *peers), 0.0), 0.0
        for i, (times, bars, columns) in enumerate(markets):
            taken = seconds(lambda t=times, b=bars: compute(EIGHT, t, b, out), time.process_time)
            total[OURS] += taken
            ours_alone = taken if i == 0 else ours_alone
            for name, peer in peers.items():
                if i == 0 or peer is not with_ta:
                    total[name] += seconds(lambda p=peer, c=columns: p(*c), time.process_time)
        if turn == 0:
            continue
        for name, taken in total.items():
            rates[name].append(bars_count * (1 if name == "ta + pandas" else instruments) / taken)
        for name in peers:
            ratios[name].append(total[name] / (ours_alone if name == "ta + pandas" else total[OURS]))
    return {
        name: {"rows_per_second": spread(rates[name]), "times_ours": spread(ratios.get(name, [1.0]))} for name in rates
    }


def live(rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds per closed bar: every update of the stream, and the peers over its last 500 bars."""
    times, bars = walk(1_500)
    updates: list[float] = []
    again = []
    for _ in range(rounds):
        stream = Stream(DEFAULT_REF)
        stream.seed(times[:500], bars[:500])
        for i in range(500, 1_500):
            updates.append(seconds(lambda s=stream, r=i: s.update(int(times[r]), bars[r])) * 1e6)
        columns = [[np.ascontiguousarray(bars[i - 499 : i + 1, c]) for c in (1, 2, 3, 5)] for i in range(500, 520)]
        again.append(seconds(lambda c=columns: [with_pandas(*one) for one in c]) / 20 * 1e6)
    p50, p99 = np.percentile(updates, (50, 99)).tolist()
    return {"update_us": {"p50": p50, "p99": p99, "max": max(updates)}, "recompute_us": spread(again)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instruments", type=int, default=10)
    parser.add_argument("--bars", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    scanned = batch(arguments.instruments, arguments.bars, arguments.rounds)
    updated = live(arguments.rounds)
    if arguments.json:
        print(json.dumps({"batch": scanned, "live": updated}, indent=2))
        return
    show = lambda values, form: "  ".join(f"{one:>{form}}" for one in values.values())  # noqa: E731
    print(f"{len(EIGHT.feature_names)} columns, {arguments.instruments} x {arguments.bars:,} bars, one thread")
    print(f"{'':20}  {'rows/s: min, median, max':>36}  {'times ours: min, median, max':>34}")
    for name, one in scanned.items():
        print(f"{name:20}  {show(one['rows_per_second'], '10,.0f'):>36}  {show(one['times_ours'], '10.2f'):>34}")
    print(f"{'live update':20}  {show(updated['update_us'], '10.1f'):>36}  µs per bar: p50, p99, max")
    print(f"{'peers over 500 bars':20}  {show(updated['recompute_us'], '10.1f'):>36}  µs per bar")


if __name__ == "__main__":
    main()
