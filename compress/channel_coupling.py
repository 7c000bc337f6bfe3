"""Helpers for channel rules: couples axes of several tensors, and freezes axes that cannot be traced."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from segexport.compress.channel_graph import ChannelGraph
from segexport.exporter.program import Op

Labels = list["np.ndarray | None"]
Rule = Callable[[ChannelGraph, Op], None]


def contract(graph: ChannelGraph, first: np.ndarray | None, second: np.ndarray | None) -> None:
    if first is not None and second is not None:
        graph.tie(first, second)
    else:
        graph.freeze(first, "a sum with a tensor whose channels are not followed")
        graph.freeze(second, "a sum with a tensor whose channels are not followed")


def meet(graph: ChannelGraph, op: Op, column: list[tuple[int, object]], size: int) -> np.ndarray | None:
    """Couples one axis of several tensors that broadcast to `size`."""
    full = [ids for extent, ids in column if extent == size]
    for extent, ids in column:
        if extent != size:
            graph.freeze(ids, "a size of 1 that is broadcast")
    followed = [ids for ids in full if ids is not None]
    if len(followed) < len(full):
        for ids in followed:
            graph.freeze(ids, f"operator '{op.type}' with a tensor whose channels are not followed")
    for ids in followed[1:]:
        graph.tie(followed[0], ids)
    return followed[0] if followed else None


def merge(graph: ChannelGraph, op: Op, out: str, sides: list[list[tuple[int, object]]]) -> None:
    columns = zip(graph.dims(out), *sides, strict=True)
    graph.put(out, [meet(graph, op, list(column), size) for size, *column in columns])


def aligned(graph: ChannelGraph, name: str, rank: int, labels: Labels, skipped: int) -> list[tuple[int, object]]:
    """Returns (size, label) of a tensor's leading axes, aligned at the end with `rank` axes."""
    sizes = list(graph.dims(name))
    missing = rank - len(sizes)
    return [(1, None)] * missing + list(zip(sizes, labels, strict=True))[: len(sizes) - skipped]


def tie_vector(graph: ChannelGraph, vector: str, ids: np.ndarray | None, op: Op) -> None:
    own = graph.of(vector)
    if ids is not None and len(own) == 1 and own[0] is not None and len(own[0]) == len(ids):
        graph.tie(own[0], ids)
    else:
        graph.freeze_all([*own, ids], f"operator '{op.type}' on channels that are not followed")


def freeze_through(graph: ChannelGraph, op: Op) -> None:
    for name in op.input_names():
        graph.freeze_all(graph.of(name), f"operator '{op.type}'")
    for name in op.output_names():
        graph.put(name, [None] * len(graph.dims(name)))


def channel_axis(op: Op, rank: int, attribute: str) -> int:
    return rank - 1 if str(op.attr(attribute, "NCHW")) in ("NHWC", "NLC", "NDHWC") else 1
