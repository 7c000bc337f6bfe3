"""Operators that work element by element: activations, arithmetic, comparisons, casts."""

from __future__ import annotations

from operators.notation import Cell, each, fed, given, held, sweep

IMAGE = fed(2, 3, 5, 7)
ANY_RANK = each(fed(6), fed(4, 6), fed(2, 4, 6), IMAGE, fed(1, 2, 2, 4, 3))
FEW_RANKS = each(fed(4, 6), IMAGE)
BOOL, INT32, INT64, FLOAT32, UINT8, FLOAT64 = 0, 2, 3, 5, 20, 6  # Paddle's codes of element types
INT16, FLOAT16, INT8 = 1, 4, 21
FAR = given([-300.0, -90.0, -30.0, -1.0, 0.0, 1.0, 30.0, 88.0, 300.0], "float32", held=False)  # exp: 0 and infinite

_PLAIN = [
    "relu", "sigmoid", "tanh", "relu6", "hard_swish", "hard_sigmoid", "swish", "silu", "mish", "softsign", "logsigmoid",
    "tanh_shrink", "exp", "abs", "floor", "ceil", "round", "sign", "square", "erf", "sin", "cos", "tan", "atan", "sinh",
    "cosh", "asinh", "expm1", "selu", "gelu", "elu", "softplus", "celu",
]  # fmt: skip

_STEEP = ("exp", "expm1", "sinh", "cosh", "sin", "cos", "tan")

