"""What live wrote down lands in the lake once, however often the job runs."""

import hashlib
import sys
from pathlib import Path

import pytest

from jobs import ingest_journal
from jobs.command import Job, parser
from lake.intervals import MINUTE
from lake.journal import encode
from lake.settings import HomeSettings
from lake.storage import Lake
from lake.tables import DECISIONS, FILLS, ORDERS, RAW_BARS

BTC = "binance:BTC/USDT"
OPEN = 1_690_000_200_000_000 // (5 * MINUTE) * (5 * MINUTE)
PAYLOAD = '{"e":"kline","E":1,"k":{"t":1}}'


def order_records() -> list[dict[str, object]]:
    digest = hashlib.sha256(PAYLOAD.encode()).hexdigest()
    frame = {"stream": "ws:kline_5m", "instrument": BTC, "open_time": OPEN, "market_time": OPEN + 5 * MINUTE}
    decision = {
        "decision_id": "aa-2", "instrument": BTC, "open_time": OPEN, "available_time": OPEN + 5 * MINUTE,
        "service_hash": "h", "features": [1.0, None, -0.5], "prediction": 0.001, "model_name": "bitacora",
        "model_version": 1, "manifest_sha256": "m", "target_weight": 0.5, "frame_hash": digest, "reason": "model",
    }  # fmt: skip
    intent = {
        "client_order_id": "baa-3", "decision_id": "aa-2", "instrument": BTC, "side": "buy", "order_type": "market",
        "price": None, "quantity": "0.5", "timestamp": 1,
    }  # fmt: skip
    fill = {
        "instrument": BTC, "trade_id": "7", "order_id": "11", "client_order_id": "baa-3", "side": "buy",
        "price": "30000.10", "quantity": "0.2", "fee": "0.0001", "fee_asset": "BTC", "is_maker": False,
        "available_time": OPEN + 6 * MINUTE,
    }  # fmt: skip
    return [
        {"kind": "start", "journal_id": "aa", "balances": {"USDT": "100"}},
        {"kind": "frame", **frame, "payload": PAYLOAD, "payload_hash": digest},
        {"kind": "decision", **decision},
        {"kind": "intent", **intent},
        {"kind": "order", "client_order_id": "baa-3", "order_id": "11", "status": "open", "filled_quantity": "0.2"},
        {"kind": "fill", **fill},
        {"kind": "fill", **fill},
    ]


def write(path: Path, records: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stamped = [{"seq": n, "event_time": OPEN + 5 * MINUTE + n, **record} for n, record in enumerate(records)]
    path.write_bytes(b"".join(encode(record) for record in stamped))


def job(home: Path, *arguments: str) -> Job:
    arguments_parser = parser("ingest_journal", "")
    arguments_parser.add_argument("--journal", type=Path)
    settings = HomeSettings(home=home)
    return Job("ingest_journal", settings, Lake(str(home / "lake")), arguments_parser.parse_args(arguments))


def test_every_kind_lands_once_and_a_second_run_changes_nothing(home: Path) -> None:
    write(home / "live/journal/journal.log", order_records())
    lake = Lake(str(home / "lake"))
    first = ingest_journal.run(job(home))
    assert {name: t["rows"] for name, t in first["tables"].items()} == {
        "raw_bars_v1": 1, "decisions_v1": 1, "decision_events_v1": 0, "orders_v1": 1, "fills_v1": 1,
    }  # fmt: skip
    before = {t.name: lake.content_hash(t) for t in (RAW_BARS, DECISIONS, ORDERS, FILLS)}
    second = ingest_journal.run(job(home))
    assert all(t["rows"] == 0 for t in second["tables"].values())
    assert before == {t.name: lake.content_hash(t) for t in (RAW_BARS, DECISIONS, ORDERS, FILLS)}
    assert lake.scan(RAW_BARS).collect()["payload"].to_list() == [PAYLOAD]
    assert lake.scan(DECISIONS).collect()["features"].to_list() == [[1.0, None, -0.5]]


def test_an_order_that_moved_on_is_updated_and_its_fills_add_up_exactly(home: Path) -> None:
    records = order_records()
    write(home / "live/journal/journal.log", records)
    ingest_journal.run(job(home))
    more = {**records[5], "trade_id": "8", "quantity": "0.3", "price": "30000.20"}
    done = {"kind": "order", "client_order_id": "baa-3", "order_id": "11", "status": "filled", "filled_quantity": "0.5"}
    write(home / "live/journal/journal.log", [*records, more, done])
    ingest_journal.run(job(home))
    rows = Lake(str(home / "lake")).scan(ORDERS).collect().to_dicts()
    assert [(r["status"], r["filled_quantity"], r["order_id"]) for r in rows] == [("filled", "0.5", "11")]


def test_a_torn_last_line_is_left_out(home: Path) -> None:
    path = home / "live/journal/journal.log"
    write(path, order_records())
    path.write_bytes(path.read_bytes() + b'0123abcd {"seq":7,"ki')
    assert ingest_journal.run(job(home))["records"] == 7


def test_no_journal_is_said_with_exit_code_69(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from jobs.command import main

    monkeypatch.setattr(sys, "argv", ["ingest_journal"])
    arguments = parser("ingest_journal", "")
    arguments.set_defaults(journal=None)
    with pytest.raises(SystemExit) as stopped:
        main("ingest_journal", ingest_journal.run, arguments)
    assert stopped.value.code == 69
    assert "no journal at" in capsys.readouterr().err
