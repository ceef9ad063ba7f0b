"""Every table of the lake, one file per group. `TABLES` is the registry that docs, tests and the CLI read."""

from lake.errors import UsageError
from lake.table import Table
from lake.tables.anomalies import FLAGS
from lake.tables.bars import BARS_1M, BARS_5M, RAW_BARS
from lake.tables.derivatives import FUNDING, LIQUIDATIONS, MARKS, OPEN_INTEREST, OPTION_QUOTES, OPTION_SURFACE
from lake.tables.features import FEATURES_5M, FEATURES_CHAIN_1D, FEATURES_DERIVATIVES_5M, FEATURES_REF_5M
from lake.tables.gaps import GAPS
from lake.tables.images import IMAGES_5M
from lake.tables.leases import LEASES
from lake.tables.market import BOOK_CHANGES, BOOKS, QUOTES, RAW_FRAMES, TRADES
from lake.tables.observations import OBSERVATIONS, RAW_ANSWERS
from lake.tables.texts import TEXT_EMBEDDINGS, TEXT_FEATURES, TEXT_SCORES, TEXTS
from lake.tables.trading import DECISION_EVENTS, DECISIONS, FILLS, ORDERS, PROMOTIONS

__all__ = [
    "BARS_1M",
    "BARS_5M",
    "BOOKS",
    "BOOK_CHANGES",
    "DECISIONS",
    "DECISION_EVENTS",
    "FEATURES_5M",
    "FEATURES_CHAIN_1D",
    "FEATURES_DERIVATIVES_5M",
    "FEATURES_REF_5M",
    "FILLS",
    "FLAGS",
    "FUNDING",
    "GAPS",
    "IMAGES_5M",
    "LEASES",
    "LIQUIDATIONS",
    "MARKS",
    "OBSERVATIONS",
    "OPEN_INTEREST",
    "OPTION_QUOTES",
    "OPTION_SURFACE",
    "ORDERS",
    "PROMOTIONS",
    "QUOTES",
    "RAW_ANSWERS",
    "RAW_BARS",
    "RAW_FRAMES",
    "TABLES",
    "TEXTS",
    "TEXT_EMBEDDINGS",
    "TEXT_FEATURES",
    "TEXT_SCORES",
    "TRADES",
    "table",
]

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        RAW_FRAMES,
        TRADES,
        BOOK_CHANGES,
        BOOKS,
        QUOTES,
        LIQUIDATIONS,
        FUNDING,
        OPEN_INTEREST,
        MARKS,
        OPTION_QUOTES,
        OPTION_SURFACE,
        RAW_ANSWERS,
        OBSERVATIONS,
        TEXTS,
        TEXT_EMBEDDINGS,
        TEXT_SCORES,
        TEXT_FEATURES,
        RAW_BARS,
        BARS_1M,
        BARS_5M,
        GAPS,
        FLAGS,
        FEATURES_5M,
        FEATURES_REF_5M,
        FEATURES_DERIVATIVES_5M,
        FEATURES_CHAIN_1D,
        IMAGES_5M,
        DECISIONS,
        DECISION_EVENTS,
        ORDERS,
        FILLS,
        PROMOTIONS,
        LEASES,
    )
}


def table(name: str) -> Table:
    """Look a table up by name; `_quarantine` and `_history` after it name the tables beside it.

    Raises:
        UsageError: no such table; the message lists what there is.
    """
    if name in TABLES:
        return TABLES[name]
    if name.removesuffix("_quarantine") in TABLES:
        return TABLES[name.removesuffix("_quarantine")].quarantine()
    if name.removesuffix("_history") in TABLES:
        return TABLES[name.removesuffix("_history")].history()
    raise UsageError(f"unknown table {name!r}: expected one of {', '.join(TABLES)}")
