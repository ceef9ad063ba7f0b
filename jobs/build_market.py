"""Build the market's silver tables out of recorded frames: trades, books, quotes, liquidations, funding and the rest.

Reads   bronze raw_frames_v1
Writes  silver --table (default trades_v1; all: every one), its quarantine and its history: trades_v1, book_changes_v1,
        books_v1, quotes_v1, liquidations_v1, funding_v1, open_interest_v1, marks_v1, option_quotes_v1

The work is `jobs.market_rows`: one day of frames is a unit. Without --start and --end the interval spans every frame
that the table has not seen. Any interval can be built again, at once or after a kill: equal input leaves equal content.
"""

from typing import Any

from jobs.command import Job, main, parser
from jobs.market_rows import MARGIN, ROWS, days_to_build, kernel
from jobs.silver import build
from lake.errors import UsageError
from lake.tables import RAW_FRAMES, TABLES


def run(job: Job) -> dict[str, Any]:
    """Raises:
    UsageError: no such market table.
    """
    asked = job.arguments.table
    names = list(ROWS) if asked == "all" else [name.strip() for name in asked.split(",")]
    if unknown := [name for name in names if name not in ROWS]:
        raise UsageError(f"--table {unknown[0]}: expected all, or some of {', '.join(ROWS)}.")
    units = days_to_build if job.interval is None else None
    done = {name: build(job, RAW_FRAMES, TABLES[name], kernel(TABLES[name]), MARGIN, units) for name in names}
    return {**done[names[0]], "tables": done}


if __name__ == "__main__":
    arguments = parser("build_market", __doc__)
    arguments.add_argument("--table", default="trades_v1", help=f"all, or some of {', '.join(ROWS)}")
    main("build_market", run, arguments)
