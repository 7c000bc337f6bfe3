"""Widens fp16 and bf16 (mixed precision) programs to fp32, because CPUs have no kernels for them.

fp32 represents every half-precision value, so weights lose nothing and computations become more exact. fp16 exports are
made from the widened program as from any other.
"""

from __future__ import annotations

import numpy as np

from segexport.exporter.framework_proto import DTYPE_CODE
from segexport.exporter.program import Attr, Op, Program

_HALVES = ("float16", "bfloat16")
_CODES = frozenset(DTYPE_CODE[name] for name in _HALVES)
_DTYPE_ATTRS = ("dtype", "in_dtype", "out_dtype")


def widen_halves(program: Program) -> list[str]:
    """Widens variables, parameters and element types in attributes, in place; returns notes."""
    found = {var.dtype for block in program.blocks for var in block.vars.values()} & set(_HALVES)
    if not found:
        return []
    weights = 0
    for block in program.blocks:
        for name, var in block.vars.items():
            if var.dtype in _HALVES:
                if name in program.params:
                    program.params[name] = _wide(program.params[name], var.dtype)
                    weights += 1
                var.dtype = "float32"
    for op in program.all_ops():
        for name in _DTYPE_ATTRS:
            if op.attr(name) in _CODES:
                op.attrs[name] = Attr("INT", DTYPE_CODE["float32"])
        if op.type == "cast" and op.attr("in_dtype") == op.attr("out_dtype"):
            _copy_instead(op)
    precisions = " and ".join({"float16": "fp16", "bfloat16": "bf16"}[name] for name in sorted(found))
    amount = f"{weights} of {len(program.params)} parameters"
    return [f"{precisions} widened to fp32 ({amount}): a CPU has no kernels for half precision"]


def _wide(value: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "bfloat16":  # the upper half of a float32's bits
        return (value.astype(np.uint32) << 16).view(np.float32)
    return value.astype(np.float32)


def _copy_instead(op: Op) -> None:
    op.type = "assign"
    for name in ("in_dtype", "out_dtype"):
        op.attrs.pop(name, None)
