"""Record X's filtered stream: every line as received, into bronze, in one commit per few seconds.

Reads   GET /2/tweets/search/stream of the X API, under the rules that this job sets (SOURCES_X_KEY, SOURCES_X_URL)
Writes  bronze raw_answers_v1 (source x_stream), the time of receipt as `market_time`; a line held already is skipped

Runs for --seconds, or until it is told to end (SIGTERM, Ctrl-C): what was received is then stored. A stream that breaks
or falls silent is opened again with X's own pauses. What is lost between two streams, or by a kill within the last
seconds, is what `jobs.ingest_source --source x` finds.
"""

import hashlib
import signal
import time
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from jobs.bronze import store
from jobs.command import Job, main, parser
from jobs.lock import writing
from jobs.progress import Stages
from lake.intervals import month_of
from lake.sources.settings import read_source_settings
from lake.sources.x import FIELDS, SOURCE
from lake.tables import RAW_ANSWERS
from lake.texts.x_stream import PATH, STREAM, Stream, request_text

COMMIT_SECONDS = 10.0


@dataclass
class Batch:
    """Lines received and not stored yet, with the time of receipt, µs."""

    lines: list[tuple[int, str]] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)

    def rows(self, run_id: str) -> pl.DataFrame:
        """Bronze rows in the order of receipt."""
        texts = [line for _, line in self.lines]
        times = pl.Series([at for at, _ in self.lines], dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
        return pl.DataFrame({"payload": texts}, schema={"payload": pl.String}).with_columns(
            source=pl.lit(STREAM),
            endpoint=pl.lit("stream"),
            request=pl.lit(request_text(PATH, FIELDS)),
            entity=pl.lit("stream"),
            page=pl.lit(0, pl.Int64),
            payload_hash=pl.Series([hashlib.sha256(t.encode()).hexdigest() for t in texts], dtype=pl.String),
            market_time=times,
            month=pl.Series([month_of(at) for at, _ in self.lines], dtype=pl.String),
            asked_until=times,
            received_time=times,
            run_id=pl.lit(run_id),
        )


def flush(job: Job, batch: Batch) -> int:
    """Store the batch; how many lines were new."""
    if not batch.lines:
        return 0
    with writing(job.home.home, RAW_ANSWERS):
        return store(job.lake, RAW_ANSWERS, batch.rows(job.run_id), job.run_id)


def run(job: Job) -> dict[str, Any]:
    say, seconds = Stages("record_texts"), float(job.arguments.seconds)
    stream = Stream(read_source_settings(SOURCE))
    stream.set_rules()
    say("rules are set")
    began, stored, batch = time.monotonic(), 0, Batch()
    told_to_end: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: told_to_end.append(number))
    try:
        for line in stream.lines():  # "" at least every 25 s: the clock is looked at even where nothing is said
            if line:
                batch.lines.append((time.time_ns() // 1000, line))
            ended = bool(told_to_end) or (seconds > 0 and time.monotonic() - began >= seconds)
            if ended or time.monotonic() - batch.since >= COMMIT_SECONDS:
                stored, batch = stored + flush(job, batch), Batch()
                say(f"{stored:,} lines, {stream.connections} connections")
            if ended:
                break
    except KeyboardInterrupt:
        stored += flush(job, batch)
    finally:
        signal.signal(signal.SIGTERM, before)
    version = job.lake.version(RAW_ANSWERS) if job.lake.exists(RAW_ANSWERS) else None
    return {"table": RAW_ANSWERS.name, "version": version, "rows": stored, "connections": stream.connections}


if __name__ == "__main__":
    arguments = parser("record_texts", __doc__)
    arguments.add_argument("--seconds", type=float, default=0.0, help="how long (default: until told to end)")
    main("record_texts", run, arguments)