ACTIVATIONS: list[Cell] = [
    *sweep(_PLAIN, X=ANY_RANK),
    *sweep([kind for kind in _PLAIN if kind not in _STEEP], "far", X=FAR),
    *sweep(["sqrt", "rsqrt", "log", "log2", "log10", "log1p", "reciprocal"],
        X=each(fed(4, 6, draw="positive"), fed(2, 3, 5, 7, draw="positive"))),
    *sweep(["asin", "acos", "atanh"], X=each(fed(4, 6, draw="unit"), fed(2, 3, 5, 7, draw="unit"))),
    *sweep(["acosh"], X=fed(4, 6, draw=(1, 9))),
    *sweep("reciprocal", "negative", X=given([-4.0, -0.5, 0.25, 3.0], "float32", held=False)),
    *sweep("leaky_relu", "slope", X=FEW_RANKS, alpha=each(0.0, 0.02, 0.5, 1.0, 1.5)),
    *sweep("leaky_relu", "falling", X=IMAGE, alpha=-0.2),
    *sweep("elu", "alpha", X=FEW_RANKS, alpha=each(0.3, 1.0, 2.0)),
    *sweep("celu", "alpha", X=FEW_RANKS, alpha=each(0.3, 1.0, 2.0)),
    *sweep("selu", "scale", X=IMAGE, scale=each(1.0507, 2.0), alpha=each(1.6733, 0.5)),
    *sweep("gelu", "form", X=FEW_RANKS, approximate=each(True, False)),
    *sweep("softplus", "beta", X=FEW_RANKS, beta=each(0.5, 1.0, 3.0), threshold=each(20.0, 15.0, 2.0)),
    *sweep("hard_sigmoid", "line", X=IMAGE, slope=each(1 / 6, 0.2, 1.0), offset=each(0.5, 0.0, 0.3)),
    *sweep("hard_swish", "line", keeps_extra=True, X=IMAGE, threshold=each(6.0, 4.0), scale=each(6.0, 3.0),
        offset=each(3.0, 1.0)),
    *sweep("hard_shrink", "threshold", X=IMAGE, threshold=each(0.5, 0.0, 2.0)),
    *sweep("softshrink", "width", X=IMAGE, **{"lambda": each(0.5, 0.0, 2.0)}),
    *sweep("thresholded_relu", "threshold", X=IMAGE, threshold=each(1.0, 0.0, -1.0)),
    *sweep("mish", "threshold", keeps_extra=True, X=IMAGE, threshold=each(20.0, 2.0)),
    *sweep("swish", "beta", keeps_extra=True, X=IMAGE, beta=each(1.0, 0.5, 2.0)),
    *sweep("brelu", "bounds", X=IMAGE, t_min=each(0.0, -1.0), t_max=each(24.0, 1.5)),
    *sweep("stanh", X=IMAGE, scale_a=each(0.67, 1.0), scale_b=each(1.7159, 0.5)),
    *sweep("relu6", "threshold", keeps_extra=True, X=IMAGE, threshold=each(6.0, 3.0)),
    *sweep("maxout", X=fed(2, 4, 5, 7), groups=2, axis=1),
    *sweep("prelu", X=each(fed(2, 3, 5, 7), fed(1, 3, 1, 1)), Alpha=held(1), mode="all",
        data_format=each("NCHW", "NHWC")),
    *sweep("prelu", "channel", X=each(fed(2, 3, 5, 7), fed(1, 3, 4, 4), fed(2, 3)), Alpha=held(3), mode="channel",
        data_format="NCHW"),
    *sweep("prelu", "channels last", X=fed(2, 5, 7, 3), Alpha=held(3), mode="channel", data_format="NHWC"),
    *sweep("prelu", "element", X=fed(2, 3, 5, 7), Alpha=each(held(1, 3, 5, 7), held(3, 5, 7)), mode="element",
        data_format="NCHW"),
    *sweep("clip", X=FEW_RANKS, min=each(0.0, -1.5), max=each(6.0, 1.0)),
    *sweep("clip", "by tensors", X=IMAGE, Min=each(None, held(1, draw=(-2, 0))), Max=each(None, held(1, draw=(1, 3))),
        min=-3.0, max=3.0),
    *sweep("clip", "computed", X=IMAGE, Min=fed(1, draw=(-2, 0)), Max=fed(1, draw=(1, 3)), min=0.0, max=0.0),
    *sweep("clip", "by scalars", X=IMAGE, Min=held(draw=(-2, 0)), Max=held(draw=(1, 3)), min=-3.0, max=3.0),
    *sweep("clip", "one side", X=IMAGE, min=each(0.0, -3.4028234e38), max=each(1.0, 3.4028234e38)),
    *sweep("clip", "whole", X=each(fed(3, 4, dtype="int32", draw=(-9, 9)), fed(3, 4, dtype="int64", draw=(-9, 9))),
        min=-2.0, max=5.0),
    *sweep("pow", X=FEW_RANKS, factor=each(0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 9.0)),
    *sweep("pow", "below one", X=fed(4, 6, draw="nonzero"), factor=each(-1.0, -2.0, -3.0)),
    *sweep("pow", "fraction", X=fed(3, 4, draw="positive"), factor=each(0.5, 1.5, -0.5, 0.333)),
    *sweep("pow", "by tensor", X=fed(3, 4, draw="positive"), FactorTensor=held(1, draw=(2, 4)), factor=1.0),
    *sweep("scale", X=FEW_RANKS, scale=each(1.0, -2.5, 0.0), bias=each(0.0, 1.5), bias_after_scale=each(True, False)),
    *sweep("scale", "by tensor", X=IMAGE, ScaleTensor=each(held(1), fed(1)), scale=1.0, bias=0.5,
        bias_after_scale=each(True, False)),
    *sweep("scale", "whole", X=each(fed(3, 4, dtype="int32", draw=(-9, 9)), fed(3, 4, dtype="int64", draw=(-9, 9))),
        scale=each(1.0, 2.0, -1.0), bias=each(0.0, 1.0), bias_after_scale=True),
    *sweep("scale", "whole by a fraction", X=fed(3, 4, dtype="int32", draw=(-9, 9)), scale=0.5, bias=0.5,
        bias_after_scale=True),
    *sweep("dropout", X=IMAGE, dropout_prob=each(0.0, 0.3), is_test=True,
        dropout_implementation=each("upscale_in_train", "downgrade_in_infer")),
    *sweep(["abs", "square", "sign", "relu", "floor", "exp"], "whole",
        X=each(fed(3, 4, dtype="int32", draw=(-9, 9)), fed(3, 4, dtype="int64", draw=(-9, 9)))),
    *sweep(["assign", "share_data"], X=each(IMAGE, fed(3, 4, dtype="int32", draw=(-9, 9)),
        fed(3, 4, dtype="int64", draw=(-9, 9)), fed(3, 4, dtype="bool", draw=(0, 2)))),
    *sweep("increment", X=fed(1), step=each(1.0, -2.5)),
]  # fmt: skip

