"""set_value along several axes, one after the other, and with bounds inside of the tensor: so paddle2onnx takes it.

x[a, b] = v is: cut x[a] out, write v into its [b], write that back into x[a].
"""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import ONNX, EachOperator, OpBuilder

_COMPUTED = ("StartsTensorList", "EndsTensorList", "StepsTensorList")


class SetValueOfOneAxis(EachOperator):
    """Rewrites those whose bounds are constants, and the sizes along them known."""

    name = "set_value_of_one_axis"
    version = "1"
    targets = frozenset({ONNX})
    what = "set_value"
    became = "written axis by axis"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "set_value" or op.attr("none_axes") or any(op.inputs.get(slot) for slot in _COMPUTED):
            return False
        axes, dims, value = op.attr("axes") or [], program.shape(op.input("Input") or ""), op.input("ValueTensor")
        if any(dims[axis] < 0 for axis in axes) or any(step < 1 for step in op.attr("steps")):
            return False
        if value and -1 in program.shape(value):
            return False
        bounds = zip(op.attr("starts"), op.attr("ends"), axes, strict=True)
        return len(axes) > 1 or any(start < 0 or not 0 <= end <= dims[axis] for start, end, axis in bounds)

    def change(self, program: Program, op: Op) -> None:
        build = OpBuilder(program, f"{op.output('Out')}.part")
        value, dropped = op.input("ValueTensor"), sorted(op.attr("decrease_axes") or [])
        if value and dropped:
            value = _with_all_axes(program, build, op, value, dropped)
        _written(program, build, op, op.input("Input") or "", 0, value, op.output("Out") or "")
        program.replace(op, *build.ops)


def _with_all_axes(program: Program, build: OpBuilder, op: Op, value: str, dropped: list[int]) -> str:
    """An axis that was indexed by one number is missing in the value: it gets a size of 1 there."""
    rank = len(program.shape(op.input("Input") or ""))
    given = list(program.shape(value))
    given = [1] * (rank - len(dropped) - len(given)) + given
    for axis in sorted(axis % rank for axis in dropped):
        given.insert(axis, 1)
    return build.reshape(value, tuple(given))


def _written(program: Program, build: OpBuilder, op: Op, source: str, index: int, value: str | None, out: str) -> None:
    """Writes the value into `source` along the axes from number `index` on."""
    axis, start, end, step = (op.attr(name)[index] for name in ("axes", "starts", "ends", "steps"))
    dims, kind = list(program.shape(source)), program.dtype(source)
    start, end, step = slice(start, end, step).indices(dims[axis])
    if index < len(op.attr("axes")) - 1:
        dims[axis] = len(range(start, end, step))
        bounds = {"axes": [axis], "starts": [start], "ends": [end], "strides": [step], "infer_flags": [1]}
        part = build.add("strided_slice", {"Input": source}, tuple(dims), kind, decrease_axis=[], **bounds)
        inner = program.add_var(f"{out}.part", dims, kind)
        _written(program, build, op, part, index + 1, value, inner)
        value = inner
    new = Op("set_value", {"Input": [source]}, {"Out": [out]}, dict(op.attrs))
    if value is not None:
        new.inputs["ValueTensor"] = [value]
        for name in [name for name in new.attrs if name == "values" or name.endswith("_values")]:
            del new.attrs[name]
        new.set_attr("shape", [1], "LONGS")
    for name, number in (("axes", axis), ("starts", start), ("ends", end), ("steps", step)):
        new.set_attr(name, [number], "LONGS")
    new.set_attr("decrease_axes", [], "LONGS")
    build.ops.append(new)
