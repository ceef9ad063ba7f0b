"""Holes in what was recorded, each with its probable reason."""

import pyarrow as pa

from lake.table import TIME, Check, Column, Table

REASONS = ("no_trades", "venue_outage", "not_recorded", "unknown")

GAPS = Table(
    name="gaps_v1",
    layer="gold",
    description="Missing stretches of a table's time grid; a later row with state closed says that one was filled.",
    owner="data",
    columns=(
        Column("observed", pa.string(), "The table that has the hole."),
        Column("instrument", pa.string(), "Instrument id."),
        Column("event_time", TIME, "First missing instant of the grid."),
        Column("end_time", TIME, "The next instant that is there."),
        Column("available_time", TIME, "When the row after the hole was there: no earlier could it be told."),
        Column("missing", pa.int64(), "Grid points.", "rows"),
        Column("reason", pa.string(), "no_trades, venue_outage, not_recorded or unknown."),
        Column("evidence", pa.string(), "What the reason rests on."),
        Column("state", pa.string(), "open; closed where a later check no longer found it so."),
        Column("month", pa.string(), "YYYY-MM of event_time."),
        Column("found_time", TIME, "Wall clock of the check.", content=False),
    ),
    key=("observed", "instrument", "event_time", "end_time", "state"),
    time_column="event_time",
    partition=("month",),
    checks=(
        Check("the hole is empty", "missing > 0 AND end_time > event_time"),
        Check("unknown reason", "reason IN ('no_trades', 'venue_outage', 'not_recorded', 'unknown')"),
        Check("unknown state", "state IN ('open', 'closed')"),
    ),
    writer="delta-rs",
)
