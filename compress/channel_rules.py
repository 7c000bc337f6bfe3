"""How each operator carries channels from its inputs to its outputs: one rule per kind of operator.

Axes are Paddle's; a label of None means that nothing along the axis is followed (batch, height, width, heads).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from segexport.compress.channel_graph import ChannelGraph
from segexport.exporter.program import Op

Labels = list["np.ndarray | None"]
Rule = Callable[[ChannelGraph, Op], None]


# -- weights -------------------------------------------------------------------------------------------------------


def _convolution(graph: ChannelGraph, op: Op) -> None:
    """Filter [out, in / groups, kh, kw]. Groups of several channels stay as many; each loses the same positions."""
    x, weight = op.input("Input"), op.input("Filter")
    groups = op.attr("groups", 1)
    channel = _channel_axis(op, len(graph.dims(x)), "data_format")
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


def _transposed_convolution(graph: ChannelGraph, op: Op) -> None:
    """Filter [in, out / groups, kh, kw]."""
    x, weight = op.input("Input"), op.input("Filter")
    groups = op.attr("groups", 1)
    channel = _channel_axis(op, len(graph.dims(x)), "data_format")
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
        _tie_vector(graph, bias, made, op)


def _matmul(graph: ChannelGraph, op: Op) -> None:
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
    _contract(graph, left[-1], right[-2])
    rank = len(graph.dims(out))
    result: Labels = [None] * rank
    lead_x, lead_y = _aligned(graph, x, rank, left, 2), _aligned(graph, y, rank, right, 2)
    for axis in range(rank - 2):
        result[axis] = _meet(graph, op, [lead_x[axis], lead_y[axis]], graph.dims(out)[axis])
    result[-2], result[-1] = left[-2], right[-1]
    graph.source(x, len(left) - 1 if turned_x else len(left) - 2)
    graph.source(y, len(right) - 2 if turned_y else len(right) - 1)
    return graph.put(out, result)


def _contract(graph: ChannelGraph, first: np.ndarray | None, second: np.ndarray | None) -> None:
    if first is not None and second is not None:
        graph.tie(first, second)
    else:
        graph.freeze(first, "a sum with a tensor whose channels are not followed")
        graph.freeze(second, "a sum with a tensor whose channels are not followed")


def _aligned(graph: ChannelGraph, name: str, rank: int, labels: Labels, skipped: int) -> list[tuple[int, object]]:
    """(size, label) of a tensor's leading axes, aligned at the end with `rank` axes."""
    sizes = list(graph.dims(name))
    missing = rank - len(sizes)
    return [(1, None)] * missing + list(zip(sizes, labels, strict=True))[: len(sizes) - skipped]


def _einsum(graph: ChannelGraph, op: Op) -> None:
    """Equal letters are equal axes; the ellipsis is not followed."""
    equation = op.attr("equation", "").replace(" ", "")
    operands = op.inputs["Operands"]
    out = op.output("Out")
    if "." in equation or "->" not in equation:
        return _freeze_through(graph, op)
    terms, result = equation.split("->")
    by_letter: dict[str, list[np.ndarray | None]] = {}
    for letters, name in zip(terms.split(","), operands, strict=True):
        for letter, ids in zip(letters, graph.of(name), strict=True):
            by_letter.setdefault(letter, []).append(ids)
    for found in by_letter.values():
        for other in found[1:]:
            _contract(graph, found[0], other)
    return graph.put(out, [by_letter[letter][0] for letter in result])


def _embedding(graph: ChannelGraph, op: Op) -> None:
    weight, out = op.input("W"), op.output("Out")
    rows, made = graph.of(weight)
    graph.freeze(rows, "an embedding's rows")
    graph.source(weight, 1)
    graph.put(out, [None] * (len(graph.dims(out)) - 1) + [made])


# -- norms -----------------------------------------------------------------------------------------------------------


def _batch_norm(graph: ChannelGraph, op: Op) -> None:
    x = op.input("X")
    channel = _channel_axis(op, len(graph.dims(x)), "data_layout")
    for slot in ("Scale", "Bias", "Mean", "Variance"):
        if op.input(slot) is not None:
            _tie_vector(graph, op.input(slot), graph.of(x)[channel], op)
    graph.put(op.output("Y") or op.output("Out"), list(graph.of(x)))


