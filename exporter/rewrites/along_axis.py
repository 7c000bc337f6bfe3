"""take_along_axis as a gather from the flat tensor: Paddle-Lite has no other form of it."""

from __future__ import annotations

from math import prod

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, Builder, count


class TakeAlongAxisToGather:
    """Rewrites those of known sizes: index * stride of the axis + where its line starts."""

    name = "take_along_axis_to_gather"
    version = "1"
    targets = LITE

    def applies(self, program: Program) -> bool:
        return any(_is_known(program, op) for op in program.ops)

    def apply(self, program: Program) -> list[str]:
        changed = [op for op in program.ops if _is_known(program, op)]
        for op in changed:
            program.replace(op, *_gathered(program, op))
        return [f"{count(len(changed), 'take_along_axis')} written as gather"]


def _is_known(program: Program, op: Op) -> bool:
    if op.type != "take_along_axis":
        return False
    source, index = program.shape(op.input("Input") or ""), program.shape(op.input("Index") or "")
    return -1 not in (*source, *index) and prod(source) < 1 << 24  # float32 counts so far exactly


def _gathered(program: Program, op: Op) -> list[Op]:
    source, index, out = op.input("Input") or "", op.input("Index") or "", op.output("Result") or ""
    build = Builder(program, f"{out}.take")
    dims, wanted = program.shape(source), program.shape(index)
    axis = op.attr("Axis", 0) % len(dims)
    strides = [prod(dims[at + 1 :]) for at in range(len(dims))]
    starts = sum(np.arange(size).reshape([-1] + [1] * (len(wanted) - at - 1)) * strides[at]
                 for at, size in enumerate(wanted) if at != axis)  # fmt: skip
    starts = np.broadcast_to(np.asarray(starts, np.float32), wanted)
    number = build.affine(build.cast(index, wanted, "float32"), wanted, strides[axis])
    place = build.binary("elementwise_add", number, build.param(starts), wanted)
    flat = build.cast(build.reshape(place, (prod(wanted),)), (prod(wanted),), "int32")
    found = build.rows(build.reshape(source, (prod(dims),)), flat, (prod(wanted),))
    build.reshape(found, wanted, out=out)
    return build.ops
