"""Build the market's silver tables out of recorded frames: trades, books, quotes, liquidations, funding and the rest.

Reads   bronze raw_frames_v1
Writes  silver --table (default trades_v1), its quarantine and its history; `--table all` builds every one

The work is `jobs.market_rows`: one day of frames is a unit. Without --start and --end the interval spans every frame
that the table has not seen. Any interval can be built again, at once or after a kill: equal input leaves equal content.
"""

from typing import Any

from jobs.command import Job, main, parser
from jobs.market_rows import MARGIN, ROWS, kernel
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
    done = {name: build(job, RAW_FRAMES, TABLES[name], kernel(TABLES[name]), MARGIN) for name in names}
    return {**done[names[0]], "tables": done}


if __name__ == "__main__":
    arguments = parser("build_market", __doc__)
    arguments.add_argument("--table", default="trades_v1", help=f"all, or some of {', '.join(ROWS)}")
    main("build_market", run, arguments)
