"""A table declared once: columns, key, partition, checks, owner. Spark's schema, the Great Expectations suite, the
Delta constraints and the docs page are all made from this declaration."""

from dataclasses import dataclass, field, replace
from typing import Literal

import pyarrow as pa

Layer = Literal["bronze", "silver", "gold"]
Writer = Literal["spark", "delta-rs"]

TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `unit` in words a person reads (quote, base, fraction, UTC µs)."""

    name: str
    type: pa.DataType
    description: str
    unit: str = ""
    nullable: bool = False
    content: bool = True
    """Part of the content hash; false for received times and run ids."""


@dataclass(frozen=True, slots=True)
class Check:
    """A row-level rule in SQL that every good row satisfies; rows that do not go to quarantine with `reason`."""

    reason: str
    sql: str


@dataclass(frozen=True, slots=True)
class Table:
    """A versioned table of one layer. One writer stack per table: `spark` or `delta-rs`, never both."""

    name: str
    layer: Layer
    description: str
    owner: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    time_column: str
    """What `--start/--end` select on."""
    partition: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    writer: Writer = "spark"
    freshness: int | None = None
    """µs: how old the newest row may be while its sources speak; None: it comes when something happens, not by time."""
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(c.name, c.type, nullable=c.nullable) for c in self.columns])

    @property
    def path(self) -> str:
        """Relative to the lake's root."""
        return f"{self.layer}/{self.name}"

    @property
    def content_columns(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns if c.content)

    @property
    def known_column(self) -> str:
        """Since when a row was known: `available_time`, in bronze the clock of its source or of its receipt; a row of
        a history is one from when it was replaced."""
        known = ("superseded_time", "available_time", "market_time", "received_time", "event_time")
        return next(name for name in (*known, self.time_column) if name in self.schema.names)

    def history(self) -> "Table":
        """Where rows that a correction replaced are kept: what this table said from available_time until then."""
        ended = Column("superseded_time", TIME, "available_time of the row that replaced this one.")
        return replace(
            self,
            name=f"{self.name}_history",
            description=f"Rows of {self.name} that corrections replaced.",
            columns=(*self.columns, ended),
            key=(*self.key, "available_time"),
            freshness=None,
            checks=(*self.checks, Check("superseded before it was known", "superseded_time > available_time")),
        )

    def quarantine(self) -> "Table":
        """Where rows that break this table's contract are kept, with the reason."""
        return Table(
            name=f"{self.name}_quarantine",
            layer=self.layer,
            description=f"Rows that {self.name} refused, as received.",
            owner=self.owner,
            columns=(
                Column("reason", pa.string(), "Which check the row failed; several are joined by '; '."),
                Column("instrument", pa.string(), "As received.", nullable=True),
                Column("event_time", TIME, "As received, where it could be read.", nullable=True),
                Column("row", pa.string(), "The whole refused row as JSON."),
                Column("row_hash", pa.string(), "SHA-256 of reason and row: the same refusal is kept once."),
                Column("received_time", TIME, "When the job refused it (wall clock).", content=False),
            ),
            key=("row_hash",),
            time_column="received_time",
            writer=self.writer,
        )
