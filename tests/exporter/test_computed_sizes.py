"""Operators whose sizes follow from an image's: rewritten, they compute what Paddle does, at several sizes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from graphs import Graph
from toolchain import Toolchain

from segexport.errors import UnsupportedModelError
from segexport.exporter.program import Attr, Program
from segexport.exporter.rewrites import rewrite_for

TARGETS = ("onnx", "paddle-lite x86")


def noise(*dims: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=dims).astype(np.float32)


def sides(graph: Graph, image: str, *axes: int) -> list[str]:
    """Sizes of an image's axes, each a tensor of shape []."""
    sizes = graph.op("shape", {"Input": image}, (len(graph.shape(image)),), dtype="int32")
    attrs = {"decrease_axis": [0], "infer_flags": [1]}
    return [
        graph.op("slice", {"Input": sizes}, (), dtype="int32", axes=[0], starts=[axis], ends=[axis + 1], **attrs)
        for axis in axes
    ]


def runs(tools: Toolchain, program: Program, feed: list[np.ndarray], name: str) -> Iterator[np.ndarray]:
    """What each exporter's runtime returns; the named rewrite must have run for it."""
    for target, tool in zip(TARGETS, (tools.onnx, tools.lite), strict=True):
        changed, notes = rewrite_for(target, program)
        assert [note for note in notes if note.startswith(f"{name} ")], notes
        yield tool(changed, feed)[0]


@pytest.mark.parametrize(("kernel", "pad", "sizes"), [(2, 0, (8, 9)), (3, 1, (7, 8)), (3, 0, (9, 10))])
def test_a_transposed_convolution_to_another_images_size(
    tools: Toolchain, kernel: int, pad: int, sizes: tuple[int, ...]
) -> None:
    graph = Graph()
    small, image = graph.feed(1, 3, -1, -1), graph.feed(1, 2, -1, -1)
    inputs = {"Input": small, "Filter": graph.noise(3, 5, kernel, kernel)}
    attrs = {"strides": [2, 2], "paddings": [pad, pad], "dilations": [1, 1], "groups": 1, "data_format": "NCHW"}
    typed = {"output_size": ("VARS", sides(graph, image, 2, 3)), "output_padding": ("INTS", [])}
    out = graph.op(
        "conv2d_transpose", inputs, (1, 5, -1, -1), slot="Output", typed=typed, padding_algorithm="EXPLICIT", **attrs
    )
    program = graph.program(out)
    for size in ((sizes[0], sizes[1]), (sizes[1], sizes[0])):
        feed = [noise(1, 3, 4, 4), noise(1, 2, *size)]
        (reference,) = tools.paddle(program, feed)
        assert reference.shape == (1, 5, *size)
        for found in runs(tools, program, feed, "transposed_conv_slice"):
            np.testing.assert_allclose(found, reference, atol=1e-5)


def test_a_column_repeated_as_often_as_an_image_is_wide(tools: Toolchain) -> None:
    graph = Graph()
    image, column = graph.feed(1, 2, -1, -1), graph.feed(-1, 1)
    times = {"X": column, "repeat_times_tensor": sides(graph, image, 3)}
    program = graph.program(graph.op("tile", times, (-1, -1), typed={"repeat_times": ("INTS", [-1])}))
    changed, notes = rewrite_for("onnx", program)
    assert notes == ["tile_of_every_axis 1: 1 operator tile given a number for each axis"]
    for width in (3, 7):
        feed = [noise(1, 2, 4, width), noise(4, 1)]
        (reference,) = tools.paddle(program, feed)
        assert reference.shape == (4, width)
        np.testing.assert_array_equal(tools.onnx(changed, feed)[0], reference)


def test_infinity_on_a_diagonal_as_long_as_an_image_is_high(tools: Toolchain) -> None:
    graph = Graph()
    image = graph.feed(1, 2, -1, -1)
    times = {"X": graph.param([-np.inf]), "repeat_times_tensor": sides(graph, image, 2)}
    line = graph.op("tile", times, (-1,), typed={"repeat_times": ("INTS", [-1])})
    matrix = graph.op("diag_v2", {"X": line}, (-1, -1), offset=0, padding_value=0.5)
    program = graph.program(
        graph.op(
            "relu",
            {"X": graph.op("scale", {"X": matrix}, (-1, -1), scale=-1.0, bias=0.0, bias_after_scale=True)},
            (-1, -1),
        )
    )
    for height in (1, 5):
        feed = [noise(1, 2, height, 3)]
        (reference,) = tools.paddle(program, feed)
        assert (reference == np.where(np.eye(height), np.inf, 0)).all()
        for found in runs(tools, program, feed, "diagonal_to_where"):
            np.testing.assert_array_equal(found, reference)


