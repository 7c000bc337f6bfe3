"""Converts values of a `.json` to typed attributes of the legacy format; refuses values that do not fit the type."""

from __future__ import annotations

from typing import Any

from segexport.exporter import framework_proto as proto
from segexport.exporter.program import Attr

_NO_DTYPE = "undefined"  # Undefined(ALL_DTYPE): the operator chooses
_LISTS = {"INTS": int, "LONGS": int, "BOUNDS": int, "FLOATS": float, "ANY": object, "SCALARS": object}


def typed(type: str, value: Any) -> Attr:
    if type == "DTYPE":
        return Attr("INT", _dtype_code(value))
    if type in _LISTS:
        items = list(value) if isinstance(value, (list, tuple)) else [value]
        if type == "BOUNDS":
            return Attr("INTS", [min(max(_integer(item), -(2**31)), 2**31 - 1) for item in items])
        if _LISTS[type] is int:
            return Attr(type, [_integer(item, 32 if type == "INTS" else 64) for item in items])
        if _LISTS[type] is float:
            return Attr(type, [_number(item) for item in items])
        return Attr(type, [item if isinstance(item, (bool, int, float)) else _no() for item in items])
    if isinstance(value, list) and len(value) == 1:  # a scalar that was written as a tensor of one element
        (value,) = value
    if type in ("INT", "LONG"):
        return Attr(type, _integer(value, 32 if type == "INT" else 64))
    if type == "FLOAT":
        return Attr(type, _number(value))
    if isinstance(value, {"BOOLEAN": bool, "STRING": str}[type]):
        return Attr(type, value)
    return _no()


def _dtype_code(name: Any) -> int:
    """The legacy code of an element type; -1: the operator chooses."""
    if not isinstance(name, str) or name not in proto.DTYPE_CODE:
        return -1 if str(name).lower().startswith(_NO_DTYPE) else _no()
    return proto.DTYPE_CODE[name]


def _integer(value: Any, bits: int = 65) -> int:
    if isinstance(value, float) and value.is_integer():  # eye() writes its sizes as floats
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
        _no()
    return int(value)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else _no()


def _no() -> Any:
    raise ValueError
