"""A small lake with one traded order in it: raw frames, the decision live would have made, order, fill and bundle."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
from onnx import TensorProto, helper

from bitacora.chain import Books
from bitacora.recompute import Graphs
from bitacora.registry import ModelVersion
from feature_store.scan import compute
from feature_store.service import DEFAULT
from lake.bundle import MODEL_FILE, Manifest, verify_bundle, write_manifest
from lake.errors import NothingStored
from lake.intervals import MINUTE, WEEK, to_datetime
from lake.storage import Lake
from lake.table import Table
from lake.tables.bars import RAW_BARS
from lake.tables.features import FEATURES_5M
from lake.tables.trading import DECISIONS, FILLS, ORDERS

BTC = "binance:BTC/USDT"
BAR = 5 * MINUTE
MONDAY = 345_600_000_000 + 2_800 * WEEK
"""A Monday 00:00 UTC in 2023."""
COUNT = 620
START = MONDAY - 500 * BAR
DECIDED = START + (COUNT - 1) * BAR


def payload(index: int, price: float) -> str:
    """A closed-bar frame as the venue sends it."""
    open_time = (START + index * BAR) // 1000
    kline = {
        "t": open_time, "T": open_time + 299_999, "s": "BTCUSDT", "i": "5m", "o": f"{price:.2f}",
        "h": f"{price * 1.002:.2f}", "l": f"{price * 0.998:.2f}", "c": f"{price * 1.0005:.2f}",
        "v": f"{10 + index % 7}.5", "q": "1.0", "n": 3, "x": True,
    }  # fmt: skip
    return json.dumps({"e": "kline", "E": open_time + 300_001, "s": "BTCUSDT", "k": kline})


def frames() -> list[dict[str, Any]]:
    """Bronze rows of one instrument, a warm-up and some bars of the week after it."""
    walk = 30_000 * np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.001, COUNT)))
    rows = []
    for index, price in enumerate(walk):
        text, open_time = payload(index, float(price)), START + index * BAR
        rows.append({
            "venue": "binance", "stream": "ws:kline_5m", "instrument": BTC, "event_time": to_datetime(open_time),
            "market_time": to_datetime(open_time + BAR), "payload": text,
            "payload_hash": hashlib.sha256(text.encode()).hexdigest(), "month": "2023-09",
            "received_time": to_datetime(open_time + BAR), "run_id": "r",
        })  # fmt: skip
    return rows


def features(rows: list[dict[str, Any]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """What the feature service makes of the frames, [bars, columns]."""
    klines = [json.loads(row["payload"])["k"] for row in rows]
    bars = np.array([[float(k[c]) for c in "ohlcv"] for k in klines])
    return compute(DEFAULT, START + BAR * np.arange(COUNT), bars)


def write_bundle(folder: Path) -> str:
    """A bundle whose prediction is the first feature times two; returns its digest."""
    folder.mkdir(parents=True)
    count = len(DEFAULT.feature_names)
    weights = np.zeros((count, 1))
    weights[0] = 2.0
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["features"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["wide"]),
            helper.make_node("Cast", ["wide"], ["prediction"], to=TensorProto.FLOAT),
        ],
        "test",
        [helper.make_tensor_value_info("features", TensorProto.DOUBLE, ["batch", 1, count])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["batch", 1])],
        [helper.make_tensor("weights", TensorProto.DOUBLE, weights.shape, weights.ravel())],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / MODEL_FILE))
    manifest = Manifest(
        "bitacora", "run-1", "abc", 1, "2023-01-01T00:00:00Z", "5m", 12, 1, DEFAULT.name, DEFAULT.content_hash,
        list(DEFAULT.feature_names), {"features_5m_v1": 0}, 5.0, {"full_weight_return": 0.01, "band": 0.2},
    )  # fmt: skip
    return write_manifest(folder, manifest)


@dataclass
class FakeRegistry:
    """One version of one model, in memory; its bundle in a folder."""

    found: ModelVersion
    folder: Path

    def version(self, name: str, version: int) -> ModelVersion:
        if (name, version) != (self.found.name, self.found.version):
            raise NothingStored(f"the registry knows no version {version} of {name}.")
        return self.found

    def by_alias(self, name: str, alias: str) -> ModelVersion:
        return self.found

    def run(self, run_id: str) -> dict[str, Any]:
        return {"run_id": run_id, "status": "FINISHED", "params": {}, "tags": {}}

    def bundle(self, found: ModelVersion) -> tuple[Path, Manifest]:
        return self.folder, verify_bundle(self.folder, found.manifest_sha256)


def store(lake: Lake, table: Table, rows: list[dict[str, Any]]) -> None:
    """Write rows, whoever the table's writer is."""
    from deltalake import write_deltalake

    data = pa.Table.from_pylist(rows, schema=table.schema)
    Path(lake.uri(table)).mkdir(parents=True, exist_ok=True)
    write_deltalake(lake.uri(table), data, mode="append", partition_by=list(table.partition) or None)


