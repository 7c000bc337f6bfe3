"""Rewrites tests for NaN and infinity as comparisons: no converter supports them."""

from __future__ import annotations

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator, OpBuilder


class FiniteToComparison(EachOperator):
    """NaN differs from itself; the magnitude of a finite number is below infinity."""

    name = "finite_to_comparison"
    version = "1"
    targets = EVERY
    what = "that tests for finite numbers"
    became = "written as comparisons"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type in _KINDS and program.dtype(op.input("X") or "") == "float32"

    def change(self, program: Program, op: Op) -> None:
        x, out = op.input("X") or "", op.output("Out") or ""
        dims, build = program.shape(x), OpBuilder(program, f"{out}.test")
        first, second = x, x
        if op.type != "isnan_v2":
            first = build.add("abs", {"X": x}, dims)
            second = build.constant(np.inf)
        build.add(_KINDS[op.type], {"X": first, "Y": second}, dims, "bool", out=out, axis=-1)
        program.replace(op, *build.ops)


_KINDS = {"isnan_v2": "not_equal", "isinf_v2": "equal", "isfinite_v2": "less_than"}
