"""Build the market's silver tables out of recorded frames as they arrive, by Spark Structured Streaming.

Reads   bronze raw_frames_v1, as a stream of its files
Writes  silver --table (default trades_v1; all: every one), its quarantine and its history: trades_v1, book_changes_v1,
        books_v1, quotes_v1, liquidations_v1, funding_v1, open_interest_v1, marks_v1, option_quotes_v1

A batch tells which days its frames can speak of, and those are built from bronze as `jobs.build_market` does: the same
kernel, validation and commits, so both leave the same content in whatever order they run. A batch that is done again
after a kill finds nothing to change. Nothing is dropped for being late: a late frame rebuilds its day.

With --once (the default) it takes what there is and ends; with --seconds it looks for new frames that often, until
SIGTERM or SIGINT, and then finishes the batch it is in. BITACORA_HOME/checkpoints/<table> holds how far it came;
without it the stream starts at the first frame, and leaves the same content.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import orjson
from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException, StreamingQueryException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming import StreamingQuery

from jobs import quality
from jobs.command import Job, main, parser
from jobs.lock import writing
from jobs.market_rows import MARGIN, ROWS, kernel
from jobs.progress import Stages
from jobs.raw_frames import RECORDER
from jobs.silver import Built, make, told
from lake.errors import TryAgain, UsageError
from lake.intervals import DAY, MILLISECOND, Interval, format_time
from lake.spark import spark_session
from lake.table import Table
from lake.tables import RAW_FRAMES, TABLES

FILES = 1000
"""Files of bronze that a batch takes at most: an hour and a half of one recorder."""
_MARGIN_US = MARGIN // timedelta(microseconds=1)
_COUNTS = ("batches", "frames", "late", "inserted", "updated", "unchanged", "refused", "superseded")


class Stopped(Exception):
    """A batch that was not begun, because the stream is to stop."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a stream's checkpoint says of how far it came: Spark writes it, we only read."""

    folder: Path

    def watermark(self) -> int | None:
        """The newest event time of all finished batches, less `MARGIN`, in UTC µs; None before the first."""
        done = [int(path.name) for path in (self.folder / "commits").glob("[0-9]*")]
        at = self._says("commits", max(done))["nextBatchWatermarkMs"] if done else 0
        return at * MILLISECOND or None

    def consumed(self, batch: int) -> int | None:
        """The version of bronze whose files all belong to this batch and those before it; None where there is none."""
        end = self._says("offsets", batch)
        return None if end["isStartingVersion"] else end["reservoirVersion"] - 1

    def _says(self, kind: str, batch: int) -> dict[str, Any]:
        """The last line of an entry: of `commits` the watermark, of `offsets` where the batch ends."""
        return orjson.loads((self.folder / kind / str(batch)).read_text().splitlines()[-1])


@dataclass(slots=True)
class Increments:
    """The batches of one stream: each is built when Spark calls, what became of all is counted."""

    job: Job
    table: Table
    checkpoint: Checkpoint
    say: Stages
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTS, 0))
    stopped: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None
    """What a batch raised: Spark would pass on no more than its text."""

    def __call__(self, frames: DataFrame, batch: int) -> None:
        try:
            if self.stopped.is_set():
                raise Stopped
            self._build(frames, batch)
        except Exception as error:
            self.error = error
            raise

    def _build(self, frames: DataFrame, batch: int) -> None:
        """Build the days that the batch touches, from the newest bronze: it holds the batch, and perhaps more."""
        count, late, days = touched(frames, self.checkpoint.watermark())
        seen = {"batches": 1, "frames": count, "late": late}
        if days:
            built = self._days(frames.sparkSession, days, self.checkpoint.consumed(batch))
            m = built.merged
            seen |= {"inserted": m.inserted, "updated": m.updated, "unchanged": m.unchanged}
            seen |= {"refused": built.refused, "superseded": built.superseded}
        for name, value in seen.items():
            self.counts[name] += value

    def _days(self, session: SparkSession, days: list[Interval], consumed: int | None) -> Built:
        lake, table = self.job.lake, self.table
        with writing(self.job.home.home, table):
            work = partial(kernel(table), lake, lake.version(RAW_FRAMES))
            reads = {} if consumed is None else {RAW_FRAMES.name: consumed}
            built = make(self.job, session, table, work, days, reads)
        self.say(told(table, built))
        return built


