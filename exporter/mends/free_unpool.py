"""Repairs unpool with dynamic height and width: Paddle exports a wrong size, which it cannot run itself."""

from __future__ import annotations

from segexport.errors import UnsupportedModelError
from segexport.exporter.layers import layer_of
from segexport.exporter.program import Program
from segexport.exporter.rewrites.unpool import UnpoolToArithmetic, has_free_size


def mend_free_unpool(program: Program) -> list[str]:
    """Rewrites every such unpool as arithmetic, in place; returns notes.

    Raises:
        UnsupportedModelError: An unpool has overlapping windows or indices from another operator.
    """
    if not any(has_free_size(op) for op in program.ops):
        return []
    rewrite = UnpoolToArithmetic()
    notes = rewrite.apply(program) if rewrite.applies(program) else []
    left = next((op for op in program.ops if has_free_size(op)), None)
    if left is not None:
        raise UnsupportedModelError(
            f"unpool (layer {layer_of(program, left)}): its output_size is {left.attr('output_size')}",
            cause="Paddle computes this size wrongly in an export of dynamic height and width, and cannot run it",
            hint="fix the size of the input: --input-size WIDTHxHEIGHT",
        )
    return [f"{note}: Paddle cannot run an unpool of dynamic size" for note in notes]