def _group_norm(graph: ChannelGraph, op: Op) -> None:
    """As many groups as before, each of them narrower."""
    x = op.input("X")
    channel = _channel_axis(op, len(graph.dims(x)), "data_layout")
    ids = graph.of(x)[channel]
    if ids is not None:
        graph.tie_columns(ids.reshape(op.attr("groups", 1), -1))
    _batch_norm(graph, op)


def _layer_norm(graph: ChannelGraph, op: Op) -> None:
    x = op.input("X")
    begin = op.attr("begin_norm_axis", 1)
    labels = graph.of(x)
    normed = labels[begin:]
    for slot in ("Scale", "Bias"):
        if op.input(slot) is not None:
            if len(normed) == 1:
                _tie_vector(graph, op.input(slot), normed[0], op)
            else:
                graph.freeze_all([*normed, *graph.of(op.input(slot))], "a layer norm over several axes")
    graph.put(op.output("Y"), list(labels))


def _tie_vector(graph: ChannelGraph, vector: str, ids: np.ndarray | None, op: Op) -> None:
    own = graph.of(vector)
    if ids is not None and len(own) == 1 and own[0] is not None and len(own[0]) == len(ids):
        graph.tie(own[0], ids)
    else:
        graph.freeze_all([*own, ids], f"operator '{op.type}' on channels that are not followed")


def _prelu(graph: ChannelGraph, op: Op) -> None:
    x, alpha = op.input("X"), op.input("Alpha")
    labels, mode = graph.of(x), op.attr("mode", "all")
    slopes = graph.of(alpha)
    if mode == "channel":
        channel = _channel_axis(op, len(labels), "data_format")
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


# -- elementwise -----------------------------------------------------------------------------------------------------


def _elementwise(graph: ChannelGraph, op: Op) -> None:
    """Paddle's broadcasting: the shorter tensor starts at `axis` of the longer one, or ends where it ends."""
    x, y, out = op.input("X"), op.input("Y"), op.output("Out")
    rank, axis = len(graph.dims(out)), op.attr("axis", -1)
    sides = []
    for name in (x, y):
        sizes = list(zip(graph.dims(name), graph.of(name), strict=True))
        missing = rank - len(sizes)
        lead = missing if axis < 0 else min(axis, missing)
        sides.append([(1, None)] * lead + sizes + [(1, None)] * (missing - lead))
    _merge(graph, op, out, sides)


def _where(graph: ChannelGraph, op: Op) -> None:
    _trailing(graph, op, [op.input(slot) for slot in ("Condition", "X", "Y")], op.output("Out"))


def _sum(graph: ChannelGraph, op: Op) -> None:
    _trailing(graph, op, op.inputs["X"], op.output("Out"))


def _trailing(graph: ChannelGraph, op: Op, names: list[str], out: str) -> None:
    rank = len(graph.dims(out))
    _merge(graph, op, out, [_aligned(graph, name, rank, graph.of(name), 0) for name in names])


def _merge(graph: ChannelGraph, op: Op, out: str, sides: list[list[tuple[int, object]]]) -> None:
    columns = zip(graph.dims(out), *sides, strict=True)
    graph.put(out, [_meet(graph, op, list(column), size) for size, *column in columns])


def _meet(graph: ChannelGraph, op: Op, column: list[tuple[int, object]], size: int) -> np.ndarray | None:
    """One axis of several tensors that broadcast to `size`."""
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


def _same(graph: ChannelGraph, op: Op) -> None:
    """Every output has the labels of X, along axes that keep their size; what changes size is frozen."""
    x = op.input("X") or op.input("Input")
    for out in op.output_names():
        if out in graph.program.vars and len(graph.dims(out)) == len(graph.dims(x)):
            pairs = zip(graph.of(x), graph.dims(x), graph.dims(out), strict=True)
            kept: Labels = []
            for ids, before, after in pairs:
                if before != after:
                    graph.freeze(ids, f"operator '{op.type}' changes the size")
                kept.append(ids if before == after else None)
            graph.put(out, kept)


