"""Channel rules for reshape, transpose, concat, split, slice, reduction and resize operators."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from segexport.compress.channel_coupling import Labels, aligned, channel_axis, freeze_through, meet
from segexport.compress.channel_graph import ChannelGraph
from segexport.exporter.program import Op


def reshape(graph: ChannelGraph, op: Op) -> None:
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
    """Yields minimal runs of axes with equal product, ignoring size 1. A dynamic size (-1) matches one dynamic size."""
    ins = [axis for axis, size in enumerate(before) if size != 1]
    outs = [axis for axis, size in enumerate(after) if size != 1]
    while ins and outs:
        left, right = [ins.pop(0)], [outs.pop(0)]
        if (before[left[0]] < 0) != (after[right[0]] < 0):  # the end of this run is unknown
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


def transpose(graph: ChannelGraph, op: Op) -> None:
    labels = graph.of(op.input("X"))
    graph.put(op.output("Out"), [labels[axis] for axis in op.attr("axis")])


def squeeze(graph: ChannelGraph, op: Op) -> None:
    x = op.input("X")
    labels, sizes = graph.of(x), graph.dims(x)
    axes = [axis % len(sizes) for axis in op.attr("axes", [])] or [a for a, size in enumerate(sizes) if size == 1]
    gone = [axis for axis in axes if sizes[axis] == 1]
    for axis in gone:
        graph.freeze(labels[axis], "a size of 1 that is squeezed")
    graph.put(op.output("Out"), [ids for axis, ids in enumerate(labels) if axis not in gone])


def unsqueeze(graph: ChannelGraph, op: Op) -> None:
    labels = list(graph.of(op.input("X")))
    for axis in op.attr("axes", []):
        labels.insert(axis if axis >= 0 else len(labels) + 1 + axis, None)
    graph.put(op.output("Out"), labels)


def concat(graph: ChannelGraph, op: Op) -> None:
    names, out = op.inputs["X"], op.output("Out")
    axis = op.attr("axis", 0) % len(graph.dims(out))
    result: Labels = []
    for position, size in enumerate(graph.dims(out)):
        parts = [graph.of(name)[position] for name in names]
        if position != axis:
            column = [(graph.dims(name)[position], ids) for name, ids in zip(names, parts, strict=True)]
            result.append(meet(graph, op, column, size))
        elif all(ids is None for ids in parts):
            result.append(None)
        else:
            result.append(
                np.concatenate([_held(graph, name, axis, ids) for name, ids in zip(names, parts, strict=True)])
            )
    graph.put(out, result)


def _held(graph: ChannelGraph, name: str, axis: int, ids: np.ndarray | None) -> np.ndarray:
    """Returns the labels, or new frozen labels for an untraced axis."""
    if ids is None:
        ids = graph.fresh(graph.dims(name)[axis])
        graph.freeze(ids, "channels that are not followed")
    return ids


def split(graph: ChannelGraph, op: Op) -> None:
    labels = graph.of(op.input("X"))
    axis, start = op.attr("axis", 0) % len(labels), 0
    if op.inputs.get("AxisTensor") or op.inputs.get("SectionsTensorList"):
        return freeze_through(graph, op)
    for out in op.outputs["Out"]:
        part = list(labels)
        if labels[axis] is not None:
            end = start + graph.dims(out)[axis]
            part[axis], start = labels[axis][start:end], end
        graph.put(out, part)
    return None


def slice_(graph: ChannelGraph, op: Op) -> None:
    """Traces a slice of channels; `cut` adjusts the slice's bounds."""
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
    """Normalizes slice bounds as Python does."""
    first, last, _ = slice(start, end).indices(size)
    return first, last


def strided_slice(graph: ChannelGraph, op: Op) -> None:
    labels = list(graph.of(op.input("Input")))
    for axis in op.attr("axes"):
        graph.freeze(labels[axis], "operator 'strided_slice' along the channels")
        labels[axis] = None
    dropped = op.attr("decrease_axis") or []
    graph.put(op.output("Out"), [ids for axis, ids in enumerate(labels) if axis not in dropped])


