"""Reads Paddle 3's `.json` program into plain objects; every fault of the file raises an `InputError`.

The file contains one block of operators. An operator has numbered operands and results, each result has a type, and an
attribute is a pair of a type's name and its data. The first part of a name is its dialect: 0 for the built-in one
(`0.combine`), 1 for Paddle's operators (`1.conv2d`); a parameter has the short name `p`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from segexport.errors import TooLargeError, UnreadableError, cannot_read

KNOWN_VERSION = 4  # format version that Paddle 3.3 writes; 3.0 writes 1
MAX_BYTES = 1 << 26  # the largest graph of the zoo has 1 MB; parsing needs about twenty times the file's size in memory
MAX_RANK = 16
MAX_SIZE = 2**31 - 1
MAX_DIGITS = 20
PARAMETER = "p"
_DIALECTS = {"0": "builtin", "1": "pd_op", "2": "cf", "3": "custom_op", "4": "dist"}
_DTYPES = {
    "t_bool": "bool", "t_i8": "int8", "t_ui8": "uint8", "t_i16": "int16", "t_i32": "int32", "t_i64": "int64",
    "t_f16": "float16", "t_bf16": "bfloat16", "t_f32": "float32", "t_f64": "float64", "t_c64": "complex64",
    "t_c128": "complex128",
}  # fmt: skip
_NOT_FINITE = {"NaN": math.nan, "INF": math.inf, "-INF": -math.inf}


class TensorType(NamedTuple):
    """A tensor's type: numpy's name of the element type, and the sizes, -1 where dynamic."""

    dtype: str
    dims: tuple[int, ...]


@dataclass(frozen=True)
class PirValue:
    """A result of an operator.

    Attributes:
        id: Number of the value; 0: the operator omits it.
        types: One for a tensor, one per tensor for a list, none for anything else.
    """

    id: int
    types: tuple[TensorType, ...] = ()
    is_list: bool = False


@dataclass(frozen=True)
class PirOp:
    """An operator.

    Attributes:
        number: Position in the file.
        dialect: `builtin`, `pd_op`, `cf`, ...
        name: The name without the dialect; `p` for a parameter.
        operands: Numbers of values; 0 for an omitted operand.
        attrs: Name -> value, without attributes that record where and how the program was built.
        path: The layer that created it, `/` if unknown.
        has_regions: Whether it contains blocks, as loops and branches do.
    """

    number: int
    dialect: str
    name: str
    operands: tuple[int, ...]
    results: tuple[PirValue, ...]
    attrs: dict[str, Any]
    path: str = "/"
    has_regions: bool = False

    @property
    def full_name(self) -> str:
        return self.name if self.dialect == "pd_op" else f"{self.dialect}.{self.name}"

    def __str__(self) -> str:
        return f"operator {self.number} ({self.full_name}, layer {self.path})"


@dataclass(frozen=True)
class PirGraph:
    version: int
    ops: tuple[PirOp, ...]


def read_json(path: Path) -> PirGraph:
    """Reads a program of Paddle 3.

    Raises:
        InputError: The file is missing, empty, truncated, damaged, too large or of another kind.
    """
    data = _bytes(path)
    try:
        content = json.loads(data, parse_int=_integer, parse_constant=_no_constant)
        if rb"\ud" in data.lower():  # surrogates: they cannot be written as UTF-8
            json.dumps(content, ensure_ascii=False).encode()
        base, program = _get(content, "base_code", dict, "the file"), _get(content, "program", dict, "the file")
        if base.get("magic") != "pir":
            raise ValueError(f"its magic word is {base.get('magic')!r}, not 'pir'")
        version = _get(base, "version", int, "base_code")
        (region,) = _one(_get(program, "regions", list, "program"), "region")
        (block,) = _one(_get(region, "blocks", list, "region"), "block")
        ops = tuple(_op(number, op) for number, op in enumerate(_get(block, "ops", list, "block")))
        _check_values(ops)
        return PirGraph(version, ops)
    except (ValueError, RecursionError, OverflowError) as error:  # JSON and UTF-8 errors are ValueErrors
        text = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UnreadableError(
            f"{path}: not a program of Paddle 3, or a damaged one ({len(data)} bytes)",
            cause=text.splitlines()[0][:300],
            hint="copy the file again, or export the model again",
        ) from error


def _bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise TooLargeError(
                f"{path}: {size} bytes are too many for a program's graph",
                cause=f"a .json contains only the graph and has at most {MAX_BYTES} bytes",
            )
        data = path.read_bytes()
    except OSError as error:
        raise cannot_read(path, error) from error
    if not data:
        raise UnreadableError(f"{path}: empty", cause="0 bytes", hint="copy the file again, or export the model again")
    return data


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:  # int() takes minutes for a million digits
        raise ValueError(f"it contains an integer of {len(digits)} digits")
    return int(digits)


def _no_constant(name: str) -> float:
    raise ValueError(f"it contains the bare word {name}, which is not JSON")


def _get(holder: Any, key: str, kind: type, where: str) -> Any:
    value = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{where} has no {key!r} that is a {kind.__name__}")
    return value


def _one(items: list, what: str) -> list:
    if len(items) != 1:
        raise ValueError(f"the program has {len(items)} {what}s; a program traced from a network has one")
    return items


# -- operators -------------------------------------------------------------------------------------------------


def _op(number: int, content: Any) -> PirOp:
    where = f"operator {number}"
    tag = _get(content, "#", str, where)
    if tag == PARAMETER:
        described = _get(content, "A", list, where)
        if len(described) < 4 or not isinstance(described[3], str) or not described[3]:
            raise ValueError(f"{where} is a parameter without a name")
        value = _value(_get(content, "O", dict, where), where)
        if len(value.types) != 1 or value.is_list:
            raise ValueError(f"{where}, parameter {described[3]!r}, is not a tensor")
        flags = content.get("OA")  # persistable, stop_gradient, trainable
        is_saved = not (isinstance(flags, list) and flags[:1] == [0])
        return PirOp(number, "builtin", PARAMETER, (), (value,), {"name": described[3], "persistable": is_saved})
    dialect, dot, name = tag.partition(".")
    if not dot or not name:
        raise ValueError(f"{where} is named {tag!r}, without a dialect")
    where = f"{where} ({name})"
    operands = tuple(_get(operand, "%", int, where) for operand in _get(content, "I", list, where))
    results = tuple(_value(result, where) for result in _get(content, "O", list, where))
    attrs = dict(_attrs(_get(content, "A", list, where), where))
    path = attrs.pop("struct_name", "/")
    has_regions = bool(content.get("regions"))
    known = str(_DIALECTS.get(dialect, dialect))
    return PirOp(
        number, str(known), name, operands, results, attrs, path if isinstance(path, str) else "/", has_regions
    )


def _attrs(items: list, where: str) -> Iterator[tuple[str, Any]]:
    for item in items:
        name = _get(item, "N", str, where)
        yield name, _attr(_get(item, "AT", dict, f"{where}, attribute {name!r}"), f"{where}, attribute {name!r}")


def _attr(content: Any, where: str) -> Any:
    """An attribute's value: a bool, int, float or str, a list of those, None for a type that no operator here reads."""
    kind = _get(content, "#", str, where).rpartition(".")[2]
    if kind in ("a_f32", "a_f64"):
        if content.get("VD") in _NOT_FINITE:
            return _NOT_FINITE[content["VD"]]
        data = content.get("D")
        return float(_get(content, "D", int if isinstance(data, int) else float, where))
    if kind == "a_bool":
        return _get(content, "D", bool, where)
    if kind in ("a_i32", "a_i64", "a_index"):
        return _get(content, "D", int, where)
    if kind in ("a_str", "a_dtype", "a_layout"):
        return _get(content, "D", str, where)
    if kind == "a_array":
        return [_attr(item, where) for item in _get(content, "D", list, where)]
    if kind == "a_intarray":
        return [_get({"D": item}, "D", int, where) for item in _get(content, "D", list, where)]
    if kind == "a_scalar":
        data = _get(content, "D", list, where)
        if len(data) == 2 and isinstance(data[0], str) and isinstance(data[1], (bool, int, float)):
            return data[1]
        raise ValueError(f"{where} is a damaged scalar")
    return None


