"""Operators that bring many values together: sums, norms, normalization, softmax, sorting, products of matrices."""

from __future__ import annotations

from operators.elementwise import INT32, INT64
from operators.notation import Cell, each, fed, given, held, sweep

X = fed(2, 3, 4, 5)
WHOLE = fed(3, 4, dtype="int64", draw=(-9, 9))
INF = float("inf")
_KINDS = ["reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod"]

REDUCED: list[Cell] = [
    *sweep(_KINDS, X=X, dim=each([0], [1], [2, 3], [-1], [1, -1], [0, 2], [0, 1, 2, 3], [-2, -1]),
        keep_dim=each(True, False), reduce_all=False),
    *sweep(_KINDS, "all", X=each(X, fed(4, 6), fed(6)), dim=each([0], []), keep_dim=each(True, False),
        reduce_all=True),
    *sweep(_KINDS, "ranks", X=each(fed(6), fed(4, 6), fed(2, 4, 6), fed(1, 2, 3, 4, 5)), dim=each([0], [-1]),
        keep_dim=each(True, False), reduce_all=False),
    *sweep(_KINDS, "five", X=fed(2, 2, 3, 4, 2), dim=each([2, 3], [0, 4], [1, 3], [2, -1]),
        keep_dim=each(True, False), reduce_all=False),
    *sweep(_KINDS, "whole", X=each(WHOLE, fed(3, 4, dtype="int32", draw=(-4, 5))), dim=[1],
        keep_dim=each(True, False), reduce_all=each(False, True)),
    *sweep(["reduce_any", "reduce_all"], X=fed(3, 4, 2, dtype="bool", draw=(0, 2)), dim=each([0], [-1], [1, 2]),
        keep_dim=each(True, False), reduce_all=each(False, True)),
    *sweep("reduce_sum", "of a mask", X=fed(3, 4, dtype="bool", draw=(0, 2)), dim=[1], keep_dim=False,
        reduce_all=False, in_dtype=0, out_dtype=INT64),
    *sweep("mean", X=each(X, fed(4, 6), fed(6))),
    *sweep("logsumexp", X=X, axis=each([0], [1], [-1], [2, 3], [0, 1, 2, 3]), keepdim=each(True, False),
        reduce_all=each(False, True)),
    *sweep("p_norm", X=X, porder=each(0.0, 0.5, 1.0, 2.0, 3.0, 2.5, INF, -INF, -1.0), axis=each(0, 1, -1),
        epsilon=each(1e-12), keepdim=each(True, False), asvector=False),
    *sweep("p_norm", "as a vector", X=each(X, fed(4, 6)), porder=each(0.0, 1.0, 2.0, 3.0, INF, -INF), axis=-1,
        epsilon=1e-12, keepdim=each(True, False), asvector=True),
    *sweep("p_norm", "with zeros", X=given([[0.0, 0.0, 0.0], [0.0, 1.0, -2.0]], "float32", held=False),
        porder=each(0.0, 0.5, 1.0, 2.0, 3.0, INF, -INF, -1.0), axis=each(1, 0), epsilon=each(1e-12, 0.1),
        keepdim=False, asvector=False),
    *sweep("norm", X=each(X, fed(4, 6)), axis=each(1, -1, 0), epsilon=each(1e-10, 0.1), is_test=True),
    *sweep("frobenius_norm", X=X, dim=each([2, 3], [1, 2]), keep_dim=each(True, False), reduce_all=each(False, True)),
    *sweep("squared_l2_norm", X=X),
    *sweep("cumsum", X=X, axis=each(0, 1, -1), exclusive=each(False, True), reverse=each(False, True), flatten=False),
    *sweep("cumsum", "flat", X=each(X, fed(6)), axis=each(-1, 0), exclusive=each(False, True),
        reverse=each(False, True), flatten=True),
    *sweep("cumsum", "whole", X=each(WHOLE, fed(3, 4, dtype="int32", draw=(-9, 9))), axis=1, exclusive=False,
        reverse=False, flatten=False),
    *sweep("cumprod", X=X, dim=each(1, -1)),
    *sweep(["arg_max", "arg_min"], X=each(X, fed(4, 6)), axis=each(0, 1, -1), keepdims=each(True, False),
        flatten=each(False, True), dtype=each(INT64, INT32)),
    *sweep(["arg_max", "arg_min"], "ranks", X=each(fed(6), fed(2, 4, 6), fed(1, 2, 3, 4, 5)), axis=each(0, -1),
        keepdims=each(True, False), flatten=False, dtype=INT64),
    *sweep("argsort", gives={"Out": 1, "Indices": 1},
        X=each(fed(3, 7, draw="unit"), fed(2, 3, 4, 5, draw="unit"), fed(7, draw="unit")), axis=each(-1, 0, 1),
        descending=each(False, True)),
    *sweep("top_k_v2", gives={"Out": 1, "Indices": 1},
        X=each(fed(3, 7, draw="unit"), fed(2, 5, 4, 6, draw="unit"), fed(7, draw="unit")), k=each(1, 3),
        axis=each(-1, 0, 1), largest=each(True, False), sorted=True),
    *sweep("top_k_v2", "of ties", gives={"Out": 1}, X=X, k=2, axis=each(-1, 1), largest=each(True, False),
        sorted=each(True)),
    *sweep("top_k", gives={"Out": 1, "Indices": 1}, X=each(fed(3, 7, draw="unit"), fed(2, 5, 4, 6, draw="unit")),
        k=each(1, 3)),
    *sweep("kthvalue", gives={"Out": 1}, X=fed(3, 7, draw="unit"), k=2, axis=-1, keepdim=False),
]  # fmt: skip

