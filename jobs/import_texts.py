"""Bring your own texts: one file of the past into bronze and silver, by the same rules as a source's.

Reads   a CSV or parquet file in one of the known layouts (below), or with the columns time, title, text
Writes  bronze raw_answers_v1 (source archive:<name>), then silver as jobs.build_texts does

A row's text counts as available 15 minutes after it was written (`lake.texts.rows.ARCHIVE_DELAY`), since an archive
does not tell when it was seen; declared, not measured. Only the time, the title and the text of a row are taken:
scores, comment counts, subscribers and machine labels are values of the day the file was made and stay outside. The
same file again changes nothing.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from jobs import build_texts
from jobs.bronze import store
from jobs.command import Job, main, parser
from jobs.lock import writing
from jobs.progress import Stages
from lake.errors import BadInput
from lake.intervals import month_of, to_datetime
from lake.tables import RAW_ANSWERS
from lake.texts.rows import ARCHIVE


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns of a file are what; a file is of the first layout whose columns it has."""

    kind: str
    time: str
    event_time: Callable[[pl.Expr], pl.Expr]
    """From the time column to a UTC timestamp."""
    text: str
    title: str = ""
    channel: str = ""
    """A column; empty: the archive's name."""


def _iso(column: pl.Expr) -> pl.Expr:
    return column.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)


LAYOUTS = (
    Layout("post", "epoch", lambda c: pl.from_epoch(c, "s").dt.replace_time_zone("UTC"), "selftext", "title"),
    Layout("news", "date", lambda c: c.str.to_datetime("%d-%m-%Y %H:%M", strict=False), "text", "title", "source"),
    Layout("post", "Date", _iso, "Tweet"),
    Layout("post", "time", _iso, "text", "title"),
)


def read_texts(path: Path, name: str) -> pl.DataFrame:
    """channel, kind, event_time (UTC; null where it cannot be read), title, text; one row per row of the file.

    Raises:
        BadInput: the file does not read, or is of no known layout.
    """
    try:
        file = _read(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadInput(f"{path.name}: does not read as CSV or parquet: {str(error).splitlines()[0][:200]}") from None
    for layout in LAYOUTS:
        if {layout.time, layout.text, *filter(None, (layout.title, layout.channel))} <= set(file.columns):
            return _texts(file, layout, name)
    known = "; ".join(f"{one.time}, {one.title or '-'}, {one.text}" for one in LAYOUTS)
    raise BadInput(f"{path.name}: expected columns for time, title, text ({known}), found {', '.join(file.columns)}.")


def _read(path: Path) -> pl.DataFrame:
    if path.suffix == ".parquet":
        return pl.read_parquet(path)
    with path.open() as stream:
        separator = ";" if ";" in stream.readline() else ","
    return pl.read_csv(path, separator=separator, infer_schema=False)


def _texts(file: pl.DataFrame, layout: Layout, name: str) -> pl.DataFrame:
    written = layout.event_time(pl.col(layout.time)).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    gone = ["[removed]", "[deleted]"]
    return file.select(
        channel=pl.col(layout.channel) if layout.channel else pl.lit(name),
        kind=pl.lit(layout.kind),
        event_time=written,
        title=pl.col(layout.title).fill_null("") if layout.title else pl.lit(""),
        text=pl.when(pl.col(layout.text).is_in(gone)).then(pl.lit("")).otherwise(pl.col(layout.text).fill_null("")),
    )


def raw_rows(texts: pl.DataFrame, name: str, now: int, run_id: str) -> pl.DataFrame:
    """Bronze rows, one per text: the payload is the row's canonical JSON, `market_time` the moment of the import."""
    payloads = [
        orjson.dumps(
            {"channel": channel, "kind": kind, "event_time": int(written), "title": title, "text": text},
            option=orjson.OPT_SORT_KEYS,
        ).decode()
        for channel, kind, written, title, text in texts.with_columns(pl.col("event_time").dt.epoch("us")).iter_rows()
    ]
    moment = pl.lit(to_datetime(now)).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame({"payload": payloads}, schema={"payload": pl.String}).with_columns(
        source=pl.lit(ARCHIVE + name),
        endpoint=pl.lit("import:texts"),
        request=pl.lit("{}"),
        entity=pl.lit(name),
        page=pl.lit(0, pl.Int64),
        payload_hash=pl.Series([hashlib.sha256(p.encode()).hexdigest() for p in payloads], dtype=pl.String),
        market_time=moment,
        month=pl.lit(month_of(now)),
        asked_until=moment,
        received_time=moment,
        run_id=pl.lit(run_id),
    )


def run(job: Job) -> dict[str, Any]:
    path, say = Path(job.arguments.file), Stages("import_texts")
    name = job.arguments.archive or path.stem
    texts = read_texts(path, name)
    dated = texts.drop_nulls("event_time")
    say(f"{path.name}: {texts.height:,} rows, {texts.height - dated.height:,} without a time that can be read")
    with writing(job.home.home, RAW_ANSWERS):
        new = store(job.lake, RAW_ANSWERS, raw_rows(dated, name, time.time_ns() // 1000, job.run_id), job.run_id)
    say(f"{RAW_ANSWERS.name}: {new:,} new")
    summary = build_texts.run(replace(job, name="import_texts"))
    undated = texts.height - dated.height
    return summary | {"file": path.name, "read": texts.height, "undated": undated, "bronze_rows": new}


if __name__ == "__main__":
    arguments = parser("import_texts", __doc__)
    arguments.add_argument("--file", required=True, help="the texts")
    arguments.add_argument("--archive", default="", help="the archive's name (default: the file's)")
    main("import_texts", run, arguments)
