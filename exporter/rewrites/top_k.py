"""Rewrites top_k of smallest values or along another axis: Paddle-Lite always takes the largest of the last axis."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator, transpose


class TopKOfLastAxis(EachOperator):
    """Transposes the axis to the end and back, and negates the values and back."""

    name = "top_k_of_last_axis"
    version = "2"
    targets = LITE
    what = "top_k_v2"
    became = "given the last axis and the largest"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "top_k_v2" or op.input("K"):
            return False
        rank = len(program.shape(op.input("X") or ""))
        return rank > 0 and (op.attr("axis", -1) % rank != rank - 1 or not op.attr("largest", True))

    def change(self, program: Program, op: Op) -> None:
        program.replace(op, *_turned(program, op))


def _turned(program: Program, op: Op) -> list[Op]:
    source, smallest = op.input("X") or "", not op.attr("largest", True)
    rank = len(program.shape(source))
    axis = op.attr("axis", -1) % rank
    order = [at for at in range(rank) if at != axis] + [axis]
    back = [order.index(at) for at in range(rank)]
    before, after = [], []
    if smallest:
        source, negate = _negated(program, source)
        before.append(negate)
    if axis != rank - 1:
        source, turn = transpose(program, source, order)
        before.append(turn)
    new = op.copy()
    new.inputs["X"] = [source]
    new.set_attr("axis", rank - 1)
    new.set_attr("largest", True)
    for slot in ("Out", "Indices"):
        out = op.output(slot) or ""
        name = out
        if axis != rank - 1:
            name = program.add_var(f"{out}.turned", [program.shape(out)[at] for at in order], program.dtype(out))
        new.outputs[slot] = [name]
        is_negated = smallest and slot == "Out"
        if axis != rank - 1:
            target = program.add_var(f"{out}.negated", program.shape(out), program.dtype(out)) if is_negated else out
            after.append(transpose(program, name, back, out=target)[1])
            name = target
        elif is_negated:
            name = program.add_var(f"{out}.negated", program.shape(out), program.dtype(out))
            new.outputs[slot] = [name]
        if is_negated:
            after.append(_negated(program, name, out)[1])
    return [*before, new, *after]


def _negated(program: Program, source: str, out: str | None = None) -> tuple[str, Op]:
    result = out or program.add_var(f"{source}.negative", program.shape(source), program.dtype(source))
    op = Op("scale", {"X": [source]}, {"Out": [result]})
    for name, value in (("scale", -1.0), ("bias", 0.0), ("bias_after_scale", True)):
        op.set_attr(name, value)
    return result, op
