"""Rewrites adaptive max pooling as plain max pooling, for ONNX.

Bin i of an axis covers the pixels from floor(i * size / bins) to ceil((i + 1) * size / bins), so bins differ in width
and overlap; paddle2onnx assumes equal windows. The rewrite gathers the rows and columns of each bin next to each other
and pads each bin with its last row or column, which changes no maximum and makes all windows equal.
"""

from __future__ import annotations

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import ONNX, EachOperator, OpBuilder


class AdaptiveMaxPoolToWindows(EachOperator):
    """Rewrites pools of known size whose indices output is unused."""

    name = "adaptive_max_pool_to_windows"
    version = "1"
    targets = frozenset({ONNX})
    what = "adaptive max_pool2d_with_index"
    became = "written as max pooling of equal windows"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "max_pool2d_with_index" or not op.attr("adaptive"):
            return False
        is_read = (op.output("Mask") or "") in program.consumers()
        return not is_read and -1 not in program.shape(op.input("X") or "")[2:]

    def change(self, program: Program, op: Op) -> None:
        image, out = op.input("X") or "", op.output("Out") or ""
        dims, build, windows = list(program.shape(image)), OpBuilder(program, f"{out}.bins"), []
        for axis, bins in zip((2, 3), op.attr("ksize"), strict=True):
            indices = bin_indices(bins, dims[axis])
            windows.append(indices.shape[1])
            if not np.array_equal(indices.reshape(-1), np.arange(dims[axis])):
                dims[axis] = indices.size
                inputs = {"X": image, "Index": build.param(indices.reshape(-1))}
                image = build.add("gather", inputs, tuple(dims), program.dtype(out), axis=axis)
        pool = {"ksize": windows, "strides": windows, "paddings": [0, 0], "pooling_type": "max", "data_format": "NCHW"}
        pool |= {"global_pooling": False, "adaptive": False, "ceil_mode": False, "exclusive": True}
        pool |= {"padding_algorithm": "EXPLICIT"}
        build.add("pool2d", {"X": image}, program.shape(out), program.dtype(out), out=out, **pool)
        program.replace(op, *build.ops)


def bin_indices(bins: int, size: int) -> np.ndarray:
    """Returns [bins, widest] int32: the pixel indices of each bin, padded with its last one."""
    starts = [index * size // bins for index in range(bins)]
    ends = [-(-(index + 1) * size // bins) for index in range(bins)]
    widest = max(end - start for start, end in zip(starts, ends, strict=True))
    rows = [np.minimum(np.arange(start, start + widest), end - 1) for start, end in zip(starts, ends, strict=True)]
    return np.array(rows, np.int32)
