"""A parameter that the network writes before it reads it: as `paddle.nn.utils.spectral_norm` leaves its weight."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import Graph
from toolchain import Toolchain

from segexport.exporter.mends import AS_READ, mend
from segexport.exporter.program import Program
from segexport.exporter.rewrites import rewrite_for
from segexport.exporter.rewrites.base import LITE_X86, ONNX

IMAGE = [np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)]


def normalized() -> Program:
    """The filter is twice another parameter; what the file holds of it is from before."""
    graph = Graph()
    image = graph.feed(1, 3, 8, 8)
    doubled = graph.op(
        "scale", {"X": graph.noise(4, 3, 1, 1)}, (4, 3, 1, 1), scale=2.0, bias=0.0, bias_after_scale=True
    )
    stale = graph.noise(4, 3, 1, 1)
    graph.op("assign", {"X": doubled}, (4, 3, 1, 1))
    graph.last().outputs["Out"] = [stale]
    attrs = {"strides": [1, 1], "paddings": [0, 0], "dilations": [1, 1], "groups": 1, "data_format": "NCHW"}
    return graph.program(graph.op("conv2d", {"Input": image, "Filter": stale}, (1, 4, 8, 8), slot="Output", **attrs))


def test_it_is_computed_not_read(tools: Toolchain) -> None:
    program = normalized()
    (expected,) = tools.paddle(program, IMAGE)
    assert mend(program, AS_READ) == ["1 parameters that the network writes before it reads them are computed"]
    np.testing.assert_array_equal(tools.paddle(program, IMAGE)[0], expected)
    written = {name for op in program.ops for name in op.output_names()}
    assert not written & program.params.keys()


@pytest.mark.parametrize("target", [ONNX, LITE_X86])
def test_exports_hold_what_is_computed(target: str, tools: Toolchain) -> None:
    program = normalized()
    (expected,) = tools.paddle(program, IMAGE)
    mend(program, AS_READ)
    (found,) = (tools.onnx if target == ONNX else tools.lite)(rewrite_for(target, program)[0], IMAGE)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_statistics_that_an_operator_hands_through_are_left_alone() -> None:
    """batch_norm reads its statistics and, in name, writes them."""
    graph = Graph()
    image = graph.feed(1, 3, 8, 8)
    mean, variance = graph.noise(3), graph.param(np.ones(3))
    sizes = {"Y": (1, 3, 8, 8), "SavedMean": (3,), "SavedVariance": (3,)}
    attrs = {"epsilon": 1e-5, "is_test": True, "data_layout": "NCHW", "use_global_stats": True, "momentum": 0.9}
    out = graph.op("batch_norm", {"X": image, "Mean": mean, "Variance": variance}, sizes, **attrs)
    graph.last().outputs |= {"MeanOut": [mean], "VarianceOut": [variance]}
    program = graph.program(out)
    before = program.to_bytes()
    assert mend(program, AS_READ) == []
    assert program.to_bytes() == before
