"""Chains of operators that converters fuse: a convolution with its followers, a shuffle, an attention."""

from __future__ import annotations

from typing import Any

from operators.elementwise import FLOAT32
from operators.notation import Cell, Op, Result, Tensor, chain, fed, given, held

_SIZE = (1, 4, 6, 6)
_READS = {"conv2d": "Input", "depthwise_conv2d": "Input", "conv2d_transpose": "Input", "slice": "Input"}
_WRITES = {
    **dict.fromkeys(("conv2d", "depthwise_conv2d", "conv2d_transpose"), "Output"),
    **dict.fromkeys(("batch_norm", "instance_norm", "layer_norm", "group_norm", "stack"), "Y"),
}
Step = tuple[str, dict[str, Any]]


def row(family: str, choice: dict[str, str], *steps: Step, start: Tensor | None = None) -> Cell:
    """A cell whose operators each read the previous one's result."""
    before: Tensor | Result = start or fed(*_SIZE)
    ops = []
    for number, (type, values) in enumerate(steps):
        values = {_READS.get(type, "X"): before, **values}
        ops.append((type, {key: before if value is ... else value for key, value in values.items()}))
        before = Result(number, _WRITES.get(type, "Out"))
    return chain(family, choice, *ops)


def _convolution(filter: Tensor, **more: Any) -> dict[str, Any]:
    attrs = {"strides": [1, 1], "paddings": [1, 1], "dilations": [1, 1], "groups": 1, "padding_algorithm": "EXPLICIT"}
    return {"Filter": filter, **attrs, "data_format": "NCHW", **more}


def _scale(scale: float, bias: float = 0.0, after: bool = True) -> Step:
    return "scale", {"scale": scale, "bias": bias, "bias_after_scale": after}


_STATISTICS = {"Scale": held(4), "Bias": held(4), "Mean": held(4), "Variance": held(4, draw="positive")}
_NORM: Step = (
    "batch_norm",
    {**_STATISTICS, "is_test": True, "epsilon": 1e-5, "momentum": 0.9, "data_layout": "NCHW", "use_global_stats": True},
)
_CHANNELS, _ONE = held(1, 4, 1, 1), held(1)

_HEADS: dict[str, Step] = {
    "conv2d": ("conv2d", _convolution(held(4, 4, 3, 3))),
    "conv2d of a point": ("conv2d", _convolution(held(4, 4, 1, 1), paddings=[0, 0])),
    "depthwise_conv2d": ("depthwise_conv2d", _convolution(held(4, 1, 3, 3), groups=4)),
    "conv2d_transpose": ("conv2d_transpose", _convolution(held(4, 4, 3, 3))),
    "elementwise_add": ("elementwise_add", {"Y": fed(*_SIZE), "axis": -1}),
    "elementwise_sub": ("elementwise_sub", {"Y": fed(*_SIZE), "axis": -1}),
    "elementwise_mul": ("elementwise_mul", {"Y": fed(*_SIZE), "axis": -1}),
    "elementwise_div": ("elementwise_div", {"Y": fed(*_SIZE, draw="positive"), "axis": -1}),
    "elementwise_max": ("elementwise_max", {"Y": fed(*_SIZE), "axis": -1}),
    "matmul_v2": ("matmul_v2", {"Y": held(6, 6), "trans_x": False, "trans_y": False}),
    "instance_norm": ("instance_norm", {"Scale": held(4), "Bias": held(4), "epsilon": 1e-5}),
    "batch_norm": _NORM,
    "scale": _scale(2.0, 1.0),
}
_MIDDLES: dict[str, Step] = {
    "relu": ("relu", {}),
    "relu6": ("relu6", {}),
    "leaky_relu": ("leaky_relu", {"alpha": 0.1}),
    "hard_swish": ("hard_swish", {"threshold": 6.0, "scale": 6.0, "offset": 3.0}),
    "hard_sigmoid": ("hard_sigmoid", {"slope": 1 / 6, "offset": 0.5}),
    "swish": ("swish", {"beta": 1.0}),
    "silu": ("silu", {}),
    "sigmoid": ("sigmoid", {}),
    "tanh": ("tanh", {}),
    "gelu": ("gelu", {"approximate": False}),
    "elu": ("elu", {"alpha": 1.0}),
    "mish": ("mish", {"threshold": 20.0}),
    "abs": ("abs", {}),
    "clip": ("clip", {"min": -1.0, "max": 6.0}),
    "prelu of all": ("prelu", {"Alpha": held(1), "mode": "all", "data_format": "NCHW"}),
    "prelu of channels": ("prelu", {"Alpha": held(4), "mode": "channel", "data_format": "NCHW"}),
    "batch_norm": _NORM,
    "scale": _scale(0.5),
    "add to channels": ("elementwise_add", {"Y": _CHANNELS, "axis": -1}),
    "add to channels by axis": ("elementwise_add", {"Y": held(4), "axis": 1}),
    "add one": ("elementwise_add", {"Y": _ONE, "axis": -1}),
    "mul of channels": ("elementwise_mul", {"Y": _CHANNELS, "axis": -1}),
    "mul of one": ("elementwise_mul", {"Y": _ONE, "axis": -1}),
    "dropout": ("dropout", {"dropout_prob": 0.3, "is_test": True, "dropout_implementation": "downgrade_in_infer"}),
}
_TAILS: dict[str, list[Step]] = {
    "": [],
    "scale": [_scale(0.5)],
    "scale with bias": [_scale(-2.0, 1.5)],
    "scale before": [_scale(2.0, 0.5, after=False)],
    "scale, relu6": [_scale(0.5), ("relu6", {})],
    "mul of one": [("elementwise_mul", {"Y": _ONE, "axis": -1})],
    "mul of channels": [("elementwise_mul", {"Y": _CHANNELS, "axis": -1})],
    "add to channels": [("elementwise_add", {"Y": _CHANNELS, "axis": -1})],
    "relu": [("relu", {})],
    "batch_norm": [_NORM],
    "conv2d of a point": [_HEADS["conv2d of a point"]],
}
_FUSED_DEEP = ("conv2d", "depthwise_conv2d", "elementwise_add")  # with these, converters also fuse the third operator

