"""Turns sizes, starts and axes given by variables into attributes if their values are known.

Exports with dynamic sizes compute these arguments from shapes. Once the sizes are fixed and folded, they are constants,
but not every converter reads them from a tensor, and none reads an attribute that names a variable.
"""

from __future__ import annotations

import numpy as np

from segexport.exporter.program import Attr, Op, Program
from segexport.exporter.rewrites.base import EVERY, count

# operator -> (slot of one tensor, slot of a list of tensors, attributes that they replace)
_SLOTS: dict[str, list[tuple[str, str, tuple[str, ...]]]] = {
    "reshape2": [("Shape", "ShapeTensor", ("shape",))],
    "expand_v2": [("Shape", "expand_shapes_tensor", ("shape",))],
    "tile": [("RepeatTimes", "repeat_times_tensor", ("repeat_times",))],
    "fill_constant": [("ShapeTensor", "ShapeTensorList", ("shape",))],
    "unsqueeze2": [("AxesTensor", "AxesTensorList", ("axes",))],
    "slice": [("StartsTensor", "StartsTensorList", ("starts",)), ("EndsTensor", "EndsTensorList", ("ends",))],
    "strided_slice": [
        ("StartsTensor", "StartsTensorList", ("starts",)),
        ("EndsTensor", "EndsTensorList", ("ends",)),
        ("StridesTensor", "StridesTensorList", ("strides",)),
    ],
    "set_value": [
        ("", "StartsTensorList", ("starts",)),
        ("", "EndsTensorList", ("ends",)),
        ("", "StepsTensorList", ("steps",)),
    ],
    "pow": [("FactorTensor", "", ("factor",))],
    "pad3d": [("Paddings", "", ("paddings",))],
    "linear_interp_v2": [("OutSize", "SizeTensor", ("out_w",)), ("Scale", "", ("scale",))],
    **{
        f"{kind}_interp_v2": [("OutSize", "SizeTensor", ("out_h", "out_w")), ("Scale", "", ("scale",))]
        for kind in ("bilinear", "nearest", "bicubic")
    },
}


class ConstantArguments:
    """Moves the values of argument parameters into the operators' attributes."""

    name = "constant_arguments"
    version = "5"
    targets = EVERY

    def applies(self, program: Program) -> bool:
        return any(_changes(program, op) for op in program.ops)

    def apply(self, program: Program) -> list[str]:
        changed: dict[str, int] = {}
        for op in program.ops:
            changes = _changes(program, op)
            for attr, value in changes.items():
                op.attrs[attr] = value
            for slot, many, attrs in _SLOTS.get(op.type, []):
                if changes.keys() & set(attrs):
                    op.inputs.pop(slot, None)
                    op.inputs.pop(many, None)
            if changes and "infer_flags" in op.attrs and not _computed(op):  # else Paddle-Lite reads the sizes as -1
                op.set_attr("infer_flags", [1] * len(op.attr("axes")))
            if changes:
                changed[op.type] = changed.get(op.type, 0) + 1
        return [f"{count(number, kind)} given constant arguments" for kind, number in sorted(changed.items())]


def _changes(program: Program, op: Op) -> dict[str, Attr]:
    """Returns the attributes that can be written, with their values."""
    found: dict[str, Attr] = {}
    for name, attr in op.attrs.items():
        if attr.type in ("VAR", "VARS"):
            values = _values(program, attr.value if attr.type == "VARS" else [attr.value])
            if values is not None:
                found[name] = Attr("INTS", values) if attr.type == "VARS" else Attr("INT", values[0])
    for slot, many, attrs in _SLOTS.get(op.type, []):
        names = op.inputs.get(slot) or op.inputs.get(many)
        values = _values(program, names) if names else None
        if attrs in (("factor",), ("scale",)):
            found |= _factors(program, names, attrs[0])
        if values is None:
            continue
        if len(attrs) == 1:
            found[attrs[0]] = Attr("INTS", values) if attrs[0] != "out_w" else Attr("INT", values[0])
        elif len(values) == len(attrs):
            found.update({attr: Attr("INT", value) for attr, value in zip(attrs, values, strict=True)})
        if "out_w" in attrs:
            found["scale"] = Attr("FLOATS", [])
    return found


def _factors(program: Program, names: list[str] | None, attr: str) -> dict[str, Attr]:
    """Returns the exponent of a power (one number) or the scale factors of a resize."""
    array = program.params.get(names[0]) if names else None
    if array is None or array.dtype.kind != "f" or (attr == "factor" and array.size != 1):
        return {}
    values = [float(value) for value in array.reshape(-1)]
    return {attr: Attr("FLOAT", values[0]) if attr == "factor" else Attr("FLOATS", values)}


def _computed(op: Op) -> bool:
    return any(op.inputs.get(slot) for pair in _SLOTS.get(op.type, []) for slot in pair[:2])


def _values(program: Program, names: list[str]) -> list[int] | None:
    arrays = [program.params.get(name) for name in names]
    if any(array is None or array.dtype.kind not in "iu" for array in arrays):
        return None
    return [int(value) for array in arrays for value in np.asarray(array).reshape(-1)]
