"""LiteRT's form of ONNX's `GridSample`, which it lacks: four gathers of pixels and their bilinear weights."""

from __future__ import annotations

import numpy as np
from litert_arithmetic import Rule
from litert_graph import LiteRtGraph, channels_last


def grid_sample(graph: LiteRtGraph) -> None:
    """Reads the image at positions that a grid gives, -1 to 1 along each axis; `graph.node` says how they are placed.

    With the padding of zeros, a frame of zeros is around the image, and positions farther away are moved onto it.
    """
    x, grid = graph.node.inputs
    mode, padding = (graph.attribute(*one).decode() for one in (("mode", b"bilinear"), ("padding_mode", b"zeros")))
    if len(graph.shape(x)) != 4 or mode not in ("linear", "bilinear") or padding not in ("zeros", "border"):
        raise graph.unsupported(f"samples of mode {mode} with {padding} around {len(graph.shape(x)) - 2} axes")
    batch, channels, *sizes = graph.shape(x)
    made = (batch, *graph.shape(grid)[1:3])
    frame, corners = int(padding == "zeros"), graph.attribute("align_corners", 0)
    height, width = (size + 2 * frame for size in sizes)
    image = graph.read(x, channels_last(4))
    if frame:
        sides = graph.file.constant("frame", np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
        image = graph.temporary("PAD", [image, sides], (batch, height, width, channels))
    pixels = graph.reshaped(image, (batch * height * width, channels), x, False)
    positions = graph.read(grid)

    def number(value: float, dtype: str = "float32") -> int:
        return graph.file.constant("number", np.array([value], dtype))

    def along(place: int) -> tuple[int, int]:
        """The first of the two neighbours along one axis, int32, and the share of the other."""
        size = sizes[1 - place]
        begin, shape = graph.integers(0, 0, 0, place), (*made, 1)
        at = graph.temporary("SLICE", [positions, begin, graph.integers(*shape)], shape)
        scale = (size - 1) / 2 if corners else size / 2
        at = graph.temporary("MUL", [at, number(scale)], shape)
        at = graph.temporary("ADD", [at, number((size - 1) / 2 + frame)], shape)
        last = size - 1 + 2 * frame
        at = graph.temporary("MAXIMUM", [at, number(0)], shape)
        at = graph.temporary("MINIMUM", [at, number(last)], shape)
        first = graph.temporary("FLOOR", [at], shape)
        first = graph.temporary("MINIMUM", [first, number(max(last - 1, 0))], shape)
        share = graph.temporary("SUB", [at, first], shape)
        whole = graph.temporary("CAST", [first], shape, "int32")
        flat = [whole, graph.integers(*made)]
        return graph.temporary("RESHAPE", flat, made, "int32", newShape=list(made)), share

    (column, right), (row, below) = along(0), along(1)
    start = graph.temporary("MUL", [row, number(width, "int32")], made, "int32")
    start = graph.temporary("ADD", [start, column], made, "int32")
    if batch > 1:
        images = np.arange(batch, dtype=np.int32).reshape(batch, 1, 1) * (height * width)
        start = graph.temporary("ADD", [start, graph.file.constant("images", images)], made, "int32")

    def pixel(step: int) -> int:
        at = graph.temporary("ADD", [start, number(step, "int32")], made, "int32") if step else start
        return graph.temporary("GATHER", [pixels, at], (*made, channels), axis=0)

    def between(one: int, other: int, share: int) -> list[int]:
        """Two tensors whose sum is their mean, weighted by the share of the other."""
        change = graph.temporary("SUB", [other, one], (*made, channels))
        return [one, graph.temporary("MUL", [change, share], (*made, channels))]

    to_right, to_below = min(width - 1, 1), width * min(height - 1, 1)
    rows = [
        graph.temporary("ADD", between(pixel(step), pixel(step + to_right), right), (*made, channels))
        for step in (0, to_below)
    ]
    graph.write("ADD", between(*rows, below), channels_last(4))


RULES: dict[str, Rule] = {"GridSample": grid_sample}
