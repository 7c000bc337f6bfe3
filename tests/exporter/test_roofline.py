"""Estimated times of products in int8 and float, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

pytestmark = pytest.mark.usefixtures("importable_workers")


SHAPES = {
    "x": (1, 3, 32, 32),
    "w0": (64, 3, 3, 3),
    "a": (1, 64, 32, 32),
    "r": (1, 64, 32, 32),
    "w1": (64, 1, 3, 3),
    "b": (1, 64, 32, 32),
    "w2": (64, 64, 1, 1),
    "y": (1, 64, 32, 32),
}


def estimates(*, transposed: bool = False):
    """A convolution of a picture, a ReLU, a depthwise and a pointwise convolution."""
    from roofline import Roofline

    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "w1"], ["b"], "depthwise", group=64),
        helper.make_node("ConvTranspose" if transposed else "Conv", ["b", "w2"], ["y"], "pointwise"),
    ]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPES[name]) for name in ("x", "y")]
    weights = [
        helper.make_tensor(
            name, TensorProto.FLOAT, shape, bytes(4 * shape[0] * shape[1] * shape[2] * shape[3]), raw=True
        )
        for name, shape in SHAPES.items()
        if name[0] == "w"
    ]
    return Roofline(helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:], weights)), SHAPES)


def test_multiply_adds():
    found = estimates().products
    assert {name: each.multiply_adds for name, each in found.items()} == {
        "first": 64 * 27 * 1024,
        "depthwise": 64 * 9 * 1024,
        "pointwise": 64 * 64 * 1024,
    }
    assert estimates(transposed=True).products["pointwise"].multiply_adds == 64 * 64 * 1024


def test_what_a_product_waits_for():
    """The pointwise convolution computes 32 multiply-adds per element, the depthwise one 4.5: it waits for memory."""
    import roofline

    found = estimates().products
    pointwise, depthwise = found["pointwise"], found["depthwise"]
    assert pointwise.nanoseconds(int8=False) == pytest.approx(64 * 64 * 1024 * roofline._FLOAT)
    assert pointwise.nanoseconds(int8=True) == pytest.approx(64 * 64 * 1024 * roofline._INT8)
    elements = 2 * 64 * 1024 + 64 * 9
    assert depthwise.nanoseconds(int8=False) == pytest.approx(max(elements * 4 * roofline._BYTE, 64 * 9 * 1024 * 0.035))
    assert depthwise.nanoseconds(int8=True) > depthwise.nanoseconds(int8=False)  # so it gains nothing


def test_each_border_is_a_conversion():
    import roofline

    found = estimates()
    products = {name: [each.nanoseconds(int8=int8) for int8 in (False, True)] for name, each in found.products.items()}
    floats = sum(one[0] for one in products.values())
    assert found.nanoseconds(set()) == floats

    def conversions(int8: set[str]) -> float:
        return found.nanoseconds(int8) - sum(one[name in int8] for name, one in products.items())

    picture, tensor = (size * roofline._ELEMENT_CONVERTED + roofline._TENSOR_CONVERTED for size in (3072, 65536))
    assert conversions({"first", "relu", "depthwise", "pointwise"}) == pytest.approx(picture + tensor)  # both ends
    assert conversions({"first", "relu", "pointwise"}) == pytest.approx(picture + 3 * tensor)
    assert conversions({"first", "pointwise"}) == conversions({"first", "relu", "pointwise"})  # the ReLU is folded
    assert conversions({"depthwise"}) == pytest.approx(2 * tensor)
    transposed = estimates(transposed=True)  # computed in float anyway
    assert transposed.nanoseconds({"pointwise"}) == transposed.nanoseconds(set())


def test_a_tensor_is_converted_once_for_all_its_readers():
    from roofline import Roofline

    nodes = [helper.make_node("MatMul", ["x", f"w{index}"], [f"y{index}"], f"m{index}") for index in range(3)]
    shapes = {"x": (4, 8)} | {f"w{index}": (8, 2) for index in range(3)} | {f"y{index}": (4, 2) for index in range(3)}
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in ("x", "y0", "y1", "y2")]
    weights = [numpy_helper.from_array(np.zeros((8, 2), "f4"), f"w{index}") for index in range(3)]
    found = Roofline(helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:], weights)), shapes)
    assert {each.multiply_adds for each in found.products.values()} == {4 * 2 * 8}
    one, two, three = (found.nanoseconds({f"m{index}" for index in range(count)}) for count in (1, 2, 3))
    assert two - one == pytest.approx(three - two)
    assert one - found.nanoseconds(set()) > two - one  # the first pays for `x`