_ARITHMETIC = ["elementwise_add", "elementwise_sub", "elementwise_mul", "elementwise_max", "elementwise_min"]


def _against(x, *ys, **attrs) -> dict:
    """X with each of these shapes as Y, computed and as a parameter."""
    return {"X": x, "Y": each(*(make(*y, draw=x.draw, dtype=x.dtype) for y in ys for make in (fed, held))), **attrs}


def _numbers(dtype: str) -> object:
    return fed(3, 4, dtype=dtype, draw=(-9, 9))


ARITHMETIC: list[Cell] = [
    *sweep(_ARITHMETIC, **_against(fed(2, 3, 4, 5), (2, 3, 4, 5), (1, 3, 1, 1), (2, 1, 4, 1), (1,), (5,), (4, 5)),
        axis=-1),
    *sweep(_ARITHMETIC, "by axis", X=fed(2, 3, 4, 5), Y=each(held(3), fed(3), held(3, 4), held(3, 1)), axis=1),
    *sweep(_ARITHMETIC, "by first axis", X=fed(2, 3, 4, 5), Y=each(held(2), held(2, 3)), axis=0),
    *sweep(_ARITHMETIC, "wider Y", X=each(fed(1, 3, 1, 1), fed(5), fed(1)), Y=fed(2, 3, 4, 5), axis=-1),
    *sweep(_ARITHMETIC, "held X", X=held(1, 3, 1, 1), Y=fed(2, 3, 4, 5), axis=-1),
    *sweep(_ARITHMETIC, "both widened", X=fed(2, 1, 4, 1), Y=fed(1, 3, 1, 5), axis=-1),
    *sweep(_ARITHMETIC, "row and column", X=fed(4, 1), Y=each(fed(1, 4), fed(4), held(4)), axis=-1),
    *sweep(_ARITHMETIC, "ranks", X=each(fed(6), fed(4, 6), fed(2, 4, 6), fed(1, 2, 2, 4, 6)), Y=each(held(6), fed(1)),
        axis=-1),
    *sweep("elementwise_div", X=fed(2, 3, 4, 5),
        Y=each(*(make(*y, draw="positive") for y in ((2, 3, 4, 5), (1, 3, 1, 1), (1,), (5,)) for make in (fed, held))),
        axis=-1),
    *sweep("elementwise_div", "by axis", X=fed(2, 3, 4, 5), Y=held(3, draw="positive"), axis=1),
    *sweep("elementwise_div", "wider Y", X=each(fed(1, 3, 1, 1), held(1)), Y=fed(2, 3, 4, 5, draw="positive"),
        axis=-1),
    *sweep([*_ARITHMETIC, "elementwise_div"], "narrower X by axis", X=each(held(3), fed(3, 4)),
        Y=fed(2, 3, 4, 5, draw="nonzero"), axis=1),
    *sweep([*_ARITHMETIC, "elementwise_div"], "ones at the end", X=fed(2, 3, 4, 5),
        Y=each(held(3, 1, 1, draw="nonzero"), fed(3, 1, 1, draw="nonzero")), axis=each(1, -1)),
    *sweep([*_ARITHMETIC, "elementwise_div"], "by first axis, all there", X=fed(2, 3, 4),
        Y=fed(2, 3, 4, draw="nonzero"), axis=0),
    *sweep([*_ARITHMETIC, "elementwise_div"], "by a scalar", X=fed(3, 4), Y=held(draw="nonzero"), axis=-1),
    *sweep(["elementwise_pow", "elementwise_mod", "elementwise_floordiv"], "by axis",
        X=fed(2, 3, 4, 5, draw="positive"), Y=held(3, draw="positive"), axis=1),
    *sweep(["elementwise_mod", "elementwise_floordiv"], "of any signs", X=fed(3, 4), Y=fed(3, 4, draw="nonzero"),
        axis=-1),
    *sweep("elementwise_pow", X=fed(2, 3, 4, 5, draw="positive"), Y=each(held(1), held(1, 3, 1, 1), fed(2, 3, 4, 5)),
        axis=-1),
    *sweep("elementwise_pow", "whole power", X=fed(2, 3, 4, 5),
        Y=each(given([2.0], "float32"), given([3.0], "float32"), given([0.0], "float32"), fed(2, 3, 4, 5, draw=(0, 4))),
        axis=-1),
    *sweep("elementwise_pow", "base", X=each(given([2.0], "float32"), given([-2.0], "float32")),
        Y=fed(3, 4, draw=(-3, 4)), axis=-1),
    *sweep(["elementwise_mod", "elementwise_floordiv"], X=fed(3, 4),
        Y=each(given([3.0], "float32"), given([-3.0], "float32"), given([0.75], "float32"), fed(3, 4, draw="positive")),
        axis=-1),
    *[cell for dtype in ("int32", "int64") for cell in sweep(
        ["elementwise_mod", "elementwise_floordiv"], dtype, X=_numbers(dtype),
        Y=each(given([3], dtype), given([-3], dtype), given([1, 2, 3, 4], dtype),
            fed(3, 4, dtype=dtype, draw=(1, 5)), fed(3, 4, dtype=dtype, draw=(-5, 0))),
        axis=-1)],
    *[cell for dtype in ("int32", "int64") for cell in sweep(
        _ARITHMETIC, dtype, X=_numbers(dtype), Y=each(given([3], dtype), _numbers(dtype),
            given([1, -2, 3, 4], dtype), fed(1, 4, dtype=dtype, draw=(-9, 9))), axis=-1)],
    *[cell for dtype in ("int32", "int64") for cell in sweep(
        ["elementwise_div", "elementwise_pow"], dtype, X=fed(3, 4, dtype=dtype, draw=(-9, 9)),
            Y=each(given([3], dtype), given([2], dtype)), axis=-1)],
    *[cell for dtype in ("int32", "int64") for cell in sweep(
        "elementwise_div", f"{dtype} below zero", X=fed(3, 4, dtype=dtype, draw=(-9, 9)),
            Y=each(given([-2], dtype), fed(3, 4, dtype=dtype, draw=(-5, 0))), axis=-1)],
    *sweep("sum", "whole", X=each([_numbers("int32"), _numbers("int32")], [_numbers("int64"), _numbers("int64")])),
    *sweep(["elementwise_fmax", "elementwise_fmin"], X=IMAGE, Y=fed(2, 3, 5, 7), axis=-1),
    *sweep("atan2", X1=fed(3, 4), X2=fed(3, 4)),
    *sweep("sum", X=each([fed(2, 3, 4)], [fed(2, 3, 4), fed(2, 3, 4)], [fed(2, 3, 4), held(2, 3, 4), fed(2, 3, 4)])),
    *sweep("dist", X=fed(3, 4), Y=fed(3, 4), p=each(2.0, 1.0, 0.0, float("inf"), 3.0)),
    *sweep("dot", X=each(fed(5), fed(3, 5)), Y=each(fed(5), fed(3, 5)), when=lambda c: c["X"].shape == c["Y"].shape),
    *sweep("lerp", X=fed(3, 4), Y=fed(3, 4), Weight=held(1, draw="unit")),
]  # fmt: skip