_LINE = {"Scale": each(None, held(3)), "Bias": each(None, held(3))}

NORMALIZED: list[Cell] = [
    *sweep(["softmax", "log_softmax"], X=each(X, fed(4, 6), fed(6), fed(2, 4, 6), fed(1, 2, 3, 4, 5)),
        axis=each(0, 1, 2, -1, -2)),
    *sweep("layer_norm", gives={"Y": 1}, X=X, Scale=each(None, held(60)), Bias=each(None, held(60)),
        begin_norm_axis=1, epsilon=each(1e-5, 0.1)),
    *sweep("layer_norm", "last", gives={"Y": 1}, X=each(fed(2, 4, 6), fed(4, 6), fed(2, 3, 4, 6)),
        Scale=each(None, held(6)), Bias=each(None, held(6)), begin_norm_axis=each(1, 2, 3), epsilon=1e-5,
        when=lambda c: len(c["X"].shape) == c["begin_norm_axis"] + 1),
    *sweep("layer_norm", "last two", gives={"Y": 1}, X=X, Scale=held(20), Bias=held(20), begin_norm_axis=2,
        epsilon=1e-5),
    *sweep("instance_norm", gives={"Y": 1}, X=each(X, fed(2, 3, 6), fed(1, 3, 2, 4, 5)), epsilon=each(1e-5, 0.1),
        **_LINE),
    *sweep("group_norm", gives={"Y": 1}, X=each(fed(2, 6, 4, 5), fed(2, 6, 7)), Scale=each(None, held(6)),
        Bias=each(None, held(6)), groups=each(1, 2, 3, 6), epsilon=each(1e-5, 0.1), data_layout="NCHW"),
    *sweep("group_norm", "channels last", gives={"Y": 1}, X=fed(2, 4, 5, 6), Scale=held(6), Bias=held(6),
        groups=each(2, 3), epsilon=1e-5, data_layout="NHWC"),
    *sweep("batch_norm", gives={"Y": 1}, X=each(X, fed(2, 3), fed(2, 3, 6), fed(1, 3, 2, 4, 5)), Scale=held(3),
        Bias=held(3), Mean=held(3), Variance=held(3, draw="positive"), is_test=True, epsilon=each(1e-5, 0.1),
        momentum=0.9, data_layout="NCHW", use_global_stats=each(True, False), trainable_statistics=False),
    *sweep("batch_norm", "channels last", gives={"Y": 1}, X=each(fed(2, 4, 5, 3), fed(2, 6, 3)), Scale=held(3),
        Bias=held(3), Mean=held(3), Variance=held(3, draw="positive"), is_test=True, epsilon=1e-5, momentum=0.9,
        data_layout="NHWC", use_global_stats=False, trainable_statistics=False),
    *sweep("data_norm", gives={"Y": 1}, X=fed(4, 3), BatchSize=held(3, draw="positive"), BatchSum=held(3),
        BatchSquareSum=held(3, draw="positive"), epsilon=1e-4),
    *sweep("softmax_with_cross_entropy", gives={"Softmax": 1, "Loss": 1}, Logits=fed(4, 6),
        Label=fed(4, 1, dtype="int64", draw=(0, 6)), soft_label=False, axis=-1, ignore_index=-100),
]  # fmt: skip