def decision(rows: list[dict[str, Any]], digest: str, prediction: float) -> dict[str, Any]:
    when = to_datetime(DECIDED + BAR)
    return {
        "decision_id": "j-9", "instrument": BTC, "open_time": to_datetime(DECIDED), "event_time": when,
        "available_time": when, "service_hash": DEFAULT.content_hash, "features": features(rows)[-1].tolist(),
        "prediction": prediction, "model_name": "bitacora", "model_version": 1, "manifest_sha256": digest,
        "target_weight": 0.5, "frame_hash": rows[-1]["payload_hash"], "reason": "model",
    }  # fmt: skip


def order() -> dict[str, Any]:
    when = to_datetime(DECIDED + BAR)
    return {
        "client_order_id": "bj-10", "order_id": "77", "decision_id": "j-9", "instrument": BTC, "side": "buy",
        "order_type": "market", "price": None, "quantity": "0.1", "filled_quantity": "0.1", "status": "filled",
        "event_time": when, "available_time": when,
    }  # fmt: skip


def fill(trade_id: str = "5") -> dict[str, Any]:
    when = to_datetime(DECIDED + BAR)
    return {
        "instrument": BTC, "trade_id": trade_id, "order_id": "77", "client_order_id": "bj-10", "side": "buy",
        "price": "30000.10", "quantity": "0.1", "fee": "0.00005", "fee_asset": "BTC", "is_maker": False,
        "event_time": when, "available_time": when,
    }  # fmt: skip


def gold(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Gold's feature rows, as Spark writes them."""
    for row, values in zip(rows, features(rows), strict=True):
        yield {
            "instrument": BTC, "open_time": row["event_time"], "event_time": row["market_time"],
            "available_time": row["market_time"], "service_hash": DEFAULT.content_hash, "month": "2023-09",
            **{n: None if np.isnan(v) else float(v) for n, v in zip(DEFAULT.feature_names, values, strict=True)},
        }  # fmt: skip


def build(root: Path, change: dict[str, Any] | None = None) -> Books:
    """The whole small world; `change` overrides fields of the decision."""
    lake, rows = Lake(str(root / "lake")), frames()
    digest = write_bundle(root / "bundle")
    model_file = root / "bundle" / MODEL_FILE
    prediction = Graphs().predict(model_file, features(rows)[-1:])
    store(lake, RAW_BARS, rows)
    store(lake, FEATURES_5M, list(gold(rows)))
    store(lake, DECISIONS, [decision(rows, digest, prediction) | (change or {})])
    store(lake, ORDERS, [order()])
    store(lake, FILLS, [fill()])
    version = ModelVersion(
        "bitacora", 1, "run-1", "mlflow-artifacts:/1/run-1/artifacts/bundle", {"manifest_sha256": digest}
    )
    return Books(lake, FakeRegistry(version, root / "bundle"))
