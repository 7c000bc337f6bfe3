"""What the forms of several operators have in common: steps of arithmetic, axes, an output that is an input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from litert_graph import LiteRtGraph, Order, plain

Rule = Callable[[LiteRtGraph], None]
"""Writes `graph.node`."""


def common_order(graph: LiteRtGraph) -> tuple[int, Order]:
    """Number of axes and their order, in which all inputs of an operator on elements are read."""
    rank = len(graph.shape(graph.node.outputs[0]))
    for name in graph.node.inputs:
        if graph.value(name) is None and len(graph.shape(name)) == rank:
            return rank, graph.order(name)
    return rank, plain(rank)


class Steps:
    """Several operators on the elements of one input, as arithmetic."""

    def __init__(self, graph: LiteRtGraph) -> None:
        self._graph, name = graph, graph.node.inputs[0]
        self.order = graph.order(name)
        self._shape = [graph.shape(name)[axis] for axis in self.order]
        self.x = graph.read(name, self.order)

    def __call__(self, kind: str, *inputs: int | float, last: bool = False) -> int:
        given = [self.number(one) if isinstance(one, float) else one for one in inputs]
        if last:
            return self._graph.write(kind, given, self.order)
        return self._graph.temporary(kind, given, self._shape)

    def above(self, x: int, limit: float) -> int:
        """1 where an element is above the limit, else 0."""
        where = self._graph.temporary("GREATER", [x, self.number(limit)], self._shape, "bool")
        return self("CAST", where)

    def number(self, value: float) -> int:
        return self._graph.file.constant("number", np.array([value], np.float32))


def axes_of(graph: LiteRtGraph) -> list[int]:
    """The axes of a reduction or a squeeze: an attribute up to opset 12 or 17, then an input."""
    rank = len(graph.shape(graph.node.inputs[0]))
    axes = graph.attribute("axes")
    if axes is None and len(graph.node.inputs) > 1 and graph.node.inputs[1]:
        axes = graph.required(graph.node.inputs[1], "axes").reshape(-1).tolist()
    if not axes:
        axes = [] if graph.attribute("noop_with_empty_axes", 0) else list(range(rank))
    return sorted(axis % rank for axis in axes)


def left_over(order: Order, axes: list[int]) -> Order:
    """The order of the axes that are left when some are dropped."""
    kept = [axis for axis in order if axis not in axes]
    return tuple(sorted(kept).index(axis) for axis in kept)


def alias(graph: LiteRtGraph) -> None:
    """The output is the input."""
    x = graph.node.inputs[0]
    order = graph.order(x)
    graph.same(graph.read(x, order), order)
