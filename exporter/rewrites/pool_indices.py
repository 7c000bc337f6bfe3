"""Rewrites global max pooling with unused indices as plain pooling.

Paddle-Lite's x86 kernel of max_pool2d_with_index pools windows where the operator requests the whole image; its ARM
kernel writes no indices. Adaptive bins are not rewritten: pool2d would treat them as windows.
"""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator

_TYPE = "max_pool2d_with_index"


class MaxPoolWithoutIndices(EachOperator):
    """Rewrites operators of any size."""

    name = "max_pool_without_indices"
    version = "1"
    targets = LITE
    what = _TYPE
    became = "written as pool2d, since nothing reads the indices"

    def takes(self, program: Program, op: Op) -> bool:
        is_global = op.type == _TYPE and bool(op.attr("global_pooling")) and not op.attr("adaptive")
        return is_global and not reads_indices(program, op)

    def change(self, program: Program, op: Op) -> None:
        drop_indices(op)


def reads_indices(program: Program, op: Op) -> bool:
    """Whether an operator or a program output reads the indices."""
    return (op.output("Mask") or "") in program.consumers()


def drop_indices(op: Op) -> None:
    """Turns a pooling with indices into one without."""
    op.type = "pool2d"
    op.outputs = {"Out": op.outputs["Out"]}
    for name, value in (
        ("pooling_type", "max"),
        ("global_pooling", op.attr("global_pooling", False)),
        ("ceil_mode", op.attr("ceil_mode", False)),
        ("exclusive", True),
        ("adaptive", op.attr("adaptive", False)),
        ("padding_algorithm", "EXPLICIT"),
        ("data_format", "NCHW"),
    ):
        op.set_attr(name, value)