_COMPARED = ["equal", "not_equal", "less_than", "less_equal", "greater_than", "greater_equal"]
_MASK = fed(3, 4, dtype="bool", draw=(0, 2))

COMPARISONS: list[Cell] = [
    *sweep(_COMPARED, X=fed(2, 3, 4, 5), Y=each(fed(2, 3, 4, 5), given([0.5], "float32"), held(1, 3, 1, 1), fed(5)),
        axis=-1),
    *sweep(_COMPARED, "whole", X=each(_numbers("int32"), _numbers("int64")),
        Y=each(given([2], "int32"), given([2], "int64"), _numbers("int32"), _numbers("int64")), axis=-1,
        when=lambda c: c["X"].dtype == c["Y"].dtype),
    *sweep(["equal", "not_equal"], "bool", X=_MASK, Y=fed(3, 4, dtype="bool", draw=(0, 2)), axis=-1),
    *sweep(_COMPARED, "wider Y", X=each(fed(1, 3, 1, 1), fed(2, 1, 4, 1)), Y=fed(2, 3, 4, 5), axis=-1),
    *sweep(_COMPARED, "both widened", X=fed(2, 1, 4, 1), Y=fed(1, 3, 1, 5), axis=-1),
    *sweep(_COMPARED, "row and column", X=fed(4, 1), Y=each(fed(1, 4), fed(4), held(4)), axis=-1),
    *sweep(_COMPARED, "fewer axes", X=each(fed(6), held(6), fed(4, 6)), Y=each(fed(4, 1), fed(3, 1, 6)), axis=-1),
    *sweep(_COMPARED, "by a scalar", X=fed(3, 4), Y=given(0.5, "float32"), axis=-1),
    *sweep(["logical_and", "logical_or", "logical_xor"], "whole", X=_numbers("int32"),
        Y=fed(3, 4, dtype="int32", draw=(0, 2))),
    *sweep(["logical_and", "logical_or", "logical_xor"], "fractions", X=fed(3, 4), Y=fed(3, 4)),
    *sweep("logical_not", "numbers", X=each(_numbers("int32"), _numbers("int64"), fed(3, 4))),
    *sweep(["logical_and", "logical_or", "logical_xor"], X=_MASK,
        Y=each(fed(3, 4, dtype="bool", draw=(0, 2)), fed(1, 4, dtype="bool", draw=(0, 2)))),
    *sweep("logical_not", X=_MASK),
    *sweep(["bitwise_and", "bitwise_or", "bitwise_xor"], X=each(_MASK, _numbers("int32"), _numbers("int64")),
        Y=each(_MASK, _numbers("int32"), _numbers("int64")), when=lambda c: c["X"].dtype == c["Y"].dtype),
    *sweep("bitwise_not", X=each(_MASK, _numbers("int32"), _numbers("int64"))),
    *sweep(["isnan_v2", "isinf_v2", "isfinite_v2"], X=each(fed(3, 4),
        given([1.0, float("nan"), float("inf"), -float("inf")], "float32", held=False))),
    *sweep("where", Condition=fed(3, 4, dtype="bool", draw=(0, 2)), X=each(fed(3, 4), held(3, 4)),
        Y=each(fed(3, 4), held(3, 4))),
    *sweep("where", "whole", Condition=_MASK, X=each(_numbers("int32"), _numbers("int64")),
        Y=each(_numbers("int32"), _numbers("int64")), when=lambda c: c["X"].dtype == c["Y"].dtype),
    *sweep("where_index", Condition=each(_MASK, fed(6, dtype="bool", draw=(0, 2)))),
]  # fmt: skip

