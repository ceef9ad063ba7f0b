"""Every table of the lake, one file per group. `TABLES` is the registry that docs, tests and the CLI read."""

from lake.errors import UsageError
from lake.table import Table
from lake.tables.bars import BARS_1M, BARS_5M, RAW_BARS
from lake.tables.features import FEATURES_5M
from lake.tables.trading import DECISIONS, FILLS, ORDERS, PROMOTIONS

__all__ = [
    "BARS_1M",
    "BARS_5M",
    "DECISIONS",
    "FEATURES_5M",
    "FILLS",
    "ORDERS",
    "PROMOTIONS",
    "RAW_BARS",
    "TABLES",
    "table",
]

TABLES: dict[str, Table] = {
    table.name: table for table in (RAW_BARS, BARS_1M, BARS_5M, FEATURES_5M, DECISIONS, ORDERS, FILLS, PROMOTIONS)
}


def table(name: str) -> Table:
    """Look a table up by name; a quarantine table is its parent's name and `_quarantine`.

    Raises:
        UsageError: no such table; the message lists what there is.
    """
    parent = name.removesuffix("_quarantine")
    if parent in TABLES:
        return TABLES[parent] if parent == name else TABLES[parent].quarantine()
    raise UsageError(f"unknown table {name!r}: expected one of {', '.join(TABLES)}")
