"""Operators that move, choose, repeat or count values."""

from __future__ import annotations

from operators.elementwise import BOOL, FLOAT32, INT32, INT64
from operators.notation import Cell, each, fed, given, held, sweep

X = fed(2, 3, 4, 5)
WHOLE = fed(3, 4, dtype="int64", draw=(-9, 9))
MASK = fed(3, 4, dtype="bool", draw=(0, 2))
END = 2**31 - 1

SHAPES: list[Cell] = [
    *sweep("reshape2", X=X, shape=each([2, 60], [0, -1, 5], [-1], [6, 0, 4, -1], [1, 2, 3, 4, 5], [2, 3, 20, 1])),
    *sweep("reshape2", "whole", X=each(WHOLE, MASK), shape=[4, 3]),
    *sweep("reshape2", "by tensors", X=X, ShapeTensor=[given([2], "int32"), given([-1], "int32")], shape=[-1, -1]),
    *sweep("reshape2", "to a scalar", X=fed(1), shape=[]),
    *sweep("transpose2", X=each(fed(4, 6)), axis=[1, 0]),
    *sweep("transpose2", "three", X=fed(2, 4, 6), axis=each([0, 2, 1], [2, 1, 0], [1, 0, 2])),
    *sweep("transpose2", "four", X=X, axis=each([0, 2, 3, 1], [0, 3, 1, 2], [3, 2, 1, 0], [1, 0, 2, 3])),
    *sweep("transpose2", "five", X=fed(1, 2, 3, 4, 5), axis=each([0, 1, 4, 2, 3], [0, 3, 4, 1, 2], [2, 0, 3, 1, 4])),
    *sweep("transpose2", "six", X=fed(1, 2, 3, 2, 2, 3), axis=each([0, 1, 3, 2, 4, 5], [0, 1, 4, 2, 5, 3])),
    *sweep("transpose2", "whole", X=each(WHOLE, MASK), axis=[1, 0]),
    *sweep("squeeze2", X=fed(1, 3, 1, 5), axes=each([], [0], [2], [0, 2], [-2], [1])),
    *sweep("unsqueeze2", X=fed(3, 5), axes=each([0], [1], [-1], [0, 2], [0, -1], [1, 2])),
    *sweep(["squeeze2"], "whole", X=fed(1, 3, dtype="int64", draw=(-9, 9)), axes=[0]),
    *sweep(["unsqueeze2"], "whole", X=each(WHOLE, MASK), axes=[1]),
    *sweep("flatten_contiguous_range", X=X, start_axis=each(0, 1, 2, -2), stop_axis=each(1, 2, 3, -1)),
    *sweep("flatten2", X=X, axis=each(0, 1, 2, 3)),
    *sweep("shape", Input=each(X, fed(4, 6), WHOLE)),
    *sweep("size", Input=each(X, fed(4, 6))),
    *sweep("is_empty", X=X),
]  # fmt: skip