_A, _AT = fed(2, 3, 4), fed(2, 4, 3)
_B, _BT = (4, 5), (5, 4)

PRODUCTS: list[Cell] = [
    *sweep("matmul_v2", X=each(_A, _AT), Y=each(*(make(2, *side) for side in (_B, _BT) for make in (fed, held))),
        trans_x=each(False, True), trans_y=each(False, True),
        when=lambda c: (c["X"] is _AT) == c["trans_x"] and (c["Y"].shape[1:] == _BT) == c["trans_y"]),
    *sweep("matmul_v2", "by a matrix", X=each(_A, fed(1, 2, 3, 4), fed(3, 4)), Y=each(held(4, 5), fed(4, 5)),
        trans_x=False, trans_y=False),
    *sweep("matmul_v2", "by a turned matrix", X=each(_A, fed(1, 2, 3, 4), fed(3, 4)), Y=each(held(5, 4), fed(5, 4)),
        trans_x=False, trans_y=True),
    *sweep("matmul_v2", "turned by a matrix", X=each(_AT, fed(1, 2, 4, 3), fed(4, 3)), Y=each(held(4, 5), fed(4, 5)),
        trans_x=True, trans_y=False),
    *sweep("matmul_v2", "both turned", X=each(_AT, fed(4, 3)), Y=each(held(5, 4), fed(5, 4)), trans_x=True,
        trans_y=True),
    *sweep("matmul_v2", "matrix first", X=each(fed(3, 4), held(3, 4)), Y=each(fed(2, 4, 5), fed(1, 2, 4, 5)),
        trans_x=False, trans_y=False),
    *sweep("matmul_v2", "batches widened", X=each(fed(1, 2, 3, 4), fed(2, 1, 3, 4)),
        Y=each(fed(2, 2, 4, 5), fed(1, 2, 4, 5), fed(2, 4, 5)), trans_x=False, trans_y=False),
    *sweep("matmul_v2", "vectors", X=each(fed(4), fed(3, 4), fed(2, 3, 4)), Y=each(fed(4), held(4)), trans_x=False,
        trans_y=False),
    *sweep("matmul_v2", "vector first", X=fed(4), Y=each(fed(4, 5), fed(2, 4, 5)), trans_x=False, trans_y=False),
    *sweep("matmul_v2", "one row", X=each(fed(1, 4), fed(2, 1, 4)), Y=each(held(4, 1), held(4, 5)), trans_x=False,
        trans_y=False),
    *sweep("matmul", X=each(_A, _AT), Y=each(*(make(2, *side) for side in (_B, _BT) for make in (fed, held))),
        transpose_X=each(False, True), transpose_Y=each(False, True), alpha=each(1.0, 0.5),
        when=lambda c: (c["X"] is _AT) == c["transpose_X"] and (c["Y"].shape[1:] == _BT) == c["transpose_Y"]),
    *sweep("matmul", "by a matrix", X=each(_A, fed(3, 4)), Y=each(held(4, 5), fed(4, 5)), transpose_X=False,
        transpose_Y=False, alpha=each(1.0, 2.0)),
    *sweep("mul", X=each(fed(3, 4), fed(3, 2, 2), fed(1, 3, 2, 2)), Y=each(held(4, 5), fed(4, 5), held(2, 2, 5)),
        x_num_col_dims=each(1, 2), y_num_col_dims=each(1, 2)),
    *sweep("bmm", X=_A, Y=each(fed(2, 4, 5), held(2, 4, 5))),
    *sweep("mv", X=fed(3, 4), Vec=each(fed(4), held(4))),
    *sweep("addmm", Input=fed(3, 5), X=fed(3, 4), Y=fed(4, 5), Alpha=each(1.0, 2.0), Beta=each(1.0, 0.5)),
    *sweep("fc", Input=each(fed(3, 4), fed(2, 3, 4)), W=held(4, 5), Bias=each(None, held(5)),
        in_num_col_dims=each(1, 2), activation_type=each("", "relu")),
    *sweep("einsum", Operands=[fed(2, 3, 4), fed(2, 4, 5)], equation="bij,bjk->bik"),
    *sweep("einsum", "attention", Operands=[fed(2, 3, 4, 5), fed(2, 3, 6, 5)], equation="bhid,bhjd->bhij"),
    *sweep("inverse", Input=given([[2.0, 1.0], [1.0, 3.0]], "float32", held=False)),
]  # fmt: skip

CELLS = [*REDUCED, *NORMALIZED, *PRODUCTS]
