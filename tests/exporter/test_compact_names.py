"""Quantized ONNX files: short names, equal constants stored once, and the same results."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

CONSTANTS = {
    "relu_scale": np.float32(0.1),
    "same_scale": np.float32(0.1),
    "relu_zero_point": np.uint8(3),
    "weight_quantized": np.arange(4, dtype=np.int8).reshape(1, 4),
    "weight_scale": np.float32(0.5),
    "weight_zero_point": np.int8(0),
    "in_branch": np.float32([[2.0]]),
    "q0": np.float32([[7.0]]),
}


@pytest.fixture
def compact(importable_workers):
    from compact_names import compact

    return compact


def network() -> onnx.ModelProto:
    """Conversions around a product, a branch that reads a constant from outside, and a tensor that is called q0."""

    def branch(constant: str) -> onnx.GraphProto:
        node = helper.make_node("Add", ["product", constant], [f"{constant}_sum"])
        return helper.make_graph([node], constant, [], [helper.make_tensor_value_info(f"{constant}_sum", 1, [1, 1])])

    nodes = [
        helper.make_node("Relu", ["x"], ["relu"], "relu"),
        helper.make_node("QuantizeLinear", ["relu", "relu_scale", "relu_zero_point"], ["relu_q"], "relu_quantize"),
        helper.make_node("DequantizeLinear", ["relu_q", "same_scale", "relu_zero_point"], ["relu_dq"], "relu_back"),
        helper.make_node(
            "DequantizeLinear", ["weight_quantized", "weight_scale", "weight_zero_point"], ["weight_dq"], "weight"
        ),
        helper.make_node("Gemm", ["relu_dq", "weight_dq"], ["product"], "product", transB=1),
        helper.make_node("Cast", ["product"], ["q1"], "q1", to=TensorProto.BOOL),
        helper.make_node("ReduceMax", ["q1_number"], ["most"], "most", keepdims=0),
        helper.make_node("Cast", ["most"], ["any"], "any", to=TensorProto.BOOL),
        helper.make_node("If", ["any"], ["y"], "y", then_branch=branch("in_branch"), else_branch=branch("q0")),
    ]
    nodes.insert(6, helper.make_node("Cast", ["q1"], ["q1_number"], "q1_number", to=TensorProto.FLOAT))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in CONSTANTS.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def outputs(model: onnx.ModelProto) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images = (np.float32([[1, 2, 3, 4]]), np.float32([[-1, -1, -1, -1]]))
    return [session.run(None, {"x": image})[0] for image in images]


def test_the_results_stay_and_the_names_are_short(compact):
    model, before = network(), outputs(network())
    compact(model)
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_array_equal(outputs(model), before)
    held = {value.name for value in model.graph.initializer}
    assert len(held) == len(CONSTANTS) - 1  # one of the two equal scales
    assert {"q0", "in_branch"} <= held  # branches read them by these names
    conversions = [node for node in model.graph.node if node.op_type.endswith("izeLinear")]
    assert all(len(name) <= 3 for node in conversions for name in (node.name, *node.output))
    assert [node.name for node in model.graph.node if node.op_type in ("Relu", "Gemm", "Cast")] == [
        node.name for node in network().graph.node if node.op_type in ("Relu", "Gemm", "Cast")
    ]
    assert model.ByteSize() < network().ByteSize() - 150


def test_constants_of_equal_bytes_and_other_types_stay_apart(compact):
    model = network()
    model.graph.initializer.append(numpy_helper.from_array(np.uint8(0), "zero"))  # the bytes of the weight's zero point
    compact(model)
    kinds = [value.data_type for value in model.graph.initializer]
    assert kinds.count(TensorProto.UINT8) == 2
    assert kinds.count(TensorProto.INT8) == 2