def touched(frames: DataFrame, watermark: int | None) -> tuple[int, int, list[Interval]]:
    """How many frames there are, how many of them are behind the watermark, and the days they can tell of.

    Args:
        frames: event_time; a frame may tell of what happened up to `MARGIN` before it.
    """
    time = F.unix_micros("event_time")

    def day(at: Column) -> Column:
        return at - F.pmod(at, F.lit(DAY))

    late = F.count_if(time < F.lit(watermark or 0))
    row = frames.agg(F.count("*"), late, F.collect_set(day(time)), F.collect_set(day(time - F.lit(_MARGIN_US)))).first()
    assert row is not None
    days = sorted({*row[2], *row[3]})
    return row[0], row[1], [Interval(at, at + DAY) for at in days]


def start(session: SparkSession, increments: Increments, seconds: float | None) -> StreamingQuery:
    """Begin the stream where its checkpoint ends; without `seconds` it takes what bronze holds now, and ends."""
    source = session.readStream.format("delta").option("maxFilesPerTrigger", FILES)
    frames = source.load(increments.job.lake.uri(RAW_FRAMES)).where(F.col("stream") != RECORDER).select("event_time")
    frames = frames.withWatermark("event_time", f"{_MARGIN_US} microseconds")
    writer = frames.writeStream.foreachBatch(increments).option("checkpointLocation", str(increments.checkpoint.folder))
    how = writer.trigger(availableNow=True) if seconds is None else writer.trigger(processingTime=f"{seconds} seconds")
    return how.start()


def finish(query: StreamingQuery, increments: Increments) -> None:
    """Wait for the stream's end; when it is to stop, for that of the running batch.

    Raises:
        BitacoraError: as a batch raised it; the next run does that batch again.
        TryAgain: bronze has got another column, and the stream must be started anew.
    """
    try:
        while not query.awaitTermination(0.2):
            if increments.stopped.is_set() and not query.status["isTriggerActive"]:  # its checkpoint is written
                query.stop()
    except (StreamingQueryException, Py4JError) as error:
        ended = isinstance(increments.error, Stopped | PySparkException | Py4JError | None)
        if increments.stopped.is_set() and ended:
            return  # not begun; or the signal went to Java too, and the next run does that batch again
        if increments.error is not None:
            raise increments.error from None
        if "DELTA_SCHEMA_CHANGED" in str(error):
            raise TryAgain(f"{RAW_FRAMES.name} has got another column: start the stream again.") from None
        raise


@contextlib.contextmanager
def stopping(stopped: threading.Event) -> Iterator[None]:
    """Let SIGTERM and SIGINT set the event."""

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    before = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError):  # only a process's main thread hears signals
            before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stream(job: Job, session: SparkSession, table: Table, seconds: float | None) -> dict[str, Any]:
    """Stream one table until its end; its summary."""
    checkpoint = Checkpoint(job.home.home.resolve() / "checkpoints" / table.name)
    increments = Increments(job, table, checkpoint, Stages(job.name))
    with stopping(increments.stopped):
        finish(start(session, increments, seconds), increments)
    watermark = checkpoint.watermark()
    return {
        "table": table.name,
        "version": job.lake.newest(table),
        "rows": increments.counts["inserted"] + increments.counts["updated"],
        "watermark": watermark and format_time(watermark),
        **increments.counts,
    }


def run(job: Job) -> dict[str, Any]:
    """Raises:
    UsageError: no such market table, more than one with --seconds, or an interval.
    NothingStored: there is no bronze yet.
    """
    asked, seconds = job.arguments.table, job.arguments.seconds
    names = list(ROWS) if asked == "all" else [name.strip() for name in asked.split(",")]
    if unknown := [name for name in names if name not in ROWS]:
        raise UsageError(f"--table {unknown[0]}: expected all, or some of {', '.join(ROWS)}.")
    if seconds is not None and (len(names) > 1 or seconds <= 0):
        raise UsageError("--seconds: expected more than 0, and one --table: start a process for each.")
    if job.interval or job.arguments.instruments:
        raise UsageError("a stream has no --start, --end or --instruments: use python -m jobs.build_market.")
    job.lake.version(RAW_FRAMES)
    library = quality.warm_up()
    session = spark_session(job.lake, job.name)
    library.join()
    done = {name: stream(job, session, TABLES[name], seconds) for name in names}
    return {**done[names[0]], "tables": done}


if __name__ == "__main__":
    arguments = parser("stream_market", __doc__)
    arguments.add_argument("--table", default="trades_v1", help=f"all, or some of {', '.join(ROWS)}")
    trigger = arguments.add_mutually_exclusive_group()
    trigger.add_argument("--once", action="store_true", help="take what there is, and end (the default)")
    trigger.add_argument("--seconds", type=float, help="look for new frames that often, until a signal")
    main("stream_market", run, arguments)
