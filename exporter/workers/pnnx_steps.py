"""Replaces slices that take every n-th element along an axis, which ncnn lacks."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper
from onnx_rule import Arrays, Others, Shapes, cut
from pnnx_axes import reshape


def _step(graph: onnx.GraphProto, node: NodeProto, shapes: Shapes, constants: Arrays) -> Others:
    before, named = shapes.get(node.input[0], []), [constants.get(name) for name in node.input[1:]]
    if len(named) < 4 or any(bound is None for bound in named) or not before or 0 in before:
        return None
    starts, ends, axes, steps = (bound.tolist() for bound in named)
    places = [range(size) for size in before]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        one = range(*slice(start, end, step).indices(before[axis]))
        places[axis] = one if len(one) != 1 else range(one[0], one[0] + 1)
    taken = [one.step for one in places]
    if not all(places) or min(taken) < 1 or max(taken) == 1:
        return None
    if len(before) == 4 and taken[:2] == [1, 1]:
        return _step_by_pool(graph, node, places, before)
    return _step_by_blocks(graph, node, places, before, shapes)


def _step_by_pool(graph: onnx.GraphProto, node: NodeProto, places: list[range], before: list[int]) -> list[NodeProto]:
    """Every n-th row or column of images: a cut, and a pool of one element."""
    (made,), value, nodes = node.output, node.input[0], []
    shorter = [axis for axis, one in enumerate(places) if one.start or one[-1] + one.step < before[axis]]
    if shorter:
        bounds = {
            f"{made}.starts": [places[axis].start for axis in shorter],
            f"{made}.ends": [places[axis][-1] + 1 for axis in shorter],
            f"{made}.axes": shorter,
        }
        graph.initializer.extend(numpy_helper.from_array(np.array(v, np.int64), k) for k, v in bounds.items())
        value = f"{made}.cut"
        nodes.append(helper.make_node("Slice", [node.input[0], *bounds], [value], value))
    strides = [one.step for one in places[2:]]
    return [*nodes, helper.make_node("MaxPool", [value], [made], node.name, kernel_shape=[1, 1], strides=strides)]


def _step_by_blocks(
    graph: onnx.GraphProto, node: NodeProto, places: list[range], before: list[int], shapes: Shapes
) -> list[NodeProto]:
    """Along any axis: a reshape to [before, blocks, elements of a block], and the same part of each block.

    An axis that ends within its last block is continued by its own first elements, which are not taken.
    """
    value, nodes, sizes = node.input[0], [], list(before)
    for axis in (axis for axis, one in enumerate(places) if one != range(before[axis])):
        one, size, name = places[axis], before[axis], f"{node.output[0]}.axis{axis}"
        width = len(one) * one.step
        first = max(min(one.start, size - width), 0)
        if first + width > size:
            nodes.append(cut(graph, value, f"{name}.more", axis, 0, first + width - size))
            nodes.append(helper.make_node("Concat", [value, f"{name}.more"], [f"{name}.whole"], name, axis=axis))
            value = f"{name}.whole"
        if first or first + width < size:
            nodes.append(cut(graph, value, f"{name}.cut", axis, first, first + width))
            value = f"{name}.cut"
        sizes[axis] = len(one)
        if one.step > 1:
            after = prod(sizes[axis + 1 :])
            blocks = [*filter(lambda size: size > 1, [prod(sizes[:axis])]), len(one), one.step * after]
            part = (one.start - first) * after
            nodes.append(reshape(graph, shapes, value, f"{name}.blocks", blocks))
            nodes.append(cut(graph, f"{name}.blocks", f"{name}.part", len(blocks) - 1, part, part + after))
            nodes.append(reshape(graph, shapes, f"{name}.part", name, sizes))
            value = name
    nodes[-1].output[0] = node.output[0]
    return nodes


RULES = {"Slice": _step}
