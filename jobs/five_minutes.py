"""Five-minute bars from complete sets of five one-minute bars, exactly as the venue itself would print them.

Volumes are summed as decimals: the float64 of an exact sum is bit for bit the float64 of the venue's own text.
"""

import hashlib
from datetime import timedelta
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import polars as pl

from lake.intervals import MINUTE
from lake.tables.bars import PUBLICATION_DELAY

MINUTES = 5
_SCALE = 10**8
"""Venues print at most eight decimals."""
_EXACT = 2.0**52


STEP = MINUTES * MINUTE
_BAR = ("instrument", "bar", "state")


def five_minute_bars(minutes: pl.DataFrame, replaced: pl.DataFrame | None = None) -> pl.DataFrame:
    """The bars whose five minutes are all there; columns of bars_5m_v1 and `market_time`, when the last was known.

    A bar of which a minute was corrected comes once for each state its minutes were ever known in. What the minutes
    said first counts as known at the bar's close, before any stream.

    Args:
        minutes: rows of bars_1m_v1, unique by key, in any order.
        replaced: rows of bars_1m_v1_history.
    """
    open_us = pl.col("open_time").dt.epoch("us")
    states = minutes.with_columns(bar=open_us - open_us % STEP, state=pl.lit(0))
    if replaced is not None and replaced.height:
        states = pl.concat([states, _earlier_states(states, replaced)])
    rows = states.filter(pl.len().over(_BAR) == MINUTES).sort("instrument", "state", "open_time")
    sets = {name: rows[name].to_numpy().reshape(-1, MINUTES) for name in ("open", "high", "low", "close", "volume")}
    first = rows.gather_every(MINUTES)
    by_bar = rows.group_by(_BAR, maintain_order=True).agg(
        pl.col("available_time").max(),
        pl.when(pl.col("trade_count").is_not_null().all()).then(pl.col("trade_count").sum()).alias("trade_count"),
        pl.col("payload_hash").str.join("").alias("hashes"),
        pl.col("quote_volume").is_not_null().all().alias("has_quote"),
    )
    quote = exact_sums(rows["quote_volume"].fill_null(0.0).to_numpy().reshape(-1, MINUTES))
    known = by_bar["available_time"]
    return pl.DataFrame(
        {
            "instrument": first["instrument"],
            "open_time": first["open_time"],
            "event_time": first["open_time"] + timedelta(microseconds=STEP),
            "available_time": known,
            "open": sets["open"][:, 0],
            "high": sets["high"].max(axis=1),
            "low": sets["low"].min(axis=1),
            "close": sets["close"][:, -1],
            "volume": exact_sums(sets["volume"]),
            "quote_volume": pl.select(pl.when(by_bar["has_quote"]).then(pl.Series(quote))).to_series(),
            "trade_count": by_bar["trade_count"].cast(pl.Int64),
            "month": first["month"],
            "source": pl.repeat("bars_1m", len(first), dtype=pl.String, eager=True),
            "payload_hash": [hashlib.sha256(text.encode()).hexdigest() for text in by_bar["hashes"]],
            "market_time": _said(first["open_time"], known),
        },
        schema_overrides={"payload_hash": pl.String},
    )


def _earlier_states(minutes: pl.DataFrame, replaced: pl.DataFrame) -> pl.DataFrame:
    """Minutes as they were known at each instant before a correction of their bar, numbered by `state`."""
    open_us = pl.col("open_time").dt.epoch("us")
    older = replaced.with_columns(bar=open_us - open_us % STEP, state=pl.lit(0))
    ends = older.select("instrument", "bar", at="superseded_time").unique().sort("instrument", "bar", "at")
    ends = ends.with_columns(before=pl.col("at").cum_count().over("instrument", "bar").cast(pl.Int32))
    forever = minutes.with_columns(superseded_time=pl.lit(None, older.schema["superseded_time"]))
    every = pl.concat([forever, older.select(forever.columns)]).join(ends, on=["instrument", "bar"])
    ended = pl.col("superseded_time") < pl.col("at")
    known = every.filter(pl.col("available_time") < pl.col("at"), ~ended.fill_null(False))
    return known.with_columns(state=pl.col("before")).select(minutes.columns)


def _said(open_time: pl.Series, known: pl.Series) -> pl.Series:
    """When the content counts as known: the bar's close where no correction delayed it."""
    close = open_time + timedelta(microseconds=STEP)
    on_time = known <= close + timedelta(microseconds=PUBLICATION_DELAY)
    return pl.select(pl.when(on_time).then(close).otherwise(known)).to_series()


def exact_sums(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Row sums of the numbers' shortest decimal texts, rounded once to float64.

    Whole numbers of 1e-8 below 2**52 are summed as integers; a row with any other number goes through `Decimal`.
    """
    scaled = np.rint(values * _SCALE)
    sums = scaled.sum(axis=1)
    plain = ((scaled / _SCALE == values) & (np.abs(scaled) < _EXACT)).all(axis=1) & (np.abs(sums) < _EXACT)
    result: npt.NDArray[np.float64] = sums / _SCALE
    for at in np.flatnonzero(~plain):
        result[at] = float(sum(Decimal(repr(float(value))) for value in values[at]))
    return result
