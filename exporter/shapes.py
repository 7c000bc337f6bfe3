"""Sizes of every variable from the sizes of the inputs, without running anything.

A size may stay free (-1). Sizes that the program computes from shapes (`shape`, `slice`, arithmetic on integers) are
followed as values where they are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil, prod

import numpy as np

from segexport.errors import InputError, UnsupportedModelError
from segexport.exporter.evaluate import CannotEvaluate, can_evaluate, evaluate
from segexport.exporter.program import Attr, Op, Program

Dims = tuple[int, ...]
MAX_IMAGE_SIDE = 1 << 16
_MAX_KNOWN_ELEMENTS = 4096  # values are followed for sizes and axes, not for images


class _Unknown(Exception):
    """No rule gives this operator's output sizes."""


def fix_input_shape(program: Program, shapes: Mapping[str, Sequence[int]]) -> Program:
    """A copy of the program whose free input sizes are fixed, with every size behind them inferred again.

    Args:
        program: A program whose inputs have free sizes (-1).
        shapes: Input name -> its new sizes; a size that is fixed already must stay as it is.

    Raises:
        InputError: No such input, another rank, or a size that the export fixed otherwise.
        UnsupportedModelError: The sizes do not fit the network, or an operator's sizes cannot be inferred.
    """
    changed = program.copy()
    for name, shape in shapes.items():
        if name not in changed.feed_names:
            raise InputError(f"no input {name!r}", cause=f"the inputs are {', '.join(changed.feed_names)}")
        before, after = changed.shape(name), tuple(int(size) for size in shape)
        if len(before) != len(after) or any(not 1 <= size <= MAX_IMAGE_SIDE for size in after):
            raise InputError(f"input {name!r} cannot have the shape {list(after)}: it is {list(before)}")
        if any(old not in (-1, new) for old, new in zip(before, after, strict=True)):
            raise InputError(
                f"input {name!r} is fixed to {list(before)}, not {list(after)}",
                cause="the export wrote its sizes into the network's operators",
                hint="export the model again with free sizes or with this one: PaddleSeg's export.py has --input_shape",
            )
        changed.vars[name].dims = after
    infer_shapes(changed, shapes)
    return changed


def infer_shapes(program: Program, changed: Iterable[str] = ()) -> None:
    """Infers every size of the main block from its inputs' sizes, in place.

    Args:
        program: Sizes that no rule gives stay as they are recorded.
        changed: Variables whose sizes are no longer those that the rest of the program was recorded with.

    Raises:
        UnsupportedModelError: Sizes do not fit, or an operator whose inputs changed has no rule.
    """
    altered = set(changed)
    values = {name: value for name, value in program.params.items() if value.size <= _MAX_KNOWN_ELEMENTS}
    for number, op in enumerate(program.ops):
        if op.type in ("feed", "fetch"):
            continue
        known = _known_values(program, op, values)
        try:
            if known is not None:
                values.update(known)
                results = {name: value.shape for name, value in known.items()}
            else:
                results = _infer(program, op, values)
        except _Unknown:
            if not altered.intersection(op.input_names()):
                continue
            raise UnsupportedModelError(
                f"operator {number} ({op.type}): its sizes cannot be inferred from the new input sizes",
                cause="its sizes depend on values, or segexport has no rule for this operator",
                hint="export the model again with a fixed input shape: PaddleSeg's export.py has --input_shape",
            ) from None
        except (ValueError, IndexError, KeyError, TypeError, ZeroDivisionError) as error:
            raise UnsupportedModelError(
                f"operator {number} ({op.type}): the sizes do not fit ({error})",
                cause=f"its inputs are {[list(program.shape(n)) for n in op.input_names() if n in program.vars]}",
                hint="choose an input size that the network takes (often a multiple of 32)",
            ) from error
        for name, dims in results.items():
            var = program.vars[name]
            if var.dims != tuple(dims):
                var.dims = tuple(int(size) for size in dims)
                altered.add(name)
        shadow, source = op.output("XShape"), op.input("X")
        if shadow in program.vars and source:
            program.vars[shadow or ""].dims = (0, *program.shape(source))