def _freeze_through(graph: ChannelGraph, op: Op) -> None:
    for name in op.input_names():
        graph.freeze_all(graph.of(name), f"operator '{op.type}'")
    for name in op.output_names():
        graph.put(name, [None] * len(graph.dims(name)))


def _nothing(graph: ChannelGraph, op: Op) -> None:
    """Outputs that hold no channels: shapes and constants."""
    for name in op.output_names():
        graph.put(name, [None] * len(graph.dims(name)))


def _constant(graph: ChannelGraph, op: Op) -> None:
    """A tensor of one value can have any size."""
    out = op.output("Out")
    computed = op.inputs.get("ShapeTensor") or op.inputs.get("ShapeTensorList")
    free = [None if computed or size < 2 else graph.fresh(size) for size in graph.dims(out)]
    graph.put(out, free)


def _along(slots: tuple[str, ...]) -> Rule:
    """X's labels on, except along the attribute's axes, where order or position means something."""

    def rule(graph: ChannelGraph, op: Op) -> None:
        labels = graph.of(op.input("X"))
        axes = next((op.attr(slot) for slot in slots if op.attr(slot) is not None), [])
        axes = axes if isinstance(axes, list) else [axes]
        for axis in axes or range(len(labels)):  # none: over the flattened tensor
            graph.freeze(labels[axis], f"operator '{op.type}' along the channels")
        _same(graph, op)

    return rule


# -- shape -----------------------------------------------------------------------------------------------------------


def _reshape(graph: ChannelGraph, op: Op) -> None:
    x, out = op.input("X"), op.output("Out")
    labels, before, after = graph.of(x), graph.dims(x), graph.dims(out)
    result: Labels = [None] * len(after)
    for axis, size in enumerate(before):
        if size == 1:
            graph.freeze(labels[axis], "a size of 1 that is reshaped")
    for ins, outs in matched_axes(before, after):
        followed = [axis for axis in ins if labels[axis] is not None]
        if not followed:
            continue
        ids = labels[followed[0]]
        if len(ins) == len(outs) == 1:
            result[outs[0]] = ids
        elif len(ins) == 1 and all(after[axis] > 0 for axis in outs):
            sizes = [after[axis] for axis in outs]
            carrier = max(range(len(sizes)), key=lambda position: (sizes[position], position))
            table = np.moveaxis(ids.reshape(sizes), carrier, -1).reshape(-1, sizes[carrier])
            result[outs[carrier]] = graph.tie_columns(table)
        elif len(outs) == 1 and len(followed) == 1 and all(before[axis] > 0 for axis in ins):
            spread = [len(ids) if axis == followed[0] else 1 for axis in ins]
            result[outs[0]] = np.broadcast_to(ids.reshape(spread), [before[axis] for axis in ins]).reshape(-1)
        else:
            for axis in followed:
                graph.freeze(labels[axis], "a reshape that mixes axes")
    graph.put(out, result)


def matched_axes(before: tuple[int, ...], after: tuple[int, ...]) -> Iterator[tuple[list[int], list[int]]]:
    """The smallest runs of axes of equal product, without axes of size 1. A free size (-1) matches one free size."""
    ins = [axis for axis, size in enumerate(before) if size != 1]
    outs = [axis for axis, size in enumerate(after) if size != 1]
    while ins and outs:
        left, right = [ins.pop(0)], [outs.pop(0)]
        if (before[left[0]] < 0) != (after[right[0]] < 0):  # no telling where this run ends
            yield left + ins, right + outs
            return
        while before[left[0]] > 0:
            taken = math.prod(before[axis] for axis in left)
            given = math.prod(after[axis] for axis in right)
            if taken == given:
                break
            side, rest, sizes = (left, ins, before) if taken < given else (right, outs, after)
            if not rest or sizes[rest[0]] < 0:
                yield left + ins, right + outs
                return
            side.append(rest.pop(0))
        yield left, right
    if ins or outs:
        yield ins, outs


