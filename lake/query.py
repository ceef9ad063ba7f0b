"""SQL over any table, without a JVM: DataFusion, as deltalake ships it."""

import re
from collections.abc import Mapping
from typing import Any

import polars as pl
import pyarrow as pa
from deltalake import QueryBuilder

from lake.errors import UsageError
from lake.storage import Lake
from lake.table import Table
from lake.tables import TABLES, table

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_READS = re.compile(r"\s*(SELECT|WITH|EXPLAIN|DESCRIBE|SHOW|VALUES)\b", re.IGNORECASE)


def query(lake: Lake, sql: str, versions: Mapping[str, int] | None = None, as_of: int | None = None) -> pl.DataFrame:
    """Answer one statement that reads; tables go by their names, as `bitacora lake tables` lists them.

    Column statistics and partitions are used to skip files; only the columns asked for are read.

    Args:
        versions: by table name, an older version to read.
        as_of: UTC µs; every table as it was known then (`Lake.as_of`).

    Raises:
        UsageError: the statement does not parse, writes, or names no table of the lake.
        NothingStored: a table it names has no commit yet.
    """
    if not _READS.match(sql):
        raise UsageError(f"sql: expected a statement that reads (SELECT …, WITH …, EXPLAIN …), found {sql!r:.80}.")
    named = [table(word) for word in dict.fromkeys(_WORD.findall(sql)) if _parent(word) in TABLES]
    unread = set(versions or {}) - {each.name for each in named}
    if unread:
        raise UsageError(f"sql: versions given for {', '.join(sorted(unread))}, which the statement does not read.")
    builder = QueryBuilder()
    for each in named:
        if as_of is None:
            builder.register(each.name, lake.delta(each, (versions or {}).get(each.name)))
        else:
            _register_as_of(builder, lake, each, as_of)
    try:
        reader: Any = builder.execute(sql)
        return pl.DataFrame(reader)
    except Exception as error:  # deltalake raises plain exceptions of many classes for what DataFusion refuses
        known = _names(lake)
        raise UsageError(f"sql: {_first_line(error)}. Tables here: {', '.join(known) or 'none yet'}.") from None


def _register_as_of(builder: Any, lake: Lake, each: Table, as_of: int) -> None:
    """The table under its name, as a view of what was known at an instant: `Lake.as_of` in SQL."""
    columns, history = ", ".join(each.schema.names), each.history()
    at = f"arrow_cast({as_of}, 'Timestamp(Microsecond, Some(\"UTC\"))')"
    standing = f"SELECT {columns} FROM stored_{each.name} AS s WHERE {each.known_column} <= {at}"
    builder.register(f"stored_{each.name}", lake.delta(each))
    if each.known_column == "available_time" and lake.exists(history):
        builder.register(f"stored_{history.name}", lake.delta(history))
        before = f"FROM stored_{history.name} AS h WHERE h.available_time <= {at} AND h.superseded_time > {at}"
        same = " AND ".join(f"h.{name} = s.{name}" for name in each.key)
        standing += f" AND NOT EXISTS (SELECT 1 {before} AND {same}) UNION ALL SELECT {columns} {before}"
    pa.table(builder.execute(f"CREATE VIEW {each.name} AS {standing}"))


def _parent(word: str) -> str:
    return word.removesuffix("_quarantine").removesuffix("_history")


def _names(lake: Lake) -> list[str]:
    return [each.name for each in TABLES.values() if lake.exists(each)]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
