"""Kernels of the market tables: bronze frames in, rows of one silver table out. Polars in, Polars out, no Spark.

One kernel serves all event tables: parse the frames of the unit, name instruments, stamp both clocks, judge every row
by the table's declared checks, then fold what was told more than once (`lake.revisions.fold`): the row that was known
first stands. `outcome_of` is what the batch job, the streaming job and a replay call alike.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl

from jobs.raw_frames import RECORDER
from jobs.silver import outcome, refusals
from lake.intervals import DAY, HOUR, Interval, parse_time, to_datetime
from lake.revisions import fold
from lake.storage import Lake
from lake.table import Table
from lake.tables import (
    BOOK_CHANGES,
    BOOKS,
    FUNDING,
    LIQUIDATIONS,
    MARKS,
    OPEN_INTEREST,
    OPTION_QUOTES,
    QUOTES,
    RAW_FRAMES,
    TRADES,
)  # fmt: skip
from lake.wire.deribit import option_name
from lake.wire.feeds import feed
from lake.wire.frames import Feed, levels, parse

MARGIN = timedelta(hours=1)
"""A frame may tell of what happened up to this long before it; what is older (as trades before a subscription) is
refused."""
AHEAD = timedelta(minutes=1)
"""A venue's clock may be ahead of ours by this much; what is told of a later time is refused."""
MOST_FRAMES = 2_000_000
"""Of one unit of work: a day that holds more is cut at whole hours, so that a task's memory has a bound."""
DEPTH = 20
"""Levels a side in books_v1."""
HISTORY, HISTORY_DELAY = "rest:history:", timedelta(seconds=1)
"""What a venue tells of its past counts as known this long after it happened, as with bars (declared, not measured); a
correction counts from the market time at which it was fetched."""
_TIME = pl.Datetime("us", "UTC")
_FRAME = ("venue", "connection", "sequence", "stream", "payload", "payload_hash", "market_time")
_RECEIVED = ("venue", "connection", "sequence", "stream", "payload", "payload_hash")


@dataclass(frozen=True, slots=True)
class Rows:
    """How events become a table's rows."""

    event: str
    content: tuple[str, ...]
    """The columns that make two rows of a key say different things."""
    shape: Callable[[pl.DataFrame], pl.DataFrame] = lambda events: events
    """Events in, events out: what a table needs beyond the parser's columns."""
    rules: tuple[tuple[str, pl.Expr], ...] = ()
    """Reasons to refuse a row, true where it is; beside the table's checks, where SQL cannot say it."""
    whole: bool = False
    """A frame of which one row is refused is refused whole: a book that lacks one level is wrong without a sign, one
    that lacks a frame breaks its chain."""