def _transpose(graph: ChannelGraph, op: Op) -> None:
    labels = graph.of(op.input("X"))
    graph.put(op.output("Out"), [labels[axis] for axis in op.attr("axis")])


def _squeeze(graph: ChannelGraph, op: Op) -> None:
    x = op.input("X")
    labels, sizes = graph.of(x), graph.dims(x)
    axes = [axis % len(sizes) for axis in op.attr("axes", [])] or [a for a, size in enumerate(sizes) if size == 1]
    gone = [axis for axis in axes if sizes[axis] == 1]
    for axis in gone:
        graph.freeze(labels[axis], "a size of 1 that is squeezed")
    graph.put(op.output("Out"), [ids for axis, ids in enumerate(labels) if axis not in gone])


def _unsqueeze(graph: ChannelGraph, op: Op) -> None:
    labels = list(graph.of(op.input("X")))
    for axis in op.attr("axes", []):
        labels.insert(axis if axis >= 0 else len(labels) + 1 + axis, None)
    graph.put(op.output("Out"), labels)


def _concat(graph: ChannelGraph, op: Op) -> None:
    names, out = op.inputs["X"], op.output("Out")
    axis = op.attr("axis", 0) % len(graph.dims(out))
    result: Labels = []
    for position, size in enumerate(graph.dims(out)):
        parts = [graph.of(name)[position] for name in names]
        if position != axis:
            column = [(graph.dims(name)[position], ids) for name, ids in zip(names, parts, strict=True)]
            result.append(_meet(graph, op, column, size))
        elif all(ids is None for ids in parts):
            result.append(None)
        else:
            result.append(
                np.concatenate([_held(graph, name, axis, ids) for name, ids in zip(names, parts, strict=True)])
            )
    graph.put(out, result)


def _held(graph: ChannelGraph, name: str, axis: int, ids: np.ndarray | None) -> np.ndarray:
    """The labels, or fresh frozen ones where nothing is followed."""
    if ids is None:
        ids = graph.fresh(graph.dims(name)[axis])
        graph.freeze(ids, "channels that are not followed")
    return ids


def _split(graph: ChannelGraph, op: Op) -> None:
    labels = graph.of(op.input("X"))
    axis, start = op.attr("axis", 0) % len(labels), 0
    if op.inputs.get("AxisTensor") or op.inputs.get("SectionsTensorList"):
        return _freeze_through(graph, op)
    for out in op.outputs["Out"]:
        part = list(labels)
        if labels[axis] is not None:
            end = start + graph.dims(out)[axis]
            part[axis], start = labels[axis][start:end], end
        graph.put(out, part)
    return None


def _slice(graph: ChannelGraph, op: Op) -> None:
    """A run of channels may be taken out; `prune` moves its ends with the cut."""
    x, out = op.input("Input"), op.output("Out")
    labels, sizes = list(graph.of(x)), graph.dims(x)
    by_tensor = any(op.inputs.get(slot) for slot in _SLICE_TENSORS)
    for axis, start, end in zip(op.attr("axes"), op.attr("starts") or [], op.attr("ends") or [], strict=False):
        if labels[axis] is not None:
            if by_tensor:
                graph.freeze(labels[axis], "a slice whose ends are computed")
            first, last = bounds(start, end, sizes[axis])
            labels[axis] = labels[axis][first:last]
    if by_tensor:
        axes = set(op.attr("axes"))
        labels = [None if axis in axes else ids for axis, ids in enumerate(labels)]
    dropped = op.attr("decrease_axis") or []
    for axis in dropped:
        graph.freeze(labels[axis], "a single channel taken out")
    graph.put(out, [ids for axis, ids in enumerate(labels) if axis not in dropped])


_SLICE_TENSORS = ("StartsTensor", "EndsTensor", "StartsTensorList", "EndsTensorList")


def bounds(start: int, end: int, size: int) -> tuple[int, int]:
    """Python's reading of a slice's ends."""
    first, last, _ = slice(start, end).indices(size)
    return first, last


