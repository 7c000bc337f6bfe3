"""Makes the broadcasting of elementwise operators with `axis` explicit for dynamic sizes.

paddle2onnx adds the missing axes to the lower-rank tensor only if all sizes are known. For dynamic sizes it writes the
operator unchanged, and ONNX aligns the last axes.
"""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import ONNX, EachOperator, OpBuilder


class AxesBehindTheNarrower(EachOperator):
    """Appends axes of size 1 to the lower-rank tensor."""

    name = "axes_behind_the_narrower"
    version = "1"
    targets = frozenset({ONNX})
    what = "placed by axis"
    became = "given tensors of as many axes"

    def takes(self, program: Program, op: Op) -> bool:
        if not op.type.startswith("elementwise_"):
            return False
        _, missing = _narrower(program, op)
        return missing > 0 and any(-1 in program.shape(op.input(name) or "") for name in ("X", "Y"))

    def change(self, program: Program, op: Op) -> None:
        slot, missing = _narrower(program, op)
        source = op.input(slot) or ""
        dims, dtype = program.shape(source), program.dtype(source)
        build = OpBuilder(program, f"{source}.widened")
        shadow = program.add_var(f"{source}.xshape", (0, *dims), dtype)
        axes = list(range(len(dims), len(dims) + missing))
        wide = (*dims, *[1] * missing)
        op.inputs[slot] = [build.add("unsqueeze2", {"X": source}, wide, dtype, also={"XShape": shadow}, axes=axes)]
        op.set_attr("axis", -1)
        program.replace(op, *build.ops, op)


def _narrower(program: Program, op: Op) -> tuple[str, int]:
    """Returns the slot of the lower-rank tensor, and how many trailing axes it lacks."""
    ranks = {slot: len(program.shape(op.input(slot) or "")) for slot in ("X", "Y")}
    slot, axis = min(ranks, key=ranks.__getitem__), op.attr("axis", -1)
    return slot, 0 if axis < 0 else max(ranks.values()) - axis - ranks[slot]
