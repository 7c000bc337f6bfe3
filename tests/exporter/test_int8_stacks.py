"""int8 of a product with a constant stack of matrices, or with a constant matrix on the left."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

pytestmark = pytest.mark.usefixtures("importable_workers")


@pytest.mark.parametrize("dims", [(1, 8, 6), (3, 8, 6), (8, 6)])
def test_a_stack_of_matrices_runs(dims):
    from int8_model import int8_model

    random = np.random.default_rng(0)
    weight, image = random.normal(size=dims).astype("f"), random.uniform(-1, 1, (3, 5, 8)).astype("f")
    expected = image @ weight
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, image.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, expected.shape)],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    ranges = {"x": (-1.0, 1.0), "y": (float(expected.min()), float(expected.max()))}
    options = {"per_channel": True, "symmetric": False, "inputs_only": False}
    made = int8_model(model, ranges, {"product"}, options)
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": image})
    assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()


def test_a_matrix_on_the_left_has_one_scale():
    """Scales of its columns could not be taken out of the sum over them."""
    from int8_model import int8_model

    weight = np.diag(np.arange(1, 9)).astype("f")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["w", "x"], ["y"], "product")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (8, 5))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (8, 5))],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    options = {"per_channel": True, "symmetric": False, "inputs_only": False}
    made = int8_model(model, {"x": (-1.0, 1.0), "y": (-8.0, 8.0)}, {"product"}, options)
    sizes = {value.name: np.prod(value.dims, dtype=int) for value in made.graph.initializer}
    (scale,) = (
        node.input[1] for node in made.graph.node if node.op_type == "DequantizeLinear" and "w" in node.input[0]
    )
    assert sizes[scale] == 1