PARTS: list[Cell] = [
    *sweep("slice", Input=X, axes=[1, 3], starts=each([0, 1], [1, -3], [-2, 0]),
        ends=each([2, 4], [-1, END], [3, 100]), infer_flags=[1, 1], decrease_axis=[]),
    *sweep("slice", "one", Input=X, axes=each([0], [1], [2], [3]), starts=[1], ends=[2], infer_flags=[1],
        decrease_axis=each([], [0], [1], [2], [3]),
        when=lambda c: not c["decrease_axis"] or c["axes"] == c["decrease_axis"]),
    *sweep("slice", "last one", Input=X, axes=[2], starts=[-1], ends=each([END], [4]), infer_flags=[1],
        decrease_axis=each([], [2])),
    *sweep("slice", "two of them", Input=X, axes=[0, 2], starts=[1, 3], ends=[2, 4], infer_flags=[1, 1],
        decrease_axis=each([0, 2], [2], [])),
    *sweep("slice", "all of them", Input=fed(3, 4), axes=[0, 1], starts=[1, 3], ends=[2, 4], infer_flags=[1, 1],
        decrease_axis=[0, 1]),
    *sweep("slice", "whole", Input=each(WHOLE, MASK, fed(3, 4, dtype="int32", draw=(-9, 9))), axes=[1], starts=[1],
        ends=[3], infer_flags=[1], decrease_axis=[]),
    *sweep("strided_slice", Input=X, axes=[2, 3], starts=each([0, 0], [1, 1], [-1, 4]),
        ends=each([4, 5], [END, 4], [-END - 1, -END - 1]), strides=each([1, 2], [2, 2], [-1, -1], [-1, -2]),
        infer_flags=[1, 1], decrease_axis=[]),
    *sweep("strided_slice", "one", Input=X, axes=each([1], [3]), starts=each([0], [1], [-1]),
        ends=each([3], [END], [-END - 1]), strides=each([1], [2], [-1], [-2]), infer_flags=[1], decrease_axis=[]),
    *sweep("strided_slice", "whole", Input=WHOLE, axes=[1], starts=[0], ends=[4], strides=[2], infer_flags=[1],
        decrease_axis=[]),
    *sweep("split", gives={"Out": 2}, X=X, num=each(2, 0), sections=each([], [2, 2], [1, 3], [1, -1]),
        axis=each(2, -2), when=lambda c: bool(c["num"]) != bool(c["sections"])),
    *sweep("split", "three", gives={"Out": 3}, X=each(X, fed(4, 3, dtype="int64", draw=(-9, 9))), num=3, sections=[],
        axis=1),
    *sweep("split", "last", gives={"Out": 2}, X=X, num=0, sections=[2, 3], axis=each(3, -1)),
    *sweep("unstack", gives={"Y": 3}, X=X, axis=each(1, -3), num=3),
    *sweep("unbind", gives={"Out": 2}, X=X, axis=each(0, -4)),
    *sweep("concat", X=each([X, fed(2, 3, 4, 5)], [X, held(2, 3, 4, 5)], [X], [X, fed(2, 3, 4, 5), fed(2, 3, 4, 5)]),
        axis=each(0, 1, -1, -2)),
    *sweep("concat", "of other sizes", X=[X, fed(2, 1, 4, 5)], axis=each(1, -3)),
    *sweep("concat", "whole", X=each([WHOLE, WHOLE], [MASK, MASK],
        [fed(3, 4, dtype="int32", draw=(-9, 9)), held(3, 4, dtype="int32", draw=(-9, 9))]), axis=each(0, 1)),
    *sweep("stack", gives={"Y": 1}, X=each([X, fed(2, 3, 4, 5)], [X, held(2, 3, 4, 5), fed(2, 3, 4, 5)], [X]),
        axis=each(0, 1, -1, 4, -2)),
    *sweep("stack", "whole", gives={"Y": 1}, X=[WHOLE, WHOLE], axis=each(0, -1)),
    *sweep("partial_concat", X=[fed(3, 6), fed(3, 6)], start_index=each(0, 2), length=each(2, -1)),
    *sweep("partial_sum", X=[fed(3, 6), fed(3, 6)], start_index=each(0, 2), length=each(2, -1)),
]  # fmt: skip

REPEATED: list[Cell] = [
    *sweep("tile", X=each(fed(3, 4), fed(1, 3, 4)), repeat_times=each([2, 3], [2], [2, 1, 3], [1, 1, 1, 2])),
    *sweep("tile", "whole", X=each(WHOLE, MASK), repeat_times=[2, 2]),
    *sweep("expand_v2", X=each(fed(1, 3, 1, 5)), shape=each([2, 3, 4, 5], [-1, -1, 4, -1], [7, 1, 3, 2, 5])),
    *sweep("expand_v2", "whole", X=each(fed(1, 4, dtype="int64", draw=(-9, 9)), fed(1, 4, dtype="bool", draw=(0, 2))),
        shape=[3, 4]),
    *sweep("expand_as_v2", X=fed(1, 3, 1, 5), target_shape=[2, 3, 4, 5]),
    *sweep("expand_as_v2", "by a tensor", X=fed(1, 3, 1, 5), Y=fed(2, 3, 4, 5), target_shape=[2, 3, 4, 5]),
    *sweep("expand", X=fed(1, 3, 1, 5), expand_times=each([2, 1, 4, 1], [1, 2, 3, 1])),
    *sweep("repeat_interleave", X=X, Repeats=each(2, 3), dim=each(1, 3)),
    *sweep("roll", X=X, shifts=each([1], [-2], [7]), axis=each([1], [-1], [2])),
    *sweep("roll", "of two", X=X, shifts=each([1, -2], [2, 2]), axis=each([2, 3], [1, -1])),
    *sweep("roll", "flat", X=X, shifts=each([3], [-1]), axis=[]),
    *sweep("flip", X=X, axis=each([0], [1], [2, 3], [-1])),
    *sweep("reverse", X=X, axis=each([0], [2, 3])),
    *sweep("meshgrid", gives={"Out": 2}, X=each([fed(3), fed(4)], [held(3), fed(4)])),
    *sweep("meshgrid", "three", gives={"Out": 3}, X=[fed(3), fed(4), fed(2)]),
    *sweep("broadcast_tensors", gives={"Out": 2}, X=[fed(1, 3, 1), fed(2, 3, 4)]),
    *sweep("tril_triu", X=each(fed(4, 5), fed(2, 5, 4)), diagonal=each(0, 1, -1, -7), lower=each(True, False)),
    *sweep("diag_v2", X=each(fed(4), fed(4, 5)), offset=each(0, 1, -1), padding_value=0.0),
    *sweep("kron", X=fed(2, 3), Y=fed(3, 2)),
]  # fmt: skip


