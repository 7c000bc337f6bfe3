"""Helpers for LiteRT's forms of operators: steps of arithmetic, axes, outputs that equal an input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from litert_graph import LiteRtGraph, Order, plain

Rule = Callable[[LiteRtGraph], None]
"""Writes `graph.node`."""


def common_order(graph: LiteRtGraph) -> tuple[int, Order]:
    """Number of axes and their order, for reading all inputs of an elementwise operator."""
    rank = len(graph.shape(graph.node.outputs[0]))
    for name in graph.node.inputs:
        if graph.value(name) is None and len(graph.shape(name)) == rank:
            return rank, graph.order(name)
    return rank, plain(rank)


class Steps:
    """Builds a chain of elementwise operators on one input."""

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
        """1 for elements above the limit, else 0."""
        where = self._graph.temporary("GREATER", [x, self.number(limit)], self._shape, "bool")
        return self("CAST", where)

    def number(self, value: float) -> int:
        return self._graph.file.constant("number", np.array([value], np.float32))


def axes_of(graph: LiteRtGraph) -> list[int]:
    """The axes of a reduction or squeeze: an attribute up to opset 12 or 17, an input in later ones."""
    rank = len(graph.shape(graph.node.inputs[0]))
    axes = graph.attribute("axes")
    if axes is None and len(graph.node.inputs) > 1 and graph.node.inputs[1]:
        axes = graph.required(graph.node.inputs[1], "axes").reshape(-1).tolist()
    if not axes:
        axes = [] if graph.attribute("noop_with_empty_axes", 0) else list(range(rank))
    return sorted(axis % rank for axis in axes)


def left_over(order: Order, axes: list[int]) -> Order:
    """The order of the remaining axes after some are dropped."""
    kept = [axis for axis in order if axis not in axes]
    return tuple(sorted(kept).index(axis) for axis in kept)


def alias(graph: LiteRtGraph) -> None:
    """Writes an operator whose output is its input."""
    x = graph.node.inputs[0]
    order = graph.order(x)
    graph.same(graph.read(x, order), order)
