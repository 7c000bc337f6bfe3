"""Rules for how operators map input channels to output channels, one per kind of operator.

Axes are Paddle's; a label of None marks an untraced axis (batch, height, width, heads).
"""

from __future__ import annotations

from segexport.compress import channel_shapes as shapes
from segexport.compress import channel_weights as weights
from segexport.compress.channel_coupling import Labels, Rule, aligned, merge
from segexport.compress.channel_graph import ChannelGraph
from segexport.exporter.program import Op


def _elementwise(graph: ChannelGraph, op: Op) -> None:
    """Paddle's broadcasting: aligns the lower-rank tensor at `axis` of the other, or at its last axis."""
    x, y, out = op.input("X"), op.input("Y"), op.output("Out")
    rank, axis = len(graph.dims(out)), op.attr("axis", -1)
    sides = []
    for name in (x, y):
        sizes = list(zip(graph.dims(name), graph.of(name), strict=True))
        missing = rank - len(sizes)
        lead = missing if axis < 0 else min(axis, missing)
        sides.append([(1, None)] * lead + sizes + [(1, None)] * (missing - lead))
    merge(graph, op, out, sides)


def _where(graph: ChannelGraph, op: Op) -> None:
    _trailing(graph, op, [op.input(slot) for slot in ("Condition", "X", "Y")], op.output("Out"))


def _sum(graph: ChannelGraph, op: Op) -> None:
    _trailing(graph, op, op.inputs["X"], op.output("Out"))


def _trailing(graph: ChannelGraph, op: Op, names: list[str], out: str) -> None:
    rank = len(graph.dims(out))
    merge(graph, op, out, [aligned(graph, name, rank, graph.of(name), 0) for name in names])


def _same(graph: ChannelGraph, op: Op) -> None:
    """Copies X's labels to every output along axes that keep their size; freezes the others."""
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


def _nothing(graph: ChannelGraph, op: Op) -> None:
    """Outputs have no channels: shapes and constants."""
    for name in op.output_names():
        graph.put(name, [None] * len(graph.dims(name)))


def _constant(graph: ChannelGraph, op: Op) -> None:
    """A tensor with one repeated value can have any size."""
    out = op.output("Out")
    computed = op.inputs.get("ShapeTensor") or op.inputs.get("ShapeTensorList")
    free = [None if computed or size < 2 else graph.fresh(size) for size in graph.dims(out)]
    graph.put(out, free)


def _along(slots: tuple[str, ...]) -> Rule:
    """Copies X's labels, except along the attribute's axes, where order or position matters."""

    def rule(graph: ChannelGraph, op: Op) -> None:
        labels = graph.of(op.input("X"))
        axes = next((op.attr(slot) for slot in slots if op.attr(slot) is not None), [])
        axes = axes if isinstance(axes, list) else [axes]
        for axis in axes or range(len(labels)):  # none: over the flattened tensor
            graph.freeze(labels[axis], f"operator '{op.type}' along the channels")
        _same(graph, op)

    return rule


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
    **dict.fromkeys(_WINDOW.split(), shapes.window),
    **dict.fromkeys(_REDUCE.split(), shapes.reduce),
    **dict.fromkeys(("conv2d", "depthwise_conv2d"), weights.convolution),
    **dict.fromkeys(("conv2d_transpose", "depthwise_conv2d_transpose"), weights.transposed_convolution),
    **dict.fromkeys(("matmul_v2", "matmul", "mul", "bmm"), weights.matmul),
    **dict.fromkeys(("batch_norm", "sync_batch_norm", "instance_norm", "affine_channel"), weights.batch_norm),
    **dict.fromkeys(("reshape2", "reshape", "flatten_contiguous_range", "flatten2"), shapes.reshape),
    **dict.fromkeys(("squeeze2", "squeeze"), shapes.squeeze),
    **dict.fromkeys(("unsqueeze2", "unsqueeze"), shapes.unsqueeze),
    **dict.fromkeys(("transpose2", "transpose"), shapes.transpose),
    **dict.fromkeys(("expand_v2", "tile", "expand"), shapes.expand),
    **dict.fromkeys(("gather", "index_select"), shapes.gather),
    **dict.fromkeys(("arg_max", "arg_min"), shapes.arg),
    **dict.fromkeys(("shape", "range", "assign_value", "size"), _nothing),
    **dict.fromkeys(("roll", "cumsum", "flip"), _along(("axis",))),
    "concat": shapes.concat,
    "einsum": weights.einsum,
    "fill_constant": _constant,
    "grid_sampler": shapes.sample,
    "group_norm": weights.group_norm,
    "layer_norm": weights.layer_norm,
    "lookup_table_v2": weights.embedding,
    "pixel_shuffle": shapes.pixel_shuffle,
    "prelu": weights.prelu,
    "set_value": shapes.set_value,
    "slice": shapes.slice_,
    "split": shapes.split,
    "stack": shapes.stack,
    "strided_slice": shapes.strided_slice,
    "sum": _sum,
    "unpool": shapes.unpool,
    "where": _where,
}
