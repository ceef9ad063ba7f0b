"""The feature scan against TA-Lib with pandas, and against `ta` with pandas, over the same columns of the same bars.

Every round runs all contenders one after the other on one core, so that a ratio compares neighbours in time; printed
are minimum, median and maximum over the rounds. The peers get the whole history at once; ours also re-anchors every
week, as the lake's rows do. Last line: one live update, as `Stream` does it, against recomputing TA-Lib's columns over
the last 500 bars, which is what a live process without incremental kernels would do.

    python bench/features.py [--rounds N] [--bars N] [--json]
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
from feature_store.service import DEFAULT
from feature_store.view import CLOSE, HIGH, LOW, VOLUME, Floats, Times
from feature_store.views.returns import HORIZONS
from lake.intervals import MINUTE

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # SyntaxWarnings of the peer's own source
    import ta

BARS = 180 * 288
"""One instrument's 180 days of five-minute bars."""
STEP = 5 * MINUTE
START = 1_704_067_200_000_000


def walk(n: int) -> tuple[Times, Floats]:
    """A random walk of five-minute bars; the values do not matter to the clock."""
    rng = np.random.default_rng(1)
    close = 40_000 * np.exp(np.cumsum(rng.normal(0, 1e-3, n)))
    open_ = np.concatenate([close[:1], close[:-1]])
    high, low = np.maximum(open_, close) * 1.0005, np.minimum(open_, close) * 0.9995
    bars = np.column_stack([open_, high, low, close, rng.lognormal(2, 1, n)])
    return START + STEP * np.arange(n, dtype=np.int64), bars


def with_pandas(bars: Floats) -> list[Floats]:
    """Log returns, realized volatility and volume z-score, which neither peer has."""
    logs, volume = np.log(pd.Series(bars[:, CLOSE])), pd.Series(bars[:, VOLUME])
    rolling = volume.rolling(60)
    returns = [logs.diff(horizon).to_numpy() for horizon in HORIZONS]
    return [
        *returns,
        logs.diff().rolling(60).std().to_numpy(),
        ((volume - rolling.mean()) / rolling.std()).to_numpy(),
    ]


def with_talib(bars: Floats) -> list[Floats]:
    high, low, close = (np.ascontiguousarray(bars[:, i]) for i in (HIGH, LOW, CLOSE))
    return [
        talib.SMA(close, 20),
        talib.EMA(close, 20),
        talib.RSI(close, 14),
        *talib.MACD(close, 12, 26, 9),
        talib.ATR(high, low, close, 14),
        *talib.BBANDS(close, 20, 2.0, 2.0),
        *with_pandas(bars),
    ]


def with_ta(bars: Floats) -> list[Floats]:
    high, low, close = (pd.Series(bars[:, i]) for i in (HIGH, LOW, CLOSE))
    macd = ta.trend.MACD(close, 26, 12, 9)
    bands = ta.volatility.BollingerBands(close, 20, 2)
    columns = [
        ta.trend.SMAIndicator(close, 20).sma_indicator(),
        ta.trend.EMAIndicator(close, 20).ema_indicator(),
        ta.momentum.RSIIndicator(close, 14).rsi(),
        macd.macd(),
        macd.macd_signal(),
        macd.macd_diff(),
        ta.volatility.AverageTrueRange(high, low, close, 14).average_true_range(),
        bands.bollinger_hband(),
        bands.bollinger_mavg(),
        bands.bollinger_lband(),
    ]
    return [*(column.to_numpy() for column in columns), *with_pandas(bars)]


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def spread(values: list[float]) -> dict[str, float]:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def batch(rounds: int, bars_count: int) -> dict[str, dict[str, dict[str, float]]]:
    """Rows per second of each contender and, per round, how many times slower than the scan it was."""
    times, bars = walk(bars_count)
    contenders: dict[str, Callable[[], object]] = {
        "feature_store scan": lambda: compute(DEFAULT, times, bars),
        "TA-Lib + pandas": lambda: with_talib(bars),
        "ta + pandas": lambda: with_ta(bars),
    }
    for run in contenders.values():
        run()  # compiled, imported, warm
    taken = [{name: seconds(run) for name, run in contenders.items()} for _ in range(rounds)]
    return {
        name: {
            "rows_per_second": spread([bars_count / one[name] for one in taken]),
            "times_the_scan": spread([one[name] / one["feature_store scan"] for one in taken]),
        }
        for name in contenders
    }


def live(rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds per closed bar: an update of the stream, and TA-Lib + pandas over its last 500 bars."""
    times, bars = walk(1_500)
    updates, again = [], []
    for _ in range(rounds):
        stream = Stream(DEFAULT)
        stream.seed(times[:500], bars[:500])
        rows = range(500, 1_500)
        updates.append(seconds(lambda s=stream, r=rows: [s.update(int(times[i]), bars[i]) for i in r]) / 1_000 * 1e6)
        again.append(seconds(lambda: [with_talib(bars[i - 499 : i + 1]) for i in range(500, 520)]) / 20 * 1e6)
    ratios = [slow / fast for slow, fast in zip(again, updates, strict=True)]
    return {"update_us": spread(updates), "recompute_us": spread(again), "times_the_update": spread(ratios)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--bars", type=int, default=BARS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = {"batch": batch(arguments.rounds, arguments.bars), "live": live(arguments.rounds)}
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    show = lambda values, form: "  ".join(f"{values[name]:>{form}}" for name in ("min", "median", "max"))  # noqa: E731
    print(f"{len(DEFAULT.feature_names)} columns, {arguments.bars} bars, {arguments.rounds} rounds, one core")
    print(f"{'':20}  {'rows/s: min, median, max':>36}  {'time of the scan: min, median, max':>36}")
    for name, one in result["batch"].items():
        print(f"{name:20}  {show(one['rows_per_second'], '10,.0f'):>36}  {show(one['times_the_scan'], '10.2f'):>36}")
    one = result["live"]
    print(f"{'live update':20}  {show(one['update_us'], '10.1f'):>36}  µs per bar")
    print(f"{'TA-Lib over 500 bars':20}  {show(one['recompute_us'], '10.1f'):>36}  µs per bar")
    print(f"{'ratio':20}  {show(one['times_the_update'], '10.1f'):>36}")


if __name__ == "__main__":
    main()
