"""Writes a transpose of more axes than ncnn has as transposes of few axes, each between two reshapes.

Axes that stay neighbours are one axis, and an axis of size 1 is none. If more than four remain, one axis moves at a
time: with what stands before it, what it passes and what stands behind it that is four axes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import onnx
from onnx import NodeProto, helper
from onnx_rule import Arrays, Others, Shapes, values_of
from pnnx_axes import MOST_AXES, is_too_many, reshape


def _few_axes(graph: onnx.GraphProto, node: NodeProto, shapes: Shapes, _constants: Arrays) -> Others:
    """Replaces a `Transpose` of too many axes, or one that moves the batch axis, which ncnn lacks."""
    (value,), (made,) = node.input, node.output
    before = shapes.get(value, [])
    order = list(values_of(node).get("perm") or reversed(range(len(before))))
    if not before or 0 in before or (order[0] == 0 and not is_too_many(before)):
        return None
    nodes = []
    for number, (sizes, moved) in enumerate(transposes(before, order)):
        start, end = f"{made}.few{number}", f"{made}.moved{number}"
        nodes.append(reshape(graph, shapes, value, start, sizes))
        shapes[end] = [sizes[axis] for axis in moved]
        nodes.append(helper.make_node("Transpose", [start], [end], end, perm=moved))
        value = end
    return [*nodes, reshape(graph, shapes, value, made, [before[axis] for axis in order])]


def transposes(sizes: Sequence[int], order: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """The sizes and the order of axes of transposes of at most four axes that, one after another, do the same."""
    sizes, order = _merged(sizes, order)
    while len(order) > MOST_AXES:
        moves = [_moved(len(order), axis, place) for axis in range(len(order)) for place in range(len(order))]
        left = [_merged([sizes[axis] for axis in move], [move.index(axis) for axis in order]) for move in moves]
        best = min(range(len(moves)), key=lambda number: len(left[number][0]))
        yield _merged(sizes, moves[best])
        sizes, order = left[best]
    if order != sorted(order):
        yield sizes, order


def _moved(count: int, axis: int, place: int) -> list[int]:
    """The order of `count` axes in which one stands at another place."""
    order = [other for other in range(count) if other != axis]
    return [*order[:place], axis, *order[place:]]


def _merged(sizes: Sequence[int], order: Sequence[int]) -> tuple[list[int], list[int]]:
    """The same transpose with neighbours that stay neighbours as one axis, and without axes of size 1."""
    groups: list[list[int]] = []
    kept = [axis for axis, size in enumerate(sizes) if size != 1]
    for axis in (axis for axis in order if sizes[axis] != 1):
        if groups and kept.index(axis) == kept.index(groups[-1][-1]) + 1:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    if not groups:
        return [1], [0]
    places = sorted(groups)
    return [prod(sizes[axis] for axis in group) for group in places], [places.index(group) for group in groups]


RULES = {"Transpose": _few_axes}
