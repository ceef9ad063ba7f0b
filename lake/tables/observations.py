"""What sources answered (bronze), and the numbers they told: on-chain, DeFi, fundamentals, indices, macro (silver)."""

import pyarrow as pa

from lake.intervals import DAY
from lake.table import TIME, Check, Column, Table

RAW_ANSWERS = Table(
    name="raw_answers_v1",
    layer="bronze",
    description="Every answer of a REST source and every imported series, as received; one already held is skipped.",
    owner="data",
    columns=(
        Column("source", pa.string(), "Name of the source, a file of lake/sources."),
        Column("endpoint", pa.string(), "Which of its endpoints; import:<metric> for a file."),
        Column("request", pa.string(), "The request as canonical JSON, without the key."),
        Column("entity", pa.string(), "What was asked about, in the source's words."),
        Column("page", pa.int64(), "Position within the conversation; 0 is the first answer kept.", content=False),
        Column("payload", pa.string(), "The body as received."),
        Column("payload_hash", pa.string(), "SHA-256 of the payload, hex."),
        Column("market_time", TIME, "The source's clock when it answered first with this."),
        Column("month", pa.string(), "YYYY-MM of market_time."),
        Column("asked_until", TIME, "End of the interval asked for: the next run goes on here.", content=False),
        Column("received_time", TIME, "Wall clock of receipt.", content=False),
        Column("run_id", pa.string(), "Which run stored it.", content=False),
    ),
    key=("source", "endpoint", "request", "payload_hash"),
    time_column="market_time",
    freshness=2 * DAY,
    partition=("source", "month"),
    writer="delta-rs",
)

OBSERVATIONS = Table(
    name="observations_v1",
    layer="silver",
    description="One number per source, entity, metric and time; units and publication delays are declared per metric.",
    owner="data",
    columns=(
        Column("source", pa.string(), "Name of the source."),
        Column("entity", pa.string(), "Asset or instrument id, protocol/…, chain/…, pool/…, macro/…."),
        Column("metric", pa.string(), "One of the source's declared metrics."),
        Column("event_time", TIME, "End of what the number is about."),
        Column("available_time", TIME, "event_time plus the metric's delay; for a correction, when it was published."),
        Column("value", pa.float64(), "In the metric's unit."),
        Column("unit", pa.string(), "The metric's declared unit."),
        Column("month", pa.string(), "YYYY-MM of event_time."),
        Column("payload_hash", pa.string(), "The bronze row it was read from."),
    ),
    key=("source", "entity", "metric", "event_time"),
    time_column="event_time",
    freshness=2 * DAY,
    partition=("month",),
    checks=(
        Check("value is missing or not finite", "coalesce(value > -1e300 AND value < 1e300, false)"),
        Check("known before it happened", "coalesce(available_time >= event_time, false)"),
        Check("unit is missing", "coalesce(unit <> '', false)"),
    ),
)
