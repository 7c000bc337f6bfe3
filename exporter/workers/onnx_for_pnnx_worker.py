"""Writes an ONNX model in the form that pnnx converts without loss. Command: prepare."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper, shape_inference

_BROADCAST = frozenset({"Add", "Sub", "Mul", "Div", "Max", "Min", "Pow"})
_MOST_SLICES = 256  # in place of one gather

Shapes = dict[str, list[int]]
"""Sizes of each value; 0: unknown."""
Arrays = dict[str, np.ndarray]
Others = list[NodeProto] | None
"""What an operator is replaced by; None: it stays."""


def prepare(arguments, _arrays):
    """Writes `out`; returns how many operators were changed."""
    model = onnx.load(arguments["onnx"])
    inferred = shape_inference.infer_shapes(model).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output, *inferred.initializer)
    shapes = {value.name: _dims(value) for value in values}
    changed = _state_sizes(model.graph, shapes) + _replace(model.graph, shapes)
    for node in model.graph.node:
        if node.op_type == "Resize":
            _drop_idle(node)
    onnx.save(model, arguments["out"])
    return {"changed": changed}, []


def _dims(value) -> list[int]:
    """The shape of a value or a constant; 0 where it is not known."""
    if isinstance(value, onnx.TensorProto):
        return list(value.dims)
    return [size.dim_value for size in value.type.tensor_type.shape.dim]


def _state_sizes(graph: onnx.GraphProto, shapes: Shapes) -> int:
    """Gives a `Split` into equal parts its sizes, without which pnnx omits them and ncnn crashes on the layer."""
    changed = 0
    for node in graph.node:
        names = [attribute.name for attribute in node.attribute]
        if node.op_type != "Split" or len(node.input) > 1 or "split" in names:
            continue
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
        sizes = [shapes[name][axis] for name in node.output]
        graph.initializer.append(numpy_helper.from_array(np.array(sizes, np.int64), f"{node.output[0]}.sizes"))
        node.input.append(f"{node.output[0]}.sizes")
        for index in reversed(range(len(node.attribute))):
            if node.attribute[index].name == "num_outputs":
                del node.attribute[index]
        changed += 1
    return changed


def _replace(graph: onnx.GraphProto, shapes: Shapes) -> int:
    """Replaces each operator that a rule has other operators for."""
    constants = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    nodes, changed = [], 0
    for node in graph.node:
        rule = _RULES.get(node.op_type)
        others = rule(graph, node, shapes, constants) if rule else None
        nodes += [node] if others is None else others
        changed += others is not None
    del graph.node[:]
    graph.node.extend(nodes)
    return changed


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
        reader.op_type in _BROADCAST
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


def _resize_by_corners(graph: onnx.GraphProto, node: NodeProto, shapes: Shapes, _constants: Arrays) -> Others:
    """Replaces a linear resize whose grid is `asymmetric`, which ncnn computes as if it were `half_pixel`.

    Output pixel i of n reads the input at i * m / n, m its size. With one more pixel at the end of both, the last
    one repeated, that is the grid of aligned corners; the pixel is cut off again.
    """
    values = _values(node)
    value, made = node.input[0], node.output[0]
    before, after = shapes.get(value, []), shapes.get(made, [])
    sized = len(before) == len(after) == 4 and 0 not in (*before, *after)
    asymmetric = values.get("coordinate_transformation_mode") == b"asymmetric"
    if values.get("mode") != b"linear" or not asymmetric or not sized:
        return None
    one, last = [*after[:2], after[2] + 1, after[3] + 1], [0, 0, 0, 0, 0, 0, 1, 1]
    arrays = {"pads": last, "sizes": one, "starts": [0, 0], "ends": after[2:], "axes": [2, 3]}
    for name, array in arrays.items():
        graph.initializer.append(numpy_helper.from_array(np.array(array, np.int64), f"{made}.{name}"))
    more, corners = f"{made}.padded", {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    cut = [f"{made}.{name}" for name in ("starts", "ends", "axes")]
    return [
        helper.make_node("Pad", [value, f"{made}.pads"], [more], more, mode="edge"),
        helper.make_node("Resize", [more, "", "", f"{made}.sizes"], [f"{made}.corners"], node.name, **corners),
        helper.make_node("Slice", [f"{made}.corners", *cut], [made], f"{made}.cut"),
    ]


def _gather_by_slices(graph: onnx.GraphProto, node: NodeProto, shapes: Shapes, constants: Arrays) -> Others:
    """Replaces a `Gather` of a constant list, which ncnn lacks, by slices of neighbours, concatenated."""
    places, before = constants.get(node.input[1]), shapes.get(node.input[0], [])
    if places is None:
        return None
    axis = _values(node).get("axis", 0) % max(len(before), 1)
    if not axis or not before[axis] or places.ndim != 1 or not places.size:  # axis 0 is the batch, as ncnn sees it
        return None
    runs = _runs(places % before[axis])
    if len(runs) > _MOST_SLICES:
        return None
    (made,), nodes = node.output, []
    for number, (start, end) in enumerate(runs):
        part = f"{made}.part{number}" if len(runs) > 1 else made
        bounds = {f"{part}.start": start, f"{part}.end": end, f"{part}.axis": axis}
        graph.initializer.extend(numpy_helper.from_array(np.array([v], np.int64), k) for k, v in bounds.items())
        nodes.append(helper.make_node("Slice", [node.input[0], *bounds], [part], part))
    if len(runs) > 1:
        parts = [part.output[0] for part in nodes]
        nodes.append(helper.make_node("Concat", parts, [made], made, axis=axis))
    return nodes


def _runs(places: np.ndarray) -> list[tuple[int, int]]:
    """Start and end of each run of neighbours in a list of places."""
    ends = np.flatnonzero(np.diff(places) != 1) + 1
    return [(int(run[0]), int(run[-1]) + 1) for run in np.split(places, ends)]


def _sum_by_means(graph: onnx.GraphProto, node: NodeProto, shapes: Shapes, constants: Arrays) -> Others:
    """Replaces a `ReduceSum` by a mean times a count: pnnx omits the axes, which are an input, and nothing is added.

    A mean has its axes as an attribute up to opset 17.
    """
    axes = constants.get(node.input[1]) if len(node.input) > 1 else None
    before = shapes.get(node.input[0], [])
    taken = [int(axis) % len(before) for axis in axes.reshape(-1)] if axes is not None and before else []
    count = int(np.prod([before[axis] for axis in taken]))
    if not taken or not count:
        return None
    (value, _), (made,) = node.input, node.output
    kept = _values(node).get("keepdims", 1)
    graph.initializer.append(numpy_helper.from_array(np.array(count, np.float32), f"{made}.count"))
    return [
        helper.make_node("ReduceMean", [value], [f"{made}.mean"], node.name, axes=taken, keepdims=kept),
        helper.make_node("Mul", [f"{made}.mean", f"{made}.count"], [made], f"{made}.sum"),
    ]


def _mean_in_two(_graph: onnx.GraphProto, node: NodeProto, shapes: Shapes, _constants: Arrays) -> Others:
    """Takes a mean along many axes in two steps, which pnnx does not fuse into a layer normalization.

    ncnn normalizes along the last axis or the last two of three; pnnx writes a layer for any number, which ncnn reads
    as another one.
    """
    values, rank = _values(node), len(shapes.get(node.input[0], []))
    axes = sorted(axis % rank for axis in values.get("axes", [])) if rank else []
    if len(axes) <= max(1, min(rank - 2, 2)) or not values.get("keepdims", 1):
        return None
    value, made = node.input[0], node.output[0]
    return [
        helper.make_node("ReduceMean", [value], [f"{made}.inner"], node.name, axes=axes[1:], keepdims=1),
        helper.make_node("ReduceMean", [f"{made}.inner"], [made], f"{made}.outer", axes=axes[:1], keepdims=1),
    ]


def _pool_padded(graph: onnx.GraphProto, node: NodeProto, shapes: Shapes, _constants: Arrays) -> Others:
    """Pads the image before an `AveragePool` of uneven pads, which pnnx does not convert.

    Where padding does not count, the mean of all elements is multiplied by their number through the number of those
    that count.
    """
    values = _values(node)
    pads, kernel = values.get("pads", []), values.get("kernel_shape", [])
    before, after = shapes.get(node.input[0], []), shapes.get(node.output[0], [])
    uneven = len(pads) == 4 and pads[:2] != pads[2:]
    if not uneven or values.get("ceil_mode") or len(before) != 4 or 0 in (*before, *after):
        return None
    made, strides = node.output[0], values.get("strides", [1, 1])
    named = {f"{made}.pads": np.array([0, 0, *pads[:2], 0, 0, *pads[2:]], np.int64)}
    named[f"{made}.zero"] = np.float32(0)
    share = np.ones(1, np.float32)
    if not values.get("count_include_pad"):
        counts = [_counts(after[2 + i], before[2 + i], kernel[i], strides[i], pads[i]) for i in (0, 1)]
        share = (np.prod(kernel) / np.outer(*counts)).astype(np.float32)
    whole = made if (share == 1).all() else f"{made}.mean"
    sizes = {"kernel_shape": kernel, "strides": strides}
    nodes = [
        helper.make_node("Pad", [node.input[0], *named], [f"{made}.padded"], f"{made}.padded", mode="constant"),
        helper.make_node("AveragePool", [f"{made}.padded"], [whole], node.name, **sizes),
    ]
    if whole != made:
        named[f"{made}.share"] = np.broadcast_to(share, (1, before[1], *share.shape))
        nodes.append(helper.make_node("Mul", [whole, f"{made}.share"], [made], f"{made}.counted"))
    graph.initializer.extend(numpy_helper.from_array(np.array(v), k) for k, v in named.items())
    return nodes


def _counts(made: int, size: int, kernel: int, step: int, pad: int) -> np.ndarray:
    """The number of elements, without padding, of each window along one axis."""
    starts = np.arange(made) * step - pad
    return np.minimum(starts + kernel, size) - np.maximum(starts, 0)


def _step_by_pool(graph: onnx.GraphProto, node: NodeProto, shapes: Shapes, constants: Arrays) -> Others:
    """Replaces a `Slice` that takes every n-th row or column, which ncnn lacks, by a cut and a pool of one element."""
    before, named = shapes.get(node.input[0], []), [constants.get(name) for name in node.input[1:]]
    if len(named) < 4 or any(bound is None for bound in named) or len(before) != 4 or 0 in before:
        return None
    starts, ends, axes, steps = (bound.tolist() for bound in named)
    places = [range(size) for size in before]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        places[axis] = range(*slice(start, end, step).indices(before[axis]))
    taken = [one.step for one in places]
    if not all(places) or min(taken) < 1 or max(taken) == 1 or taken[:2] != [1, 1]:
        return None
    (made,), value, nodes = node.output, node.input[0], []
    cut = [axis for axis, one in enumerate(places) if one.start or one[-1] + one.step < before[axis]]
    if cut:
        bounds = {
            f"{made}.starts": [places[axis].start for axis in cut],
            f"{made}.ends": [places[axis][-1] + 1 for axis in cut],
            f"{made}.axes": cut,
        }
        graph.initializer.extend(numpy_helper.from_array(np.array(v, np.int64), k) for k, v in bounds.items())
        value = f"{made}.cut"
        nodes.append(helper.make_node("Slice", [node.input[0], *bounds], [value], value))
    return [*nodes, helper.make_node("MaxPool", [value], [made], node.name, kernel_shape=[1, 1], strides=taken[2:])]


def _equal_by_distance(graph: onnx.GraphProto, node: NodeProto, _shapes: Shapes, _constants: Arrays) -> Others:
    """Replaces an `Equal` that is read as 1 or 0, which ncnn lacks, by 1 - ceil(min(|a - b|, 1)), exact in floats."""
    (made,) = node.output
    readers = [reader for reader in graph.node if made in reader.input]
    as_float = [reader.op_type == "Cast" and _values(reader)["to"] == onnx.TensorProto.FLOAT for reader in readers]
    if not all(as_float) or made in {output.name for output in graph.output}:
        return None
    one, number = f"{made}.one", f"{made}.zero_or_one"
    graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), one))
    for reader in readers:
        reader.CopyFrom(helper.make_node("Identity", [number], reader.output, reader.name))
    difference, distance, limited, differs = (f"{made}.{name}" for name in ("minus", "abs", "min", "ceil"))
    return [
        helper.make_node("Sub", node.input, [difference], difference),
        helper.make_node("Abs", [difference], [distance], distance),
        helper.make_node("Min", [distance, one], [limited], limited),
        helper.make_node("Ceil", [limited], [differs], differs),
        helper.make_node("Sub", [one, differs], [number], node.name),
    ]


def _pads_by_output(_graph: onnx.GraphProto, node: NodeProto, _shapes: Shapes, _constants: Arrays) -> Others:
    """Gives a `ConvTranspose` that cuts less at the end even pads and `output_padding`: pnnx takes no uneven pads."""
    values = _values(node)
    pads, added = values.get("pads", []), values.get("output_padding", [0, 0])
    if len(pads) != 4 or pads[:2] == pads[2:]:
        return None
    more = [begin - end for begin, end in zip(pads[:2], pads[2:], strict=True)]
    added = [old + new for old, new in zip(added, more, strict=True)]
    strides = values.get("strides", [1, 1])
    if min(more) < 0 or any(size >= step for size, step in zip(added, strides, strict=True)):
        return None
    values |= {"pads": pads[:2] * 2, "output_padding": added}
    return [helper.make_node(node.op_type, node.input, node.output, node.name, **values)]


_RULES = {
    "Tile": _repeat_without_tile,
    "Resize": _resize_by_corners,
    "Gather": _gather_by_slices,
    "ReduceSum": _sum_by_means,
    "ReduceMean": _mean_in_two,
    "AveragePool": _pool_padded,
    "Slice": _step_by_pool,
    "Equal": _equal_by_distance,
    "ConvTranspose": _pads_by_output,
}


def _values(node: NodeProto) -> dict:
    """The values of an operator's attributes."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _drop_idle(node: NodeProto) -> None:
    """Removes the attributes of a resize that its mode does not use; with them, pnnx does not convert it."""
    values = _values(node)
    mode, grid = values.get("mode", b"nearest"), values.get("coordinate_transformation_mode", b"half_pixel")
    idle = set() if mode == b"nearest" else {"nearest_mode"}
    idle |= set() if mode == b"cubic" else {"cubic_coeff_a", "exclude_outside"}
    idle |= set() if grid == b"tf_crop_and_resize" else {"extrapolation_value"}
    kept = [attribute for attribute in node.attribute if attribute.name not in idle]
    del node.attribute[:]
    node.attribute.extend(kept)


COMMANDS = {"prepare": prepare}
