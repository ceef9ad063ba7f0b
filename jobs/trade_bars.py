"""Bars from trades, and coarser bars from finer ones, exactly as the exchange itself prints them.

A bar without a trade repeats the close before it with volume 0. In a coarser bar it counts for nothing: open, high and
low come from the bars that traded, else a stale price would stand as an extreme that was never paid.
"""

from decimal import Decimal

import numpy as np
import numpy.typing as npt
import polars as pl

from jobs.five_minutes import exact_sums
from lake.errors import UsageError

SCALE = 10**8
_EXACT = 2**52
_TIME = pl.Datetime("us", "UTC")


def bars_from_trades(trades: pl.DataFrame, step: int) -> pl.DataFrame:
    """One bar per instrument and `step` µs that holds a trade: open_time, OHLC, volume, quote_volume, trade_count.

    `available_time` is when the last of its trades was known. Volumes are summed as decimals, so they equal the
    venue's own; `quote_volume` is a float64 sum.

    Args:
        trades: rows of trades_v1 of one kind (aggregates or single trades), any order. Trades share milliseconds: they
            are ordered by time and then by id, as numbers where ids are.
    """
    if trades["aggregate"].n_unique() > 1:
        raise UsageError("bars from trades: expected aggregates or single trades, found both: they tell the same twice")
    number = pl.col("trade_id").cast(pl.Int64, strict=False)
    time = pl.col("event_time").dt.epoch("us")
    ordered = trades.with_columns(open_us=time - time % step).sort("instrument", "event_time", number, "trade_id")
    bars = ordered.group_by("instrument", "open_us", maintain_order=True).agg(
        pl.col("available_time").max(),
        open=pl.col("price").first(), high=pl.col("price").max(), low=pl.col("price").min(),
        close=pl.col("price").last(), quantities=pl.col("quantity"),
        quote_volume=(pl.col("price") * pl.col("quantity")).sum(), trade_count=pl.len().cast(pl.Int64),
    )  # fmt: skip
    volumes = [_sum(quantities.to_numpy()) for quantities in bars["quantities"]]
    return bars.with_columns(open_time=pl.col("open_us").cast(_TIME), volume=pl.Series(volumes, dtype=pl.Float64)).drop(
        "open_us", "quantities"
    )


def _sum(values: npt.NDArray[np.float64]) -> float:
    """The sum of the numbers' shortest decimal texts, rounded once."""
    scaled = np.rint(values * SCALE)
    if (scaled / SCALE == values).all() and scaled.sum() < _EXACT:
        return float(scaled.sum() / SCALE)
    return float(sum(Decimal(repr(float(value))) for value in values))


def coarser_bars(bars: pl.DataFrame, step: int, length: int) -> pl.DataFrame:
    """Bars of `length` µs from complete sets of bars of `step` µs; an incomplete set gives none.

    Args:
        bars: instrument, open_time, open, high, low, close, volume; unique by instrument and time, any order.
    """
    count, uneven = divmod(length, step)
    if uneven or count < 2:
        raise UsageError(f"bars of {length} µs are no multiple of bars of {step} µs")
    time = pl.col("open_time").dt.epoch("us")
    rows = bars.with_columns(bucket=time - time % length).filter(pl.len().over("instrument", "bucket") == count)
    rows = rows.sort("instrument", "open_time")
    traded = pl.col("volume") > 0
    coarse = rows.group_by("instrument", "bucket", maintain_order=True).agg(
        open=pl.coalesce(pl.col("open").filter(traded).first(), pl.col("open").first()),
        high=pl.coalesce(pl.col("high").filter(traded).max(), pl.col("high").max()),
        low=pl.coalesce(pl.col("low").filter(traded).min(), pl.col("low").min()),
        close=pl.col("close").last(),
    )
    volumes = exact_sums(rows["volume"].to_numpy().reshape(-1, count))
    return coarse.select(
        "instrument", pl.col("bucket").cast(_TIME).alias("open_time"), "open", "high", "low", "close",
        pl.Series("volume", volumes),
    )  # fmt: skip