_BIAS: Step = ("elementwise_add", {"Y": held(4), "axis": 1})
_BETWEEN: dict[str, list[Step]] = {"": [], "normalized": [_NORM], "biased": [_BIAS]}

THREE: list[Cell] = [
    row("in a row", {"": " > ".join(filter(None, (head, between, middle, tail)))}, _HEADS[head], *more,
        _MIDDLES[middle], *steps)
    for head in _HEADS
    for between, more in _BETWEEN.items()
    for middle in _MIDDLES
    for tail, steps in _TAILS.items()
    if (head in _FUSED_DEEP or not tail) and (head in _FUSED_DEEP[:2] or not between)
]  # fmt: skip

_TURN = {"axis": [0, 2, 3, 1]}
_BACK = {"axis": [0, 3, 1, 2]}
_LINE = fed(3, 4)

OTHERS: list[Cell] = [
    *(
        row("in a row", {"": f"transpose > {kind} > transpose", "axis": str(axis)}, ("transpose2", _TURN),
            (kind, {"axis": axis}), ("transpose2", _BACK))
        for kind in ("softmax", "log_softmax")
        for axis in (-1, 1)
    ),
    *(
        row("in a row", {"": f"mul > bias > {act}", "axis": str(axis)},
            ("mul", {"Y": held(4, 5), "x_num_col_dims": 1, "y_num_col_dims": 1}),
            ("elementwise_add", {"Y": held(5), "axis": axis}),
            *([(act, _MIDDLES[act][1])] if act else []), start=_LINE)
        for act in ("", "relu", "relu6", "sigmoid")
        for axis in (-1, 1)
    ),
    *(
        row("in a row", {"": f"{kind} > bias > {act}", "X": str(start)}, (kind, {"Y": held(4, 5), **turned}),
            ("elementwise_add", {"Y": held(5), "axis": -1}), *([(act, {})] if act else []), start=start)
        for kind, turned in (("matmul_v2", {"trans_x": False, "trans_y": False}),
            ("matmul", {"transpose_X": False, "transpose_Y": False, "alpha": 1.0}))
        for start in (_LINE, fed(2, 3, 4))
        for act in ("", "relu", "gelu")
    ),
    row("in a row", {"": "shuffle"}, ("reshape2", {"shape": [1, 2, 2, 6, 6]}),
        ("transpose2", {"axis": [0, 2, 1, 3, 4]}), ("reshape2", {"shape": [1, 4, 6, 6]})),
    row("in a row", {"": "flatten > mul"}, ("flatten_contiguous_range", {"start_axis": 1, "stop_axis": 3}),
        ("mul", {"Y": held(144, 3), "x_num_col_dims": 1, "y_num_col_dims": 1})),
    *(
        row("in a row", {"": f"scale > scale {scale} {bias}"}, _scale(2.0, 1.0), _scale(scale, bias, after))
        for scale, bias, after in ((0.5, 0.0, True), (-1.0, 2.0, True), (3.0, 1.0, False))
    ),
    *(
        row("in a row", {"": f"scaled down > {act}"}, _scale(2.0, -1.0), (act, values))
        for act, values in (("relu", {}), ("relu6", {}), ("sigmoid", {}), ("softmax", {"axis": 1}))
    ),
    *(
        row("in a row", {"": f"{mode} pad in an unsqueeze"}, ("unsqueeze2", {"axes": [2]}),
            ("pad3d", {"paddings": [1, 2, 3, 0, 0, 0], "mode": mode, "value": 0.5, "data_format": "NCDHW"}),
            ("squeeze2", {"axes": [2]}))
        for mode in ("constant", "reflect", "replicate", "circular")
    ),
    *(
        row("in a row", {"": f"{kind} of a line, pooled"}, ("unsqueeze2", {"axes": [2]}),
            ("pool2d", {"ksize": [1, 3], "strides": [1, 2], "paddings": [0, 1], "pooling_type": kind,
                "ceil_mode": ceil, "exclusive": exclusive, "global_pooling": False, "adaptive": False,
                        "padding_algorithm": "EXPLICIT", "data_format": "NCHW"}), ("squeeze2", {"axes": [2]}),
                            start=fed(1, 3, 8))
        for kind, ceil, exclusive in (("avg", False, True),)
    ),
    row("in a row", {"": "compare > cast"}, ("greater_than", {"Y": given([0.5], "float32"), "axis": -1}),
        ("cast", {"in_dtype": 0, "out_dtype": FLOAT32})),
    row("in a row", {"": "argmax > cast"}, ("arg_max", {"axis": 1, "keepdims": True, "flatten": False, "dtype": 3}),
        ("cast", {"in_dtype": 3, "out_dtype": FLOAT32})),
    *(
        Cell("in a row", {"": f"{kind} of a branch and another"}, (
            Op("conv2d", {"Input": (fed(*_SIZE),), "Filter": (held(4, 4, 3, 3),)},
                {k: v for k, v in _convolution(held(1)).items() if k != "Filter"}, {}),
            Op("conv2d", {"Input": (fed(*_SIZE),), "Filter": (held(4, 4, 1, 1),)},
                {k: v for k, v in _convolution(held(1), paddings=[0, 0]).items() if k != "Filter"}, {}),
            Op(kind, {"X": (Result(0, "Output"),), "Y": (Result(1, "Output"),)}, {"axis": -1}, {}),
            Op("relu", {"X": (Result(2),)}, {}, {}),
        ))
        for kind in ("elementwise_add", "elementwise_mul", "elementwise_sub")
    ),
    *(
        Cell("in a row", {"": f"attention with {kind}"}, (
            Op("matmul_v2", {"X": (fed(1, 2, 5, 4),), "Y": (fed(1, 2, 5, 4),)}, {"trans_x": False, "trans_y": True},
                {}),
            Op("scale", {"X": (Result(0),)}, {"scale": 0.5, "bias": 0.0, "bias_after_scale": True}, {}),
            Op("softmax", {"X": (Result(1),)}, {"axis": -1}, {}),
            Op("matmul_v2", {"X": (Result(2),), "Y": (fed(1, 2, 5, 4),)}, {"trans_x": False, "trans_y": False}, {}),
        ))
        for kind in ("scale",)
    ),
    *(
        Cell("in a row", {"": f"vectors of length one by p_norm {order}"}, (
            Op("p_norm", {"X": (fed(2, 4, 3),)},
                {"porder": order, "axis": 1, "epsilon": 1e-12, "keepdim": True, "asvector": False}, {}),
            Op("clip", {"X": (Result(0),)}, {"min": 1e-12, "max": 3e38}, {}),
            Op("elementwise_div", {"X": (fed(2, 4, 3),), "Y": (Result(1),)}, {"axis": -1}, {}),
        ))
        for order in (1.0, 2.0, 3.0)
    ),
]  # fmt: skip

CELLS = [*THREE, *OTHERS]
