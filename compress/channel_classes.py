"""Finds channel groups with the same structure, whose channels may be ranked against each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from segexport.compress.channel_graph import ChannelGraph
from segexport.exporter.program import Op

PRODUCTS = frozenset({"matmul_v2", "matmul", "bmm", "mul", "einsum"})

Use = tuple[str, str, int]
"""An operator, the slot of its input, and the axis of that input, counted from the end."""


def isomorphic_classes(graph: ChannelGraph) -> list[int]:
    """Returns a class number for each group of the graph; groups of one class are isomorphic.

    Two groups are isomorphic if the same operators use their channels, equally often, on the same axes of the same
    inputs. Operators count if they have weights, or if they multiply two features (attention); activations, resizing
    and moves of data do not. Fang et al.: Isomorphic Pruning for Vision Models (ECCV 2024), section 3.2, compares
    graphs of layers in the same way. Kernel sizes and widths may differ within a class.
    """
    group_of = {unit: index for index, group in enumerate(graph.groups) for unit in group.units.tolist()}
    used: list[list[Use]] = [[] for _ in graph.groups]
    for op in graph.program.compute_ops():
        for use, ids in _uses(graph, op):
            for group in {group_of.get(root, -1) for root in np.unique(graph.roots(ids)).tolist()} - {-1}:
                used[group].append(use)
    numbers: dict[tuple[Use, ...], int] = {}
    return [numbers.setdefault(tuple(sorted(uses)), len(numbers)) for uses in used]


def _uses(graph: ChannelGraph, op: Op) -> Iterator[tuple[Use, np.ndarray]]:
    for slot, names in op.inputs.items():
        for name in names:
            weighs = name in graph.program.params
            if name in graph.labels and (weighs or op.type in PRODUCTS):
                labels = graph.of(name)
                for axis, ids in enumerate(labels):
                    if ids is not None:
                        yield (_kind(graph, op), slot if weighs else f"feature {slot}", axis - len(labels)), ids


def _kind(graph: ChannelGraph, op: Op) -> str:
    """Returns the operator's type; convolutions are plain, grouped or depthwise, whatever Paddle calls them."""
    if "Filter" in op.inputs:
        per_group = graph.dims(op.input("Filter"))[1]
        kind = "plain" if op.attr("groups", 1) == 1 else "depthwise" if per_group == 1 else "grouped"
        return f"{op.type.removeprefix('depthwise_')} {kind}"
    turned = [name for name in ("trans_x", "transpose_X", "trans_y", "transpose_Y") if op.attr(name, False)]
    return " ".join([op.type, *turned])
