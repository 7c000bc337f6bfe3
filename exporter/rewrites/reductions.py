"""Rewrites reductions of tensors with more than four axes: Paddle-Lite on x86 silently gives wrong values.

The axes before, the reduced axes and the axes after become one axis each; of a tensor of free size, axes of size 1 are
left out.
"""

from __future__ import annotations

from math import prod

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, OpBuilder, count, reshape

_TYPES = ("reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod")
_RANK = 4  # Paddle-Lite's kernels support at most this many axes


class ReductionsOfFewAxes:
    """Rewrites reductions over adjacent axes of known size, and those of free size with axes of size 1."""

    name = "reductions_of_few_axes"
    version = "2"
    targets = LITE

    def applies(self, program: Program) -> bool:
        return any(_axes(program, op) for op in program.ops)

    def apply(self, program: Program) -> list[str]:
        changed = [(op, axes) for op in program.ops if (axes := _axes(program, op))]
        for op, axes in changed:
            _change(program, op, axes)
        return [f"{count(len(changed), 'of reduction')} of more than {_RANK} axes written with fewer"]


def _axes(program: Program, op: Op) -> list[int]:
    """Returns the reduced axes; empty if the operator needs no rewrite."""
    if op.type not in _TYPES or op.attr("reduce_all"):
        return []
    dims = program.shape(op.input("X") or "")
    axes = sorted(axis % len(dims) for axis in op.attr("dim") or [])
    if len(dims) <= _RANK or not axes:
        return []
    if -1 in dims:
        return axes if len(_dropped(dims, axes)) == len(dims) - _RANK else []
    return axes if axes == list(range(axes[0], axes[-1] + 1)) else []


def _dropped(dims: tuple[int, ...], axes: list[int]) -> list[int]:
    """Returns axes of size 1 that are not reduced, as many as are too many."""
    return [axis for axis, size in enumerate(dims) if size == 1 and axis not in axes][: max(len(dims) - _RANK, 0)]


def _without_ones(program: Program, op: Op, axes: list[int]) -> None:
    """Reduces a tensor of free size without some of its axes of size 1, which are put back behind it."""
    source, out = op.input("X") or "", op.output("Out") or ""
    dims, dtype, keeps = program.shape(source), program.dtype(source), bool(op.attr("keep_dim"))
    dropped = _dropped(dims, axes)
    left = [axis for axis in range(len(dims)) if axis not in dropped]
    before, after = OpBuilder(program, f"{out}.narrow"), OpBuilder(program, f"{out}.reduced")
    shadow = program.add_var(f"{out}.xshape", (0, *dims), dtype)
    narrow = tuple(dims[axis] for axis in left)
    op.inputs["X"] = [before.add("squeeze2", {"X": source}, narrow, dtype, also={"XShape": shadow}, axes=dropped)]
    made = [axis for axis in range(len(dims)) if keeps or axis not in axes]  # axes of the result
    found = tuple((1 if axis in axes else dims[axis]) for axis in made if axis not in dropped)
    op.outputs["Out"] = [program.add_var(f"{out}.reduced", found, program.dtype(out))]
    shadow = program.add_var(f"{out}.xshape", (0, *found), program.dtype(out))
    back = [made.index(axis) for axis in dropped]
    narrowed = {"X": op.outputs["Out"][0]}
    also = {"XShape": shadow}
    after.add("unsqueeze2", narrowed, program.shape(out), program.dtype(out), out=out, also=also, axes=back)
    op.set_attr("dim", [left.index(axis) for axis in axes], "INTS")
    program.insert_before(op, *before.ops)
    program.insert_after(op, *after.ops)


def _change(program: Program, op: Op, axes: list[int]) -> None:
    source, out = op.input("X") or "", op.output("Out") or ""
    dims = program.shape(source)
    if -1 in dims:
        _without_ones(program, op, axes)
        return
    three = (prod(dims[: axes[0]]), prod(dims[axis] for axis in axes), prod(dims[axes[-1] + 1 :]))
    flat, before = reshape(program, source, three)
    reduced = program.add_var(f"{out}.reduced", (three[0], 1, three[2]), program.dtype(out))
    _, after = reshape(program, reduced, program.shape(out), out=out)
    program.insert_before(op, before)
    program.insert_after(op, after)
    op.inputs["X"], op.outputs["Out"] = [flat], [reduced]
    op.set_attr("dim", [1], "INTS")
    op.set_attr("keep_dim", True)