# -- values ----------------------------------------------------------------------------------------------------


def _value(content: Any, where: str) -> PirValue:
    number, described = _get(content, "%", int, where), _get(content, "TT", dict, where)
    kind = _get(described, "#", str, where).rpartition(".")[2]
    if kind == "t_dtensor":
        return PirValue(number, (_tensor_type(described, where),))
    if kind == "t_vec":
        items = _get(described, "D", list, where)
        types = tuple(_tensor_type(item, where) for item in items if _is_tensor(item))
        return PirValue(number, types if len(types) == len(items) else (), is_list=True)
    return PirValue(number)


def _is_tensor(content: Any) -> bool:
    return isinstance(content, dict) and str(content.get("#")).rpartition(".")[2] == "t_dtensor"


def _tensor_type(content: Any, where: str) -> TensorType:
    data = _get(content, "D", list, where)
    if len(data) < 2 or not isinstance(data[1], list):
        raise ValueError(f"{where} has a result without sizes")
    element = _get(data[0], "#", str, where).rpartition(".")[2]
    dims = tuple(_get({"size": size}, "size", int, where) for size in data[1])
    if element not in _DTYPES:
        raise ValueError(f"{where} has a result of the element type {element!r}")
    if len(dims) > MAX_RANK or any(not -MAX_SIZE <= size <= MAX_SIZE for size in dims):
        raise ValueError(f"{where} has a result of invalid sizes {list(dims)[:8]}")
    # Paddle multiplies dynamic sizes too: instance_norm's statistics of a dynamic batch have size -1 * channels.
    return TensorType(_DTYPES[element], tuple(max(size, -1) for size in dims))


def _check_values(ops: tuple[PirOp, ...]) -> None:
    """Checks that each value is created once, before it is read."""
    made: set[int] = set()
    for op in ops:
        for operand in op.operands:
            if operand and operand not in made:
                raise ValueError(f"{op} reads value {operand}, which no earlier operator creates")
        for result in op.results:
            if result.id in made:
                raise ValueError(f"{op} creates value {result.id} a second time")
            if result.id:
                made.add(result.id)