def stack(graph: ChannelGraph, op: Op) -> None:
    names = op.inputs["X"]
    columns = zip(graph.dims(names[0]), *[zip(graph.dims(n), graph.of(n), strict=True) for n in names], strict=True)
    labels: Labels = [meet(graph, op, list(column), size) for size, *column in columns]
    axis = op.attr("axis", 0)
    labels.insert(axis if axis >= 0 else len(labels) + 1 + axis, None)
    graph.put(op.output("Y"), labels)


def expand(graph: ChannelGraph, op: Op) -> None:
    x, out = op.input("X"), op.output("Out")
    rank = len(graph.dims(out))
    column = aligned(graph, x, rank, graph.of(x), 0)
    result: Labels = []
    for (before, ids), after in zip(column, graph.dims(out), strict=True):
        if before != after:
            graph.freeze(ids, f"operator '{op.type}' repeats it")
        result.append(ids if before == after else None)
    graph.put(out, result)


def reduce(graph: ChannelGraph, op: Op) -> None:
    labels = graph.of(op.input("X"))
    axes = range(len(labels)) if op.attr("reduce_all", False) else [axis % len(labels) for axis in op.attr("dim", [0])]
    keeps = op.attr("keep_dim", False)
    result = [None if axis in axes else ids for axis, ids in enumerate(labels) if keeps or axis not in axes]
    graph.put(op.output("Out"), result)


def arg(graph: ChannelGraph, op: Op) -> None:
    labels = graph.of(op.input("X"))
    axis = op.attr("axis", -1) % max(1, len(labels))
    graph.freeze(labels[axis], "a class index is made of it")
    rest = [None if a == axis else ids for a, ids in enumerate(labels) if a != axis or op.attr("keepdims", False)]
    graph.put(op.output("Out"), rest)


def gather(graph: ChannelGraph, op: Op) -> None:
    labels, index, out = list(graph.of(op.input("X"))), op.input("Index"), op.output("Out")
    axis = op.attr("dim", op.attr("axis", 0)) % len(labels)
    graph.freeze(labels[axis], f"operator '{op.type}' along it")
    made: Labels = [None] * len(graph.dims(index))
    graph.put(out, labels[:axis] + made + labels[axis + 1 :])


def pixel_shuffle(graph: ChannelGraph, op: Op) -> None:
    labels = list(graph.of(op.input("X")))
    ids = labels[1]
    if ids is not None:
        labels[1] = graph.tie_columns(ids.reshape(-1, op.attr("upscale_factor", 1) ** 2).T)
    graph.put(op.output("Out"), [labels[0], labels[1], None, None])


def set_value(graph: ChannelGraph, op: Op) -> None:
    labels = graph.of(op.input("Input"))
    for axis in op.attr("axes", []):
        graph.freeze(labels[axis], "operator 'set_value' along it")
    if op.input("ValueTensor"):
        graph.freeze_all([*labels, *graph.of(op.input("ValueTensor"))], "operator 'set_value' of a tensor")
    graph.put(op.output("Out"), list(labels))


def sample(graph: ChannelGraph, op: Op) -> None:
    out = op.output("Out") or op.output("Output")
    graph.put(out, [None, graph.of(op.input("X"))[1], None, None])


def unpool(graph: ChannelGraph, op: Op) -> None:
    pair = [(graph.dims(op.input(slot))[1], graph.of(op.input(slot))[1]) for slot in ("X", "Indices")]
    ids = meet(graph, op, pair, graph.dims(op.input("X"))[1])
    graph.put(op.output("Out"), [None, ids, None, None])


def window(graph: ChannelGraph, op: Op) -> None:
    """Pooling and resizing: copies batch and channel labels; height and width are untraced."""
    x = op.input("X")
    channel = channel_axis(op, len(graph.dims(x)), "data_layout" if "interp" in op.type else "data_format")
    for out in op.output_names():
        if len(graph.dims(out)) == len(graph.dims(x)):
            labels: Labels = [None] * len(graph.dims(out))
            labels[0], labels[channel] = graph.of(x)[0], graph.of(x)[channel]
            graph.put(out, labels)
    followed = [ids for axis, ids in enumerate(graph.of(x)) if axis not in (0, channel)]
    graph.freeze_all(followed, f"operator '{op.type}' along it")
