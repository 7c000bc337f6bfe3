"""Rewrites reductions of tensors with more than four axes: Paddle-Lite on x86 silently gives wrong values.

The axes before, the reduced axes and the axes after become one axis each.
"""

from __future__ import annotations

from math import prod

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, count, reshape

_TYPES = ("reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod")
_RANK = 4  # Paddle-Lite's kernels support at most this many axes


class ReductionsOfFewAxes:
    """Rewrites reductions over adjacent axes of known size."""

    name = "reductions_of_few_axes"
    version = "1"
    targets = LITE

    def applies(self, program: Program) -> bool:
        return any(_axes(program, op) for op in program.ops)

    def apply(self, program: Program) -> list[str]:
        changed = [(op, axes) for op in program.ops if (axes := _axes(program, op))]
        for op, axes in changed:
            _change(program, op, axes)
        return [f"{count(len(changed), 'of reduction')} of more than {_RANK} axes written with three"]


def _axes(program: Program, op: Op) -> list[int]:
    """Returns the reduced axes; empty if the operator needs no rewrite."""
    if op.type not in _TYPES or op.attr("reduce_all"):
        return []
    dims = program.shape(op.input("X") or "")
    if len(dims) <= _RANK or -1 in dims:
        return []
    axes = sorted(axis % len(dims) for axis in op.attr("dim") or [])
    return axes if axes == list(range(axes[0], axes[-1] + 1)) else []


def _change(program: Program, op: Op, axes: list[int]) -> None:
    source, out = op.input("X") or "", op.output("Out") or ""
    dims = program.shape(source)
    three = (prod(dims[: axes[0]]), prod(dims[axis] for axis in axes), prod(dims[axes[-1] + 1 :]))
    flat, before = reshape(program, source, three)
    reduced = program.add_var(f"{out}.reduced", (three[0], 1, three[2]), program.dtype(out))
    _, after = reshape(program, reduced, program.shape(out), out=out)
    program.insert_before(op, before)
    program.insert_after(op, after)
    op.inputs["X"], op.outputs["Out"] = [flat], [reduced]
    op.set_attr("dim", [1], "INTS")
    op.set_attr("keep_dim", True)
