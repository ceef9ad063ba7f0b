"""A bundle's graph, run as live runs it: onnxruntime, nothing else."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lake.bundle import MODEL_FILE, Manifest
from lake.errors import BundleRejected
from training.labels import Floats


@dataclass(frozen=True)
class OnnxModel:
    """Predicts like `training.models.Fitted`."""

    session: Any

    def predict(self, features: Floats) -> Floats:
        """[rows, window, k] raw feature columns → [rows] expected net return."""
        (result,) = self.session.run(["prediction"], {"features": np.ascontiguousarray(features, dtype=np.float64)})
        return np.asarray(result[:, 0], dtype=np.float64)


def load(folder: Path) -> OnnxModel:
    """Load the graph of a verified bundle.

    Raises:
        BundleRejected: it is no graph onnxruntime can run.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            (folder / MODEL_FILE).read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime raises classes of its own C++ module, all derived from Exception
        raise BundleRejected(f"{folder.name}/{MODEL_FILE}: onnxruntime refuses it: {error}") from None
    return OnnxModel(session)


def signature_problem(model: OnnxModel, manifest: Manifest) -> str:
    """What differs from the bundle contract; empty if nothing does."""
    inputs = [(i.name, i.type, i.shape[1:]) for i in model.session.get_inputs()]
    outputs = [(o.name, o.type, o.shape[1:]) for o in model.session.get_outputs()]
    expected_in = [("features", "tensor(double)", [manifest.window, len(manifest.features)])]
    expected_out = [("prediction", "tensor(float)", [1])]
    if inputs != expected_in:
        return f"inputs: expected {expected_in}, found {inputs}"
    if outputs != expected_out:
        return f"outputs: expected {expected_out}, found {outputs}"
    return ""
