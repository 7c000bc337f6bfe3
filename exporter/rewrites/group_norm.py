"""Rewrites group normalization of 3-D and 5-D tensors as 4-D: Paddle-Lite reads out of bounds for other ranks.

The axes after the channels are reshaped to two.
"""

from __future__ import annotations

from math import prod

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator, reshape


class GroupNormOfImages(EachOperator):
    """Rewrites operators of known size."""

    name = "group_norm_of_images"
    version = "1"
    targets = EVERY
    what = "group_norm"
    became = "given an image"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "group_norm":
            return False
        dims = program.shape(op.input("X") or "")
        return len(dims) in (3, 5) and -1 not in dims

    def change(self, program: Program, op: Op) -> None:
        source, out = op.input("X") or "", op.output("Y") or ""
        dims = program.shape(source)
        image, before = reshape(program, source, (*dims[:2], dims[2], prod(dims[3:])))
        normalized = program.add_var(f"{out}.image", program.shape(image), program.dtype(out))
        _, after = reshape(program, normalized, dims, out=out)
        op.inputs["X"], op.outputs["Y"] = [image], [normalized]
        program.insert_before(op, before)
        program.insert_after(op, after)
