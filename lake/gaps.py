"""Holes in a time grid, why they are there, and how much of each day is covered.

Why is told from what went on meanwhile, in this order:
- the instrument's other streams (quotes) went on: its rows were not recorded;
- the hole begins and ends at midnight and lasts whole days: backfills are cut like that, markets are not;
- the recorder (`lake.recording`) asked for connections meanwhile and got none: the venue was out; it did not run: not
  recorded; it was connected and nothing came, for longer than `QUIET`: the venue was out;
- the venue's other instruments were silent, too, for longer than `QUIET`: the venue was out;
- they went on: nobody traded (venues that print no bar without a trade), else, or for longer, it was not recorded.
"""

from datetime import timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from lake.intervals import DAY, HOUR
from lake.recording import NO_LIVES, during

PRINTS_EMPTY_BARS = frozenset({"binance"})
"""Venues whose bars come without a trade, too: there any hole is a loss."""

QUIET = 60
"""Grid points for which an instrument, or a small venue, may go without a trade."""

SILENT_SHARE = 0.05
"""A venue counts as silent where its other instruments fill less than this share of the hole: they do not resume at
the same minute."""

_TIME = pl.Datetime("us", "UTC")


def holes(rows: pl.DataFrame, step: int) -> pl.DataFrame:
    """Missing stretches between an instrument's first and last row: instrument, start, end (µs, exclusive), missing.

    Args:
        rows: `instrument` and `time` in UTC µs, on a grid of `step`, in any order.
    """
    ordered = rows.select("instrument", "time").unique().sort("instrument", "time")
    after = ordered.with_columns(start=pl.col("time").shift(1).over("instrument") + step, end=pl.col("time"))
    return after.filter(pl.col("end") > pl.col("start")).select(
        "instrument", "start", "end", missing=(pl.col("end") - pl.col("start")) // step
    )


def explained(
    rows: pl.DataFrame, step: int, other_streams: pl.DataFrame | None = None, lives: pl.DataFrame | None = None
) -> pl.DataFrame:
    """The holes with `reason` and `evidence`.

    Args:
        rows: as for `holes`; instruments of one venue tell about one another.
        other_streams: `instrument` and `time` (UTC µs) of anything else that was recorded of the instruments.
        lives: the recorders' connections, as `lake.recording.during` takes them.
    """
    found = holes(rows, step)
    venues = found.select(who=_venue())["who"]
    alive = _filled(found, rows.with_columns(who=_venue()), venues, step)
    quoted = np.zeros(found.height)
    if other_streams is not None:
        quoted = _filled(found, other_streams.with_columns(who=pl.col("instrument")), found["instrument"], step)
    seen = found.with_columns(alive=pl.Series(alive), quoted=pl.Series(quoted), peers=_peers(found, rows))
    seen = pl.concat([seen, during(found, venues, lives if lives is not None else NO_LIVES)], how="horizontal")
    return seen.with_columns(_verdict()).unnest("verdict").select(*found.columns, "reason", "evidence")


def _venue() -> pl.Expr:
    return pl.col("instrument").str.split(":").list.first()


