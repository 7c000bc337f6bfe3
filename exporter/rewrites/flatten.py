"""Adds the `XShape` output to flatten: Paddle-Lite's Opt segfaults without it."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator

_TYPES = ("flatten_contiguous_range", "flatten2")


class FlattenXShape(EachOperator):
    """Adds the output; its shape is 0 followed by the input's shape, as older Paddle versions wrote it."""

    name = "flatten_xshape"
    version = "2"
    targets = LITE
    what = "of flattening"
    became = "given the output XShape"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type in _TYPES and op.output("XShape") is None

    def change(self, program: Program, op: Op) -> None:
        source = op.input("X") or ""
        shadow = program.add_var(f"{op.output('Out')}.xshape", (0, *program.shape(source)), program.dtype(source))
        op.outputs["XShape"] = [shadow]
