"""Who is missing from a table: an instrument, source or venue that spoke until lately and then no more.

A table that grows while one of its members stands still looks healthy by its rows and its age; what is built on it
would hold less than yesterday without a word. A member is missing once it is silent for longer than the table's
`freshness` and than `TIMES` its longest silence of the `WINDOW` before, so that nights and weekends of a quiet source
pass; after the window it counts as ended for good.
"""

from dataclasses import dataclass

import polars as pl

from lake.errors import ContractViolated
from lake.freshness import newest
from lake.intervals import DAY, Interval, format_time
from lake.storage import Lake
from lake.table import Table

WINDOW = 10 * DAY
TIMES = 2
_MEMBERS = ("instrument", "source", "venue", "entity")


@dataclass(frozen=True, slots=True)
class Missing:
    """One member and when its newest row was known, UTC µs; the others go on to `until`."""

    member: str
    last: int
    until: int

    def __str__(self) -> str:
        return f"{self.member} is silent since {format_time(self.last)}, others go on to {format_time(self.until)}"


def require_rows(lake: Lake, table: Table) -> None:
    """The cheapest gate, told by the log alone: for a job that would otherwise find nothing new in an empty table.

    Raises:
        ContractViolated: the table exists and holds no row.
        NothingStored: there is no such table yet.
    """
    if not lake.count(table):
        raise ContractViolated(
            f"{table.name} v{lake.version(table)}: expected rows, found none. Run the job that writes it; nothing may "
            "be built on an empty table."
        )


def missing(lake: Lake, table: Table, interval: Interval | None = None, version: int | None = None) -> list[Missing]:
    """Members missing at the end of the interval, or of the table; none of a table that declares no freshness."""
    who = next((name for name in _MEMBERS if name in table.schema.names), None)
    if table.freshness is None or who is None:
        return []
    rows = lake.scan(table, interval, version).select(who=pl.col(who), at=pl.col(table.known_column).dt.epoch("us"))
    until = newest(lake, table) if interval is None else rows.select(pl.col("at").max()).collect().item()
    if until is None:
        return []
    if interval is not None:  # who fell silent before the interval began is missing from all of it
        before = Interval(max(0, interval.start - WINDOW), interval.end)
        rows = lake.scan(table, before, version).select(who=pl.col(who), at=pl.col(table.known_column).dt.epoch("us"))
    return silent(rows.filter(pl.col("at") > until - WINDOW).collect(), table.freshness, until)


def silent(rows: pl.DataFrame, freshness: int, until: int) -> list[Missing]:
    """Members whose newest row is too old at `until`.

    Args:
        rows: `who` and `at` (UTC µs) of the last `WINDOW`, in any order; a member with one time only is not judged.
    """
    times = rows.unique().sort("who", "at").with_columns(step=pl.col("at").diff().over("who"))
    each = times.group_by("who").agg(last=pl.col("at").max(), step=pl.col("step").max()).drop_nulls("step")
    late = pl.lit(until) - pl.col("last") > pl.max_horizontal(pl.lit(freshness), TIMES * pl.col("step"))
    return [Missing(who, last, until) for who, last, _ in each.filter(late).sort("who").iter_rows()]
