"""Prepares comparisons for Paddle-Lite.

Paddle no longer writes `force_cpu`, without which Opt aborts. The kernels broadcast operands of as many axes only;
with fewer on one side, they silently read beyond it. They also take operands with as many elements, like a row and a
column, for operands of one shape.
"""

from __future__ import annotations

from math import prod

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator, OpBuilder

_TYPES = ("equal", "not_equal", "less_than", "less_equal", "greater_than", "greater_equal")


class ComparisonAttributes(EachOperator):
    """Writes `force_cpu` = false if it is missing."""

    name = "comparison_attributes"
    version = "1"
    targets = LITE
    what = "of comparison"
    became = "given the attribute force_cpu"
    everywhere = True

    def takes(self, program: Program, op: Op) -> bool:
        return op.type in _TYPES and "force_cpu" not in op.attrs

    def change(self, program: Program, op: Op) -> None:
        op.set_attr("force_cpu", False)


class ComparisonOfEqualRanks(EachOperator):
    """Gives the operand with fewer axes leading axes of size 1, unless it has one element or is surely repeated."""

    name = "comparison_of_equal_ranks"
    version = "1"
    targets = LITE
    what = "of comparison"
    became = "given as many axes on both sides"

    def takes(self, program: Program, op: Op) -> bool:
        wide, narrow = _shapes(program, op)
        if len(wide) == len(narrow) or {1}.issuperset(wide) or {1}.issuperset(narrow):
            return False
        return len(wide) < len(narrow) or -1 in narrow or narrow != wide[-len(narrow) :]

    def change(self, program: Program, op: Op) -> None:
        ranks = {slot: len(program.shape(op.input(slot) or "")) for slot in ("X", "Y")}
        slot = min(ranks, key=lambda slot: ranks[slot])
        name, missing = op.input(slot) or "", max(ranks.values()) - ranks[slot]
        dims = (1,) * missing + program.shape(name)
        if name in program.params:
            op.inputs[slot] = [program.add_param(f"{name}.compared", program.params[name].reshape(dims))]
            return
        build = OpBuilder(program, f"{name}.compared")
        wide = build.add("unsqueeze2", {"X": name}, dims, program.dtype(name), axes=list(range(missing)))
        program.insert_before(op, *build.ops)
        op.inputs[slot] = [wide]


class ComparisonOfRowAndColumn(EachOperator):
    """Adds zeros of the second operand's shape to the first, where each may repeat the other, so that it is whole."""

    name = "comparison_of_row_and_column"
    version = "1"
    targets = LITE
    what = "of comparison"
    became = "given a first operand of the result's shape"

    def takes(self, program: Program, op: Op) -> bool:
        one, other = _shapes(program, op)
        if len(one) != len(other) or (-1 not in (*one, *other) and prod(one) != prod(other)):
            return False
        repeated = {axis for axis, (a, b) in enumerate(zip(one, other, strict=True)) if a in (1, -1) and b != 1}
        repeating = {axis for axis, (a, b) in enumerate(zip(one, other, strict=True)) if b in (1, -1) and a != 1}
        return bool(repeated and repeating) and len(repeated | repeating) > 1

    def change(self, program: Program, op: Op) -> None:
        first, second = op.input("X") or "", op.input("Y") or ""
        dims, dtype = program.shape(second), program.dtype(first)
        build = OpBuilder(program, f"{op.output('Out')}.compared")
        # Nothing but NaN differs from itself, which no comparison with it makes true; 0 * infinity would be NaN.
        zeros = build.cast(build.binary("not_equal", second, second, dims, "bool"), dims, dtype)
        full = build.binary("elementwise_add", first, zeros, program.shape(op.output("Out") or ""), dtype)
        program.insert_before(op, *build.ops)
        op.inputs["X"] = [full]


def _shapes(program: Program, op: Op) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shapes of the operands of a comparison; empty for other operators and for axes of Paddle 1."""
    if op.type not in _TYPES or op.attr("axis", -1) != -1:
        return (), ()
    return program.shape(op.input("X") or ""), program.shape(op.input("Y") or "")
