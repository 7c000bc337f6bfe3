"""Products with a matrix of weights in Paddle-Lite's int8 weights: mul is right where matmul_v2 is not."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import Graph
from toolchain import Toolchain

from segexport.errors import UnsupportedModelError
from segexport.exporter.lite_int8 import with_whole_matrices
from segexport.exporter.program import Program
from segexport.exporter.quantization_ranges import OnnxNode, onnx_products
from segexport.exporter.rewrites import rewrite_for
from segexport.exporter.rewrites.base import LITE_X86
from segexport.exporter.rewrites.weight_product import WeightProductToMul

DIMS = (1, 6, 32)
IMAGE = np.random.default_rng(1).normal(size=DIMS).astype(np.float32)


def product(type: str, *, transposed: bool) -> Program:
    """Two products with the same weights, one after the other."""
    graph = Graph()
    weights, value = graph.noise(32, 32), graph.feed(*DIMS)
    names = ("trans_x", "trans_y") if type == "matmul_v2" else ("transpose_X", "transpose_Y")
    for _ in range(2):
        attrs = dict(zip(names, (False, transposed), strict=True)) | ({"alpha": 1.0} if type == "matmul" else {})
        value = graph.op(type, {"X": value, "Y": weights}, DIMS, **attrs)
    return graph.program(value)


def error(program: Program, expected: np.ndarray, tools: Toolchain) -> float:
    """Root mean square of the difference, over that of what Paddle gives."""
    (found,) = tools.lite(program, [IMAGE], int8_weights=True)
    return float(
        np.sqrt(np.mean((found.astype(np.float64) - expected) ** 2) / np.mean(expected.astype(np.float64) ** 2))
    )


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("type", ["matmul_v2", "matmul"])
def test_small_weights_give_what_paddle_gives(type: str, transposed: bool, tools: Toolchain) -> None:
    program = product(type, transposed=transposed)
    (expected,) = tools.paddle(program, [IMAGE])
    changed, notes = rewrite_for(LITE_X86, program, WeightProductToMul())
    assert notes[-1] == "weight_product_to_mul 1: 2 products with a matrix of weights written as mul"
    assert len([name for name in changed.params if "transposed" in name]) == transposed
    assert error(changed, expected, tools) < 0.02


def test_without_the_rewrite_they_are_wrong(tools: Toolchain) -> None:
    program = product("matmul_v2", transposed=False)
    (expected,) = tools.paddle(program, [IMAGE])
    assert not error(rewrite_for(LITE_X86, program)[0], expected, tools) < 0.5


@pytest.mark.parametrize("turns", [(False, False), (True, False), (False, True), (True, True)])
def test_weights_on_the_left(turns: tuple[bool, bool], tools: Toolchain) -> None:
    graph = Graph()
    image = graph.feed(*DIMS)
    common = DIMS[2] if turns[1] else DIMS[1]
    weights = graph.noise(common, 8) if turns[0] else graph.noise(8, common)
    out = (1, 8, DIMS[1] if turns[1] else DIMS[2])
    value = graph.op("matmul_v2", {"X": weights, "Y": image}, out, trans_x=turns[0], trans_y=turns[1])
    program = graph.program(value)
    (expected,) = tools.paddle(program, [IMAGE])
    changed, _ = rewrite_for(LITE_X86, program, WeightProductToMul())
    assert error(changed, expected, tools) < 0.02


def test_an_image_that_is_turned_first(tools: Toolchain) -> None:
    graph = Graph()
    inputs = {"X": graph.feed(*DIMS), "Y": graph.noise(6, 4)}
    program = graph.program(graph.op("matmul_v2", inputs, (1, 32, 4), trans_x=True, trans_y=False))
    (expected,) = tools.paddle(program, [IMAGE])
    assert error(rewrite_for(LITE_X86, program, WeightProductToMul())[0], expected, tools) < 0.02


def test_weights_that_are_no_matrix_are_refused() -> None:
    graph = Graph()
    inputs = {"X": graph.feed(*DIMS), "Y": graph.noise(1, 32, 4)}
    program = graph.program(graph.op("matmul_v2", inputs, (1, 6, 4), trans_x=False, trans_y=False))
    with pytest.raises(
        UnsupportedModelError, match=r"matmul_v2 \(layer .*\) cannot be exported .* small weights"
    ) as told:
        rewrite_for(LITE_X86, program, WeightProductToMul())
    assert "[1, 32, 4]" in told.value.cause


@pytest.mark.parametrize("transposed", [False, True])
def test_rounded_weights_are_stored_as_they_are(transposed: bool, tools: Toolchain) -> None:
    """Integers that differ from the nearest ones come through Opt's own rounding, each output with its own step."""
    graph = Graph()
    value = graph.feed(*DIMS)
    matrix = np.random.default_rng(2).normal(size=(32, 8)) * np.exp2(np.arange(8) - 4)
    weights = graph.param(matrix.T if transposed else matrix)
    out = graph.op("matmul_v2", {"X": value, "Y": weights}, (1, 6, 8), trans_x=False, trans_y=transposed)
    program = graph.program(out)
    limits = np.abs(matrix.astype(np.float32)).max(axis=0)
    whole = np.rint(matrix / limits * 127)
    whole[np.abs(whole) < 100] += 1
    (found,) = tools.paddle(with_whole_matrices(program, {out: whole.astype(np.int8)}), [IMAGE])
    np.testing.assert_allclose(found, IMAGE @ (whole * limits / 127), rtol=1e-4, atol=1e-4)
    changed = with_whole_matrices(program, {out: whole.astype(np.int8)})
    changed, _ = rewrite_for(LITE_X86, changed, WeightProductToMul())
    (stored,) = tools.lite(changed, [IMAGE], int8_weights=True)
    np.testing.assert_allclose(stored, found, rtol=1e-4, atol=1e-4)


def test_products_of_an_onnx_graph_are_those_of_the_program() -> None:
    graph = Graph()
    value = graph.feed(*DIMS)
    out = graph.op("matmul_v2", {"X": value, "Y": graph.noise(32, 8)}, (1, 6, 8), trans_x=False, trans_y=False)
    other = graph.op("matmul_v2", {"X": out, "Y": out}, (1, 6, 6), trans_x=False, trans_y=True)
    nodes = [OnnxNode("MatMul", f"node_{name}", ["a", "b"], [name]) for name in (out, other, "unknown")]
    assert onnx_products(graph.program(other), nodes) == {f"node_{out}": out}
