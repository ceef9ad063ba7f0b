"""The append-only record of who let which model trade: table promotions_v1. Refusals are recorded too."""

import uuid
from datetime import UTC, datetime

import orjson
import polars as pl
import pyarrow as pa

from lake.intervals import to_datetime, to_us
from lake.storage import Lake
from lake.tables.trading import PROMOTIONS
from training.gate import Verdict
from training.registry import Version


def record(
    lake: Lake, action: str, candidate: Version, champion: Version | None, who: str, why: str, verdict: Verdict | None
) -> int:
    """Append one row and return the table's version. `action`: promote, refuse, reject or rollback."""
    now = to_datetime(to_us(datetime.now(UTC)))
    row = {
        "promotion_id": uuid.uuid4().hex,
        "model_name": candidate.name,
        "action": action,
        "from_version": champion.number if champion else None,
        "to_version": candidate.number,
        "manifest_sha256": candidate.manifest_sha256,
        "approved_by": who,
        "why": why,
        "verdict": orjson.dumps(verdict.to_dict() if verdict else {}).decode(),
        "event_time": now,
        "available_time": now,
    }
    return lake.append(PROMOTIONS, pa.Table.from_pylist([row], schema=PROMOTIONS.schema), run_id=candidate.run_id)


def previous_champion(lake: Lake, model_name: str, current: int) -> int | None:
    """The version the current champion replaced, by the newest row that made it champion; None if there was none."""
    if not lake.exists(PROMOTIONS):
        return None
    rows = (
        lake.scan(PROMOTIONS)
        .filter(
            pl.col("model_name") == model_name,
            pl.col("action").is_in(["promote", "rollback"]),
            pl.col("to_version") == current,
        )
        .sort("event_time")
        .select("from_version")
        .collect()
    )
    return None if rows.is_empty() else rows["from_version"][-1]
