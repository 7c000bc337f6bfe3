"""Shape rules for arithmetic operators: elementwise, reductions, products, selections."""

from __future__ import annotations

from collections.abc import Collection

from segexport.exporter.shapes.context import Context, Dims, NoRule, Rule, broadcast


def _same(context: Context) -> Dims:
    for slot in ("X", "Input", "Logits"):
        if context.op.input(slot):
            return context.dims(slot)
    raise NoRule


def _broadcast(context: Context) -> Dims:
    x, y = context.dims("X"), context.dims("Y")
    axis = context.op.attr("axis", -1)
    if axis != -1 and len(y) < len(x):
        y = y + (1,) * (len(x) - axis - len(y))
    return broadcast(x, y)


def _matmul(context: Context) -> Dims:
    x, y = context.dims("X"), context.dims("Y")
    if len(x) == 1 or len(y) == 1:
        raise NoRule
    rows, inner = (x[-1], x[-2]) if context.op.attr("trans_x") else (x[-2], x[-1])
    other, columns = (y[-1], y[-2]) if context.op.attr("trans_y") else (y[-2], y[-1])
    if inner != other and -1 not in (inner, other):
        raise ValueError(f"{list(x)} times {list(y)}")
    return (*broadcast(x[:-2], y[:-2]), rows, columns)


def _einsum(context: Context) -> Dims:
    left, _, out = context.op.attr("equation").replace(" ", "").partition("->")
    sizes = {}
    for term, dims in zip(left.split(","), context.all_dims("Operands"), strict=True):
        sizes.update(zip(term, dims, strict=True))
    return tuple(sizes[letter] for letter in out)


def _reduce(context: Context) -> Dims:
    dims, op = context.dims(), context.op
    axes = (
        set(range(len(dims)))
        if op.attr("reduce_all") or not op.attr("dim")
        else {a % len(dims) for a in op.attr("dim")}
    )
    return _without(dims, axes, keep=bool(op.attr("keep_dim")))


def _without(dims: Dims, axes: Collection[int], *, keep: bool) -> Dims:
    """The shape after a reduction of these axes, which stay with size 1 if `keep`."""
    if keep:
        return tuple(1 if axis in axes else size for axis, size in enumerate(dims))
    return tuple(size for axis, size in enumerate(dims) if axis not in axes)


def _arg_max(context: Context) -> Dims:
    dims, op = context.dims(), context.op
    if op.attr("flatten"):
        raise NoRule
    return _without(dims, {op.attr("axis", -1) % len(dims)}, keep=bool(op.attr("keepdims")))


def _p_norm(context: Context) -> Dims:
    dims, op = context.dims(), context.op
    if op.attr("asvector"):
        raise NoRule
    return _without(dims, {op.attr("axis", -1) % len(dims)}, keep=bool(op.attr("keepdim")))


def _top_k(context: Context) -> Dims:
    dims = context.dims()
    if context.op.input("K"):
        raise NoRule
    axis = context.op.attr("axis", -1) % len(dims)
    return (*dims[:axis], context.op.attr("k"), *dims[axis + 1 :])


def _gather(context: Context) -> Dims:
    if context.op.input("Axis"):
        raise NoRule
    dims, axis = context.dims(), context.op.attr("dim" if context.op.type == "index_select" else "axis", 0)
    index = context.dims("Index")
    index = index[:1] if len(index) == 2 and index[1] == 1 else index  # Paddle reads a column as a list
    return (*dims[:axis], *index, *dims[axis + 1 :])


def _where(context: Context) -> Dims:
    return broadcast(broadcast(context.dims("X"), context.dims("Y")), context.dims("Condition"))


def _rnn(context: Context) -> Dims:
    """[time, batch, hidden units of each direction]."""
    op, (steps, batch, _) = context.op, context.dims("Input")
    return (steps, batch, op.attr("hidden_size") * (2 if op.attr("is_bidirec") else 1))


def _fill_constant(context: Context) -> Dims:
    return tuple(context.integers("shape", "ShapeTensor", "ShapeTensorList"))


def _shape(context: Context) -> Dims:
    return (len(context.dims("Input")),)


SAME = [
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
RULES: dict[str, Rule] = {
    **dict.fromkeys(SAME, _same),
    **dict.fromkeys(_BROADCAST, _broadcast),
    **dict.fromkeys(("reduce_mean", "reduce_max", "reduce_min", "reduce_sum", "reduce_prod"), _reduce),
    **dict.fromkeys(("matmul_v2", "bmm"), _matmul),
    **dict.fromkeys(("gather", "index_select"), _gather),
    **dict.fromkeys(("arg_max", "arg_min"), _arg_max),
    "p_norm": _p_norm,
    "fill_constant": _fill_constant,
    "einsum": _einsum,
    "rnn": _rnn,
    "top_k_v2": _top_k,
    "shape": _shape,
    "size": lambda _context: (),
    "where": _where,
}
