"""Replaces operators that Paddle-Lite has on ARM but not on x86, for the twin that runs on this machine."""

from __future__ import annotations

from collections.abc import Callable

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE_X86, EachOperator, OpBuilder, count


class TwinOperators(EachOperator):
    """Rewrites depthwise transposed convolutions, sums of several tensors, and means over all elements."""

    name = "twin_operators"
    version = "1"
    targets = frozenset({LITE_X86})

    def takes(self, program: Program, op: Op) -> bool:
        return op.type in _CHANGES

    def change(self, program: Program, op: Op) -> None:
        _CHANGES[op.type](program, op)

    def notes(self, changed: list[Op]) -> list[str]:
        return [f"{count(len(changed), 'that x86 lacks')} written with others"]


def _grouped(_program: Program, op: Op) -> None:
    op.type = "conv2d_transpose"


def _added(program: Program, op: Op) -> None:
    """Adds the tensors in pairs, from the left."""
    first, *others = op.inputs["X"]
    out, dims, dtype = op.output("Out") or "", program.shape(op.output("Out") or ""), program.dtype(first)
    build = OpBuilder(program, f"{out}.part")
    for index, name in enumerate(others, start=1):
        last = out if index == len(others) else None
        first = build.add("elementwise_add", {"X": first, "Y": name}, dims, dtype, out=last, axis=-1)
    if not others:
        build.add("assign", {"X": first}, dims, dtype, out=out)
    program.replace(op, *build.ops)


def _reduced(_program: Program, op: Op) -> None:
    op.type = "reduce_mean"
    op.set_attr("dim", [0], "INTS")
    op.set_attr("keep_dim", False)
    op.set_attr("reduce_all", True)


_CHANGES: dict[str, Callable[[Program, Op], None]] = {
    "depthwise_conv2d_transpose": _grouped,
    "sum": _added,
    "mean": _reduced,
}