def _funding(events: pl.DataFrame) -> pl.DataFrame:
    """Settlement times carry some milliseconds of jitter; the contract settles on the whole hour.

    A time that is more than a minute off the hour is no settlement and stays as it is, to be refused.
    """
    time = pl.col("time")
    hour = (time + HOUR // 2) // HOUR * HOUR
    return events.with_columns(time=pl.when((time - hour).abs() <= 60_000_000).then(hour).otherwise(None))


def _marks(events: pl.DataFrame) -> pl.DataFrame:
    """With the basis: mark / index - 1."""
    return events.with_columns(
        basis=pl.when(pl.col("index_price") > 0).then(pl.col("mark_price") / pl.col("index_price") - 1),
        next_funding_time=pl.col("next_funding_time").cast(_TIME),
    )


def _books(events: pl.DataFrame) -> pl.DataFrame:
    """The best levels of every snapshot, best first; a snapshot without both sides gives none."""

    def best(name: str, descending: bool) -> pl.Expr:
        level = pl.element().list
        number = [level.get(at, null_on_oob=True).cast(pl.Float64, strict=False) for at in (0, 1)]
        typed = pl.struct(number[0].alias("price"), number[1].alias("quantity"))
        return pl.col(name).list.eval(typed).list.sort(descending=descending).list.head(DEPTH)

    books = events.filter("is_snapshot", pl.col("bids").list.len() > 0, pl.col("asks").list.len() > 0)
    books = books.with_columns(bids=best("bids", True), asks=best("asks", False))
    return books.with_columns(
        pl.col(name).list.eval(pl.element().struct.field(field)).alias(f"{side}_{column}")
        for name, side in (("bids", "bid"), ("asks", "ask"))
        for field, column in (("price", "prices"), ("quantity", "quantities"))
    )


def _options(events: pl.DataFrame) -> pl.DataFrame:
    """With what the option's name says."""
    names = {symbol: option_name(symbol) for symbol in events["symbol"].unique()}
    told = [names[symbol] for symbol in events["symbol"]]
    return events.with_columns(
        underlying=pl.Series([o.coin for o in told], dtype=pl.String),
        expiry_time=pl.Series([o.expiry for o in told], dtype=pl.Int64).cast(_TIME),
        strike=pl.Series([o.strike for o in told], dtype=pl.Float64),
        is_call=pl.Series([o.is_call for o in told], dtype=pl.Boolean),
    )


def _all(names: tuple[str, ...], rule: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    """Whether every number of the lists keeps a rule; a null does not."""
    each = [pl.col(name).list.eval(rule(pl.element()).fill_null(False)).list.all() for name in names]
    return pl.all_horizontal(each).fill_null(False)


_BOOK_RULES = (
    (
        "a level is no price and quantity",
        ~_all(("bid_prices", "ask_prices"), lambda price: (price > 0) & (price < 1e12))
        | ~_all(("bid_quantities", "ask_quantities"), lambda quantity: (quantity >= 0) & (quantity < 1e18)),
    ),
    ("best bid is not below best ask", pl.col("bid_prices").list.max() >= pl.col("ask_prices").list.min()),
)
_MARK_RULES = (
    (
        "next funding is no time within two days",
        ((pl.col("next_funding_time") - pl.col("told")).abs() > timedelta(days=2)).fill_null(False),
    ),
)

ROWS: dict[str, Rows] = {
    TRADES.name: Rows("trade", ("event_time", "price", "quantity", "side")),
    BOOK_CHANGES.name: Rows("book", ("price", "quantity", "side"), levels, whole=True),
    BOOKS.name: Rows("book", ("unit",), _books, _BOOK_RULES),
    QUOTES.name: Rows("quote", ("bid", "bid_quantity", "ask", "ask_quantity")),
    LIQUIDATIONS.name: Rows("liquidation", ("average_price",)),
    FUNDING.name: Rows("funding", ("rate", "mark_price"), _funding),
    OPEN_INTEREST.name: Rows("open_interest", ("quantity", "value")),
    MARKS.name: Rows("mark", ("mark_price", "index_price", "funding_rate"), _marks, _MARK_RULES),
    OPTION_QUOTES.name: Rows("option", ("mark_price", "mark_iv", "bid", "ask", "open_interest", "volume"), _options),
}


def kernel(table: Table) -> Callable[[Lake, int, Interval], pl.DataFrame]:
    """The table's kernel for `jobs.silver.build`, with `MARGIN`."""

    def work(lake: Lake, version: int, unit: Interval) -> pl.DataFrame:
        return outcome_of(table, frames_of(lake, version, unit), unit)

    return work


def days_to_build(lake: Lake, since: int | None, version: int) -> list[Interval]:
    """The days that frames added since a version can tell of, none of them without frames: recordings leave holes.

    A day of more than `MOST_FRAMES` is cut into slices of equal hours.
    """
    changed = lake.changed(RAW_FRAMES, since, version)
    if changed is None:
        return []
    held = {parse_time(day) for day in lake.partitions(RAW_FRAMES, "day", version)}
    near = held | {day - DAY for day in held}  # a frame may tell of the evening before
    first = changed.start - MARGIN // timedelta(microseconds=1)
    counts = {parse_time(day): rows for day, rows in lake.row_counts(RAW_FRAMES, "day", version).items()}
    days = [day for day in sorted(near) if day + DAY > first and day < changed.end]
    return [unit for day in days for unit in slices(day, counts.get(day, 0))]


def slices(day: int, frames: int) -> list[Interval]:
    """A day as units of `MOST_FRAMES` or, where they come evenly, fewer; no shorter than an hour."""
    wanted = -(-frames // MOST_FRAMES)
    hours = max([h for h in (1, 2, 3, 4, 6, 8, 12, 24) if 24 // h >= wanted], default=1)
    return [Interval(at, at + hours * HOUR) for at in range(day, day + DAY, hours * HOUR)]


def frames_of(lake: Lake, version: int, unit: Interval) -> pl.DataFrame:
    """The bronze frames that can tell of the unit: its own, and those up to `MARGIN` after it."""
    until = Interval(unit.start, unit.end + MARGIN // timedelta(microseconds=1))
    days = [to_datetime(at).strftime("%Y-%m-%d") for at in (until.start, until.end - 1)]
    near = lake.scan(RAW_FRAMES, until, version).filter(pl.col("day").is_between(pl.lit(days[0]), pl.lit(days[1])))
    return near.filter(pl.col("stream") != RECORDER).select(*_FRAME, "event_time").collect()


def outcome_of(table: Table, frames: pl.DataFrame, unit: Interval) -> pl.DataFrame:
    """Rows of the table that happened in the unit, with what corrections replaced and what was refused."""
    parts = [_judged(table, part, feed(str(venue))) for (venue,), part in frames.group_by("venue", maintain_order=True)]
    if not parts:
        return outcome(table, pl.DataFrame(schema=pl.Schema(table.schema)))
    rows = pl.concat(parts, how="diagonal")
    start, end = to_datetime(unit.start), to_datetime(unit.end)
    rows = rows.filter(pl.col("at") >= start, pl.col("at") < end)
    good = rows.filter(pl.col("reason").is_null())
    of = ROWS[table.name]
    folded = fold(good, table.key, of.content, order=("market_time", "connection", "sequence"), what=of.event)
    bad = pl.concat([rows.filter(pl.col("reason").is_not_null()), folded.lost], how="diagonal")
    return outcome(table, folded.standing, refusals(bad, _RECEIVED, "at"), folded.superseded)


def _judged(table: Table, frames: pl.DataFrame, source: Feed) -> pl.DataFrame:
    """One row per event with `reason`, null for a good one; one row per frame that did not parse.

    `at` decides the unit that owns a row: the event's time, or that of the frame where the row is refused for it.
    """
    of = ROWS[table.name]
    parsed = parse(source, frames, of.event)
    events = parsed.of(of.event)
    rows = of.shape(events)
    rows = rows.join(frames.with_row_index("row"), on="row", how="left", maintain_order="left", suffix="_frame")
    names = {symbol: source.instrument(symbol) for symbol in rows["symbol"].unique()}
    frame_time = pl.col("event_time")
    time = pl.col("time").cast(_TIME)
    told = time if of.event == "funding" else pl.coalesce(time, frame_time)
    rows = rows.with_columns(instrument=_named(names, 0), unit=_named(names, 1), told=told)
    rows = rows.with_columns(
        at=pl.when(pl.col("told").is_between(frame_time - MARGIN, pl.col("market_time") + AHEAD))
        .then("told")
        .otherwise(frame_time),
        age=frame_time - pl.col("told"),
        ahead=pl.col("told") - pl.col("market_time"),
    ).with_columns(event_time=pl.coalesce("told", frame_time))
    received = pl.max_horizontal("market_time", "event_time")
    published = pl.when(pl.col("stream").str.starts_with(HISTORY)).then(pl.col("event_time") + HISTORY_DELAY)
    rows = rows.with_columns(
        available_time=published.otherwise(received), day=pl.col("event_time").dt.strftime("%Y-%m-%d")
    )
    kept = [n for n in table.schema.names if n in rows.columns]
    extra = [n for n in (*_FRAME, "at") if n not in kept]
    judged = rows.with_columns(reason=_reason(table))
    if of.whole and judged["reason"].null_count() < len(judged):
        first = judged.drop_nulls("reason").select("row", spoilt="reason").unique("row", keep="first")
        judged = judged.join(first, on="row", how="left", maintain_order="left").with_columns(reason="spoilt")
    typed = judged.select(*kept, *extra, "reason")
    return pl.concat([typed, _unparsed(frames, parsed.problems)], how="diagonal") if len(parsed.problems) else typed


def _named(names: dict[str, tuple[str, str] | None], at: int) -> pl.Expr:
    found = {symbol: name[at] for symbol, name in names.items() if name}
    return pl.col("symbol").replace_strict(found, default=None, return_dtype=pl.String)


def _reason(table: Table) -> pl.Expr:
    """Every rule the row breaks, joined by '; '; null where it breaks none."""
    rules: list[tuple[str, Any]] = [
        ("no time of a settlement", pl.col("told").is_null()),
        ("unknown symbol", pl.col("instrument").is_null()),
        ("told more than an hour after it happened", pl.col("age") > MARGIN),
        ("told before it happened", pl.col("ahead") > AHEAD),
        *ROWS[table.name].rules,
        *((check.reason, ~pl.sql_expr(check.sql).fill_null(False)) for check in table.checks),
    ]
    said = [pl.when(broken).then(pl.lit(text)) for text, broken in rules]
    joined = pl.concat_str(*said, separator="; ", ignore_nulls=True)
    return pl.when(joined != "").then(joined)


def _unparsed(frames: pl.DataFrame, problems: pl.DataFrame) -> pl.DataFrame:
    """Frames that did not parse, with the reason; every event table of the feed keeps them."""
    indexed = frames.with_row_index("row").join(problems, on="row", how="inner")
    return indexed.with_columns(at=pl.col("event_time"), instrument=pl.lit(None, pl.String)).select(
        *_FRAME, "at", "instrument", "event_time", "reason"
    )