def test_averages_of_as_many_bins_as_another_image_has_pixels(tools: Toolchain) -> None:
    graph = Graph()
    image, small = graph.feed(1, 2, -1, -1), graph.feed(1, 2, -1, -1)
    attrs = {"adaptive": True, "ceil_mode": False, "data_format": "NCHW", "exclusive": True, "global_pooling": False}
    attrs |= {"padding_algorithm": "EXPLICIT", "paddings": [0, 0], "pooling_type": "avg", "strides": [1, 1]}
    typed = {"ksize": ("VARS", sides(graph, small, 2, 3))}
    program = graph.program(graph.op("pool2d", {"X": image}, (1, 2, -1, -1), typed=typed, **attrs))
    changed, notes = rewrite_for("paddle-lite x86", program)
    assert any(note.startswith("adaptive_pool_of_computed_bins") for note in notes)
    for size in ((6, 5), (16, 4), (3, 12)):
        feed = [noise(1, 2, 16, 12), noise(1, 2, *size)]
        (reference,) = tools.paddle(program, feed)
        assert reference.shape == (1, 2, *size)
        np.testing.assert_allclose(tools.lite(changed, feed)[0], reference, atol=1e-5)


@pytest.mark.parametrize("kind", ["equal", "less_than", "greater_equal"])
@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((6,), (4, 1)),
        ((6,), (4, 6)),
        ((4, 6), (3, 1, 6)),
        ((4, 6), (6,)),
        ((4, 1), (6,)),
        ((4, 1), (4,)),
        ((1, 5), (5, 1)),
    ],
)
def test_comparisons_of_unequal_shapes(
    tools: Toolchain, kind: str, free: bool, left: tuple[int, ...], right: tuple[int, ...]
) -> None:
    """Paddle-Lite silently reads beyond an operand with fewer axes, and takes a row for a column."""
    graph = Graph()
    shapes = (left, right, np.broadcast_shapes(left, right))
    *dims, result = (tuple(-1 if free and size > 1 else size for size in each) for each in shapes)
    x, y = (graph.feed(*each) for each in dims)
    hit = graph.op(kind, {"X": x, "Y": y}, result, dtype="bool", axis=-1)
    program = graph.program(graph.op("cast", {"X": hit}, result, in_dtype=0, out_dtype=5))
    random = np.random.default_rng(3)
    feed = [random.integers(0, 3, each).astype(np.float32) for each in (left, right)]
    changed, _ = rewrite_for("paddle-lite x86", program)
    np.testing.assert_array_equal(tools.lite(changed, feed)[0], tools.paddle(program, feed)[0])


def test_a_comparison_with_a_constant_of_fewer_axes(tools: Toolchain) -> None:
    graph = Graph()
    image, line = graph.feed(4, 1), graph.param([0, 1, 2])
    hit = graph.op("greater_than", {"X": line, "Y": image}, (4, 3), dtype="bool", axis=-1)
    program, feed = graph.program(graph.op("cast", {"X": hit}, (4, 3), in_dtype=0, out_dtype=5)), [noise(4, 1)]
    changed, _ = rewrite_for("paddle-lite x86", program)
    np.testing.assert_array_equal(tools.lite(changed, feed)[0], tools.paddle(program, feed)[0])


def unpooled_later(pad: int) -> Program:
    """An unpool that takes its size from an image before the convolution whose result was pooled."""
    graph = Graph()
    image, other = graph.feed(1, 3, -1, -1), graph.feed(1, 3, -1, -1)
    size = sides(graph, image, 2, 3)
    attrs = {"strides": [1, 1], "paddings": [pad, pad], "dilations": [1, 1], "groups": 1, "data_format": "NCHW"}
    conv = {"Input": image, "Filter": graph.noise(3, 3, 3, 3)}
    wide = graph.op("conv2d", conv, (1, 3, -1, -1), slot="Output", padding_algorithm="EXPLICIT", **attrs)
    wide = graph.op("elementwise_add", {"X": wide, "Y": graph.noise(1, 3, 1, 1)}, (1, 3, -1, -1), axis=-1)
    wide = graph.op("relu", {"X": wide}, (1, 3, -1, -1))
    window = {"ksize": [2, 2], "strides": [2, 2], "paddings": [0, 0]}
    dims = {"Out": (1, 3, -1, -1), "Mask": (1, 3, -1, -1)}
    graph.op("max_pool2d_with_index", {"X": wide}, dims, adaptive=False, global_pooling=False, **window)
    indices = graph.last().output("Mask")
    graph._program.vars[indices].dtype = "int32"
    unpool = {"X": other, "Indices": indices}
    out = graph.op("unpool", unpool, (1, 3, -1, -1), data_format="NCHW", unpooling_type="max", **window)
    graph.last().attrs["output_size"] = Attr("VARS", size)
    return graph.program(out)


def test_an_unpool_to_the_size_before_a_convolution_that_keeps_it(tools: Toolchain) -> None:
    program, feed = unpooled_later(pad=1), [noise(1, 3, 6, 8), noise(1, 3, 3, 4)]
    (reference,) = tools.paddle(program, feed)
    assert np.count_nonzero(reference) == 36
    for found in runs(tools, program, feed, "unpool_to_arithmetic"):
        np.testing.assert_allclose(found, reference, atol=1e-6)


def test_an_unpool_to_a_size_that_may_differ_is_left_alone() -> None:
    program = unpooled_later(pad=0)
    with pytest.raises(UnsupportedModelError, match="max_pool2d_with_index"):
        rewrite_for("onnx", program)
