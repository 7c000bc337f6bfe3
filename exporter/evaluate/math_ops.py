"""Rules for arithmetic operators: elementwise, reductions, products, resize."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from segexport.exporter.evaluate.rule import Inputs, Rule, bounded, dtype_of, only
from segexport.exporter.program import Op


def _aligned(x: np.ndarray, y: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Paddle lines y's first axis up with x's `axis`; -1 is NumPy's rule."""
    if axis not in (-1, x.ndim - y.ndim) and 0 < y.ndim < x.ndim:
        y = y.reshape(y.shape + (1,) * (x.ndim - axis - y.ndim))
    bounded(np.broadcast_shapes(x.shape, y.shape))
    return x, y


def _binary(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Rule:
    def rule(op: Op, inputs: Inputs) -> np.ndarray:
        x, y = _aligned(only(inputs), only(inputs, "Y"), op.attr("axis", -1))
        return function(x, y)

    return rule


def _unary(function: Callable[[np.ndarray], np.ndarray]) -> Rule:
    return lambda _op, inputs: function(only(inputs))


def _scale(op: Op, inputs: Inputs) -> np.ndarray:
    x = only(inputs)
    factor = inputs["ScaleTensor"][0].reshape(-1)[0] if inputs.get("ScaleTensor") else op.attr("scale", 1.0)
    factor, bias = x.dtype.type(factor), x.dtype.type(op.attr("bias", 0.0))
    return x * factor + bias if op.attr("bias_after_scale", True) else (x + bias) * factor


def _cast(op: Op, inputs: Inputs) -> np.ndarray:
    return only(inputs).astype(dtype_of(op.attr("out_dtype")))


def _cumsum(op: Op, inputs: Inputs) -> np.ndarray:
    if op.attr("exclusive") or op.attr("reverse"):
        raise ValueError("cumsum that is exclusive or reversed")
    x = only(inputs)
    return np.cumsum(
        x.reshape(-1) if op.attr("flatten") else x,
        axis=None if op.attr("flatten") else op.attr("axis", -1),
        dtype=x.dtype,
    )


def _reduce(function: Callable[..., np.ndarray]) -> Rule:
    def rule(op: Op, inputs: Inputs) -> np.ndarray:
        x = only(inputs)
        axes = None if op.attr("reduce_all") or not op.attr("dim") else tuple(op.attr("dim"))
        return np.asarray(function(x, axis=axes, keepdims=bool(op.attr("keep_dim")))).astype(x.dtype)

    return rule


def _softmax(op: Op, inputs: Inputs) -> np.ndarray:
    x, axis = only(inputs), op.attr("axis", -1)
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def _layer_norm(op: Op, inputs: Inputs) -> np.ndarray:
    x = only(inputs).astype(np.float64)
    axes = tuple(range(op.attr("begin_norm_axis", 1), x.ndim))
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    out = (x - mean) / np.sqrt(variance + op.attr("epsilon", 1e-5))
    dims = only(inputs).shape[axes[0] :]
    for slot, apply in (("Scale", np.multiply), ("Bias", np.add)):
        if inputs.get(slot):
            out = apply(out, inputs[slot][0].reshape(dims))
    return out.astype(only(inputs).dtype)


def _matmul(op: Op, inputs: Inputs) -> np.ndarray:
    x, y = only(inputs), only(inputs, "Y")
    x = np.swapaxes(x, -1, -2) if op.attr("trans_x") and x.ndim > 1 else x
    y = np.swapaxes(y, -1, -2) if op.attr("trans_y") and y.ndim > 1 else y
    return np.matmul(x, y)


def _dropout(op: Op, inputs: Inputs) -> np.ndarray:
    x = only(inputs)
    if op.attr("dropout_implementation") == "upscale_in_train":
        return x
    return x * x.dtype.type(1.0 - op.attr("dropout_prob", 0.5))


def _linear_interp(op: Op, inputs: Inputs) -> np.ndarray:
    """[N, C, W], half-pixel centres (align_mode 0), asymmetric (1) or aligned corners."""
    x = only(inputs)
    if op.attr("data_layout", "NCHW") != "NCHW" or any(inputs.get(slot) for slot in ("OutSize", "SizeTensor", "Scale")):
        raise ValueError("a resize by tensors")
    width, scale = x.shape[2], list(op.attr("scale") or [])
    out_width = int(width * scale[0]) if scale and scale[0] > 0 else op.attr("out_w")
    (out_width,) = bounded([out_width])
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

RULES: dict[str, Rule] = {
    **{name: _unary(function) for name, function in _UNARY.items()},
    **{name: _binary(function) for name, function in _BINARY.items()},
    "scale": _scale,
    "cast": _cast,
    "cumsum": _cumsum,
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
