"""Land live's journal in the lake: raw frames in bronze; decisions, orders and fills in gold.

Reads   BITACORA_HOME/live/journal/*.log, or --journal (a file or a folder); a torn last line is left out
Writes  bronze raw_bars_v1 (every frame as it stood on the wire), gold decisions_v1, decision_events_v1, orders_v1,
        fills_v1

What is already held is skipped, an order whose state moved on is updated; so it may run while live trades, and again.
"""

import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, Transaction
from deltalake.exceptions import CommitFailedError

from jobs.bronze import declared, store
from jobs.command import Job, main, parser
from jobs.lock import writing
from lake.errors import NothingStored, Overtaken
from lake.intervals import month_of
from lake.journal import Record, of_kind, read_journal
from lake.storage import Lake
from lake.table import TIME, Table
from lake.tables import DECISION_EVENTS, DECISIONS, FILLS, ORDERS, RAW_BARS


def journal_files(where: Path) -> list[Path]:
    """The journals at a path.

    Raises:
        NothingStored: there is none.
    """
    files = sorted(where.glob("*.log")) if where.is_dir() else [where]
    if not files or not files[0].is_file():
        raise NothingStored(f"no journal at {where}: live has not run with this BITACORA_HOME, or pass --journal.")
    return files


def frames(records: list[Record], run_id: str, received: int) -> list[dict[str, Any]]:
    """Bronze rows of the raw frames."""
    return [
        {
            "venue": r["instrument"].split(":")[0],
            "stream": r["stream"],
            "instrument": r["instrument"],
            "event_time": r["open_time"],
            "market_time": r["market_time"],
            "payload": r["payload"],
            "payload_hash": r["payload_hash"],
            "month": month_of(r["open_time"]),
            "received_time": received,
            "run_id": run_id,
        }
        for r in of_kind(records, "frame")
    ]


def decisions(records: list[Record]) -> list[dict[str, Any]]:
    return [_columns(r, DECISIONS) for r in of_kind(records, "decision")]


def decision_events(records: list[Record]) -> list[dict[str, Any]]:
    """What led to the decisions that no closed bar led to."""
    return [
        {
            "decision_id": r["decision_id"],
            "kind": r["event"]["kind"],
            "instrument": r["event"]["instrument"],
            "event_id": r["event"]["id"],
            "event_time": r["event"]["market_time"],
            "available_time": r["available_time"],
            "received_time": r["event"]["received_time"],
            "payload": r["event"]["payload"],
            "payload_hash": r["frame_hash"],
        }
        for r in of_kind(records, "decision")
        if "event" in r
    ]


def fills(records: list[Record]) -> list[dict[str, Any]]:
    """One row per trade id: the same fill is journalled once, but may have been heard of twice."""
    unique = {(r["instrument"], r["trade_id"]): _columns(r, FILLS) for r in reversed(list(of_kind(records, "fill")))}
    return list(reversed(unique.values()))


def orders(records: list[Record]) -> list[dict[str, Any]]:
    """One row per intent: its last known status, and the quantity its fills add up to (exact)."""
    rows: dict[str, dict[str, Any]] = {}
    for r in of_kind(records, "intent"):
        row = {c: r.get(c) for c in ORDERS.schema.names}
        rows[r["client_order_id"]] = row | {
            "status": "pending", "filled_quantity": "0", "available_time": r["event_time"],
        }  # fmt: skip
    for r in of_kind(records, "order", "fill"):
        row = rows[r["client_order_id"]]
        row["order_id"] = row["order_id"] or r["order_id"]
        row["available_time"] = max(row["available_time"], r["event_time"])
        if r["kind"] == "order":
            row["status"] = r["status"]
    for fill in fills(records):
        row = rows[fill["client_order_id"]]
        row["filled_quantity"] = str(Decimal(row["filled_quantity"]) + Decimal(fill["quantity"]))
    return list(rows.values())


def _columns(record: Record, table: Table) -> dict[str, Any]:
    return {name: record.get(name) for name in table.schema.names}


def _arrow(rows: list[dict[str, Any]], table: Table) -> pa.Table:
    """Rows with microsecond integers for times; the declaration's types."""
    arrays = []
    for field in table.schema:
        values = [row[field.name] for row in rows]
        array = pa.array(values, pa.int64()).cast(TIME) if field.type == TIME else pa.array(values, field.type)
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=table.schema)


def _upsert(lake: Lake, table: Table, rows: pa.Table, run_id: str) -> int:
    """Insert new keys and replace rows whose content moved on; a row that is equal is left alone."""
    if not lake.exists(table):
        return store(lake, table, rows, run_id)
    base = lake.version(table)
    held = lake.scan(table, version=base).collect()
    changed = pl.DataFrame(rows).join(held, on=table.schema.names, how="anti", nulls_equal=True)
    if changed.is_empty():
        return 0
    source = declared(changed, table)
    predicate = " AND ".join(f"t.{name} = s.{name}" for name in table.key)
    once = CommitProperties(app_transactions=[Transaction(f"bitacora/{table.name}", base + 1)])
    merge = lake.delta(table, base).merge(source, predicate, source_alias="s", target_alias="t", commit_properties=once)
    try:
        merge.when_matched_update_all().when_not_matched_insert_all().execute()
    except CommitFailedError as error:
        raise Overtaken(f"{table.name}: another run committed since version {base}: {error}.") from None
    return changed.height


def run(job: Job) -> dict[str, Any]:
    where = job.arguments.journal or job.home.home / "live" / "journal"
    records = [record for path in journal_files(where) for record in read_journal(path)[0]]
    received = time.time_ns() // 1000
    with writing(job.home.home, RAW_BARS, DECISIONS, DECISION_EVENTS, ORDERS, FILLS):
        work: list[tuple[Table, list[dict[str, Any]], Callable[[Lake, Table, pa.Table, str], int]]] = [
            (RAW_BARS, frames(records, job.run_id, received), store),
            (DECISIONS, decisions(records), store),
            (DECISION_EVENTS, decision_events(records), store),
            (ORDERS, orders(records), _upsert),
            (FILLS, fills(records), store),
        ]
        tables = {}
        for table, rows, write in work:
            stored = write(job.lake, table, _arrow(rows, table), job.run_id)
            version = job.lake.version(table) if job.lake.exists(table) else None
            tables[table.name] = {"version": version, "rows": stored}
    return {"tables": tables, "records": len(records)}


if __name__ == "__main__":
    arguments = parser("ingest_journal", __doc__)
    arguments.add_argument("--journal", type=Path, help="a journal file or folder (default: live's own)")
    main("ingest_journal", run, arguments)
