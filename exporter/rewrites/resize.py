"""Rewrites resizes whose sampling positions differ between a target and Paddle as two matrix products.

For an output of one pixel, Paddle samples the first input pixel, ONNX the middle one. For nearest with aligned corners,
Paddle rounds halves up, paddle2onnx down. For a factor that gives a fractional size, Paddle uses the factor and
Paddle-Lite the ratio of the sizes. For the older operators, Paddle uses the ratio and ONNX the factor.
"""

from __future__ import annotations

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, ONNX, EachOperator, Target
from segexport.exporter.rewrites.bicubic import bicubic_matrix, sides, step, to_products

_NEAREST = ("nearest_interp_v2", "nearest_interp")
_SIZES = ("out_d", "out_h", "out_w")
_TYPES = ("bilinear_interp_v2", "bicubic_interp_v2", *_NEAREST)


class ResizeToMatmul(EachOperator):
    """Rewrites resizes of known size."""

    name = "resize_to_matmul"
    version = "1"
    what = "of resizing"
    became = "written as two matrix products"

    def __init__(self, targets: frozenset[Target]) -> None:
        self.targets = targets
        self._is_placed_otherwise = is_placed_otherwise_in_lite if targets == LITE else is_placed_otherwise_in_onnx

    def takes(self, program: Program, op: Op) -> bool:
        if op.type not in _TYPES or not self._is_placed_otherwise(program, op):
            return False
        return all(before > 0 and after > 0 for before, after, _ in sides(program, op))

    def change(self, program: Program, op: Op) -> None:
        to_products(program, op, *(_matrix(op, *side) for side in sides(program, op)))


class ResizeByFactor(EachOperator):
    """Removes the size if a factor is also given: Paddle uses the factor, paddle2onnx the size."""

    name = "resize_by_factor"
    version = "1"
    targets = frozenset({ONNX})
    what = "of resizing"
    became = "given the factor alone"

    def takes(self, program: Program, op: Op) -> bool:
        if "_interp" not in op.type or any(op.inputs.get(slot) for slot in ("OutSize", "SizeTensor", "Scale")):
            return False
        scale = op.attr("scale") or 0.0
        factors = scale if isinstance(scale, list) else [scale]
        return any(factor > 0 for factor in factors) and any(op.attr(name, -1) > 0 for name in _SIZES)

    def change(self, program: Program, op: Op) -> None:
        for name in _SIZES:
            if name in op.attrs:
                op.set_attr(name, -1)


class OldResizeToSize(EachOperator):
    """Replaces the factor of resizes from Paddle before 2.0 by the resulting size."""

    name = "old_resize_to_size"
    version = "1"
    targets = frozenset({ONNX})
    what = "of resizing by a factor"
    became = "given a size"

    def takes(self, program: Program, op: Op) -> bool:
        return resizes_by_fraction(program, op) and -1 not in program.shape(op.output("Out") or "")[2:]

    def change(self, program: Program, op: Op) -> None:
        height, width = program.shape(op.output("Out") or "")[2:]
        for name, value in (("out_h", height), ("out_w", width), ("scale", 0.0)):
            op.set_attr(name, value)


def resizes_by_fraction(_program: Program, op: Op) -> bool:
    """Whether the operator is an older one whose factor can give a fractional size."""
    scale = op.attr("scale", 0.0) if op.type in ("bilinear_interp", "nearest_interp") else 0.0
    return scale > 0 and scale != int(scale) and not op.attr("align_corners")


def is_placed_otherwise_in_onnx(program: Program, op: Op) -> bool:
    """Whether ONNX samples at other positions than Paddle; True if sizes are dynamic, because it could."""
    if not _is_image(program, op):
        return False
    if op.type in _NEAREST:
        return bool(op.attr("align_corners"))
    leaves_one = any(after == 1 and before != 1 for before, after, _ in sides(program, op))
    return leaves_one and not op.attr("align_corners")


def is_placed_otherwise_in_lite(program: Program, op: Op) -> bool:
    """Whether Paddle-Lite samples at other positions than Paddle; True if sizes are dynamic, because it could."""
    if not _is_image(program, op) or op.type != "bilinear_interp_v2" or op.attr("align_corners"):
        return False
    return any(
        scale > 0 and (scale != int(scale) if before < 0 else before * scale != after)
        for before, after, scale in sides(program, op)
    )


def _is_image(program: Program, op: Op) -> bool:
    by_tensor = any(op.inputs.get(slot) for slot in ("OutSize", "SizeTensor", "Scale"))
    return op.type in _TYPES and not by_tensor and len(program.shape(op.input("X") or "")) == 4


def _matrix(op: Op, before: int, after: int, scale: float) -> np.ndarray:
    """Returns [after, before] float32; row i has the weights of output pixel i."""
    corners = bool(op.attr("align_corners"))
    if op.type == "bicubic_interp_v2":
        return bicubic_matrix(before, after, corners, scale)
    ratio, pixels = np.float32(step(before, after, corners, scale)), np.arange(after)
    matrix = np.zeros((after, before))
    if op.type in _NEAREST:
        at = ratio * pixels.astype(np.float32) + (0.5 if corners else 0.0)
        matrix[pixels, np.minimum(at, before - 1).astype(int)] = 1
        return matrix.astype(np.float32)
    is_centred = not corners and op.attr("align_mode", 1) == 0
    at = np.clip((pixels + 0.5) * ratio - 0.5 if is_centred else pixels * ratio, 0, before - 1)
    first = np.floor(at).astype(int)
    np.add.at(matrix, (pixels, first), 1 - (at - first))
    np.add.at(matrix, (pixels, np.minimum(first + 1, before - 1)), at - first)
    return matrix.astype(np.float32)
