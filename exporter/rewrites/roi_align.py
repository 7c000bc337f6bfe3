"""Rewrites roi_align with unaligned boxes or an adaptive number of samples, for paddle2onnx.

paddle2onnx drops `aligned`; ONNX's RoiAlign shifts boxes by half a pixel from opset 16 on. The rewrite adds half a
pixel to unaligned boxes, which cancels the shift. In Paddle's kernel an unaligned box is at least one pixel wide and
high, an aligned one is not.
"""

from __future__ import annotations

from typing import Any

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import ONNX, EachOperator, OpBuilder


class RoiAlignOfOwnSamples(EachOperator):
    """Writes 0 for an adaptive number of samples; Paddle accepts any number below 1."""

    name = "roi_align_of_own_samples"
    version = "1"
    targets = frozenset({ONNX})
    what = "roi_align"
    became = "given 0 for a number of samples that the boxes decide"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "roi_align" and op.attr("sampling_ratio", -1) < 0

    def change(self, program: Program, op: Op) -> None:
        op.set_attr("sampling_ratio", 0)


class RoiAlignOfShiftedBoxes(EachOperator):
    """Rewrites every unaligned roi_align."""

    name = "roi_align_of_shifted_boxes"
    version = "1"
    targets = frozenset({ONNX})
    what = "roi_align"
    became = "given boxes that are shifted by half a pixel"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "roi_align" and not op.attr("aligned", False)

    def change(self, program: Program, op: Op) -> None:
        boxes, pixel = op.input("ROIs") or "", 1.0 / op.attr("spatial_scale", 1.0)
        many = program.shape(boxes)[0]
        build = OpBuilder(program, f"{boxes}.shifted")
        corners = []
        for start in (0, 2):
            bounds: dict[str, Any] = {"axes": [1], "starts": [start], "ends": [start + 2], "infer_flags": [1]}
            corners.append(build.add("slice", {"Input": boxes}, (many, 2), **bounds))
            build.ops[-1].set_attr("decrease_axis", [], "INTS")
        least = build.affine(corners[0], (many, 2), bias=pixel)
        corners[1] = build.binary("elementwise_max", corners[1], least, (many, 2))
        wide = build.add("concat", {"X": corners}, (many, 4), axis=1)
        op.inputs["ROIs"] = [build.affine(wide, (many, 4), bias=pixel / 2)]
        op.set_attr("aligned", True)
        program.insert_before(op, *build.ops)