def _strided_slice(graph: ChannelGraph, op: Op) -> None:
    labels = list(graph.of(op.input("Input")))
    for axis in op.attr("axes"):
        graph.freeze(labels[axis], "operator 'strided_slice' along the channels")
        labels[axis] = None
    dropped = op.attr("decrease_axis") or []
    graph.put(op.output("Out"), [ids for axis, ids in enumerate(labels) if axis not in dropped])


def _stack(graph: ChannelGraph, op: Op) -> None:
    names = op.inputs["X"]
    columns = zip(graph.dims(names[0]), *[zip(graph.dims(n), graph.of(n), strict=True) for n in names], strict=True)
    labels: Labels = [_meet(graph, op, list(column), size) for size, *column in columns]
    axis = op.attr("axis", 0)
    labels.insert(axis if axis >= 0 else len(labels) + 1 + axis, None)
    graph.put(op.output("Y"), labels)


def _expand(graph: ChannelGraph, op: Op) -> None:
    x, out = op.input("X"), op.output("Out")
    rank = len(graph.dims(out))
    column = _aligned(graph, x, rank, graph.of(x), 0)
    result: Labels = []
    for (before, ids), after in zip(column, graph.dims(out), strict=True):
        if before != after:
            graph.freeze(ids, f"operator '{op.type}' repeats it")
        result.append(ids if before == after else None)
    graph.put(out, result)


def _reduce(graph: ChannelGraph, op: Op) -> None:
    labels = graph.of(op.input("X"))
    axes = range(len(labels)) if op.attr("reduce_all", False) else [axis % len(labels) for axis in op.attr("dim", [0])]
    keeps = op.attr("keep_dim", False)
    result = [None if axis in axes else ids for axis, ids in enumerate(labels) if keeps or axis not in axes]
    graph.put(op.output("Out"), result)


def _arg(graph: ChannelGraph, op: Op) -> None:
    labels = graph.of(op.input("X"))
    axis = op.attr("axis", -1) % max(1, len(labels))
    graph.freeze(labels[axis], "a class index is made of it")
    rest = [None if a == axis else ids for a, ids in enumerate(labels) if a != axis or op.attr("keepdims", False)]
    graph.put(op.output("Out"), rest)


def _gather(graph: ChannelGraph, op: Op) -> None:
    labels, index, out = list(graph.of(op.input("X"))), op.input("Index"), op.output("Out")
    axis = op.attr("dim", op.attr("axis", 0)) % len(labels)
    graph.freeze(labels[axis], f"operator '{op.type}' along it")
    made: Labels = [None] * len(graph.dims(index))
    graph.put(out, labels[:axis] + made + labels[axis + 1 :])


def _pixel_shuffle(graph: ChannelGraph, op: Op) -> None:
    labels = list(graph.of(op.input("X")))
    ids = labels[1]
    if ids is not None:
        labels[1] = graph.tie_columns(ids.reshape(-1, op.attr("upscale_factor", 1) ** 2).T)
    graph.put(op.output("Out"), [labels[0], labels[1], None, None])


def _set_value(graph: ChannelGraph, op: Op) -> None:
    labels = graph.of(op.input("Input"))
    for axis in op.attr("axes", []):
        graph.freeze(labels[axis], "operator 'set_value' along it")
    if op.input("ValueTensor"):
        graph.freeze_all([*labels, *graph.of(op.input("ValueTensor"))], "operator 'set_value' of a tensor")
    graph.put(op.output("Out"), list(labels))


def _sample(graph: ChannelGraph, op: Op) -> None:
    out = op.output("Out") or op.output("Output")
    graph.put(out, [None, graph.of(op.input("X"))[1], None, None])


def _unpool(graph: ChannelGraph, op: Op) -> None:
    pair = [(graph.dims(op.input(slot))[1], graph.of(op.input(slot))[1]) for slot in ("X", "Indices")]
    ids = _meet(graph, op, pair, graph.dims(op.input("X"))[1])
    graph.put(op.output("Out"), [None, ids, None, None])


# -- helpers and the table -------------------------------------------------------------------------------------------


def _channel_axis(op: Op, rank: int, attribute: str) -> int:
    return rank - 1 if str(op.attr(attribute, "NCHW")) in ("NHWC", "NLC", "NDHWC") else 1


