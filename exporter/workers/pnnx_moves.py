"""Replaces operators that move elements in a way that pnnx or ncnn lacks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper
from onnx_rule import Arrays, Others, Shapes, cut, values_of
from pnnx_broadcasts import BROADCAST

_MOST_SLICES = 256  # in place of one gather


def _state_sizes(graph: onnx.GraphProto, node: NodeProto, shapes: Shapes, _constants: Arrays) -> Others:
    """Gives a `Split` into equal parts its sizes, without which pnnx omits them and ncnn crashes on the layer."""
    values = values_of(node)
    if len(node.input) > 1 or "split" in values:
        return None
    axis = values.get("axis", 0)
    named = f"{node.output[0]}.sizes"
    sizes = [shapes[name][axis] for name in node.output]
    graph.initializer.append(numpy_helper.from_array(np.array(sizes, np.int64), named))
    return [helper.make_node("Split", [*node.input, named], node.output, node.name, axis=axis)]


def _repeat_without_tile(graph: onnx.GraphProto, node: NodeProto, shapes: Shapes, constants: Arrays) -> Others:
    """Replaces a `Tile`, whose counts pnnx omits: ncnn then does not know the layer.

    One whose readers repeat the value by themselves goes away; any other becomes concatenations of the value with
    itself.
    """
    if node.input[1] not in constants:
        return None
    value, made = node.input[0], node.output[0]
    if not _is_broadcast(graph, node, shapes):
        return list(_concatenations(value, made, constants[node.input[1]].tolist()))
    for reader in graph.node:
        reader.input[:] = [value if name == made else name for name in reader.input]
    return []


def _is_broadcast(graph: onnx.GraphProto, node: NodeProto, shapes: Shapes) -> bool:
    """Whether the tile only repeats axes of size 1, and every reader's other operand has the repeated shape."""
    (value, _), (made,) = node.input, node.output
    before, after = shapes.get(value, []), shapes.get(made, [])
    if not after or 0 in after or len(before) != len(after):
        return False
    if any(old not in (1, new) for old, new in zip(before, after, strict=True)):
        return False
    readers = [reader for reader in graph.node if made in reader.input]
    return made not in {output.name for output in graph.output} and all(
        reader.op_type in BROADCAST
        and any(shapes.get(name) == after and name != made for name in reader.input)
        for reader in readers
    )  # fmt: skip


def _concatenations(value: str, made: str, counts: list[int]) -> Iterator[NodeProto]:
    """`value` repeated `counts[axis]` times along each axis, as `made`."""
    axes = [axis for axis, count in enumerate(counts) if count != 1]
    if not axes:
        yield helper.make_node("Identity", [value], [made], made)
    for axis in axes:
        name = made if axis == axes[-1] else f"{made}.axis{axis}"
        yield helper.make_node("Concat", [value] * counts[axis], [name], name, axis=axis)
        value = name


def _gather_by_slices(graph: onnx.GraphProto, node: NodeProto, shapes: Shapes, constants: Arrays) -> Others:
    """Replaces a `Gather` of a constant list, which ncnn lacks, by slices of neighbours, concatenated."""
    places, before = constants.get(node.input[1]), shapes.get(node.input[0], [])
    if places is None:
        return None
    axis = values_of(node).get("axis", 0) % max(len(before), 1)
    if not axis or not before[axis] or places.ndim != 1 or not places.size:  # axis 0 is the batch, as ncnn sees it
        return None
    runs = _runs(places % before[axis])
    if len(runs) > _MOST_SLICES:
        return None
    (made,), nodes = node.output, []
    for number, (start, end) in enumerate(runs):
        part = f"{made}.part{number}" if len(runs) > 1 else made
        nodes.append(cut(graph, node.input[0], part, axis, start, end))
    if len(runs) > 1:
        parts = [part.output[0] for part in nodes]
        nodes.append(helper.make_node("Concat", parts, [made], made, axis=axis))
    return nodes


def _runs(places: np.ndarray) -> list[tuple[int, int]]:
    """Start and end of each run of neighbours in a list of places."""
    ends = np.flatnonzero(np.diff(places) != 1) + 1
    return [(int(run[0]), int(run[-1]) + 1) for run in np.split(places, ends)]


RULES = {
    "Split": _state_sizes,
    "Tile": _repeat_without_tile,
    "Gather": _gather_by_slices,
}
