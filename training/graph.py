"""The ONNX graph around an estimator: raw feature columns in, expected net return out (contract: lake/bundle.py)."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from training.labels import Floats
from training.scale_free import CLIP, VOLATILITY_FLOOR, ScaleFree

OPSET, ML_OPSET, IR_VERSION = 18, 3, 10


def tree_graph(tree: onnx.NodeProto, scaling: ScaleFree, horizon: int, cost: float) -> onnx.ModelProto:
    """Wrap one TreeEnsembleRegressor node: scale-free inputs before it, volatility and cost after it.

    Args:
        tree: reads float32 [batch, m] and writes the expected gross return in standard deviations of the horizon.
        scaling: the inputs, in the tree's order.
        horizon: bars; volatility grows with its square root.
        cost: round trip, a fraction.
    """
    constants: list[onnx.TensorProto] = []

    def constant(name: str, value: Floats | list[int]) -> str:
        array = np.asarray(value, dtype=np.int64 if isinstance(value, list) else np.float64)
        constants.append(numpy_helper.from_array(array, name))
        return name

    def node(op: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    nodes: list[onnx.NodeProto] = []
    rows = len(scaling.numerator)
    flat = node("Reshape", ["features", constant("flat_shape", [-1, rows])], "flat")  # [batch, k], window is 1
    top = node("MatMul", [flat, constant("numerator", scaling.numerator)], "top_sum")
    top = node("Add", [top, constant("shift", scaling.shift)], "top")
    bottom = node("MatMul", [flat, constant("denominator", scaling.denominator)], "bottom_sum")
    bottom = node("Add", [bottom, constant("constant", scaling.constant)], "bottom_raw")
    bottom = node("Max", [bottom, constant("floor", scaling.floor)], "bottom")
    ratio = node("Div", [top, bottom], "ratio")
    ratio = node("Mul", [ratio, constant("scale", scaling.scale)], "scaled")
    limits = [constant("clip_low", np.array(-CLIP)), constant("clip_high", np.array(CLIP))]
    ratio = node("Clip", [ratio, *limits], "clipped")
    inputs = node("Cast", [ratio], "inputs", to=TensorProto.FLOAT)  # [batch, m]
    estimator = onnx.NodeProto()
    estimator.CopyFrom(tree)
    estimator.input[:], estimator.output[:] = [inputs], ["deviations_32"]
    nodes.append(estimator)
    deviations = node("Cast", ["deviations_32"], "deviations", to=TensorProto.DOUBLE)  # [batch, 1]
    volatility = node("MatMul", [flat, constant("volatility_column", scaling.volatility)], "volatility_raw")
    volatility = node("Max", [volatility, constant("volatility_floor", np.array(VOLATILITY_FLOOR))], "volatility")
    volatility = node("Mul", [volatility, constant("root_horizon", np.array(np.sqrt(horizon)))], "horizon_volatility")
    gross = node("Mul", [deviations, volatility], "gross")
    net = node("Sub", [gross, constant("round_trip_cost", np.array(cost))], "net")
    node("Cast", [net], "prediction", to=TensorProto.FLOAT)

    graph = helper.make_graph(
        nodes,
        "bitacora",
        [helper.make_tensor_value_info("features", TensorProto.DOUBLE, ["batch", 1, rows])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["batch", 1])],
        constants,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="bitacora")
    onnx.checker.check_model(model, full_check=True)
    return model


def save(model: onnx.ModelProto, path: Path) -> None:
    """One self-contained file, no external data."""
    path.write_bytes(model.SerializeToString(deterministic=True))
