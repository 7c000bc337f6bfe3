"""Channel rules for operators with weights: convolutions, matrix products, norms, slopes."""

from __future__ import annotations

import numpy as np

from segexport.compress.channel_coupling import (
    Labels,
    aligned,
    channel_axis,
    contract,
    freeze_through,
    meet,
    tie_vector,
)
from segexport.compress.channel_graph import ChannelGraph
from segexport.exporter.program import Op


def convolution(graph: ChannelGraph, op: Op) -> None:
    """Filter [out, in / groups, kh, kw]. The number of multi-channel groups stays; each loses the same positions."""
    x, weight = op.input("Input"), op.input("Filter")
    groups = op.attr("groups", 1)
    channel = channel_axis(op, len(graph.dims(x)), "data_format")
    filter_labels, incoming = graph.of(weight), graph.of(x)[channel]
    made, taken = filter_labels[0], filter_labels[1]
    per_group = graph.dims(weight)[1]
    if incoming is None or made is None or taken is None:
        graph.freeze(incoming, "a filter that is not followed")
        graph.freeze(taken, "an input that is not followed")
        if groups > 1:
            graph.freeze(made, "an input that is not followed")
    elif groups == 1:
        graph.tie(taken, incoming)
    elif per_group == 1:  # depthwise, possibly with several outputs per channel
        graph.freeze(taken, "a depthwise filter's single channel")
        graph.tie(made, np.repeat(incoming, len(made) // len(incoming)))
    else:
        graph.tie_columns(np.vstack([taken, incoming.reshape(groups, per_group)]))
        graph.tie_columns(made.reshape(groups, -1))
    graph.source(weight, 0)
    _add_bias(graph, op, made)
    graph.put(op.output("Output"), _spatial(graph, op.output("Output"), made, channel))


def transposed_convolution(graph: ChannelGraph, op: Op) -> None:
    """Filter [in, out / groups, kh, kw]."""
    x, weight = op.input("Input"), op.input("Filter")
    groups = op.attr("groups", 1)
    channel = channel_axis(op, len(graph.dims(x)), "data_format")
    filter_labels, incoming = graph.of(weight), graph.of(x)[channel]
    taken, made = filter_labels[0], filter_labels[1]
    if incoming is None or made is None or taken is None:
        graph.freeze(incoming, "a filter that is not followed")
        graph.freeze(taken, "an input that is not followed")
    else:
        graph.tie(taken, incoming)
    if groups > 1 and made is not None and taken is not None:
        if len(made) == 1 and len(taken) == groups:  # depthwise
            graph.freeze(made, "a depthwise filter's single channel")
            made = taken
        else:
            graph.tie_columns(taken.reshape(groups, -1))
            made = np.tile(made, groups)
    graph.source(weight, 1)
    _add_bias(graph, op, made)
    graph.put(op.output("Output"), _spatial(graph, op.output("Output"), made, channel))


def _add_bias(graph: ChannelGraph, op: Op, made: np.ndarray | None) -> None:
    bias = op.input("Bias")
    if bias is not None:
        tie_vector(graph, bias, made, op)


def _spatial(graph: ChannelGraph, out: str | None, made: np.ndarray | None, channel: int) -> Labels:
    labels: Labels = [None] * len(graph.dims(out or ""))
    labels[channel] = made
    return labels


def matmul(graph: ChannelGraph, op: Op) -> None:
    """Contracts x's last axis with y's last but one; leading axes broadcast."""
    x, y, out = op.input("X"), op.input("Y"), op.output("Out")
    left, right = list(graph.of(x)), list(graph.of(y))
    if op.type == "mul" and (op.attr("x_num_col_dims", 1) != len(left) - 1 or op.attr("y_num_col_dims", 1) != 1):
        graph.freeze_all(left + right, "operator 'mul' over several axes")
        return graph.put(out, [None] * len(graph.dims(out)))
    if len(left) < 2 or len(right) < 2:
        graph.freeze_all(left + right, "a product with a vector")
        return graph.put(out, [None] * len(graph.dims(out)))
    turned_x = op.attr("trans_x", op.attr("transpose_X", False))
    turned_y = op.attr("trans_y", op.attr("transpose_Y", False))
    if turned_x:
        left[-1], left[-2] = left[-2], left[-1]
    if turned_y:
        right[-1], right[-2] = right[-2], right[-1]
    contract(graph, left[-1], right[-2])
    rank = len(graph.dims(out))
    result: Labels = [None] * rank
    lead_x, lead_y = aligned(graph, x, rank, left, 2), aligned(graph, y, rank, right, 2)
    for axis in range(rank - 2):
        result[axis] = meet(graph, op, [lead_x[axis], lead_y[axis]], graph.dims(out)[axis])
    result[-2], result[-1] = left[-2], right[-1]
    graph.source(x, len(left) - 1 if turned_x else len(left) - 2)
    graph.source(y, len(right) - 2 if turned_y else len(right) - 1)
    return graph.put(out, result)


def einsum(graph: ChannelGraph, op: Op) -> None:
    """Equal letters are equal axes; the ellipsis is untraced."""
    equation = op.attr("equation", "").replace(" ", "")
    operands = op.inputs["Operands"]
    out = op.output("Out")
    if "." in equation or "->" not in equation:
        return freeze_through(graph, op)
    terms, result = equation.split("->")
    by_letter: dict[str, list[np.ndarray | None]] = {}
    for letters, name in zip(terms.split(","), operands, strict=True):
        for letter, ids in zip(letters, graph.of(name), strict=True):
            by_letter.setdefault(letter, []).append(ids)
    for found in by_letter.values():
        for other in found[1:]:
            contract(graph, found[0], other)
    return graph.put(out, [by_letter[letter][0] for letter in result])


def embedding(graph: ChannelGraph, op: Op) -> None:
    weight, out = op.input("W"), op.output("Out")
    rows, made = graph.of(weight)
    graph.freeze(rows, "an embedding's rows")
    graph.source(weight, 1)
    graph.put(out, [None] * (len(graph.dims(out)) - 1) + [made])


def batch_norm(graph: ChannelGraph, op: Op) -> None:
    x = op.input("X")
    channel = channel_axis(op, len(graph.dims(x)), "data_layout")
    for slot in ("Scale", "Bias", "Mean", "Variance"):
        if op.input(slot) is not None:
            tie_vector(graph, op.input(slot), graph.of(x)[channel], op)
    graph.put(op.output("Y") or op.output("Out"), list(graph.of(x)))


def group_norm(graph: ChannelGraph, op: Op) -> None:
    """Keeps the number of groups; each becomes narrower."""
    x = op.input("X")
    channel = channel_axis(op, len(graph.dims(x)), "data_layout")
    ids = graph.of(x)[channel]
    if ids is not None:
        graph.tie_columns(ids.reshape(op.attr("groups", 1), -1))
    batch_norm(graph, op)


def layer_norm(graph: ChannelGraph, op: Op) -> None:
    x = op.input("X")
    begin = op.attr("begin_norm_axis", 1)
    labels = graph.of(x)
    normed = labels[begin:]
    for slot in ("Scale", "Bias"):
        if op.input(slot) is not None:
            if len(normed) == 1:
                tie_vector(graph, op.input(slot), normed[0], op)
            else:
                graph.freeze_all([*normed, *graph.of(op.input(slot))], "a layer norm over several axes")
    graph.put(op.output("Y"), list(labels))


def prelu(graph: ChannelGraph, op: Op) -> None:
    x, alpha = op.input("X"), op.input("Alpha")
    labels, mode = graph.of(x), op.attr("mode", "all")
    slopes = graph.of(alpha)
    if mode == "channel":
        channel = channel_axis(op, len(labels), "data_format")
        longest = int(np.argmax(graph.dims(alpha)))
        own, ids = slopes[longest], labels[channel]
        graph.freeze_all([ids for axis, ids in enumerate(slopes) if axis != longest], "a slope's size of 1")
        if own is not None and ids is not None and len(own) == len(ids):
            graph.tie(own, ids)
        else:
            graph.freeze_all([own, ids], "operator 'prelu' on channels that are not followed")
    else:
        graph.freeze_all(slopes, "one slope for all channels")
        if mode == "element":
            graph.freeze_all(labels, "a slope for each element")
    graph.put(op.output("Out"), list(labels))
