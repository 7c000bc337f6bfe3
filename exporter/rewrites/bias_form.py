"""Rewrites all convolution biases to one form, for Paddle-Lite.

A bias has shape [C], added along axis 1, or [1, C, 1, 1]. Opt fuses either form into the convolution, but aborts on a
program with both (`CheckBidirectionalConnection`). Conv1D writes the first form, Conv2D the second.
"""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, count

_CONVOLUTIONS = ("conv2d", "depthwise_conv2d", "conv2d_transpose", "depthwise_conv2d_transpose")


class OneFormOfBias:
    """Converts the first form to the second if a program has both."""

    name = "one_form_of_bias"
    version = "1"
    targets = LITE

    def applies(self, program: Program) -> bool:
        return len({_is_flat(program, op) for op in _biases(program)}) == 2

    def apply(self, program: Program) -> list[str]:
        flat = [op for op in _biases(program) if _is_flat(program, op)]
        for op in flat:
            value = program.params[op.input("Y") or ""]
            op.inputs["Y"] = [program.add_param(f"{op.input('Y')}.in_4d", value.reshape(1, -1, 1, 1))]
            op.set_attr("axis", -1)
        return [f"{count(len(flat), 'elementwise_add')} given a bias of four axes, as others have"]


def _biases(program: Program) -> list[Op]:
    """Returns the additions of a parameter directly after a convolution."""
    behind = {op.output("Output") for op in program.ops if op.type in _CONVOLUTIONS}
    return [
        op
        for op in program.ops
        if op.type == "elementwise_add" and op.input("X") in behind and op.input("Y") in program.params
    ]


def _is_flat(program: Program, op: Op) -> bool:
    ranks = len(program.shape(op.input("X") or "")), len(program.shape(op.input("Y") or ""))
    return ranks == (4, 1) and op.attr("axis", -1) == 1
