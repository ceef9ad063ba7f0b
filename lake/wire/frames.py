"""Frames of any venue, a column at a time: message text in, typed events out.

A `Feed` declares how a message's kind shows in its text and, per kind, the JSON's shape and how its fields become
events. One pass decodes all messages of a kind at once; a message that does not fit its shape is reported alone and
touches no other. Live, batch and replay use this one parser; a capture parses as it did on the wire.

Events are frames of the columns in `EVENTS`. Every one has `row`, the position of its message in what was given, and
`position`, its place within the message. Times are UTC microseconds, null where the message tells none; prices and
quantities are float64, except the levels of a book, which stay the venue's text (checksums are made of it).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

Schema = dict[str, Any]
Events = dict[str, pl.DataFrame]

_I, _F, _S, _B = pl.Int64(), pl.Float64(), pl.String(), pl.Boolean()
LEVELS = pl.List(pl.List(pl.String))
"""Price, quantity and whatever else the venue sends of a level, as text, in the order sent."""

_HEAD: Schema = {"row": pl.UInt32(), "position": pl.Int32(), "symbol": _S, "time": _I}
EVENTS: dict[str, Schema] = {
    "trade": {**_HEAD, "trade_id": _S, "aggregate": _B, "price": _F, "quantity": _F, "side": _S},
    "book": {
        **_HEAD, "first_id": _I, "last_id": _I, "previous_id": _I, "is_snapshot": _B, "checksum": _I,
        "bids": LEVELS, "asks": LEVELS,
    },
    "quote": {**_HEAD, "bid": _F, "bid_quantity": _F, "ask": _F, "ask_quantity": _F},
    "bar": {
        **_HEAD, "timeframe": _S, "close_time": _I, "open": _F, "high": _F, "low": _F, "close": _F, "volume": _F,
        "quote_volume": _F, "trade_count": _I, "closed": _B,
    },
    "liquidation": {**_HEAD, "side": _S, "price": _F, "average_price": _F, "quantity": _F},
    "funding": {**_HEAD, "rate": _F, "mark_price": _F},
    "open_interest": {**_HEAD, "quantity": _F, "value": _F},
    "mark": {**_HEAD, "mark_price": _F, "index_price": _F, "funding_rate": _F, "next_funding_time": _I},
    "option": {
        **_HEAD, "underlying_price": _F, "mark_price": _F, "mark_iv": _F, "bid": _F, "ask": _F, "open_interest": _F,
        "volume": _F,
    },
}  # fmt: skip
"""Columns per kind of event. A bar's `time` is its open; `close_time` is exclusive. `mark_iv` is a fraction."""

_MAY_LACK = {
    "time", "first_id", "last_id", "previous_id", "checksum", "bid_quantity", "ask_quantity", "quote_volume",
    "trade_count", "average_price", "value", "index_price", "funding_rate", "next_funding_time", "mark_iv", "volume",
}  # fmt: skip
_MAY_LACK_IN = {
    "funding": {"mark_price"},
    "option": {"mark_price", "bid", "ask", "open_interest"},
}


def required(event: str) -> list[str]:
    """Columns of an event that no message may lack."""
    lacking = _MAY_LACK | _MAY_LACK_IN.get(event, set())
    if event == "bar":
        lacking = lacking - {"volume"}
    return [name for name in EVENTS[event] if name not in lacking]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of message: the shape of its JSON, and how decoded fields become events."""

    shape: Schema
    """Only the fields that are read; a number may be asked for as text."""
    read: Callable[[pl.DataFrame], Events]
    """Gets the decoded fields beside `row` and `stream`."""
    gives: str
    """Kinds of events that come of it, by spaces."""
    text: pl.Expr = field(default_factory=lambda: pl.col("payload"))
    """What to decode, where it is not the payload itself."""


@dataclass(frozen=True, slots=True)
class Feed:
    """A venue's wire format."""

    name: str
    """As in raw_frames_v1.venue."""
    venue: str
    """As in instrument ids."""
    tag: pl.Expr
    """The kind of each message out of `payload` and `stream`; null where it is none that the feed knows."""
    kinds: Mapping[str, Kind | None]
    """None: a message without market data (answers, heartbeats, an account's own events)."""
    unify: Callable[[str], tuple[str, str]]
    """The venue's symbol to ccxt's unified symbol and the unit of quantities; ValueError where it is no symbol."""
    clock: pl.Expr
    """The time a message tells of itself, µs, out of `payload`; null where it tells none."""

    def instrument(self, symbol: str) -> tuple[str, str] | None:
        """Instrument id and unit of a venue's symbol; None where it is no symbol of this venue."""
        try:
            unified, unit = self.unify(symbol)
        except (ValueError, LookupError):
            return None
        return f"{self.venue}:{unified}", unit


@dataclass(frozen=True, slots=True)
class Parsed:
    """What became of a batch of frames."""

    events: Events
    """Per kind of event; a kind that did not occur is absent."""
    tags: pl.Series
    """Per message its kind; null where unknown."""
    problems: pl.DataFrame
    """`row` and `reason` of messages that did not parse, each once."""

    def of(self, event: str) -> pl.DataFrame:
        return self.events.get(event, pl.DataFrame(schema=EVENTS[event]))