def _index(*shape: int, below: int, dtype: str) -> tuple:
    """An index as a parameter and computed."""
    return fed(*shape, dtype=dtype, draw=(0, below)), held(*shape, dtype=dtype, draw=(0, below))


_BOTH = ("int32", "int64")

CHOSEN: list[Cell] = [
    *sweep("gather", X=X, Index=each(*(index for dtype in _BOTH for index in _index(4, below=2, dtype=dtype))),
        axis=each(0, 1, 2)),
    *sweep("gather", "column", X=fed(5, 3), Index=each(*_index(4, 1, below=5, dtype="int64")), axis=0),
    *sweep("gather", "one", X=fed(5, 3), Index=each(*_index(1, below=5, dtype="int64")), axis=each(0, 1)),
    *sweep("gather", "whole", X=fed(5, 3, dtype="int64", draw=(-9, 9)), Index=held(4, dtype="int64", draw=(0, 5)),
        axis=0),
    *sweep("gather_nd", X=X,
        Index=each(*(index for rank in (1, 2, 3, 4) for index in _index(5, rank, below=2, dtype="int64")))),
    *sweep("gather_nd", "shaped", X=X,
        Index=each(*_index(2, 3, 2, below=2, dtype="int32"), *_index(2, below=2, dtype="int64"))),
    *sweep("index_select", X=X, Index=each(*(index for dtype in _BOTH for index in _index(4, below=2, dtype=dtype))),
        dim=each(0, 1, -1)),
    *sweep("index_sample", X=fed(3, 5),
        Index=each(*(index for dtype in _BOTH for index in _index(3, 4, below=5, dtype=dtype)))),
    *sweep("take_along_axis", Input=fed(3, 4, 5),
        Index=each(*(index for dtype in _BOTH for index in _index(3, 4, 5, below=3, dtype=dtype)),
        held(3, 2, 5, dtype="int64", draw=(0, 3))), Axis=each(0, 1)),
    *sweep("put_along_axis", Input=fed(3, 4), Index=given([[0, 2], [1, 3], [2, 0]]), Value=held(3, 2), Axis=1,
        Reduce=each("assign", "add", "mul", "multiply")),
    *sweep("put_along_axis", "computed", Input=fed(3, 4), Index=given([[0, 2], [1, 3], [2, 0]], held=False),
        Value=fed(3, 2), Axis=1, Reduce=each("assign", "add")),
    *sweep("scatter", X=fed(5, 3), Ids=each(given([3, 0]), given([3, 0], "int32"), given([3, 0], held=False)),
        Updates=each(fed(2, 3), held(2, 3)), overwrite=each(True, False)),
    *sweep("scatter", "twice", X=fed(5, 3), Ids=given([3, 3, 1]), Updates=fed(3, 3), overwrite=each(True, False)),
    *sweep("scatter_nd_add", X=fed(5, 3),
        Index=each(given([[3], [0], [3]]), given([[3], [0], [3]], held=False), given([[3], [0], [3]], "int32")),
        Updates=fed(3, 3)),
    *sweep("scatter_nd_add", "deep", X=fed(5, 3), Index=given([[3, 1], [0, 2], [3, 1]]), Updates=fed(3)),
    *sweep("index_add", X=fed(5, 3), Index=given([3, 0]), AddValue=fed(2, 3), axis=0),
    *sweep("masked_select", gives={"Y": 1}, X=fed(3, 4), Mask=MASK),
    *sweep("one_hot_v2", X=each(fed(6, dtype="int64", draw=(0, 4)), fed(2, 3, dtype="int64", draw=(0, 4)),
        fed(2, 3, dtype="int32", draw=(0, 4))), depth=each(4, 6), dtype=FLOAT32, allow_out_of_range=False),
    *sweep("lookup_table_v2", W=held(7, 4),
        Ids=each(fed(2, 3, dtype="int64", draw=(0, 7)), fed(5, dtype="int32", draw=(0, 7))), padding_idx=each(-1, 2)),
    *sweep("lookup_table", W=held(7, 4), Ids=fed(5, 1, dtype="int64", draw=(0, 7)), padding_idx=each(-1, 2)),
    *sweep("unique", gives={"Out": 1}, X=fed(8, dtype="int64", draw=(0, 4)), return_index=False, return_inverse=False,
        return_counts=False, axis=[], dtype=INT64, is_sorted=True),
    *sweep("shard_index", X=fed(4, 1, dtype="int64", draw=(0, 20)), index_num=20, nshards=2, shard_id=0,
        ignore_value=-1),
]  # fmt: skip


