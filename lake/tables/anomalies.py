"""Rows that keep every rule and are odd all the same: kept where they are, told here."""

import pyarrow as pa

from lake.table import TIME, Check, Column, Table

FLAGS = Table(
    name="anomalies_v1",
    layer="gold",
    description="Rows that an anomaly check of severity flag found; the row itself stays in its table.",
    owner="data",
    columns=(
        Column("observed", pa.string(), "The table that holds the row."),
        Column("anomaly", pa.string(), "Which check of lake.anomalies."),
        Column("instrument", pa.string(), "Instrument id."),
        Column("event_time", TIME, "The row's."),
        Column(
            "available_time", TIME, "When it could be told: the newest row of the stretch that was judged was known."
        ),
        Column("row_key", pa.string(), "The row's key as JSON."),
        Column("why", pa.string(), "What the check looks for."),
        Column("month", pa.string(), "YYYY-MM of event_time."),
        Column("found_time", TIME, "Wall clock of the check.", content=False),
    ),
    key=("observed", "anomaly", "row_key"),
    time_column="event_time",
    partition=("month",),
    checks=(Check("told before the row was over", "coalesce(available_time >= event_time, false)"),),
    writer="delta-rs",
)
