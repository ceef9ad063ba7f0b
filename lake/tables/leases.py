"""Versions that must stay readable: what registered models were trained on."""

import pyarrow as pa

from lake.table import TIME, Column, Table

LEASES = Table(
    name="leases_v1",
    layer="gold",
    description="One row per table version that a registered model was trained on; maintenance keeps its files.",
    owner="ml",
    columns=(
        Column("table", pa.string(), "Table whose version is kept."),
        Column("version", pa.int64(), "Delta version."),
        Column("model_name", pa.string(), "Registered model."),
        Column("model_version", pa.int64(), "Registry version."),
        Column("event_time", TIME, "Wall clock of the registration."),
        Column("available_time", TIME, "Same instant."),
        Column("expiry_time", TIME, "From then on the files may go."),
    ),
    key=("table", "version", "model_name", "model_version"),
    time_column="event_time",
    writer="delta-rs",
)