def _set(values: list, **more: object) -> dict:
    return {"Input": fed(3, 4, 5), "none_axes": [], "dtype": FLOAT32, "values": values, "shape": [1], **more}


WRITTEN: list[Cell] = [
    *sweep("set_value", **_set([2.5], axes=each([0], [1], [2]), starts=each([0], [1]), ends=each([2], [3]),
        steps=each([1], [2]), decrease_axes=[])),
    *sweep("set_value", "one", **_set([2.5], axes=[1], starts=[2], ends=[3], steps=[1], decrease_axes=[1])),
    *sweep("set_value", "two axes",
        **_set([2.5], axes=[0, 2], starts=[1, 0], ends=[3, 2], steps=each([1, 1], [1, 2]), decrease_axes=[])),
    *sweep("set_value", "to a tensor", Input=fed(3, 4, 5),
        ValueTensor=each(held(3, 2, 5), held(1), fed(3, 2, 5), fed(1, 1, 5)), axes=[1], starts=[1], ends=[3],
        steps=[1], decrease_axes=[], none_axes=[], dtype=FLOAT32),
    *sweep("set_value", "one to a tensor", Input=fed(3, 4, 5), ValueTensor=each(fed(3, 5), held(5), held(1)),
        axes=[1], starts=[1], ends=[2], steps=[1], decrease_axes=[1], none_axes=[], dtype=FLOAT32),
    *sweep("set_value", "to several", Input=fed(3, 4, 5), axes=[2], starts=[1], ends=[3], steps=[1], decrease_axes=[],
        none_axes=[], dtype=FLOAT32, values=[1.0, 2.0], shape=[2]),
    *sweep("set_value", "whole", Input=fed(3, 4, dtype=each("int32", "int64").values[0], draw=(-9, 9)), axes=[1],
        starts=[1], ends=[3], steps=[1], decrease_axes=[], none_axes=[], dtype=INT32, values=[7], shape=[1]),
    *sweep("fill_diagonal", X=fed(4, 4), value=1.5, offset=0, wrap=False),
    *sweep("assign_value", shape=[2, 2], dtype=FLOAT32, fp32_values=[1.0, 2.0, 3.0, 4.0]),
    *sweep("fill_constant", shape=[2, 3], dtype=each(FLOAT32, INT32, INT64, BOOL), value=1.0,
        str_value=each("1", "")),
    *sweep("eye", num_rows=each(3, 2), num_columns=each(3, 4, -1), dtype=each(FLOAT32, INT64)),
    *sweep("range", Start=each(given([0.0], "float32"), given([1.0], "float32", held=False)),
        End=each(given([5.0], "float32"), given([4.5], "float32", held=False)), Step=given([1.0], "float32")),
    *sweep("range", "whole", Start=each(given([0]), given([1], held=False)),
        End=each(given([7]), given([8], held=False)), Step=each(given([1]), given([3]))),
    *sweep("linspace", Start=given([0.0], "float32"),
        Stop=each(given([1.0], "float32"), given([2.0], "float32", held=False)), Num=given([5], "int32"),
        dtype=FLOAT32),
]  # fmt: skip

CELLS = [*SHAPES, *PARTS, *REPEATED, *CHOSEN, *WRITTEN]
