"""Pipelines that know the future, each in one of the usual ways, and honest ones that look much like them.

The world has bars of five minutes (some volumes missing), candles that are restated an hour later, posts whose score
grows with every crawl, and a daily series whose value of a day is published the next morning.
"""

from collections.abc import Callable

import numpy as np
import polars as pl

from feature_store.leaks import Pipeline, Tables
from lake.intervals import DAY, HOUR, MINUTE

START = 1_704_067_200_000_000
BARS = 700
_TIME = pl.Datetime("us", "UTC")


def _times(*columns: str) -> list[pl.Expr]:
    return [pl.col(name).cast(_TIME) for name in columns]


def world(seed: int = 1) -> dict[str, pl.DataFrame]:
    """The raw tables."""
    rng = np.random.default_rng(seed)
    opened = START + 5 * MINUTE * np.arange(BARS)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.002, BARS)))
    bars = {
        "event_time": opened + 5 * MINUTE,
        "available_time": opened + 5 * MINUTE + 1_000_000,
        "close": close,
        "high": close * np.exp(np.abs(rng.normal(0, 0.001, BARS))),
        "volume": np.where(rng.random(BARS) < 0.1, np.nan, rng.lognormal(2, 1, BARS)),
    }
    first = pl.DataFrame(bars).with_columns(pl.col("volume").fill_nan(None))
    restated = first.with_columns(pl.col("close") * 1.001, pl.col("available_time") + HOUR)
    posted = START + 20 * MINUTE * np.arange(BARS // 4)
    posts = pl.DataFrame({"event_time": posted, "score": rng.integers(0, 5, len(posted))})
    crawls = [
        posts.with_columns(
            pl.col("score") * (k + 1), (pl.col("event_time") + (1 + 30 * k) * MINUTE).alias("available_time")
        )
        for k in range(4)
    ]
    days = START + DAY * np.arange(-2, 4)
    daily = pl.DataFrame({"day": days, "available_time": days + DAY + 8 * HOUR, "value": rng.normal(size=len(days))})
    return {
        "bars": first.with_columns(_times("event_time", "available_time")),
        "candles": pl.concat([first, restated]).with_columns(_times("event_time", "available_time")),
        "posts": pl.concat(crawls).with_columns(_times("event_time", "available_time")),
        "daily": daily.with_columns(_times("day", "available_time")),
    }


def over_bars(feature: Callable[[pl.DataFrame], pl.Series | pl.Expr]) -> Pipeline:
    """A pipeline of one column over the bars, decided when each is available."""

    def features(tables: Tables) -> pl.DataFrame:
        bars = tables["bars"].sort("event_time")
        made = feature(bars)
        column = made.alias("feature") if isinstance(made, pl.Expr) else pl.Series("feature", made)
        return bars.with_columns(column).select(pl.col("available_time").alias("decision_time"), "feature")

    return features


def joined(table: str, on: str, **options: object) -> Pipeline:
    """A pipeline that joins a table's value to the bars by one of its times; the newest row of a time wins."""

    def features(tables: Tables) -> pl.DataFrame:
        value = {"posts": "score", "daily": "value", "candles": "close"}[table]
        right = tables[table].sort(on, "available_time").unique(on, keep="last", maintain_order=True)
        decisions = tables["bars"].select(pl.col("available_time").alias("decision_time")).sort("decision_time")
        right = right.select(pl.col(on).alias("right_time"), pl.col(value).alias("feature"))
        return decisions.join_asof(right, left_on="decision_time", right_on="right_time", **options).select(  # type: ignore[arg-type]
            "decision_time", "feature"
        )

    return features


CLOSE, VOLUME = pl.col("close"), pl.col("volume")
RETURN = CLOSE / CLOSE.shift(1) - 1
DAY_OF = pl.col("event_time").dt.truncate("1d")


def _low_pass(bars: pl.DataFrame) -> pl.Series:
    spectrum = np.fft.rfft(bars["close"].to_numpy())
    spectrum[20:] = 0
    return pl.Series(np.fft.irfft(spectrum, bars.height))


def _detrended(bars: pl.DataFrame) -> pl.Series:
    x = np.arange(bars.height)
    slope, level = np.polyfit(x, bars["close"].to_numpy(), 1)
    return bars["close"] - (slope * x + level)


def _forward_and_back(bars: pl.DataFrame) -> pl.Series:
    forward = bars["close"].ewm_mean(alpha=0.1)
    return forward.reverse().ewm_mean(alpha=0.1).reverse()


def _hour_encoded(bars: pl.DataFrame) -> pl.Series:
    frame = bars.with_columns(
        (CLOSE.shift(-1) / CLOSE - 1).alias("label"), pl.col("event_time").dt.hour().alias("hour")
    )
    return frame.with_columns(pl.col("label").mean().over("hour"))["label"]


def _hour_unfinished(bars: pl.DataFrame) -> pl.Series:
    return bars.with_columns(CLOSE.last().over(pl.col("event_time").dt.truncate("1h")))["close"]


def _hour_finished(bars: pl.DataFrame) -> pl.Series:
    hours = bars.group_by_dynamic("event_time", every="1h", closed="right", label="right").agg(CLOSE.last())
    return bars.drop("close").join_asof(hours, on="event_time")["close"]


def _without_the_last(tables: Tables) -> pl.DataFrame:
    frame = over_bars(lambda bars: CLOSE.shift(1))(tables)
    return frame.head(frame.height - 12)


def _merged_off_by_one(tables: Tables) -> pl.DataFrame:
    frame = over_bars(lambda bars: RETURN)(tables)
    return frame.with_columns(pl.Series("feature", [*frame["feature"][1:], frame["feature"][-1]]))


def _as_restated(tables: Tables) -> pl.DataFrame:
    newest = (
        tables["candles"].sort("event_time", "available_time").unique("event_time", keep="last", maintain_order=True)
    )
    return over_bars(lambda bars: RETURN)({"bars": newest.with_columns(pl.col("event_time").alias("available_time"))})


def _as_first_told(tables: Tables) -> pl.DataFrame:
    first = (
        tables["candles"].sort("event_time", "available_time").unique("event_time", keep="first", maintain_order=True)
    )
    return over_bars(lambda bars: RETURN)({"bars": first})


LEAKS: dict[str, Pipeline] = {
    "shifted by one": over_bars(lambda bars: CLOSE.shift(-1)),
    "return of the next hour": over_bars(lambda bars: CLOSE.shift(-12) / CLOSE - 1),
    "sign of the next return": over_bars(lambda bars: RETURN.shift(-1).sign()),
    "scaled by the whole sample": over_bars(lambda bars: (CLOSE - CLOSE.mean()) / CLOSE.std()),
    "between minimum and maximum of the sample": over_bars(
        lambda bars: (CLOSE - CLOSE.min()) / (CLOSE.max() - CLOSE.min())
    ),
    "rank in the sample": over_bars(lambda bars: CLOSE.rank() / CLOSE.len()),
    "clipped at quantiles of the sample": over_bars(
        lambda bars: RETURN.clip(RETURN.quantile(0.2), RETURN.quantile(0.8))
    ),
    "relative to the last price": over_bars(lambda bars: CLOSE / CLOSE.last()),
    "centred mean": over_bars(lambda bars: CLOSE.rolling_mean(11, center=True)),
    "centred deviation": over_bars(lambda bars: RETURN.rolling_std(11, center=True)),
    "missing values filled from behind": over_bars(lambda bars: VOLUME.fill_null(strategy="backward")),
    "missing values interpolated": over_bars(lambda bars: VOLUME.interpolate()),
    "missing values filled with the mean": over_bars(lambda bars: VOLUME.fill_null(VOLUME.mean())),
    "summed from the end": over_bars(lambda bars: VOLUME.fill_null(0).reverse().cum_sum().reverse()),
    "volatility of the next hour": over_bars(lambda bars: RETURN.rolling_std(12).shift(-12)),
    "high of the whole day": over_bars(lambda bars: CLOSE / pl.col("high").max().over(DAY_OF)),
    "score of the day within the day": over_bars(lambda bars: CLOSE - CLOSE.mean().over(DAY_OF)),
    "the hour before it is over": over_bars(_hour_unfinished),
    "trend of the whole sample taken out": over_bars(_detrended),
    "low-pass filter of the spectrum": over_bars(_low_pass),
    "smoothed forward and back": over_bars(_forward_and_back),
    "label averaged by hour of the day": over_bars(_hour_encoded),
    "rows without a label dropped": _without_the_last,
    "merged off by one": _merged_off_by_one,
    "restated candle": _as_restated,
    "score as of the last crawl": joined("posts", "event_time"),
    "daily value by its day": joined("daily", "day"),
    "nearest row": joined("posts", "available_time", strategy="nearest"),
    "next row": joined("daily", "available_time", strategy="forward"),
}

CONTROLS: dict[str, Pipeline] = {
    "the close": over_bars(lambda bars: CLOSE),
    "return": over_bars(lambda bars: RETURN),
    "log return of an hour": over_bars(lambda bars: (CLOSE / CLOSE.shift(12)).log()),
    "trailing mean": over_bars(lambda bars: CLOSE.rolling_mean(11)),
    "trailing deviation": over_bars(lambda bars: RETURN.rolling_std(12)),
    "trailing extremes": over_bars(lambda bars: CLOSE.rolling_max(50) - CLOSE.rolling_min(50)),
    "exponential mean": over_bars(lambda bars: CLOSE.ewm_mean(alpha=0.1)),
    "z-score since the start": over_bars(
        lambda bars: (CLOSE - CLOSE.cum_sum() / CLOSE.cum_count()) / CLOSE.cum_count().sqrt()
    ),
    "drawdown": over_bars(lambda bars: CLOSE / CLOSE.cum_max() - 1),
    "missing values filled from before": over_bars(lambda bars: VOLUME.fill_null(strategy="forward")),
    "missing values filled with zero": over_bars(lambda bars: VOLUME.fill_null(0)),
    "summed from the start": over_bars(lambda bars: VOLUME.fill_null(0).cum_sum()),
    "clipped at fixed bounds": over_bars(lambda bars: RETURN.clip(-0.003, 0.003)),
    "rank in a trailing window": over_bars(lambda bars: CLOSE.rolling_rank(50)),
    "high of the day so far": over_bars(lambda bars: CLOSE / pl.col("high").cum_max().over(DAY_OF)),
    "hour of the day": over_bars(lambda bars: pl.col("event_time").dt.hour()),
    "sign of the last return": over_bars(lambda bars: RETURN.sign()),
    "acceleration": over_bars(lambda bars: RETURN - RETURN.shift(3)),
    "the last finished hour": over_bars(_hour_finished),
    "volume against its trailing median": over_bars(lambda bars: VOLUME / VOLUME.rolling_median(30, min_samples=1)),
    "candle as first told": _as_first_told,
    "newest score by the time of the crawl": joined("posts", "available_time"),
    "daily value once published": joined("daily", "available_time"),
    "text beside numbers": over_bars(lambda bars: pl.when(RETURN > 0).then(pl.lit("up")).otherwise(pl.lit("down"))),
}
