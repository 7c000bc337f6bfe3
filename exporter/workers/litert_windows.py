"""LiteRT's forms of ONNX's convolutions, pools, resizes and matrix products. Each function writes `graph.node`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from litert_file import TensorRounding
from litert_graph import LiteRtGraph, channels_last, plain

_SAME, _VALID = 0, 1
_LOWEST = np.float32(np.finfo(np.float32).min)
_SMALLEST_ROUNDED = 1024  # smallest number of elements of a weight to round to 8 bits
_LARGEST = 127
_LAST = channels_last(4)
_VOLUME = (0, 3, 4, 2, 1)  # [N, H, W, D, C]: planes and columns of a volume are its neighbours


def conv(graph: LiteRtGraph) -> None:
    x, weight = graph.node.inputs[:2]
    if len(graph.shape(x)) != 4:
        raise graph.unsupported(f"a convolution over {len(graph.shape(x)) - 2} axes, not two")
    if graph.value(weight) is None:
        _conv_of_computed_filter(graph)
        return
    (outputs, per_group, *kernel), channels = graph.shape(weight), graph.shape(x)[1]
    groups, strides = graph.attribute("group", 1), graph.attribute("strides", [1, 1])
    dilations = graph.attribute("dilations", [1, 1])
    pads = _pads(graph, x, kernel, strides, dilations)
    given, padding = _padded(graph, x, pads, kernel, strides, dilations)
    options = {"padding": padding, "strideH": strides[0], "strideW": strides[1]}
    options |= {"dilationHFactor": dilations[0], "dilationWFactor": dilations[1]}
    if groups == channels and per_group == 1:
        kind, order, axis = "DEPTHWISE_CONV_2D", (1, 2, 3, 0), 3
        options["depthMultiplier"] = outputs // channels
    else:
        kind, order, axis = "CONV_2D", (0, 2, 3, 1), 0
    held = weight_of(graph, weight, order, axis, outputs)
    graph.write(kind, [given, held, _bias(graph, x, outputs)], _LAST, **options)


def _conv_of_computed_filter(graph: LiteRtGraph) -> None:
    """Writes a convolution whose filter depends on the image as products, which are computed anew for every image.

    One product: a row holds the elements of a window, a column those of a filter. For a depthwise convolution, the sum
    over the filter's taps of the image, shifted to the tap's position, times the tap's weights.
    """
    node, (x, weight) = graph.node, graph.node.inputs[:2]
    if node.integer:
        graph.write_in_float(conv)
        return
    (outputs, _, *kernel), channels = graph.shape(weight), graph.shape(x)[1]
    groups = graph.attribute("group", 1)
    if groups not in (1, outputs) or (groups > 1 and outputs != channels):
        raise graph.unsupported("its weight is computed, and it has groups of several channels")
    made = tuple(graph.shape(node.outputs[0])[axis] for axis in _LAST)
    windows, filters = _taps(graph, kernel, made), graph.read(weight, (2, 3, 1, 0))
    if groups == 1:
        rows, length = math.prod(made[:3]), len(windows) * channels
        whole = windows[0]
        if len(windows) > 1:
            whole = graph.temporary("CONCATENATION", windows, (*made[:3], length), axis=3)
        factors = [graph.reshaped(whole, (rows, length), x, False)]
        factors.append(graph.reshaped(filters, (length, outputs), weight, False))
        total = graph.reshaped(graph.temporary("BATCH_MATMUL", factors, (rows, outputs)), made, x, False)
    else:
        flat = graph.reshaped(filters, (len(windows), outputs), weight, False)
        total = -1
        for place, window in enumerate(windows):
            bounds = [graph.integers(place, 0), graph.integers(1, outputs)]
            tap = graph.temporary("SLICE", [flat, *bounds], (1, outputs))
            product = graph.temporary("MUL", [window, tap], made)
            total = product if total < 0 else graph.temporary("ADD", [total, product], made)
    if len(node.inputs) > 2 and node.inputs[2]:
        graph.write("ADD", [total, graph.read(node.inputs[2])], _LAST)
    else:
        graph.same(total, _LAST)


def _taps(graph: LiteRtGraph, kernel, made) -> list[int]:
    """The input's elements that each tap of a convolution's filter reads, as [N, H, W, C] of its result."""
    x = graph.node.inputs[0]
    strides, dilations = graph.attribute("strides", [1, 1]), graph.attribute("dilations", [1, 1])
    pads = _pads(graph, x, kernel, strides, dilations)
    given = _with_zeros(graph, x, pads) if any(pads) else graph.read(x, _LAST)
    shape = (*made[:3], graph.shape(x)[1])
    if graph.file.shape(given) == shape and kernel == [1, 1]:
        return [given]
    found = []
    for place in itertools.product(*map(range, kernel)):
        begin = [one * apart for one, apart in zip(place, dilations, strict=True)]
        end = [first + step * (size - 1) + 1 for first, step, size in zip(begin, strides, made[1:3], strict=True)]
        bounds = [(0, *begin, 0), (shape[0], *end, shape[3]), (1, *strides, 1)]
        found.append(graph.temporary("STRIDED_SLICE", [given, *(graph.integers(*one) for one in bounds)], shape))
    return found


def conv_transpose(graph: LiteRtGraph) -> None:
    node, (x, weight) = graph.node, graph.node.inputs[:2]
    if len(graph.shape(x)) != 4:
        raise graph.unsupported(f"a transposed convolution over {len(graph.shape(x)) - 2} axes, not two")
    dilations = graph.attribute("dilations", [1, 1])
    if node.integer and dilations != [1, 1]:
        graph.write_in_float(conv_transpose)
        return
    graph.required(weight, "weight")
    kernel = [(size - 1) * apart + 1 for size, apart in zip(graph.shape(weight)[2:], dilations, strict=True)]
    groups, strides = graph.attribute("group", 1), graph.attribute("strides", [1, 1])
    batch, outputs, height, width = graph.shape(node.outputs[0])
    sizes = graph.shape(x)[2:]
    begin = graph.attribute("pads", [0, 0, 0, 0])[:2]
    full = [(size - 1) * step + length for size, step, length in zip(sizes, strides, kernel, strict=True)]
    same = [max(whole - size, 0) // 2 == pad for whole, size, pad in zip(full, (height, width), begin, strict=True)]
    ends = all(-(-size // step) == given for size, step, given in zip((height, width), strides, sizes, strict=True))
    order, held = (1, 2, 3, 0), None
    if groups == 1 and dilations == [1, 1]:
        held = weight_of(graph, weight, order, 0, outputs, hybrid=False)
    else:
        whole = _spread(_ungrouped(graph.value(weight), groups), dilations)
        held = graph.constant(whole.transpose(order), weight)
    bias = _bias(graph, x, outputs)
    options = {"strideH": strides[0], "strideW": strides[1]}
    if ends and all(same):
        size = graph.integers(batch, height, width, outputs)
        graph.write("TRANSPOSE_CONV", [size, held, graph.read(x, _LAST), bias], _LAST, padding=_SAME, **options)
        return
    whole = [max(full[axis], begin[axis] + (height, width)[axis]) for axis in (0, 1)]
    shape = (batch, *whole, outputs)
    rounding = graph.source.roundings[node.outputs[0]] if node.integer else None
    made = graph.temporary(
        "TRANSPOSE_CONV", [graph.integers(*shape), held, graph.read(x, _LAST), bias], shape,
        "int8" if node.integer else "float32", rounding=rounding, padding=_VALID, **options,
    )  # fmt: skip
    if shape == (batch, height, width, outputs):
        graph.same(made, _LAST)
        return
    cut = [graph.integers(0, *begin, 0), graph.integers(batch, height, width, outputs)]
    graph.write("SLICE", [made, *cut], _LAST)


def _ungrouped(weight: np.ndarray, groups: int) -> np.ndarray:
    """The weights of a convolution over all channels that equals a grouped one."""
    inputs, per_group, *kernel = weight.shape
    whole, size = np.zeros((inputs, per_group * groups, *kernel), weight.dtype), inputs // groups
    for group in range(groups):
        rows = slice(group * size, (group + 1) * size)
        whole[rows, group * per_group : (group + 1) * per_group] = weight[rows]
    return whole


def _spread(weight: np.ndarray, dilations) -> np.ndarray:
    """The weights with the zeros of a dilation between them."""
    rows, columns = dilations
    inputs, outputs, height, width = weight.shape
    whole = np.zeros((inputs, outputs, (height - 1) * rows + 1, (width - 1) * columns + 1), weight.dtype)
    whole[:, :, ::rows, ::columns] = weight
    return whole


def weight_of(graph: LiteRtGraph, name: str, order, axis: int, outputs: int, *, hybrid: bool = True) -> int:
    """Adds a product's weight in LiteRT's order; in int8 with a scale per output channel.

    Args:
        axis: Axis of the output channels, in that order.
        hybrid: Whether LiteRT supports this weight in int8 with float inputs.
    """
    value, held = graph.value(name), graph.source.held.get(name)
    if graph.node.integer and held is not None:
        scales = np.broadcast_to(held.scales, outputs)
        return graph.constant(held.integers.transpose(order), name, TensorRounding(tuple(map(float, scales)), 0, axis))
    value = value.transpose(order)
    if graph.precision != "w8" or not hybrid or value.size < _SMALLEST_ROUNDED:
        return graph.constant(value, name)
    others = tuple(one for one in range(value.ndim) if one != axis)
    scales = np.maximum(np.abs(value).max(axis=others, keepdims=True) / _LARGEST, 1e-12).astype(np.float32)
    integers = np.clip(np.rint(value / scales), -_LARGEST, _LARGEST).astype(np.int8)
    return graph.constant(integers, name, TensorRounding(tuple(map(float, scales.reshape(-1))), 0, axis))


def _bias(graph: LiteRtGraph, x: str, outputs: int) -> int:
    node = graph.node
    name = node.inputs[2] if len(node.inputs) > 2 and node.inputs[2] else ""
    value = graph.required(name, "bias").reshape(-1) if name else np.zeros(outputs, np.float32)
    return bias_of(graph, value, name, x, outputs)


def bias_of(graph: LiteRtGraph, value: np.ndarray, name: str, x: str, outputs: int) -> int:
    """Adds a bias in float32, or for an int8 product in int32 with the scale of its sums."""
    node = graph.node
    if not node.integer:
        return graph.constant(value.astype(np.float32), name or f"{node.outputs[0]}.bias")
    weights = np.broadcast_to(graph.source.held[node.inputs[1]].scales, outputs)
    scales = (weights * np.float32(graph.source.roundings[x].scales[0])).astype(np.float32)
    held = graph.source.held.get(name)
    if held is not None and held.integers.dtype == np.int32 and np.allclose(held.scales, scales, rtol=1e-5):
        integers = held.integers.reshape(-1)
    else:
        limits = np.iinfo(np.int32)
        integers = np.clip(np.rint(value.astype(np.float64) / scales), limits.min, limits.max).astype(np.int32)
    return graph.constant(integers, name or f"{node.outputs[0]}.bias", TensorRounding(tuple(map(float, scales))))


def _pads(graph: LiteRtGraph, x: str, kernel, strides, dilations) -> list[int]:
    """[top, left, bottom, right]."""
    how = graph.attribute("auto_pad", b"NOTSET")
    if how in (b"NOTSET", b""):
        return list(graph.attribute("pads", [0, 0, 0, 0]))
    if how == b"VALID":
        return [0, 0, 0, 0]
    totals = []
    for size, length, step, apart in zip(graph.shape(x)[2:], kernel, strides, dilations, strict=True):
        totals.append(max((-(-size // step) - 1) * step + (length - 1) * apart + 1 - size, 0))
    small = [total // 2 for total in totals]
    large = [total - less for total, less in zip(totals, small, strict=True)]
    return small + large if how == b"SAME_UPPER" else large + small


def _is_same(sizes, pads, kernel, strides, dilations) -> bool:
    """Whether LiteRT's SAME gives this padding."""
    for axis in (0, 1):
        size, step = sizes[axis], strides[axis]
        total = max((-(-size // step) - 1) * step + (kernel[axis] - 1) * dilations[axis] + 1 - size, 0)
        if (pads[axis], pads[axis + 2]) != (total // 2, total - total // 2):
            return False
    return True


def _padded(
    graph: LiteRtGraph, x: str, pads, kernel, strides, dilations, lowest: float | None = None
) -> tuple[int, int]:
    """Returns the input with the padding that LiteRT lacks, and LiteRT's padding mode for the rest.

    Args:
        lowest: Value to pad with; None: zero.
    """
    if _is_same(graph.shape(x)[2:], pads, kernel, strides, dilations):
        return graph.read(x, _LAST), _SAME
    if not any(pads):
        return graph.read(x, _LAST), _VALID
    return _with_zeros(graph, x, pads, lowest), _VALID


def _with_zeros(graph: LiteRtGraph, x: str, pads, lowest: float | None = None) -> int:
    """Pads the input with zeros, or with the lowest number."""
    top, left, bottom, right = pads
    batch, channels, height, width = graph.shape(x)
    sides = graph.file.constant("pads", np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32))
    made = (batch, height + top + bottom, width + left + right, channels)
    rounding = graph.source.roundings[x] if graph.node.integer else None
    kind = "int8" if graph.node.integer else "float32"
    inputs = [graph.read(x, _LAST), sides]
    if lowest is None:
        return graph.temporary("PAD", inputs, made, kind, x, rounding)
    fill = np.array([-128], np.int8) if graph.node.integer else np.array([lowest], np.float32)
    return graph.temporary("PADV2", [*inputs, graph.file.constant("lowest", fill, rounding)], made, kind, x, rounding)


def _window(graph: LiteRtGraph) -> tuple[list[int], list[int], list[int]]:
    """A pool's kernel, strides and pads; with `ceil_mode`, the pads extend to the last window's end."""
    x, made = graph.shape(graph.node.inputs[0]), graph.shape(graph.node.outputs[0])
    if len(x) != 4:
        raise graph.unsupported(f"a pool over {len(x) - 2} axes, not two")
    kernel, strides = graph.attribute("kernel_shape"), graph.attribute("strides", [1, 1])
    pads = _pads(graph, graph.node.inputs[0], kernel, strides, [1, 1])
    for axis in (0, 1):
        reach = (made[axis + 2] - 1) * strides[axis] + kernel[axis]
        if graph.attribute("ceil_mode", 0):
            pads[axis + 2] = max(reach - x[axis + 2] - pads[axis], pads[axis + 2])
    return kernel, strides, pads


def _of_volume(graph: LiteRtGraph, pool: Callable[[LiteRtGraph], None]) -> None:
    """Writes a pool over depth, height and width as one over height and width and one over depth.

    The number of elements that a window averages is the product of those along each axis, so a mean is the mean of
    means.
    """
    node = graph.node
    if node.integer:
        graph.write_in_float(pool)
        return
    batch, channels, depth, height, width = graph.shape(node.inputs[0])
    deep, rows, columns = graph.shape(node.outputs[0])[2:]
    found = graph.read(node.inputs[0], _VOLUME)
    planes = (batch, depth * channels, height, width), (batch, depth * channels, rows, columns)
    found = _along(graph, pool, found, *planes, axes=(1, 2))
    lines = (batch, channels, rows * columns, depth), (batch, channels, rows * columns, deep)
    found = _along(graph, pool, found, *lines, axes=(None, 0))
    graph.node = node
    graph.same(graph.reshaped(found, (batch, rows, columns, deep, channels), node.outputs[0], False), _VOLUME)


def _along(graph: LiteRtGraph, pool: Callable[[LiteRtGraph], None], tensor: int, before, after, axes) -> int:
    """Pools a stored tensor, read as [N, H, W, C], along two axes of the operator's window; None: along nothing.

    Args:
        before, after: The image's shape and the result's, as [N, C, H, W].
    """
    node, attributes = graph.node, dict(graph.node.attributes)
    none = {"kernel_shape": 1, "strides": 1, "pads": 0, "dilations": 1}
    for name, nothing in none.items():
        if values := attributes.get(name):
            sides = [values[at : at + 3] for at in range(0, len(values), 3)]
            attributes[name] = [nothing if axis is None else side[axis] for side in sides for axis in axes]
    if before == after and attributes["kernel_shape"] == [1, 1]:
        return tensor
    given, made = (f"{node.outputs[0]}.{what}{axes[1]}" for what in ("image", "pooled"))
    for name, shape in ((given, before), (made, after)):
        graph.source.shapes[name], graph.source.dtypes[name] = shape, "float32"
    graph.node = replace(node, outputs=[given])
    graph.same(graph.reshaped(tensor, tuple(before[axis] for axis in _LAST), given, False), _LAST)
    graph.node = replace(node, inputs=[given], outputs=[made], attributes=attributes)
    pool(graph)
    found = graph.read(made, _LAST)
    graph.node = node
    return found


def max_pool(graph: LiteRtGraph) -> None:
    if len([name for name in graph.node.outputs if name]) > 1:
        raise graph.unsupported("a pool that gives the places of what it takes")
    if any(size != 1 for size in graph.attribute("dilations", [1, 1])):
        raise graph.unsupported("a pool with dilation")
    if len(graph.shape(graph.node.inputs[0])) == 5:
        _of_volume(graph, max_pool)
        return
    (kernel, strides, pads), x = _window(graph), graph.node.inputs[0]
    lowest = None if graph.never_negative(x) else _LOWEST  # XNNPACK pads with zeros only
    given, padding = _padded(graph, x, pads, kernel, strides, [1, 1], lowest=lowest)
    graph.write_unscaled("MAX_POOL_2D", [given], x, _LAST, **_pool(kernel, strides, padding))


def average_pool(graph: LiteRtGraph) -> None:
    if len(graph.shape(graph.node.inputs[0])) == 5:
        _of_volume(graph, average_pool)
        return
    (kernel, strides, pads), node = _window(graph), graph.node
    x, (height, width) = node.inputs[0], graph.shape(node.outputs[0])[2:]
    options = _pool(kernel, strides, _VALID)
    counted = bool(graph.attribute("count_include_pad", 0))
    sizes, is_same = graph.shape(x)[2:], _is_same(graph.shape(x)[2:], pads, kernel, strides, [1, 1])
    if not any(pads) or (is_same and not counted):
        padding = _SAME if any(pads) else _VALID
        graph.write_unscaled("AVERAGE_POOL_2D", [graph.read(x, _LAST)], x, _LAST, **{**options, "padding": padding})
        return
    stated = graph.attribute("pads", [0, 0, 0, 0]) if counted else [0, 0, 0, 0]
    counts = [
        _counts((height, width)[axis], sizes[axis], kernel[axis], strides[axis], pads[axis], stated[axis + 2], counted)
        for axis in (0, 1)
    ]
    weight = (kernel[0] * kernel[1] / np.outer(*counts)).astype(np.float32)
    if node.integer and (weight != 1).any():
        graph.write_in_float(average_pool)
        return
    given = _with_zeros(graph, x, pads)
    if (weight == 1).all():
        graph.write_unscaled("AVERAGE_POOL_2D", [given], x, _LAST, **options)
        return
    shape = graph.shape(node.outputs[0])
    mean = graph.temporary("AVERAGE_POOL_2D", [given], [shape[axis] for axis in _LAST], **options)
    graph.write("MUL", [mean, graph.constant(weight[None, :, :, None], "counts")], _LAST)


def _counts(made: int, size: int, kernel: int, step: int, begin: int, end: int, counted: bool) -> np.ndarray:
    """The number of elements that each window along one axis averages."""
    starts = np.arange(made) * step - begin
    low, high = (-begin, size + end) if counted else (0, size)
    return np.maximum(np.minimum(starts + kernel, high) - np.maximum(starts, low), 1)


def _pool(kernel, strides, padding: int) -> dict:
    options = {"padding": padding, "strideH": strides[0], "strideW": strides[1]}
    return {**options, "filterHeight": kernel[0], "filterWidth": kernel[1]}


def resize(graph: LiteRtGraph) -> None:
    node, x = graph.node, graph.node.inputs[0]
    before, after = graph.shape(x), graph.shape(node.outputs[0])
    if len(before) not in (3, 4) or before[:2] != after[:2]:
        raise graph.unsupported(f"a resize from {list(before)} to {list(after)}, not of height and width")
    if len(before) == 3:
        _resize_of_a_row(graph)
        return
    mode = graph.attribute("mode", b"nearest").decode()
    where = graph.attribute("coordinate_transformation_mode", b"half_pixel").decode()
    if where == "pytorch_half_pixel" and min(after[2:]) > 1:
        where = "half_pixel"
    scales = _scales(graph, before, after)
    size = graph.integers(*after[2:])
    whole = all(abs(scale * old - new) < 1e-3 for scale, old, new in zip(scales, before[2:], after[2:], strict=True))
    if mode == "linear" and (where == "align_corners" or (whole and where in ("half_pixel", "asymmetric"))):
        options = {"alignCorners": where == "align_corners", "halfPixelCenters": where == "half_pixel"}
        graph.write_unscaled("RESIZE_BILINEAR", [graph.read(x, _LAST), size], x, _LAST, **options)
        return
    if mode in ("linear", "cubic"):
        _resize_by_products(graph, where, scales)
        return
    rounding = graph.attribute("nearest_mode", b"round_prefer_floor").decode()
    taken = [_nearest(after[2 + axis], before[2 + axis], scales[axis], where, rounding) for axis in (0, 1)]
    if any(one is None for one in taken):
        raise graph.unsupported(f"a resize of mode {mode}, {where}")
    for corners, centers in itertools.product((False, True), repeat=2):
        if not (corners and centers) and all(
            np.array_equal(_lite_nearest(after[2 + axis], before[2 + axis], corners, centers), taken[axis])
            for axis in (0, 1)
        ):
            options = {"alignCorners": corners, "halfPixelCenters": centers}
            graph.write_unscaled("RESIZE_NEAREST_NEIGHBOR", [graph.read(x, _LAST), size], x, _LAST, **options)
            return
    rows, columns = (graph.file.constant("places", one.astype(np.int32)) for one in taken)
    between = (before[0], after[2], before[3], before[1])
    kind, held = ("int8", graph.source.roundings[x]) if node.integer else ("float32", None)
    made = graph.temporary("GATHER", [graph.read(x, _LAST), rows], between, kind, rounding=held, axis=1)
    graph.write_unscaled("GATHER", [made, columns], x, _LAST, axis=2)


def _scales(graph: LiteRtGraph, before, after) -> list[float]:
    given = graph.node.inputs
    if len(given) > 2 and given[2] and graph.required(given[2], "scale").size:
        return [float(one) for one in graph.value(given[2])[2:]]
    return [new / old for new, old in zip(after[2:], before[2:], strict=True)]


def _resize_of_a_row(graph: LiteRtGraph) -> None:
    """Resizes [N, C, W]."""
    node, x = graph.node, graph.node.inputs[0]
    if node.integer:
        graph.write_in_float(_resize_of_a_row)
        return
    before, after = graph.shape(x), graph.shape(node.outputs[0])
    mode = graph.attribute("mode", b"nearest").decode()
    where = graph.attribute("coordinate_transformation_mode", b"half_pixel").decode()
    (scale,) = _scales(graph, before, after)
    if mode == "nearest":
        rounding = graph.attribute("nearest_mode", b"round_prefer_floor").decode()
        taken = _nearest(after[2], before[2], scale, where, rounding)
        if taken is None:
            raise graph.unsupported(f"a resize of mode {mode}, {where}")
        graph.write("GATHER", [graph.read(x), graph.file.constant("places", taken.astype(np.int32))], axis=2)
        return
    matrix = _matrix(graph, after[2], before[2], scale, where)
    graph.write("FULLY_CONNECTED", [graph.read(x), matrix, -1], keepNumDims=True)


def _resize_by_products(graph: LiteRtGraph, where: str, scales: list[float]) -> None:
    """Writes a resize that LiteRT lacks as a product with a matrix along each axis."""
    node, x = graph.node, graph.node.inputs[0]
    if node.integer:
        graph.write_in_float(resize)
        return
    sizes, made = graph.shape(x)[2:], graph.shape(node.outputs[0])[2:]
    rows, columns = (_matrix(graph, made[axis], sizes[axis], scales[axis], where) for axis in (0, 1))
    batch, channels, height = graph.shape(x)[:3]
    shape = (batch, channels, height, made[1])
    wide = graph.temporary("FULLY_CONNECTED", [graph.read(x), columns, -1], shape, keepNumDims=True)
    turned = graph.moved(wide, [0, 1, 3, 2], node.outputs[0], False)
    graph.write("FULLY_CONNECTED", [turned, rows, -1], (0, 1, 3, 2), keepNumDims=True)


def _matrix(graph: LiteRtGraph, made: int, size: int, scale: float, where: str) -> int:
    """(made, size): the weight of each input element in each output element, by the definition of ONNX's Resize."""
    mode = graph.attribute("mode", b"nearest").decode()
    if graph.attribute("exclude_outside", 0) or graph.attribute("antialias", 0):
        raise graph.unsupported(f"a resize of mode {mode} that leaves out what is outside, or with antialias")
    cubic = float(graph.attribute("cubic_coeff_a", -0.75)) if mode == "cubic" else None
    places = _places(made, size, scale, where)
    if places is None:
        raise graph.unsupported(f"a resize with {where}")
    first = np.floor(places).astype(np.int64)
    apart = places - first
    if cubic is None:
        taken = {0: 1 - apart, 1: apart}
    else:  # Keys, Cubic convolution interpolation for digital image processing, equation 4
        near = {offset: np.abs(apart - offset) for offset in (-1, 0, 1, 2)}
        taken = {
            offset: (cubic + 2) * far**3 - (cubic + 3) * far**2 + 1
            if offset in (0, 1)
            else cubic * (far**3 - 5 * far**2 + 8 * far - 4)
            for offset, far in near.items()
        }
    matrix = np.zeros((made, size))
    for offset, share in taken.items():
        np.add.at(matrix, (np.arange(made), np.clip(first + offset, 0, size - 1)), share)
    return graph.constant(matrix.astype(np.float32), f"{graph.node.outputs[0]}.matrix")


def _places(made: int, size: int, scale: float, where: str) -> np.ndarray | None:
    """The position of each output element in the input axis; None if unknown."""
    places = np.arange(made, dtype=np.float64)
    if where == "half_pixel" or (where == "pytorch_half_pixel" and made > 1):
        return (places + 0.5) / scale - 0.5
    if where == "pytorch_half_pixel":
        return np.zeros(1)
    if where == "asymmetric":
        return places / scale
    return places * (size - 1) / max(made - 1, 1) if where == "align_corners" else None


def _nearest(made: int, size: int, scale: float, where: str, rounding: str) -> np.ndarray | None:
    """ONNX's source index of each output element; None if unknown."""
    places = _places(made, size, scale, where)
    if places is None:
        return None
    rounds = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_floor": lambda one: np.ceil(one - 0.5),
        "round_prefer_ceil": lambda one: np.floor(one + 0.5),
    }
    return np.clip(rounds[rounding](places), 0, size - 1).astype(np.int64)


def _lite_nearest(made: int, size: int, corners: bool, centers: bool) -> np.ndarray:
    """LiteRT's source index of each output element."""
    scale = np.float32((size - 1) / (made - 1) if corners and made > 1 else size / made)
    places = (np.arange(made, dtype=np.float32) + np.float32(0.5 if centers else 0)) * scale
    places = np.floor(places + np.float32(0.5)) if corners else np.floor(places)
    return np.clip(places, 0, size - 1).astype(np.int64)


def gemm(graph: LiteRtGraph) -> None:
    node, (x, weight) = graph.node, graph.node.inputs[:2]
    alpha, beta = graph.attribute("alpha", 1.0), graph.attribute("beta", 1.0)
    value = graph.required(weight, "weight")
    if graph.attribute("transA", 0) or alpha != 1.0 or value.ndim != 2:
        raise graph.unsupported("a product with a transposed or scaled input")
    transposed = bool(graph.attribute("transB", 0))
    outputs = value.shape[0 if transposed else 1]
    held = weight_of(graph, weight, (0, 1) if transposed else (1, 0), 0, outputs)
    name = node.inputs[2] if len(node.inputs) > 2 and node.inputs[2] else ""
    bias = np.zeros(outputs, np.float32)
    if name:
        bias = np.broadcast_to(graph.required(name, "bias").reshape(-1) * np.float32(beta), outputs)
    graph.write("FULLY_CONNECTED", [graph.read(x), held, bias_of(graph, bias, name, x, outputs)], keepNumDims=True)


def mat_mul(graph: LiteRtGraph) -> None:
    x, other = graph.node.inputs
    value, shape = graph.value(other), graph.shape(x)
    if value is not None and value.ndim == 2 and len(shape) >= 2:
        held = weight_of(graph, other, (1, 0), 0, value.shape[1])
        bias = bias_of(graph, np.zeros(value.shape[1], np.float32), "", x, value.shape[1])
        graph.write("FULLY_CONNECTED", [graph.read(x), held, bias], keepNumDims=True)
        return
    if len(graph.shape(other)) == 1 and len(shape) > 1:
        column = graph.reshaped(graph.read(other), (*graph.shape(other), 1), other, False)
        made = graph.temporary("BATCH_MATMUL", [graph.read(x), column], (*shape[:-1], 1))
        graph.same(graph.reshaped(made, shape[:-1], x, False), plain(len(shape) - 1))
        return
    rank = max(len(shape), len(graph.shape(other)))
    if min(len(shape), len(graph.shape(other))) < 2 or rank > 5:
        raise graph.unsupported(f"a product of {list(shape)} and {list(graph.shape(other))}")
    swapped = (*range(rank - 2), rank - 1, rank - 2)
    inputs, options = [], {}
    for name, option in ((x, "adjX"), (other, "adjY")):
        full = len(graph.shape(name)) == rank
        options[option] = full and graph.value(name) is None and swapped in graph.stored(name)
        inputs.append(graph.read(name, swapped if options[option] else None, rank))
    graph.write("BATCH_MATMUL", inputs, **options)


RULES = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "Resize": resize,
    "Gemm": gemm,
    "MatMul": mat_mul,
}