def _known_values(program: Program, op: Op, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    if op.type == "shape":
        dims = program.shape(op.input("Input") or "")
        return None if -1 in dims else {op.output("Out") or "": np.array(dims, np.int32)}
    if not can_evaluate(op) or any(name not in values for name in op.input_names()):
        return None
    outputs = [name for slot, names in op.outputs.items() if slot != "XShape" for name in names]
    if any(prod(program.shape(name)) > _MAX_KNOWN_ELEMENTS for name in outputs):
        return None
    try:
        found = evaluate(op, {slot: [values[name] for name in names] for slot, names in op.inputs.items() if names})
    except CannotEvaluate:
        return None
    return found if all(value.size <= _MAX_KNOWN_ELEMENTS for value in found.values()) else None


# -- rules: operator, its inputs' sizes by slot, known values -> sizes by output slot ---------------------------


class _Context:
    """One operator's inputs, as its rule sees them."""

    def __init__(self, program: Program, op: Op, values: Mapping[str, np.ndarray]) -> None:
        self.program, self.op, self.values = program, _with_known_attributes(op, values), values

    def dims(self, slot: str = "X", index: int = 0) -> Dims:
        return self.program.shape(self.op.inputs[slot][index])

    def all_dims(self, slot: str = "X") -> list[Dims]:
        return [self.program.shape(name) for name in self.op.inputs[slot]]

    def integers(self, attr: str, tensor: str = "", tensors: str = "") -> list[int]:
        """An attribute of integers; where tensors give it, -1 stands for those that are not known."""
        given = self.op.input(tensor) if tensor else None
        if given:
            if given in self.values:
                return [int(value) for value in self.values[given].reshape(-1)]
            count = prod(self.program.shape(given))
            if count < 1:
                raise _Unknown
            return [-1] * count
        if tensors and self.op.inputs.get(tensors):
            names = self.op.inputs[tensors]
            return [int(self.values[n].reshape(-1)[0]) if n in self.values else -1 for n in names]
        value = self.op.attr(attr, [])
        return [int(item) for item in value] if isinstance(value, list) else [int(value)]


def _with_known_attributes(op: Op, values: Mapping[str, np.ndarray]) -> Op:
    """The operator with attributes that are given by variables read from their values, -1 where not known."""
    if not any(attr.type in ("VAR", "VARS") for attr in op.attrs.values()):
        return op
    attrs = dict(op.attrs)
    for name, attr in op.attrs.items():
        if attr.type in ("VAR", "VARS"):
            names = attr.value if attr.type == "VARS" else [attr.value]
            numbers = [int(value) for n in names for value in values.get(n, np.array(-1)).reshape(-1)]
            attrs[name] = Attr("INTS", numbers) if attr.type == "VARS" else Attr("INT", numbers[0])
    return Op(op.type, op.inputs, op.outputs, attrs)


def _infer(program: Program, op: Op, values: Mapping[str, np.ndarray]) -> dict[str, Dims]:
    rule = _RULES.get(op.type)
    if rule is None:
        raise _Unknown
    found = rule(_Context(program, op, values))
    results = {}
    for slot in ("Out", "Output", "Y"):
        names = op.outputs.get(slot)
        if names:
            dims = found if isinstance(found, list) else [found]
            results = dict(zip(names, dims, strict=True))
            for extra in ("Mask", "Indices"):
                if op.output(extra):
                    results[op.output(extra) or ""] = dims[0]
            break
    return results


def _same(context: _Context) -> Dims:
    for slot in ("X", "Input", "Logits"):
        if context.op.input(slot):
            return context.dims(slot)
    raise _Unknown


def _broadcast(context: _Context) -> Dims:
    x, y = context.dims("X"), context.dims("Y")
    axis = context.op.attr("axis", -1)
    if axis != -1 and len(y) < len(x):
        y = y + (1,) * (len(x) - axis - len(y))
    return broadcast(x, y)


def broadcast(x: Dims, y: Dims) -> Dims:
    """NumPy's rule, with free sizes."""
    rank = max(len(x), len(y))
    out = []
    for a, b in zip((1,) * (rank - len(x)) + x, (1,) * (rank - len(y)) + y, strict=True):
        if a != b and 1 not in (a, b) and -1 not in (a, b):
            raise ValueError(f"{list(x)} and {list(y)} do not broadcast")
        out.append(b if a == 1 else a if b == 1 else max(a, b))
    return tuple(out)


def _windows(context: _Context, dims: Dims, kernel: Sequence[int], ceil_mode: bool = False) -> list[int]:
    """Output height and width of a convolution or pooling."""
    op = context.op
    strides, dilations = op.attr("strides", [1, 1]), op.attr("dilations", [1, 1])
    pads = op.attr("paddings", [0, 0])
    pads = [pads[0], pads[0], pads[1], pads[1]] if len(pads) == 2 else pads
    algorithm, out = op.attr("padding_algorithm", "EXPLICIT"), []
    for axis in (0, 1):
        size, stride = dims[axis], strides[axis]
        dilation = 1 if algorithm == "SAME" else dilations[axis]  # as Paddle does it
        span = dilation * (kernel[axis] - 1) + 1
        if size < 0:
            out.append(-1)
        elif algorithm == "SAME":
            out.append(-(-size // stride))
        else:
            room = size - span + (pads[2 * axis] + pads[2 * axis + 1] if algorithm == "EXPLICIT" else 0)
            if room < 0:
                raise ValueError(f"a window of {span} pixels over {size}")
            out.append((ceil(room / stride) if ceil_mode else room // stride) + 1)
    return out


def _placed(op: Op, dims: Dims, channels: int, spatial: Sequence[int], attr: str = "data_format") -> Dims:
    if op.attr(attr) == "NHWC":
        return (dims[0], *spatial, channels)
    return (dims[0], channels, *spatial)


def _spatial(op: Op, dims: Dims, attr: str = "data_format") -> Dims:
    return dims[1:-1] if op.attr(attr) == "NHWC" else dims[2:]


def _conv(context: _Context) -> Dims:
    dims, weight = context.dims("Input"), context.dims("Filter")
    channels = dims[-1] if context.op.attr("data_format") == "NHWC" else dims[1]
    if channels not in (-1, weight[1] * context.op.attr("groups", 1)):
        raise ValueError(f"{channels} channels into a filter {list(weight)}")
    return _placed(context.op, dims, weight[0], _windows(context, _spatial(context.op, dims), weight[2:]))


def _conv_transpose(context: _Context) -> Dims:
    op, dims, weight = context.op, context.dims("Input"), context.dims("Filter")
    pads = op.attr("paddings", [0, 0])
    pads = [pads[0], pads[0], pads[1], pads[1]] if len(pads) == 2 else pads
    wanted, more = op.attr("output_size") or [], op.attr("output_padding") or [0, 0]
    out = []
    for axis, size in enumerate(_spatial(op, dims)):
        span = op.attr("dilations", [1, 1])[axis] * (weight[2 + axis] - 1) + 1
        full = (
            (size - 1) * op.attr("strides")[axis] - pads[2 * axis] - pads[2 * axis + 1] + span + more[axis % len(more)]
        )
        out.append(wanted[axis % len(wanted)] if wanted else -1 if size < 0 else full)
    return _placed(op, dims, weight[1] * op.attr("groups", 1), out)


def _pool(context: _Context) -> Dims:
    op, dims = context.op, context.dims()
    channels = dims[-1] if op.attr("data_format") == "NHWC" else dims[1]
    if op.attr("global_pooling"):
        spatial = [1, 1]
    elif op.attr("adaptive"):
        spatial = op.attr("ksize")
    else:
        spatial = _windows(context, _spatial(op, dims), op.attr("ksize"), op.attr("ceil_mode", False))
    return _placed(op, dims, channels, spatial)


def _interp(context: _Context) -> Dims:
    op, dims = context.op, context.dims()
    spatial = _spatial(op, dims, "data_layout")
    scale = list(op.attr("scale") or [])
    sizes = [op.attr(name, -1) for name in ("out_d", "out_h", "out_w")][3 - len(spatial) :]
    if op.input("Scale"):
        raise _Unknown
    if op.input("OutSize") or op.inputs.get("SizeTensor"):
        sizes = context.integers("", "OutSize", "SizeTensor")
    elif scale and scale[0] > 0:
        scale = scale * len(spatial) if len(scale) == 1 else scale
        sizes = [-1 if size < 0 else int(size * factor) for size, factor in zip(spatial, scale, strict=True)]
    return _placed(op, dims, dims[-1] if op.attr("data_layout") == "NHWC" else dims[1], sizes, "data_layout")


def _reshape(context: _Context) -> Dims:
    dims, shape = context.dims(), context.integers("shape", "Shape", "ShapeTensor")
    out = [dims[axis] if size == 0 else size for axis, size in enumerate(shape)]
    if -1 in dims:
        return tuple(out)
    total, known = prod(dims), prod(size for size in out if size != -1)
    if -1 in out:
        if out.count(-1) > 1:
            return tuple(out)
        if known == 0 or total % known:
            raise ValueError(f"{list(dims)} cannot become {shape}")
        out[out.index(-1)] = total // known
    elif known != total:
        raise ValueError(f"{list(dims)} cannot become {shape}: the export fixed this size")
    return tuple(out)


def _flatten(context: _Context) -> Dims:
    dims = context.dims()
    start, stop = context.op.attr("start_axis", 1) % len(dims), context.op.attr("stop_axis", -1) % len(dims)
    middle = dims[start : stop + 1]
    return (*dims[:start], -1 if -1 in middle else prod(middle), *dims[stop + 1 :])


def _transpose(context: _Context) -> Dims:
    dims = context.dims()
    return tuple(dims[axis] for axis in context.op.attr("axis"))


def _squeeze(context: _Context) -> Dims:
    dims = context.dims()
    axes = context.op.attr("axes") or [axis for axis, size in enumerate(dims) if size == 1]
    gone = {axis % len(dims) for axis in axes if dims[axis] == 1}
    return tuple(size for axis, size in enumerate(dims) if axis not in gone)


def _unsqueeze(context: _Context) -> Dims:
    dims = list(context.dims())
    for axis in context.integers("axes", "AxesTensor", "AxesTensorList"):
        dims.insert(axis if axis >= 0 else len(dims) + 1 + axis, 1)
    return tuple(dims)


def _concat(context: _Context) -> Dims:
    all_dims = context.all_dims()
    if context.op.input("AxisTensor"):
        raise _Unknown
    axis = context.op.attr("axis", 0) % len(all_dims[0])
    out = list(all_dims[0])
    for dims in all_dims[1:]:
        for other, size in enumerate(dims):
            if other == axis:
                out[axis] = -1 if -1 in (out[axis], size) else out[axis] + size
            elif -1 not in (out[other], size) and out[other] != size:
                raise ValueError(f"{[list(d) for d in all_dims]} cannot be joined along axis {axis}")
            else:
                out[other] = max(out[other], size)
    return tuple(out)


def _split(context: _Context) -> list[Dims]:
    dims, op = context.dims(), context.op
    if op.input("AxisTensor") or op.inputs.get("SectionsTensorList"):
        raise _Unknown
    axis, number = op.attr("axis", 0) % len(dims), len(op.outputs["Out"])
    sections = list(op.attr("sections") or [])
    if not sections:
        if dims[axis] % number and dims[axis] != -1:
            raise ValueError(f"{dims[axis]} into {number} parts")
        sections = [-1 if dims[axis] < 0 else dims[axis] // number] * number
    elif -1 in sections and dims[axis] >= 0:
        sections[sections.index(-1)] = dims[axis] - sum(size for size in sections if size != -1)
    return [(*dims[:axis], size, *dims[axis + 1 :]) for size in sections]


def _stack(context: _Context) -> Dims:
    dims = context.dims()
    axis = context.op.attr("axis", 0)
    axis += len(dims) + 1 if axis < 0 else 0
    return (*dims[:axis], len(context.op.inputs["X"]), *dims[axis:])


def _slice(context: _Context) -> Dims:
    op, dims = context.op, list(context.dims("Input"))
    axes = op.attr("axes")
    tensors = [slot for slot in op.inputs if slot != "Input" and op.inputs[slot]]
    if any(name not in context.values for slot in tensors for name in op.inputs[slot]):
        for axis in axes:
            dims[axis] = -1
    else:
        starts = context.integers("starts", "StartsTensor", "StartsTensorList")
        ends = context.integers("ends", "EndsTensor", "EndsTensorList")
        steps = context.integers("strides", "StridesTensor", "StridesTensorList") or [1] * len(axes)
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
            if dims[axis] >= 0:
                if step < 0 and end < -dims[axis]:
                    raise _Unknown
                dims[axis] = len(range(*slice(start, end, step).indices(dims[axis])))
            elif start >= 0 and 0 <= end < 1 << 30 and step == 1 and axis in (op.attr("decrease_axis") or []):
                dims[axis] = end - start
    gone = {axis % len(dims) for axis in op.attr("decrease_axis") or []}
    return tuple(size for axis, size in enumerate(dims) if axis not in gone)


def _matmul(context: _Context) -> Dims:
    x, y = context.dims("X"), context.dims("Y")
    if len(x) == 1 or len(y) == 1:
        raise _Unknown
    rows, inner = (x[-1], x[-2]) if context.op.attr("trans_x") else (x[-2], x[-1])
    other, columns = (y[-1], y[-2]) if context.op.attr("trans_y") else (y[-2], y[-1])
    if inner != other and -1 not in (inner, other):
        raise ValueError(f"{list(x)} times {list(y)}")
    return (*broadcast(x[:-2], y[:-2]), rows, columns)


def _reduce(context: _Context) -> Dims:
    dims, op = context.dims(), context.op
    axes = (
        set(range(len(dims)))
        if op.attr("reduce_all") or not op.attr("dim")
        else {a % len(dims) for a in op.attr("dim")}
    )
    if op.attr("keep_dim"):
        return tuple(1 if axis in axes else size for axis, size in enumerate(dims))
    return tuple(size for axis, size in enumerate(dims) if axis not in axes)


def _arg_max(context: _Context) -> Dims:
    dims, op = context.dims(), context.op
    if op.attr("flatten"):
        raise _Unknown
    axis = op.attr("axis", -1) % len(dims)
    return (*dims[:axis], 1, *dims[axis + 1 :]) if op.attr("keepdims") else (*dims[:axis], *dims[axis + 1 :])


def _expand(context: _Context) -> Dims:
    dims, shape = context.dims(), context.integers("shape", "Shape", "expand_shapes_tensor")
    lead = len(shape) - len(dims)
    given = context.op.inputs.get("expand_shapes_tensor") or [context.op.input("Shape") or ""] * len(shape)
    out = []
    for axis, (size, name) in enumerate(zip(shape, given, strict=True)):
        copies = size == -1 and axis >= lead and (not name or name in context.values)  # else -1: not known
        out.append(dims[axis - lead] if copies else size)
    return tuple(out)


def _tile(context: _Context) -> Dims:
    dims, times = context.dims(), context.integers("repeat_times", "RepeatTimes", "repeat_times_tensor")
    rank = max(len(dims), len(times))
    pairs = zip((1,) * (rank - len(dims)) + dims, [1] * (rank - len(times)) + times, strict=True)
    return tuple(-1 if -1 in (size, time) else size * time for size, time in pairs)


def _pad(context: _Context) -> Dims:
    """pad2d and pad3d: pairs from the last axis of space to the first."""
    op, dims = context.op, context.dims()
    if op.input("Paddings"):
        raise _Unknown
    pads = list(op.attr("paddings"))
    if op.type == "pad2d":  # top, bottom, left, right
        pads = pads[2:] + pads[:2]
    last = op.attr("data_format", "NCHW") in ("NHWC", "NDHWC")
    axes = list(range(len(dims)))[1:-1] if last else list(range(len(dims)))[2:]
    out = list(dims)
    for index, axis in enumerate(reversed(axes)):
        out[axis] = -1 if dims[axis] < 0 else dims[axis] + pads[2 * index] + pads[2 * index + 1]
    return tuple(out)


def _pixel_shuffle(context: _Context) -> Dims:
    (batch, channels, height, width), factor = context.dims(), context.op.attr("upscale_factor")
    if context.op.attr("data_format") == "NHWC":
        raise _Unknown
    return (batch, channels // factor**2, *(-1 if size < 0 else size * factor for size in (height, width)))


def _gather(context: _Context) -> Dims:
    if context.op.input("Axis"):
        raise _Unknown
    dims, axis = context.dims(), context.op.attr("dim" if context.op.type == "index_select" else "axis", 0)
    index = context.dims("Index")
    index = index[:1] if len(index) == 2 and index[1] == 1 else index  # Paddle reads a column as a list
    return (*dims[:axis], *index, *dims[axis + 1 :])


def _fill_constant(context: _Context) -> Dims:
    return tuple(context.integers("shape", "ShapeTensor", "ShapeTensorList"))


def _einsum(context: _Context) -> Dims:
    left, _, out = context.op.attr("equation").replace(" ", "").partition("->")
    sizes = {}
    for term, dims in zip(left.split(","), context.all_dims("Operands"), strict=True):
        sizes.update(zip(term, dims, strict=True))
    return tuple(sizes[letter] for letter in out)


def _unpool(context: _Context) -> Dims:
    return (*context.dims()[:2], *context.op.attr("output_size"))


def _top_k(context: _Context) -> Dims:
    dims = context.dims()
    if context.op.input("K"):
        raise _Unknown
    axis = context.op.attr("axis", -1) % len(dims)
    return (*dims[:axis], context.op.attr("k"), *dims[axis + 1 :])


def _shape(context: _Context) -> Dims:
    return (len(context.dims("Input")),)


def _where(context: _Context) -> Dims:
    return broadcast(broadcast(context.dims("X"), context.dims("Y")), context.dims("Condition"))


_SAME = [
    "assign", "abs", "bitwise_not", "batch_norm", "cast", "ceil", "clip", "cos", "cumsum", "dropout", "elu", "erf",
    "exp", "fill_any_like", "floor", "gelu", "group_norm", "hard_sigmoid", "hard_swish", "instance_norm",
    "layer_norm", "leaky_relu", "log", "log_softmax", "logical_not", "mish", "pow", "prelu", "relu", "relu6",
    "roll", "round", "rsqrt", "scale", "set_value", "share_data", "shuffle_channel", "sigmoid", "silu", "sin",
    "softmax", "softplus", "sqrt", "square", "swish", "sync_batch_norm", "tanh", "flip", "fill_zeros_like",
    "reciprocal", "quantize_linear", "dequantize_linear", "fake_quantize_dequantize_moving_average_abs_max",
    "fake_channel_wise_quantize_dequantize_abs_max",
]  # fmt: skip
_BROADCAST = [
    "elementwise_add", "elementwise_sub", "elementwise_mul", "elementwise_div", "elementwise_max",
    "elementwise_min", "elementwise_pow", "elementwise_mod", "elementwise_floordiv", "equal", "not_equal",
    "less_than", "less_equal", "greater_than", "greater_equal", "logical_and", "logical_or", "logical_xor",
    "bitwise_and", "bitwise_or", "maximum", "minimum",
]  # fmt: skip
_RULES: dict[str, Callable[[_Context], Dims | list[Dims]]] = {
    **dict.fromkeys(_SAME, _same),
    **dict.fromkeys(_BROADCAST, _broadcast),
    **dict.fromkeys(("conv2d", "depthwise_conv2d"), _conv),
    **dict.fromkeys(("conv2d_transpose", "depthwise_conv2d_transpose"), _conv_transpose),
    **dict.fromkeys(("pool2d", "max_pool2d_with_index"), _pool),
    **dict.fromkeys(
        ("bilinear_interp_v2", "nearest_interp_v2", "bicubic_interp_v2", "linear_interp_v2", "trilinear_interp_v2"),
        _interp,
    ),
    **dict.fromkeys(("reshape2", "reshape"), _reshape),
    **dict.fromkeys(("transpose2", "transpose"), _transpose),
    **dict.fromkeys(("slice", "strided_slice"), _slice),
    **dict.fromkeys(("reduce_mean", "reduce_max", "reduce_min", "reduce_sum", "reduce_prod"), _reduce),
    **dict.fromkeys(("matmul_v2", "bmm"), _matmul),
    **dict.fromkeys(("pad2d", "pad3d"), _pad),
    **dict.fromkeys(("gather", "index_select"), _gather),
    **dict.fromkeys(("arg_max", "arg_min"), _arg_max),
    "flatten_contiguous_range": _flatten,
    "squeeze2": _squeeze,
    "unsqueeze2": _unsqueeze,
    "concat": _concat,
    "split": _split,
    "stack": _stack,
    "expand_v2": _expand,
    "tile": _tile,
    "pixel_shuffle": _pixel_shuffle,
    "fill_constant": _fill_constant,
    "einsum": _einsum,
    "unpool": _unpool,
    "top_k_v2": _top_k,
    "shape": _shape,
    "where": _where,
}