def _filled(found: pl.DataFrame, rows: pl.DataFrame, who: pl.Series, step: int) -> npt.NDArray[np.float64]:
    """Per hole, the share of its grid points at which `who` has any row."""
    share = np.zeros(found.height)
    grid = rows.select("who", at=pl.col("time") // step).unique().sort("at").partition_by("who", as_dict=True)
    starts, ends = found["start"].to_numpy() // step, found["end"].to_numpy() // step
    names = who.to_numpy()
    for (name,), times in grid.items():
        mine, at = names == name, times["at"].to_numpy()
        inside = np.searchsorted(at, ends[mine]) - np.searchsorted(at, starts[mine])
        share[mine] = inside / np.maximum(ends[mine] - starts[mine], 1)
    return share


def _peers(found: pl.DataFrame, rows: pl.DataFrame) -> pl.Series:
    """How many other instruments of the venue were recorded both before and after each hole."""
    spans = rows.group_by("instrument").agg(first=pl.col("time").min(), last=pl.col("time").max())
    spans = spans.with_columns(who=_venue())
    pairs = found.with_row_index("at").with_columns(who=_venue()).join(spans, on="who", suffix="_peer")
    covering = pairs.filter(
        pl.col("instrument") != pl.col("instrument_peer"),
        pl.col("first") < pl.col("start"),
        pl.col("last") >= pl.col("end"),
    )
    counts = covering.group_by("at").len()
    every = pl.DataFrame({"at": pl.Series(range(found.height), dtype=pl.UInt32)}).join(
        counts, on="at", how="left", maintain_order="left"
    )
    return every["len"].fill_null(0)


def _verdict() -> pl.Expr:
    midnight = [pl.min_horizontal(pl.col(c) % DAY, DAY - pl.col(c) % DAY) <= HOUR for c in ("start", "end")]
    whole_days = midnight[0] & midnight[1] & (pl.col("end") - pl.col("start") >= DAY - HOUR)
    brief = pl.col("missing") <= QUIET
    prints = _venue().is_in(list(PRINTS_EMPTY_BARS))
    silent = pl.col("alive") < SILENT_SHARE
    rules = [
        (pl.col("quoted") > SILENT_SHARE, "not_recorded", "other streams of the instrument went on"),
        (whole_days, "not_recorded", "whole days, from midnight to midnight"),
        (
            silent & (pl.col("connected") < SILENT_SHARE) & (pl.col("attempts") > 0),
            "venue_outage",
            "the recorder asked for connections and got none",
        ),
        (
            silent & pl.col("recorder") & (pl.col("connected") < SILENT_SHARE),
            "not_recorded",
            "the recorder did not run",
        ),
        (
            silent & (pl.col("connected") > 1 - SILENT_SHARE) & (prints | ~brief),
            "venue_outage",
            "the recorder was connected, and nothing came",
        ),
        (
            silent & (pl.col("peers") > 0) & (prints | ~brief),
            "venue_outage",
            "the venue's other instruments were silent, too",
        ),
        (brief & ~prints, "no_trades", "short, and the venue prints no bar without a trade"),
        (~silent, "not_recorded", "the venue's other instruments went on"),
    ]
    told = pl.struct(reason=pl.lit("unknown"), evidence=pl.lit("no other instrument or stream to compare with"))
    for holds, reason, evidence in reversed(rules):
        told = pl.when(holds).then(pl.struct(reason=pl.lit(reason), evidence=pl.lit(evidence))).otherwise(told)
    return told.alias("verdict")


def coverage(rows: pl.DataFrame, step: int) -> pl.DataFrame:
    """Per instrument and day (UTC) from its first row to its last: `found` and `expected` rows, `coverage` 0 to 1."""
    points = rows.select("instrument", "time").unique().with_columns(day=pl.col("time") // DAY)
    found = points.group_by("instrument", "day").agg(found=pl.len().cast(pl.Int64))
    spans = found.group_by("instrument").agg(first=pl.col("day").min(), last=pl.col("day").max())
    days = spans.select("instrument", day=pl.int_ranges("first", pl.col("last") + 1)).explode("day")
    joined = days.join(found, on=["instrument", "day"], how="left").with_columns(
        pl.col("found").fill_null(0), expected=pl.lit(DAY // step, pl.Int64)
    )
    day = pl.from_epoch(pl.col("day"), time_unit="d")
    return joined.with_columns(day, coverage=pl.col("found") / pl.col("expected")).sort("instrument", "day")


def as_rows(found: pl.DataFrame, observed: str, step: int, state: str = "open") -> pl.DataFrame:
    """Rows of gaps_v1, without `found_time`."""
    start, end = (pl.col(name).cast(_TIME) for name in ("start", "end"))
    return found.select(
        pl.lit(observed).alias("observed"),
        "instrument",
        start.alias("event_time"),
        end.alias("end_time"),
        (end + timedelta(microseconds=step)).alias("available_time"),
        "missing",
        "reason",
        "evidence",
        pl.lit(state).alias("state"),
        start.dt.strftime("%Y-%m").alias("month"),
    )
