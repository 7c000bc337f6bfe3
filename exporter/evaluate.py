"""Computes operators on constant inputs with NumPy, as Paddle computes them.

The operators are those that stand in front of the first use of an image: masks and position tables of transformers,
sizes taken from shapes, resized position embeddings. An operator that is not here simply stays in the program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from segexport.exporter.framework_proto import DTYPE_NAME
from segexport.exporter.program import Op

MAX_ELEMENTS = 1 << 24  # of one result: a hostile shape must not take the machine's memory

_Inputs = dict[str, list[np.ndarray]]
_Rule = Callable[[Op, _Inputs], "np.ndarray | list[np.ndarray]"]


class CannotEvaluate(Exception):
    """This operator, or this form of it, has no rule here."""


def evaluate(op: Op, inputs: _Inputs) -> dict[str, np.ndarray]:
    """The values of an operator's outputs, by variable name; its XShape output is left out.

    Args:
        op: The operator.
        inputs: Slot -> arrays, in the slot's order; empty slots may be left out.

    Raises:
        CannotEvaluate: There is no rule, or the inputs do not fit the rule.
    """
    rule = _RULES.get(op.type)
    if rule is None:
        raise CannotEvaluate(op.type)
    try:
        with np.errstate(all="ignore"):
            result = rule(op, inputs)
    except (KeyError, IndexError, ValueError, TypeError, OverflowError, ZeroDivisionError, AttributeError) as error:
        raise CannotEvaluate(f"{op.type}: {error}") from error
    names = next(names for slot, names in op.outputs.items() if slot in ("Out", "Y", "Output") and names)
    values = result if isinstance(result, list) else [result]
    if len(values) != len(names):
        raise CannotEvaluate(f"{op.type}: {len(values)} results for {len(names)} outputs")
    return dict(zip(names, values, strict=True))


def can_evaluate(op: Op) -> bool:
    """Whether there is a rule for this type of operator."""
    return op.type in _RULES


# -- helpers ---------------------------------------------------------------------------------------------------


def _x(inputs: _Inputs, slot: str = "X") -> np.ndarray:
    return inputs[slot][0]


def _bounded(dims: Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in dims)
    if any(size < 0 for size in sizes) or prod(sizes) > MAX_ELEMENTS:
        raise ValueError(f"a result of sizes {sizes}")
    return sizes


def _dtype(code: int, fallback: np.ndarray | None = None) -> np.dtype:
    if code == -1 and fallback is not None:
        return fallback.dtype
    return np.dtype(DTYPE_NAME[code])


def int_list(op: Op, inputs: _Inputs, attr: str, tensor: str = "", tensors: str = "") -> list[int]:
    """An attribute of integers, which may be given by one tensor or by a list of them instead."""
    if tensor and inputs.get(tensor):
        return [int(value) for value in inputs[tensor][0].reshape(-1)]
    if tensors and inputs.get(tensors):
        return [int(value.reshape(-1)[0]) for value in inputs[tensors]]
    return [int(value) for value in op.attr(attr, [])]


def _aligned(x: np.ndarray, y: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Paddle lines y's first axis up with x's `axis`; -1 is NumPy's rule."""
    if axis not in (-1, x.ndim - y.ndim) and 0 < y.ndim < x.ndim:
        y = y.reshape(y.shape + (1,) * (x.ndim - axis - y.ndim))
    _bounded(np.broadcast_shapes(x.shape, y.shape))
    return x, y


