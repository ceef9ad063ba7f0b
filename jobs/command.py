"""What every job's command shares: arguments, settings, the closing summary line that Airflow reads."""

import argparse
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from lake import command
from lake.errors import UsageError
from lake.instruments import INSTRUMENTS, is_id
from lake.intervals import Interval, format_time, parse_time
from lake.settings import HomeSettings, LakeSettings, read_settings, refuse_unknown
from lake.storage import Lake


@dataclass(frozen=True, slots=True)
class Job:
    """One run: where things are, what was asked for."""

    name: str
    home: HomeSettings
    lake: Lake
    arguments: argparse.Namespace
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def start(self) -> int | None:
        """`--start`, or None: from the watermark."""
        return parse_time(self.arguments.start) if self.arguments.start else None

    @property
    def end(self) -> int | None:
        """`--end`, or None: to the newest closed bar."""
        return parse_time(self.arguments.end) if self.arguments.end else None

    @property
    def interval(self) -> Interval | None:
        """What was asked for, open where it was not; None where nothing was."""
        if self.start is None and self.end is None:
            return None
        return Interval.open(self.start, self.end)

    @property
    def asked(self) -> tuple[str, ...]:
        """The ids of `--instruments`; empty: none were asked for.

        Raises:
            UsageError: one is no id.
        """
        names = [name.strip() for name in (self.arguments.instruments or "").split(",") if name.strip()]
        for name in names:
            if not is_id(name):
                raise UsageError(f"--instruments {name!r}: expected venue:BASE/QUOTE, such as binance:BTC/USDT.")
        return tuple(dict.fromkeys(names))

    @property
    def names(self) -> tuple[str, ...]:
        """The ids of `--instruments`, or of the whole catalogue."""
        return self.asked or tuple(INSTRUMENTS)


def parser(name: str, doc: str | None) -> command.Parser:
    """The arguments every job takes."""
    result = command.parser(f"jobs.{name}", doc)
    result.add_argument("--start", metavar="T", help="first open time, ISO 8601 UTC or ms (default: the watermark)")
    result.add_argument("--end", metavar="T", help="end of the interval, exclusive (default: the last closed bar)")
    result.add_argument("--instruments", metavar="A,B", help="ids like binance:BTC/USDT (default: the whole catalogue)")
    return result


def main(name: str, run: Callable[[Job], dict[str, Any]], arguments: command.Parser) -> None:
    """Read arguments and settings, run the job, print its summary as the last line of stdout, exit by sysexits.

    The summary is one JSON object: job, then what `run` returned, e.g. table, version, rows, start, end.
    """

    def body() -> int:
        refuse_unknown()
        home = read_settings(HomeSettings)
        lake = Lake(read_settings(LakeSettings).root(home))
        job = Job(name, home, lake, arguments.parse_args())
        if job.start is not None and job.end is not None and job.end <= job.start:
            raise UsageError(f"--end {format_time(job.end)} is not after --start {format_time(job.start)}")
        summary = run(job)
        print(orjson.dumps({"job": name} | summary).decode(), flush=True)
        return 0

    command.run(body)