_CODE = {"bool": BOOL, "int32": INT32, "int64": INT64, "float32": FLOAT32, "uint8": UINT8, "float64": FLOAT64}

CASTS: list[Cell] = [
    *[cell for dtype, numbers in (("float32", "normal"), ("int32", (-9, 9)), ("int64", (-9, 9)), ("bool", (0, 2)),
        ("uint8", (0, 200)))
      for cell in sweep("cast", dtype, X=fed(3, 4, dtype=dtype, draw=numbers), in_dtype=_CODE[dtype],
          out_dtype=each(*_CODE.values()))],
    *sweep("cast", "narrow", X=fed(3, 4), in_dtype=FLOAT32, out_dtype=each(INT16, INT8, FLOAT16)),
    *sweep("cast", "fractions above zero", X=fed(3, 4, draw="positive"), in_dtype=FLOAT32,
        out_dtype=each(UINT8, INT32, BOOL)),
    *sweep("fill_any_like", X=each(fed(3, 4), _numbers("int32"), _numbers("int64")), value=each(0.0, 2.0, -1.5),
        dtype=each(-1, FLOAT32, INT64)),
    *sweep("fill_zeros_like", X=each(fed(3, 4), _numbers("int64"))),
    *sweep("fill_constant_batch_size_like", Input=fed(3, 4), shape=each([-1, 2], [5, -1]), input_dim_idx=each(0, 1),
        output_dim_idx=each(0, 1), value=1.5, str_value="1.5", dtype=FLOAT32,
        when=lambda c: c["shape"][c["output_dim_idx"]] == -1),
]  # fmt: skip

CELLS = [*ACTIVATIONS, *ARITHMETIC, *COMPARISONS, *CASTS]
