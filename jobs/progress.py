"""Progress of long work: a bar on a terminal, a plain line every few seconds in a log."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Work:
    """Counts `total` units of work; `with Work("bars", n) as work: work.done(1000, "BTC")`."""

    def __init__(self, what: str, total: int, every_seconds: float = 5.0) -> None:
        self._what, self._total, self._every = what, total, every_seconds
        self._done = 0
        self._began = self._said = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task(what, total=total)

    def __enter__(self) -> "Work":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()
        elif kind is None:
            self._say()

    def done(self, count: int, about: str = "") -> None:
        """Count finished units; `about` says what they were."""
        self._done += count
        if self._bar:
            self._bar.update(self._task, completed=self._done, description=f"{self._what} {about}".rstrip())
        elif time.monotonic() - self._said >= self._every:
            self._say(about)

    def _say(self, about: str = "") -> None:
        self._said = time.monotonic()
        rate = self._done / max(self._said - self._began, 1e-9)
        left = (self._total - self._done) / rate if rate else 0.0
        text = f"{self._what}: {self._done:,} of {self._total:,} ({rate:,.0f}/s, {left:.0f} s left) {about}"
        print(text.rstrip(), file=sys.stderr, flush=True)


class Stages:
    """One line per finished stage on stderr, with the seconds since the job began."""

    def __init__(self, job: str) -> None:
        self._job, self._began = job, time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"{self._job} {time.monotonic() - self._began:6.1f} s  {text}", file=sys.stderr, flush=True)
