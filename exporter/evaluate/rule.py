"""Defines the rule type (operator and input values to output values) and helpers for rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from segexport.exporter.framework_proto import DTYPE_NAME
from segexport.exporter.program import Op

MAX_ELEMENTS = 1 << 24  # of one result: a malicious shape must not exhaust the memory

Inputs = dict[str, list[np.ndarray]]
Rule = Callable[[Op, Inputs], "np.ndarray | list[np.ndarray]"]


def only(inputs: Inputs, slot: str = "X") -> np.ndarray:
    """The only value of a slot."""
    return inputs[slot][0]


def bounded(dims: Sequence[int]) -> tuple[int, ...]:
    """Sizes as a tuple, refused (ValueError) where a result of them would be too large."""
    sizes = tuple(int(size) for size in dims)
    if any(size < 0 for size in sizes) or prod(sizes) > MAX_ELEMENTS:
        raise ValueError(f"a result of sizes {sizes}")
    return sizes


def dtype_of(code: int, fallback: np.ndarray | None = None) -> np.dtype:
    """The element type that a code of the wire names; -1 is that of `fallback`."""
    if code == -1 and fallback is not None:
        return fallback.dtype
    return np.dtype(DTYPE_NAME[code])


def strided(start: int, end: int, step: int, size: int) -> slice:
    """The slice of strided_slice. Backwards, an end of -1 keeps the first element, one below -size does not."""
    if step < 0 and (end == -1 or end < -size):
        return slice(start, None if end == -1 else 0, step)
    return slice(start, end, step)


def int_list(op: Op, inputs: Inputs, attr: str, tensor: str = "", tensors: str = "") -> list[int]:
    """An attribute of integers, which may be given by one tensor or by a list of them instead."""
    if tensor and inputs.get(tensor):
        return [int(value) for value in inputs[tensor][0].reshape(-1)]
    if tensors and inputs.get(tensors):
        return [int(value.reshape(-1)[0]) for value in inputs[tensors]]
    return [int(value) for value in op.attr(attr, [])]