def parse(feed: Feed, frames: pl.DataFrame, only: str | None = None) -> Parsed:
    """Read frames of one feed: `payload` and `stream`, both text; with `only`, for one kind of event alone.

    Events keep the order of their messages. A message without a known kind, without its shape, or without a field that
    must be there, is a problem and gives no event.
    """
    indexed = frames.select("payload", "stream").with_row_index("row").with_columns(tag=feed.tag)
    found: dict[str, list[pl.DataFrame]] = {}
    problems = [_problem(indexed.filter(pl.col("tag").is_null()), "unknown kind of message")]
    for (tag,), part in indexed.group_by("tag", maintain_order=True):
        if tag is None:
            continue
        if tag not in feed.kinds:
            problems.append(_problem(part, f"unknown kind of message: {tag}"))
        elif (kind := feed.kinds[str(tag)]) and (only is None or only in kind.gives.split()):
            decoded, odd = _decoded(part.with_columns(text=kind.text), pl.Struct(kind.shape))
            problems.append(_problem(odd, f"{tag} does not parse"))
            for name, rows in kind.read(decoded).items() if len(decoded) else ():
                if only not in (None, name):
                    continue
                typed, lacking = _typed(name, rows)
                problems.append(_problem(lacking, f"{tag} lacks a field of a {name}"))
                if len(typed):
                    found.setdefault(name, []).append(typed)
    bad = pl.concat(problems).unique("row", keep="first", maintain_order=True).sort("row")
    events = {name: _whole(parts, bad) for name, parts in found.items()}
    return Parsed(events, indexed["tag"], bad)


def _whole(parts: list[pl.DataFrame], bad: pl.DataFrame) -> pl.DataFrame:
    """All events of one kind in the order of their messages; a message that is a problem gives none at all."""
    rows = pl.concat(parts).sort("row", maintain_order=True)
    return rows if bad.is_empty() else rows.join(bad.select("row"), on="row", how="anti", maintain_order="left")


def _problem(rows: pl.DataFrame, reason: str) -> pl.DataFrame:
    return rows.select("row", reason=pl.lit(reason))


def _decoded(part: pl.DataFrame, shape: pl.Struct) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Decode all texts at once; where one does not fit, look for it by halves."""
    try:
        values = part["text"].str.json_decode(shape)
    except pl.exceptions.PolarsError:
        if len(part) == 1:
            return pl.DataFrame(), part
        half = len(part) // 2
        (one, odd_one), (other, odd_other) = _decoded(part[:half], shape), _decoded(part[half:], shape)
        return pl.concat([frame for frame in (one, other) if len(frame)] or [one]), pl.concat([odd_one, odd_other])
    return part.select("row", "stream").with_columns(values.struct.unnest()), part.clear()


def _typed(event: str, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The event's columns in their types, and the rows that lack one that must be there."""
    absent = {"position": pl.lit(0, pl.Int32)} if "position" not in rows.columns else {}
    absent |= {n: pl.lit(None, t) for n, t in EVENTS[event].items() if n not in rows.columns and n not in absent}
    casts = [pl.col(name).cast(dtype, strict=False) for name, dtype in EVENTS[event].items()]
    typed = rows.with_columns(**absent).select(casts)
    whole = pl.all_horizontal(pl.col(required(event)).is_not_null())
    return typed.filter(whole), typed.filter(~whole)


def exploded(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """One row per element of a list of structs, its fields as columns, `position` its place; empty lists vanish."""
    long = rows.explode(column, empty_as_null=False).with_columns(position=pl.int_range(pl.len()).over("row"))
    inner = long.schema[column]
    assert isinstance(inner, pl.Struct)
    return long.drop([f.name for f in inner.fields if f.name in long.columns]).unnest(column)


def milliseconds(name: str) -> pl.Expr:
    """A column of milliseconds, as number or as text, in microseconds."""
    return pl.col(name).cast(pl.Int64, strict=False) * 1_000


def iso_time(name: str) -> pl.Expr:
    """A column of ISO 8601 text in UTC, in microseconds; finer digits are cut off."""
    cut = pl.col(name).str.replace(r"(\.\d{6})\d*Z$", "${1}Z")
    return cut.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", strict=False).dt.epoch("us")


def lower(name: str) -> pl.Expr:
    return pl.col(name).str.to_lowercase()


def levels(book: pl.DataFrame) -> pl.DataFrame:
    """One row per level of `book` events: side, price, quantity (float64, null where it is no number); bids first, in
    the order sent."""
    kept = ["row", "symbol", "time", "first_id", "last_id", "previous_id", "is_snapshot"]
    sides = [
        book.select(*kept, empty=pl.col(name).is_null(), side=pl.lit(side), level=pl.col(name)).explode(
            "level", empty_as_null=False
        )
        for name, side in (("bids", "bid"), ("asks", "ask"))
    ]
    long = pl.concat(sides).sort("row", maintain_order=True)
    given = pl.col("level").is_not_null() | ~pl.col("empty")
    return (
        long.filter(given)
        .with_columns(
            price=pl.col("level").list.get(0, null_on_oob=True).cast(pl.Float64, strict=False),
            quantity=pl.col("level").list.get(1, null_on_oob=True).cast(pl.Float64, strict=False),
            position=pl.int_range(pl.len(), dtype=pl.Int32).over("row"),
        )
        .drop("level", "empty")
    )