def _binary(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> _Rule:
    def rule(op: Op, inputs: _Inputs) -> np.ndarray:
        x, y = _aligned(_x(inputs), _x(inputs, "Y"), op.attr("axis", -1))
        return function(x, y)

    return rule


def _unary(function: Callable[[np.ndarray], np.ndarray]) -> _Rule:
    return lambda _op, inputs: function(_x(inputs))


# -- rules -----------------------------------------------------------------------------------------------------


def _fill_constant(op: Op, inputs: _Inputs) -> np.ndarray:
    dims = _bounded(int_list(op, inputs, "shape", "ShapeTensor", "ShapeTensorList"))
    text = op.attr("str_value", "")
    if inputs.get("ValueTensor"):
        value = inputs["ValueTensor"][0].reshape(-1)[0]
    else:
        value = float(text) if text else op.attr("value", 0.0)
    dtype = _dtype(op.attr("dtype"))
    if text and dtype.kind in "iu" and text.lstrip("-").isdigit():
        value = int(text)
    return np.full(dims, value).astype(dtype)


def _assign_value(op: Op, _inputs: _Inputs) -> np.ndarray:
    dtype = _dtype(op.attr("dtype"))
    key = {"bool": "bool_values", "int32": "int32_values", "int64": "int64_values", "float32": "fp32_values"}[
        str(dtype)
    ]
    values = op.attr(key) or op.attr("values") or []
    return np.array(values, dtype).reshape(_bounded(op.attr("shape", [])))


def _reshape(op: Op, inputs: _Inputs) -> np.ndarray:
    x = _x(inputs)
    shape = int_list(op, inputs, "shape", "Shape", "ShapeTensor")
    return x.reshape([x.shape[axis] if size == 0 else size for axis, size in enumerate(shape)])


def _flatten(op: Op, inputs: _Inputs) -> np.ndarray:
    x = _x(inputs)
    start, stop = op.attr("start_axis", 1) % max(x.ndim, 1), op.attr("stop_axis", -1) % max(x.ndim, 1)
    return x.reshape((*x.shape[:start], -1, *x.shape[stop + 1 :]))


def _slices(op: Op, x: np.ndarray, starts: list[int], ends: list[int], steps: list[int]) -> tuple[slice, ...]:
    index = [slice(None)] * x.ndim
    for axis, start, end, step in zip(op.attr("axes"), starts, ends, steps, strict=True):
        size = x.shape[axis]
        if step < 0 and end < -size:
            raise ValueError(f"a slice backwards to {end} of {size}")
        index[axis] = slice(start, end, step)
    return tuple(index)


def _slice(op: Op, inputs: _Inputs) -> np.ndarray:
    x = _x(inputs, "Input")
    starts = int_list(op, inputs, "starts", "StartsTensor", "StartsTensorList")
    ends = int_list(op, inputs, "ends", "EndsTensor", "EndsTensorList")
    steps = int_list(op, inputs, "strides", "StridesTensor", "StridesTensorList") or [1] * len(starts)
    out = x[_slices(op, x, starts, ends, steps)]
    gone = tuple(op.attr("decrease_axis") or ())
    return np.squeeze(out, gone) if gone else out


def _set_value(op: Op, inputs: _Inputs) -> np.ndarray:
    x = _x(inputs, "Input").copy()
    if op.attr("none_axes") or op.attr("decrease_axes"):
        raise ValueError("set_value that changes the rank")
    starts = int_list(op, inputs, "starts", "", "StartsTensorList")
    ends = int_list(op, inputs, "ends", "", "EndsTensorList")
    steps = int_list(op, inputs, "steps", "", "StepsTensorList")
    if inputs.get("ValueTensor"):
        value = inputs["ValueTensor"][0]
    else:
        value = np.array(op.attr("values")).reshape(_bounded(op.attr("shape")))
    x[_slices(op, x, starts, ends, steps)] = value
    return x


def _squeeze(op: Op, inputs: _Inputs) -> np.ndarray:
    x, axes = _x(inputs), op.attr("axes") or []
    gone = tuple(axis % x.ndim for axis in axes if x.shape[axis] == 1) if axes else None
    return np.squeeze(x, gone)


def _unsqueeze(op: Op, inputs: _Inputs) -> np.ndarray:
    x = _x(inputs)
    for axis in int_list(op, inputs, "axes", "AxesTensor", "AxesTensorList"):
        x = np.expand_dims(x, axis)
    return x


def _expand(op: Op, inputs: _Inputs) -> np.ndarray:
    x = _x(inputs)
    shape = int_list(op, inputs, "shape", "Shape", "expand_shapes_tensor")
    lead = len(shape) - x.ndim
    dims = [x.shape[axis - lead] if size == -1 else size for axis, size in enumerate(shape)]
    return np.broadcast_to(x, _bounded(dims))


def _tile(op: Op, inputs: _Inputs) -> np.ndarray:
    x, times = _x(inputs), int_list(op, inputs, "repeat_times", "RepeatTimes", "repeat_times_tensor")
    rank = max(x.ndim, len(times))
    dims, times = (1,) * (rank - x.ndim) + x.shape, [1] * (rank - len(times)) + times
    _bounded([size * time for size, time in zip(dims, times, strict=True)])
    return np.tile(x, times)


def _concat(op: Op, inputs: _Inputs) -> np.ndarray:
    axis = int_list(op, inputs, "axis_list", "AxisTensor") if inputs.get("AxisTensor") else [op.attr("axis", 0)]
    return np.concatenate(inputs["X"], axis[0])


def _split(op: Op, inputs: _Inputs) -> list[np.ndarray]:
    x, axis = _x(inputs), op.attr("axis", 0)
    if inputs.get("AxisTensor") or inputs.get("SectionsTensorList"):
        raise ValueError("split by tensors")
    sections = list(op.attr("sections") or [])
    if not sections:
        return np.split(x, op.attr("num"), axis)
    if -1 in sections:
        sections[sections.index(-1)] = x.shape[axis] - sum(size for size in sections if size != -1)
    return np.split(x, np.cumsum(sections)[:-1], axis)


def _stack(op: Op, inputs: _Inputs) -> np.ndarray:
    return np.stack(inputs["X"], op.attr("axis", 0))


def _scale(op: Op, inputs: _Inputs) -> np.ndarray:
    x = _x(inputs)
    factor = inputs["ScaleTensor"][0].reshape(-1)[0] if inputs.get("ScaleTensor") else op.attr("scale", 1.0)
    factor, bias = x.dtype.type(factor), x.dtype.type(op.attr("bias", 0.0))
    return x * factor + bias if op.attr("bias_after_scale", True) else (x + bias) * factor


def _range(_op: Op, inputs: _Inputs) -> np.ndarray:
    start, end, step = (inputs[slot][0].reshape(-1)[0] for slot in ("Start", "End", "Step"))
    _bounded([max(0, int(np.ceil((float(end) - float(start)) / float(step))))])
    return np.arange(start, end, step, dtype=inputs["Start"][0].dtype)


def _cumsum(op: Op, inputs: _Inputs) -> np.ndarray:
    if op.attr("exclusive") or op.attr("reverse"):
        raise ValueError("cumsum that is exclusive or reversed")
    x = _x(inputs)
    return np.cumsum(
        x.reshape(-1) if op.attr("flatten") else x,
        axis=None if op.attr("flatten") else op.attr("axis", -1),
        dtype=x.dtype,
    )


def _reduce(function: Callable[..., np.ndarray]) -> _Rule:
    def rule(op: Op, inputs: _Inputs) -> np.ndarray:
        x = _x(inputs)
        axes = None if op.attr("reduce_all") or not op.attr("dim") else tuple(op.attr("dim"))
        return np.asarray(function(x, axis=axes, keepdims=bool(op.attr("keep_dim")))).astype(x.dtype)

    return rule


def _softmax(op: Op, inputs: _Inputs) -> np.ndarray:
    x, axis = _x(inputs), op.attr("axis", -1)
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def _layer_norm(op: Op, inputs: _Inputs) -> np.ndarray:
    x = _x(inputs).astype(np.float64)
    axes = tuple(range(op.attr("begin_norm_axis", 1), x.ndim))
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    out = (x - mean) / np.sqrt(variance + op.attr("epsilon", 1e-5))
    dims = _x(inputs).shape[axes[0] :]
    for slot, apply in (("Scale", np.multiply), ("Bias", np.add)):
        if inputs.get(slot):
            out = apply(out, inputs[slot][0].reshape(dims))
    return out.astype(_x(inputs).dtype)


def _matmul(op: Op, inputs: _Inputs) -> np.ndarray:
    x, y = _x(inputs), _x(inputs, "Y")
    x = np.swapaxes(x, -1, -2) if op.attr("trans_x") and x.ndim > 1 else x
    y = np.swapaxes(y, -1, -2) if op.attr("trans_y") and y.ndim > 1 else y
    return np.matmul(x, y)


def _dropout(op: Op, inputs: _Inputs) -> np.ndarray:
    x = _x(inputs)
    if op.attr("dropout_implementation") == "upscale_in_train":
        return x
    return x * x.dtype.type(1.0 - op.attr("dropout_prob", 0.5))


def _shape(_op: Op, inputs: _Inputs) -> np.ndarray:
    return np.array(_x(inputs, "Input").shape, np.int32)


def _fill_any_like(op: Op, inputs: _Inputs) -> np.ndarray:
    x = _x(inputs)
    return np.full(x.shape, op.attr("value", 0.0)).astype(_dtype(op.attr("dtype", -1), x))


def _cast(op: Op, inputs: _Inputs) -> np.ndarray:
    return _x(inputs).astype(_dtype(op.attr("out_dtype")))


def _transpose(op: Op, inputs: _Inputs) -> np.ndarray:
    return np.transpose(_x(inputs), op.attr("axis"))


def _take(axis_attr: str) -> _Rule:
    def rule(op: Op, inputs: _Inputs) -> np.ndarray:
        x, index = _x(inputs), _x(inputs, "Index").reshape(-1)
        axis = int(inputs["Axis"][0].reshape(-1)[0]) if inputs.get("Axis") else op.attr(axis_attr, 0)
        _bounded([index.size * (x.size // max(x.shape[axis], 1))])
        return np.take(x, index, axis)

    return rule


def _roll(op: Op, inputs: _Inputs) -> np.ndarray:
    axes = op.attr("axis") or None
    return np.roll(_x(inputs), int_list(op, inputs, "shifts", "ShiftsTensor"), axes)


def _where(_op: Op, inputs: _Inputs) -> np.ndarray:
    return np.where(_x(inputs, "Condition"), _x(inputs), _x(inputs, "Y"))


def _linear_interp(op: Op, inputs: _Inputs) -> np.ndarray:
    """[N, C, W], half-pixel centres (align_mode 0), asymmetric (1) or aligned corners."""
    x = _x(inputs)
    if op.attr("data_layout", "NCHW") != "NCHW" or any(inputs.get(slot) for slot in ("OutSize", "SizeTensor", "Scale")):
        raise ValueError("a resize by tensors")
    width, scale = x.shape[2], list(op.attr("scale") or [])
    out_width = int(width * scale[0]) if scale and scale[0] > 0 else op.attr("out_w")
    (out_width,) = _bounded([out_width])
    corners = op.attr("align_corners")
    if corners:
        ratio = np.float32((width - 1) / (out_width - 1)) if out_width > 1 else np.float32(0)
    else:
        ratio = np.float32(1.0 / scale[0]) if scale and scale[0] > 0 else np.float32(width / out_width)
    at = np.arange(out_width, dtype=np.float32)
    if not corners and op.attr("align_mode", 1) == 0:
        at = np.maximum(ratio * (at + np.float32(0.5)) - np.float32(0.5), 0)
    else:
        at = ratio * at
    left = at.astype(np.int64)
    right, weight = np.minimum(left + 1, width - 1), (at - left).astype(x.dtype)
    return x[..., left] * (1 - weight) + x[..., right] * weight


_UNARY = {
    "assign": np.copy, "sin": np.sin, "cos": np.cos, "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "abs": np.abs,
    "floor": np.floor, "ceil": np.ceil, "square": np.square, "rsqrt": lambda x: 1 / np.sqrt(x), "tanh": np.tanh,
    "sigmoid": lambda x: (1 / (1 + np.exp(-x))).astype(x.dtype), "relu": lambda x: np.maximum(x, 0),
    "bitwise_not": np.invert, "logical_not": np.logical_not, "share_data": np.copy, "reciprocal": np.reciprocal,
}  # fmt: skip
_BINARY = {
    "elementwise_add": np.add, "elementwise_sub": np.subtract, "elementwise_mul": np.multiply,
    "elementwise_div": lambda x, y: x // y if x.dtype.kind in "iu" else x / y,
    "elementwise_floordiv": np.floor_divide, "elementwise_mod": np.mod, "elementwise_pow": np.power,
    "elementwise_max": np.maximum, "elementwise_min": np.minimum, "equal": np.equal, "not_equal": np.not_equal,
    "less_than": np.less, "less_equal": np.less_equal, "greater_than": np.greater, "greater_equal": np.greater_equal,
    "logical_and": np.logical_and, "logical_or": np.logical_or, "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
}  # fmt: skip
_RULES: dict[str, _Rule] = {
    **{name: _unary(function) for name, function in _UNARY.items()},
    **{name: _binary(function) for name, function in _BINARY.items()},
    "fill_constant": _fill_constant,
    "assign_value": _assign_value,
    "fill_any_like": _fill_any_like,
    "reshape2": _reshape,
    "flatten_contiguous_range": _flatten,
    "squeeze2": _squeeze,
    "unsqueeze2": _unsqueeze,
    "transpose2": _transpose,
    "slice": _slice,
    "strided_slice": _slice,
    "set_value": _set_value,
    "concat": _concat,
    "split": _split,
    "stack": _stack,
    "expand_v2": _expand,
    "tile": _tile,
    "scale": _scale,
    "cast": _cast,
    "range": _range,
    "cumsum": _cumsum,
    "shape": _shape,
    "gather": _take("axis"),
    "index_select": _take("dim"),
    "roll": _roll,
    "where": _where,
    "dropout": _dropout,
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "matmul_v2": _matmul,
    "linear_interp_v2": _linear_interp,
    "reduce_sum": _reduce(np.sum),
    "reduce_mean": _reduce(np.mean),
    "reduce_max": _reduce(np.max),
    "reduce_min": _reduce(np.min),
    "reduce_prod": _reduce(np.prod),
}
