"""Refuses casts to uint8 for Paddle-Lite: Opt accepts them, but the compiled file crashes when it runs."""

from __future__ import annotations

from segexport.errors import UnsupportedModelError
from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator


class NoByteCasts(EachOperator):
    """Changes nothing."""

    name = "no_byte_casts"
    version = "1"
    targets = LITE

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "cast" and program.dtype(op.output("Out") or "") == "uint8"

    def change(self, program: Program, op: Op) -> None:
        """Refuses the program.

        Raises:
            UnsupportedModelError: Always.
        """
        before, out = program.dtype(op.input("X") or ""), op.output("Out") or ""
        raise UnsupportedModelError(
            f"Paddle-Lite cannot run operator cast from {before} to uint8 (variable {out!r})",
            cause="Paddle-Lite compiles it, has no such kernel, and aborts when it runs",
            hint="export the mask as int32 (--mask-dtype int32, mask_dtype in a recipe)",
        )
