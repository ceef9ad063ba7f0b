"""Ask one source and keep its answers as they came.

Reads   a source of `python -m lake.sources list` (observations or texts), or the loopback server at SOURCES_URL
Writes  bronze raw_answers_v1, one commit per entity; an answer already held is skipped

Without --start an entity goes on where the last run ended, less the source's overlap for late corrections, or begins
`first_days` ago. --end defaults to the source's clock. A run that is killed leaves its pages in
BITACORA_HOME/sources; the next one asks for the rest only. SOURCES_<NAME>_KEY holds the key.
"""

import hashlib
import time
from dataclasses import dataclass
from typing import Any

import polars as pl

from jobs.bronze import store
from jobs.command import Job, main, parser
from jobs.lock import writing
from jobs.progress import Stages
from lake.errors import BadInput
from lake.intervals import DAY, Interval, format_time, month_of
from lake.sources.client import Client, Refused
from lake.sources.cursor import Cursor, converse
from lake.sources.files import PREFIX
from lake.sources.registry import source as source_named
from lake.sources.settings import read_source_settings
from lake.sources.source import Answer, Request, Source
from lake.storage import Lake
from lake.tables import RAW_ANSWERS


def raw_rows(
    source: str, entity: str, told: list[tuple[Request, Answer]], until: int, received: int, run_id: str
) -> pl.DataFrame:
    """Bronze rows of the kept answers of one conversation, in order."""
    kept = [(request, answer) for request, answer in told if request.keep]
    rows = {
        "source": [source] * len(kept),
        "endpoint": [request.endpoint for request, _ in kept],
        "request": [request.text() for request, _ in kept],
        "entity": [entity] * len(kept),
        "page": list(range(len(kept))),
        "payload": [answer.text for _, answer in kept],
        "payload_hash": [hashlib.sha256(answer.text.encode()).hexdigest() for _, answer in kept],
        "market_time": [answer.market_time for _, answer in kept],
        "month": [month_of(answer.market_time) for _, answer in kept],
        "asked_until": [until] * len(kept),
        "received_time": [received] * len(kept),
        "run_id": [run_id] * len(kept),
    }
    times = dict.fromkeys(("market_time", "asked_until", "received_time"), pl.Int64)
    frame = pl.DataFrame(rows, schema_overrides=times | {"page": pl.Int64})
    return frame.with_columns(pl.col(*times).cast(pl.Datetime("us", "UTC")))


def watermarks(lake: Lake, source: Source) -> dict[str, int]:
    """Per entity the end of what was asked for so far, µs."""
    if not lake.exists(RAW_ANSWERS):
        return {}
    rows = lake.scan(RAW_ANSWERS).filter(pl.col("source") == source.name, ~pl.col("endpoint").str.starts_with(PREFIX))
    newest = rows.group_by("entity").agg(pl.col("asked_until").max().dt.epoch("us")).collect()
    return dict(newest.iter_rows())


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to ask about one entity, and where what was told so far is kept."""

    entity: str
    cursor: Cursor


def wanted(job: Job, client: Client, entity: str, held: int | None, now: int) -> Wanted | None:
    """An unfinished conversation first, where nothing else was asked for; None: there is nothing new to ask."""
    source, folder = client.source, job.home.home / "sources"
    end = min(job.end, now) if job.end is not None else now
    start = job.start
    if start is None:
        start = held - source.overlap if held is not None else end - source.first_days * DAY
    asked = None if job.interval is None else Interval(start, max(start, end))
    if cursor := Cursor.open(folder, source, entity, asked):
        return Wanted(entity, cursor)
    if end <= start:
        return None
    return Wanted(entity, Cursor.begin(folder, source, entity, Interval(start, end)))


def run(job: Job) -> dict[str, Any]:
    source = source_named(job.arguments.source)
    settings, say = read_source_settings(source), Stages("ingest_source")
    entities = [e.strip() for e in (job.arguments.entities or "").split(",") if e.strip()] or list(source.entities)
    stored, spans = 0, []
    with Client(source, settings) as client, writing(job.home.home, RAW_ANSWERS):
        now, held = client.now(), watermarks(job.lake, source)
        for entity in entities:
            want = wanted(job, client, entity, held.get(entity), now)
            if want is None:
                continue
            new = _store(job, client, want)
            say(f"{source.name} {entity} {want.cursor.interval}: {new} new answers")
            stored += new
            spans.append(want.cursor.interval)
    return {
        "table": RAW_ANSWERS.name,
        "source": source.name,
        "version": job.lake.version(RAW_ANSWERS) if job.lake.exists(RAW_ANSWERS) else None,
        "rows": stored,
        "start": format_time(min(s.start for s in spans)) if spans else None,
        "end": format_time(max(s.end for s in spans)) if spans else None,
    }


def _store(job: Job, client: Client, want: Wanted) -> int:
    """Have the conversation and keep it; one that cannot go on is forgotten, so that the next run begins anew."""
    try:
        told = list(converse(client, want.entity, want.cursor))
    except (Refused, BadInput):
        want.cursor.done()
        raise
    received = time.time_ns() // 1000
    rows = raw_rows(client.source.name, want.entity, told, want.cursor.interval.end, received, job.run_id)
    new = store(job.lake, RAW_ANSWERS, rows, job.run_id) if rows.height else 0
    want.cursor.done()
    return new


if __name__ == "__main__":
    arguments = parser("ingest_source", __doc__)
    arguments.add_argument("--source", required=True, help="a name of `python -m lake.sources list`")
    arguments.add_argument("--entities", metavar="A,B", help="in the source's words (default: its own list)")
    main("ingest_source", run, arguments)
