"""How old the newest row of each table is, against what its declaration allows (`Table.freshness`).

Age is told by the market's clock, which only bronze knows: its newest row stood at `market_time` when it was received,
and since then at least as much time has passed there as here. At a real venue that clock is the wall's; an exchange
that replays the past has another. So a recorder that died grows old, in whatever year its market lives.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from lake.catalogue import lineage
from lake.intervals import format_time
from lake.storage import Lake
from lake.table import Table
from lake.tables import TABLES

_CLOCKS = {"received_time", "market_time"}


@dataclass(frozen=True, slots=True)
class Age:
    """The newest row of one table; times in UTC µs."""

    table: str
    expected: int
    """The oldest that the newest row may be, µs."""
    newest: int | None
    """When its newest row was known; None: it holds none."""
    now: int
    """The market's clock behind the table."""

    @property
    def found(self) -> int | None:
        """µs since the newest row was known, 0 where it is known in a moment; None without rows."""
        return None if self.newest is None else max(0, self.now - self.newest)

    @property
    def late(self) -> bool:
        return self.found is None or self.found > self.expected

    def __str__(self) -> str:
        if self.newest is None:
            return f"{self.table}: no row, expected one at most {_hours(self.expected)} old"
        newest = format_time(self.newest)
        return f"{self.table}: expected at most {_hours(self.expected)} old, found {_hours(self.found or 0)} ({newest})"


def _hours(time: int) -> str:
    return f"{time / 3.6e9:,.1f} h"


def market_clock(lake: Lake, bronze: Table, wall: int) -> int | None:
    """UTC µs of the market's clock when the wall's shows `wall`; None where nothing was ever received."""
    if not lake.exists(bronze):
        return None
    files = lake.file_maxima(bronze, "received_time", "market_time").drop_nulls()
    if files.is_empty():
        return None
    received, market = files.sort("received_time", "market_time").row(-1)
    return int(market) + max(0, wall - int(received))


def newest(lake: Lake, table: Table) -> int | None:
    """When the newest row was known, UTC µs; None where the table does not exist or holds no row."""
    if not lake.exists(table):
        return None
    found = lake.file_maxima(table, table.known_column)[table.known_column]
    if found.null_count():
        found = lake.scan(table).select(table.known_column).max().collect()[table.known_column].dt.epoch("us")
    return None if found.is_empty() or found.max() is None else int(found.sort()[-1])


def ages(lake: Lake, wall: int, tables: Iterable[Table] = TABLES.values()) -> list[Age]:
    """The age of each table that is stored and declares how old it may be; `wall` is UTC µs."""
    graph = lineage()
    clocks = {t.name: market_clock(lake, t, wall) for t in TABLES.values() if set(t.schema.names) >= _CLOCKS}
    found = []
    for table in tables:
        if table.freshness is None or not lake.exists(table):
            continue
        behind = [clock for name in _sources(table.name, graph) if (clock := clocks.get(name)) is not None]
        found.append(Age(table.name, table.freshness, newest(lake, table), max(behind, default=wall)))
    return found


def _sources(name: str, graph: dict[str, tuple[set[str], set[str]]]) -> set[str]:
    """The table itself and everything it is made of, near or far."""
    seen: set[str] = set()
    open_names = [name]
    while open_names:
        if (one := open_names.pop()) not in seen:
            seen.add(one)
            open_names += graph[one][1]
    return seen
