"""Rewrites the typed scalars (SCALARS) of set_value, which no converter reads, as typed lists.

paddle2onnx aborts; Paddle-Lite aborts or, worse, writes uninitialized memory. Both support the operator with the lists
per element type that older Paddle versions wrote (`fp32_values`, ...).
"""

from __future__ import annotations

from segexport.exporter.framework_proto import DTYPE_NAME
from segexport.exporter.program import Attr, Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator

_LISTS = {
    "float32": ("fp32_values", "FLOATS", float),
    "int32": ("int32_values", "INTS", int),
    "int64": ("int64_values", "LONGS", int),
    "bool": ("bool_values", "INTS", int),
}


class SetValueAttributes(EachOperator):
    """Writes the value in the older attribute."""

    name = "set_value_attributes"
    version = "2"
    targets = EVERY
    what = "set_value"
    became = "given values in plain lists"

    def takes(self, program: Program, op: Op) -> bool:
        return _is_typed(op) or _drops_axes(op)

    def change(self, program: Program, op: Op) -> None:
        op.set_attr("decrease_axes", op.attr("decrease_axes", []) if not _drops_axes(op) else [], "LONGS")
        if not _is_typed(op):
            return
        name, kind, convert = _LISTS[DTYPE_NAME[op.attr("dtype")]]
        op.attrs[name] = Attr(kind, [convert(value) for value in op.attr("values")])
        del op.attrs["values"]


def _drops_axes(op: Op) -> bool:
    """Whether to remove axis attributes that a one-element value does not need; paddle2onnx aborts on them."""
    values = op.attr("values", [])
    return (
        op.type == "set_value" and bool(op.attr("decrease_axes")) and len(values) == 1 and not op.input("ValueTensor")
    )


def _is_typed(op: Op) -> bool:
    if op.type != "set_value" or "values" not in op.attrs:
        return False
    values = op.attr("values")
    return DTYPE_NAME.get(op.attr("dtype")) in _LISTS and not any(isinstance(value, complex) for value in values)
