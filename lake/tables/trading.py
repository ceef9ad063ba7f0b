"""What live did and who let it: decisions, orders, fills (from the journal), promotions (audit, append only)."""

import pyarrow as pa

from lake.table import TIME, Column, Table

_TEXT = pa.string()

DECISIONS = Table(
    name="decisions_v1",
    layer="gold",
    description="One row per closed bar that live decided on, with the exact feature vector it used; with a strategy "
    "also one per book, trade or time that led to orders.",
    owner="ops",
    columns=(
        Column("decision_id", _TEXT, "journal id and sequence number."),
        Column("instrument", _TEXT, "Instrument id."),
        Column("open_time", TIME, "Open of the bar decided on, or of the bar its event fell in."),
        Column("event_time", TIME, "Close of that bar, or when the event happened (market clock)."),
        Column("available_time", TIME, "Market time at which the decision was made."),
        Column("service_hash", _TEXT, "Feature service hash of the bundle."),
        Column("features", pa.list_(pa.float64()), "In the order of the bundle's feature list; null is NaN."),
        Column(
            "prediction", pa.float64(), "Expected net return over the horizon; null if none was made.", "fraction", True
        ),
        Column("model_name", _TEXT, "Model or a strategy's class; null while flat for want of one.", nullable=True),
        Column("model_version", pa.int64(), "Registry version.", nullable=True),
        Column("manifest_sha256", _TEXT, "Digest of the bundle, or of the strategy's file.", nullable=True),
        Column("target_weight", pa.float64(), "Share of the instrument's capital to hold.", "fraction"),
        Column("frame_hash", _TEXT, "SHA-256 of the frame that closed the bar (in bronze), or of the event's payload."),
        Column(
            "reason",
            _TEXT,
            "Why: model, strategy, warming, gap, no_model, nan, stale; book, trade, time: see decision_events_v1.",
        ),
    ),
    key=("decision_id",),
    time_column="event_time",
    writer="delta-rs",
)

DECISION_EVENTS = Table(
    name="decision_events_v1",
    layer="gold",
    description="What a strategy was shown when it decided on a book, a trade or the time, as live's journal has it.",
    owner="ops",
    columns=(
        Column("decision_id", _TEXT, "The decision it led to."),
        Column("kind", _TEXT, "book, trade or time."),
        Column("instrument", _TEXT, "Whose book or trade; empty for a time."),
        Column("event_id", pa.int64(), "Last update id the book holds, trade id, or the time in microseconds."),
        Column("event_time", TIME, "When it happened, by the venue."),
        Column("available_time", TIME, "Market time of the decision."),
        Column("received_time", TIME, "Wall clock of the message."),
        Column("payload", _TEXT, "The trade's message; the levels shown, or what was known at the time, as JSON."),
        Column("payload_hash", _TEXT, "SHA-256 of the payload: the decision's frame_hash."),
    ),
    key=("decision_id",),
    time_column="event_time",
    writer="delta-rs",
)

ORDERS = Table(
    name="orders_v1",
    layer="gold",
    description="One row per intent with its last known state.",
    owner="ops",
    columns=(
        Column("client_order_id", _TEXT, "Ours, unique for ever."),
        Column("order_id", _TEXT, "The venue's id; null where none was proven.", nullable=True),
        Column("decision_id", _TEXT, "The decision it serves."),
        Column("instrument", _TEXT, "Instrument id."),
        Column("side", _TEXT, "buy or sell."),
        Column("order_type", _TEXT, "market, limit, stop or stop_limit."),
        Column("price", _TEXT, "Limit, decimal text; null without one.", "quote", True),
        Column("quantity", _TEXT, "Decimal text.", "base"),
        Column("filled_quantity", _TEXT, "Decimal text.", "base"),
        Column("status", _TEXT, "pending, open, filled, cancelled, rejected, unknown, expired."),
        Column("event_time", TIME, "Market time of the intent."),
        Column("available_time", TIME, "Market time of the last change."),
    ),
    key=("client_order_id",),
    time_column="event_time",
    writer="delta-rs",
)

FILLS = Table(
    name="fills_v1",
    layer="gold",
    description="One row per trade of ours, exact decimals as text.",
    owner="ops",
    columns=(
        Column("instrument", _TEXT, "Instrument id."),
        Column("trade_id", _TEXT, "The venue's trade id, unique per instrument."),
        Column("order_id", _TEXT, "The venue's order id."),
        Column("client_order_id", _TEXT, "Ours."),
        Column("side", _TEXT, "buy or sell."),
        Column("price", _TEXT, "Decimal text.", "quote"),
        Column("quantity", _TEXT, "Decimal text.", "base"),
        Column("fee", _TEXT, "Decimal text."),
        Column("fee_asset", _TEXT, "Asset the fee was taken in."),
        Column("is_maker", pa.bool_(), "True if our order was resting."),
        Column("event_time", TIME, "Market time of the trade."),
        Column("available_time", TIME, "Market time at which live learned of it."),
    ),
    key=("instrument", "trade_id"),
    time_column="event_time",
    writer="delta-rs",
)

PROMOTIONS = Table(
    name="promotions_v1",
    layer="gold",
    description="Append-only audit: who moved the champion, when, why, from what to what; refusals too.",
    owner="ops",
    columns=(
        Column("promotion_id", _TEXT, "Random id."),
        Column("model_name", _TEXT, "Registered model."),
        Column("action", _TEXT, "promote, refuse, reject or rollback."),
        Column("from_version", pa.int64(), "Champion before; null if none.", nullable=True),
        Column("to_version", pa.int64(), "Version judged."),
        Column("manifest_sha256", _TEXT, "Digest of the version judged."),
        Column("approved_by", _TEXT, "Person, or policy:auto."),
        Column("why", _TEXT, "The approver's words or the failed checks."),
        Column("verdict", _TEXT, "The gate's whole verdict as JSON."),
        Column("event_time", TIME, "Wall clock."),
        Column("available_time", TIME, "Same instant."),
    ),
    key=("promotion_id",),
    time_column="event_time",
    writer="delta-rs",
)