def _spatial(graph: ChannelGraph, out: str | None, made: np.ndarray | None, channel: int) -> Labels:
    labels: Labels = [None] * len(graph.dims(out or ""))
    labels[channel] = made
    return labels


def _window(graph: ChannelGraph, op: Op) -> None:
    """Pooling and resizing: batch and channels go on, height and width are made anew."""
    x = op.input("X")
    channel = _channel_axis(op, len(graph.dims(x)), "data_layout" if "interp" in op.type else "data_format")
    for out in op.output_names():
        if len(graph.dims(out)) == len(graph.dims(x)):
            labels: Labels = [None] * len(graph.dims(out))
            labels[0], labels[channel] = graph.of(x)[0], graph.of(x)[channel]
            graph.put(out, labels)
    followed = [ids for axis, ids in enumerate(graph.of(x)) if axis not in (0, channel)]
    graph.freeze_all(followed, f"operator '{op.type}' along it")


_SAME = (
    "relu relu6 sigmoid hard_sigmoid hard_swish swish silu gelu tanh exp sqrt rsqrt square abs scale cast dropout clip "
    "leaky_relu elu selu celu softmax log_softmax assign mish softplus softsign log pow floor ceil round sin cos sign "
    "reciprocal logical_not bitwise_not fill_any_like fill_zeros_like pad3d pad2d share_data hard_shrink erf"
)
_ELEMENTWISE = (
    "elementwise_add elementwise_sub elementwise_mul elementwise_div elementwise_max elementwise_min elementwise_pow "
    "elementwise_mod elementwise_floordiv equal not_equal less_than less_equal greater_than greater_equal logical_and "
    "logical_or logical_xor maximum minimum bitwise_and bitwise_or"
)
_WINDOW = (
    "pool2d max_pool2d_with_index linear_interp_v2 bilinear_interp_v2 nearest_interp_v2 bicubic_interp_v2 "
    "trilinear_interp_v2 bilinear_interp nearest_interp"
)
_REDUCE = "reduce_mean reduce_sum reduce_max reduce_min reduce_prod reduce_any reduce_all"

RULES: dict[str, Rule] = {
    **dict.fromkeys(_SAME.split(), _same),
    **dict.fromkeys(_ELEMENTWISE.split(), _elementwise),
    **dict.fromkeys(_WINDOW.split(), _window),
    **dict.fromkeys(_REDUCE.split(), _reduce),
    **dict.fromkeys(("conv2d", "depthwise_conv2d"), _convolution),
    **dict.fromkeys(("conv2d_transpose", "depthwise_conv2d_transpose"), _transposed_convolution),
    **dict.fromkeys(("matmul_v2", "matmul", "mul", "bmm"), _matmul),
    **dict.fromkeys(("batch_norm", "sync_batch_norm", "instance_norm", "affine_channel"), _batch_norm),
    **dict.fromkeys(("reshape2", "reshape", "flatten_contiguous_range", "flatten2"), _reshape),
    **dict.fromkeys(("squeeze2", "squeeze"), _squeeze),
    **dict.fromkeys(("unsqueeze2", "unsqueeze"), _unsqueeze),
    **dict.fromkeys(("transpose2", "transpose"), _transpose),
    **dict.fromkeys(("expand_v2", "tile", "expand"), _expand),
    **dict.fromkeys(("gather", "index_select"), _gather),
    **dict.fromkeys(("arg_max", "arg_min"), _arg),
    **dict.fromkeys(("shape", "range", "assign_value", "size"), _nothing),
    **dict.fromkeys(("roll", "cumsum", "flip"), _along(("axis",))),
    "concat": _concat,
    "einsum": _einsum,
    "fill_constant": _constant,
    "grid_sampler": _sample,
    "group_norm": _group_norm,
    "layer_norm": _layer_norm,
    "lookup_table_v2": _embedding,
    "pixel_shuffle": _pixel_shuffle,
    "prelu": _prelu,
    "set_value": _set_value,
    "slice": _slice,
    "split": _split,
    "stack": _stack,
    "strided_slice": _strided_slice,
    "sum": _sum,
    "unpool": _unpool,
    "where": _where,
}
