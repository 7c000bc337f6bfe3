"""Scaling with a bias that keeps a division from being one by 0."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import Graph
from toolchain import Toolchain

from segexport.exporter.program import Program
from segexport.exporter.rewrites import rewrite_for
from segexport.exporter.rewrites.base import ONNX

DIMS = (1, 3, 4, 4)
ZEROS = np.zeros(DIMS, np.float32)


def ratio(bias: float, factor: float, *, after: bool) -> Program:
    """bias / (factor * x + bias), or bias / (factor * (x + bias))."""
    graph = Graph()
    image = graph.feed(*DIMS)
    attrs = {"scale": factor, "bias": bias, "bias_after_scale": after}
    below = graph.op("scale", {"X": image}, DIMS, **attrs)
    above = graph.param(np.full([1], bias))
    return graph.program(graph.op("elementwise_div", {"X": above, "Y": below}, DIMS, axis=-1))


@pytest.mark.parametrize("bias", [1e-6, 1e-7, -1e-7, 1e-12])
@pytest.mark.parametrize(("factor", "after"), [(1.0, True), (4.0, True), (4.0, False)])
def test_it_is_kept(bias: float, factor: float, after: bool, tools: Toolchain) -> None:
    program = ratio(bias, factor, after=after)
    changed, notes = rewrite_for(ONNX, program)
    assert "small_bias_to_sum 1: 1 operator scale with a bias below 1e-6 written as a sum" in notes
    expected = tools.paddle(program, [ZEROS])[0]
    np.testing.assert_allclose(expected, 1.0 if after else 1 / factor, rtol=1e-5)
    np.testing.assert_allclose(tools.onnx(changed, [ZEROS])[0], expected, rtol=1e-5)


def test_as_it_is_paddle2onnx_drops_it(tools: Toolchain) -> None:
    assert not np.isfinite(tools.onnx(ratio(1e-6, 1.0, after=True), [ZEROS])[0]).any()


def test_a_bias_that_is_not_dropped_is_left_alone(tools: Toolchain) -> None:
    program = ratio(1e-5, 2.0, after=True)
    assert rewrite_for(ONNX, program)[1] == []
    np.testing.assert_allclose(tools.onnx(program, [ZEROS])[0], 1.0, rtol=1e-5)
