"""Reads JSON that segexport did not write: every fault is a ValueError; every value can be written again."""

from __future__ import annotations

import json
from typing import Any

MAX_DEPTH = 64


def parse_json(data: bytes | str, *, allow_nan: bool = False) -> Any:
    """The value of a JSON text.

    Args:
        data: UTF-8 bytes, with or without a byte order mark, or text.
        allow_nan: Whether to accept NaN and infinities, for a reader that reports the field.

    Raises:
        ValueError: The text is not UTF-8 or not JSON, or contains NaN or an infinity (without `allow_nan`), an integer
            of thousands of digits, half a surrogate pair, or more than `MAX_DEPTH` nested levels.
    """
    text = data if isinstance(data, str) else data.decode("utf-8-sig")
    try:
        value = json.loads(text, parse_constant=float if allow_nan else _refuse_constant)
    except RecursionError:  # its text differs between versions of CPython
        raise ValueError(f"nested over {MAX_DEPTH} levels deep") from None
    _require_depth(value)
    if "\\ud" in text.lower():  # half a surrogate pair can be read, but never written
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _require_depth(value: Any) -> None:
    """Checks the depth level by level, without recursion, which could overflow the stack."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        nested = [each for each in level if isinstance(each, dict | list)]
        if not nested:
            return
        level = [child for each in nested for child in (each.values() if isinstance(each, dict) else each)]
    if any(isinstance(each, dict | list) for each in level):
        raise ValueError(f"nested over {MAX_DEPTH} levels deep")
