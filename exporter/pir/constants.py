"""Translates operators of Paddle 3 that create constants; a constant may become an attribute of another operator."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from segexport.exporter.pir.file import PirOp
from segexport.exporter.pir.translation import Translation
from segexport.exporter.program import Attr

MAX_CONSTANT = 64  # most elements of a constant that may become an attribute; shapes and axes have a few


def _full(t: Translation, op: PirOp) -> None:
    dtype, shape = t.dtype(op), t.typed(op, "LONGS", t.attr(op, "shape"))
    value = _as(dtype, t.attr(op, "value"))
    count = math.prod(shape.value)
    if 0 <= count <= MAX_CONSTANT and len(shape.value) <= 1:
        t.constants[t.result(op, 0)] = value if count == 1 else [value] * count
    _emit_full(t, op, t.declare(op, 0), shape, dtype, value)


def _emit_full(t: Translation, op: PirOp, name: str, shape: Attr, dtype: str, value: Any, **inputs: list[str]) -> None:
    attrs = {
        "shape": shape,
        "dtype": t.typed(op, "DTYPE", dtype),
        "value": t.typed(op, "FLOAT", float(value)),
        # Paddle reads this text and not `value`: it keeps more digits, and may be "inf" or "nan"
        "str_value": Attr("STRING", str(value) if isinstance(value, float) else str(int(value))),
        "force_cpu": Attr("BOOLEAN", False),
        "place_type": Attr("INT", -1),
    }
    t.emit(op, "fill_constant", inputs, {"Out": [name]}, attrs)


def _as(dtype: str, value: Any) -> bool | int | float:
    """A constant as a Python value of this element type."""
    if dtype == "bool":
        return bool(value)
    return int(value) if "int" in dtype and math.isfinite(value) else float(value)


def _full_int_array(t: Translation, op: PirOp) -> None:
    values = t.typed(op, "LONGS", t.attr(op, "value")).value
    t.constants[t.result(op, 0)] = values
    _emit_values(t, op, "int32" if t.dtype(op) == "int32" else "int64", [len(values)], values)


def _assign_value(t: Translation, op: PirOp) -> None:
    dtype, shape = t.dtype(op), t.typed(op, "INTS", t.attr(op, "shape")).value
    values = [_as(dtype, value) for value in t.typed(op, "ANY", t.attr(op, "values")).value]
    if len(shape) <= 1 and len(values) <= MAX_CONSTANT:
        t.constants[t.result(op, 0)] = values if shape else values[0]
    _emit_values(t, op, dtype, shape, values)


_VALUES = {
    "bool": ("bool_values", "INTS"),
    "int32": ("int32_values", "INTS"),
    "int64": ("int64_values", "LONGS"),
    "float32": ("fp32_values", "FLOATS"),
    "float64": ("fp64_values", "FLOAT64S"),
}


def _emit_values(t: Translation, op: PirOp, dtype: str, shape: list[int], values: list) -> None:
    if dtype not in _VALUES:
        raise t.unsupported(op, f"the legacy program has no constants of {dtype}")
    attrs = {name: Attr(kind, []) for name, kind in _VALUES.values()}
    name, kind = _VALUES[dtype]
    attrs[name] = Attr(kind, [int(value) for value in values] if dtype == "bool" else values)
    attrs |= {"shape": Attr("INTS", shape), "dtype": t.typed(op, "DTYPE", dtype)}
    t.emit(op, "assign_value", {}, {"Out": [t.declare(op, 0)]}, attrs)


def _full_with_tensor(t: Translation, op: PirOp) -> None:
    """Translates a fill whose value or shape is computed."""
    value, shape = t.constant(op, 0), t.constant(op, 1)
    inputs = {}
    if value is None:
        inputs["ValueTensor"] = [t.tensor(op, 0)]
    if shape is None and t.operand(op, 1) in t.lists:
        inputs["ShapeTensorList"] = t.tensors(op, 1)
    elif shape is None:
        inputs["ShapeTensor"] = [t.tensor(op, 1)]
    dtype = t.dtype(op)
    sizes = t.typed(op, "LONGS", [] if shape is None else shape)
    scalar = _as(dtype, 0 if value is None else t.typed(op, "FLOAT", value).value)
    _emit_full(t, op, t.declare(op, 0), sizes, dtype, scalar, **inputs)


def _range(t: Translation, op: PirOp) -> None:
    """Translates arange; the legacy operator needs its three operands in the element type of the result."""
    dtype = t.dtype(op)
    slots = zip(("Start", "End", "Step"), range(3), strict=True)
    inputs = {slot: [_in_dtype(t, op, index, dtype)] for slot, index in slots}
    t.emit(op, "range", inputs, {"Out": [t.declare(op, 0)]}, {})


def _linspace(t: Translation, op: PirOp) -> None:
    dtype = t.dtype(op)
    inputs = {"Start": [_in_dtype(t, op, 0, dtype)], "Stop": [_in_dtype(t, op, 1, dtype)]}
    inputs["Num"] = [_in_dtype(t, op, 2, "int32")]
    t.emit(op, "linspace", inputs, {"Out": [t.declare(op, 0)]}, {"dtype": t.typed(op, "DTYPE", dtype)})


def _in_dtype(t: Translation, op: PirOp, index: int, dtype: str) -> str:
    """An operand in another element type: a constant is written again, anything else is cast."""
    name, constant = t.tensor(op, index), t.constant(op, index)
    if t.program.dtype(name) == dtype or not isinstance(constant, (bool, int, float)):
        return t.in_dtype(op, name, dtype)
    out = t.new_var(f"{name}.{dtype}", dtype, t.program.shape(name))
    _emit_full(t, op, out, Attr("LONGS", list(t.program.shape(name))), dtype, _as(dtype, constant))
    return out


CONSTANTS: dict[str, Callable[[Any, PirOp], None]] = {
    "full": _full,
    "full_int_array": _full_int_array,
    "full_with_tensor": _full_with_tensor,
    "assign_value": _assign_value,
    "arange": _range,
    "linspace": _linspace,
}
