"""Bundles built for tests: real ONNX graphs, real manifests."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from feature_store.service import DEFAULT
from lake.bundle import Manifest, write_manifest
from market.policy import PolicyParameters

POLICY = PolicyParameters(full_weight_return=0.001, band=0.1).to_dict()


def manifest(**changes: Any) -> Manifest:
    """A manifest of this code's features; `changes` break it."""
    fields: dict[str, Any] = {
        "model_name": "bitacora", "run_id": "test", "git_commit": "test", "seed": 1,
        "created_time": "2026-11-23T00:00Z", "timeframe": "5m", "horizon_bars": 12, "window": 1,
        "feature_service": DEFAULT.name,
        "feature_service_hash": DEFAULT.content_hash, "features": list(DEFAULT.feature_names), "table_versions": {},
        "cost_bps_per_side": 5.0, "policy": POLICY,
    }  # fmt: skip
    return Manifest(**(fields | changes))


def momentum_graph(
    gain: float = 1000.0, window: int = 1, width: int | None = None, output: str = "prediction"
) -> bytes:
    """prediction = gain x the newest row's first feature (log_return_1): long after a rise, flat after a fall."""
    width = width or len(DEFAULT.feature_names)
    weights = np.zeros((window * width, 1))
    weights[(window - 1) * width, 0] = gain
    nodes = [
        helper.make_node("Reshape", ["features", "flat"], ["rows"]),
        helper.make_node("MatMul", ["rows", "weights"], ["double"]),
        helper.make_node("Cast", ["double"], [output], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes, "momentum",
        [helper.make_tensor_value_info("features", TensorProto.DOUBLE, ["batch", window, width])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", 1])],
        [
            numpy_helper.from_array(np.array([-1, window * width], np.int64), "flat"),
            numpy_helper.from_array(weights, "weights"),
        ],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def write_bundle(folder: Path, graph: bytes | None = None, **changes: Any) -> str:
    """A whole bundle in `folder`; returns its manifest's digest."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(graph if graph is not None else momentum_graph())
    (folder / "model_card.md").write_text("A test model.\n")
    (folder / "metrics.json").write_text("{}\n")
    return write_manifest(folder, manifest(**changes))
