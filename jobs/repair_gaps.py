"""Ask the venue again for what was not recorded, rebuild, and check again.

Reads   gold gaps_v1 (bars_1m_v1): open holes with reason not_recorded or unknown; venue_outage with --all
Writes  what jobs.ingest_bars, jobs.build_bars and jobs.find_gaps write

Each instrument's holes of one month are asked for at once. What the venue does not have stays open.
"""

import subprocess
import sys
from typing import Any

import orjson
import polars as pl

from jobs.command import Job, main, parser
from jobs.exchanges import exchange_of
from jobs.find_gaps import open_gaps
from jobs.progress import Work
from lake.errors import BitacoraError, TryAgain, Unavailable
from lake.intervals import format_time, to_us
from lake.tables import BARS_1M

REASONS = ("not_recorded", "unknown")


def requests(gaps: pl.DataFrame, reasons: tuple[str, ...] = REASONS) -> pl.DataFrame:
    """What to ask for: instrument, start, end, missing; one row per instrument and month of holes."""
    wanted = gaps.filter(pl.col("reason").is_in(reasons))
    asked = wanted.group_by("instrument", "month").agg(
        start=pl.col("event_time").min(), end=pl.col("end_time").max(), missing=pl.col("missing").sum()
    )
    return asked.sort("instrument", "month")


def command(name: str, *arguments: str) -> dict[str, Any]:
    """Run a job in a process of its own and read its summary.

    Raises:
        TryAgain: it exited 75.
        Unavailable: it failed in another way.
    """
    done = subprocess.run([sys.executable, "-m", f"jobs.{name}", *arguments], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        error: type[BitacoraError] = TryAgain if done.returncode == TryAgain.exit_code else Unavailable
        raise error(f"jobs.{name} {' '.join(arguments)} exited {done.returncode}; its own message is above.")
    summary: dict[str, Any] = orjson.loads(done.stdout.splitlines()[-1])
    return summary


def run(job: Job) -> dict[str, Any]:
    command("find_gaps")
    before = open_gaps(job.lake, BARS_1M)
    asked = requests(before, (*REASONS, "venue_outage") if job.arguments.all else REASONS)
    fetched = 0
    with Work("holes", asked.height) as work:
        for row in asked.iter_rows(named=True):
            name = row["instrument"]
            start, end = (format_time(to_us(row[side])) for side in ("start", "end"))
            words = ("--venue", exchange_of(name), "--instruments", name, "--start", start, "--end", end)
            fetched += command("ingest_bars", *words)["rows"]
            work.done(1, name)
    if fetched:
        command("build_bars")
        command("find_gaps")
    after = open_gaps(job.lake, BARS_1M)
    return {
        "table": BARS_1M.name,
        "rows": fetched,
        "asked": asked.height,
        "missing_before": int(before["missing"].sum()),
        "missing_after": int(after["missing"].sum()),
    }


if __name__ == "__main__":
    arguments = parser("repair_gaps", __doc__)
    arguments.add_argument("--all", action="store_true", help="ask for outages of the venue, too")
    main("repair_gaps", run, arguments)
