"""p-norms as reductions.

paddle2onnx writes the orders infinity and 0 as powers, and takes a tensor as a list of vectors where Paddle takes it
for one (`asvector`). Paddle-Lite computes the Euclidean norm whatever the order is, and adds epsilon to it.
"""

from __future__ import annotations

import math

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, Builder, EachOperator, Target

_NO_POWERS = (0.0, math.inf, -math.inf)
_NEGLIGIBLE = 1e-6


class NormToReductions(EachOperator):
    """Rewrites what one kind of export gets wrong."""

    name = "norm_to_reductions"
    version = "1"
    what = "p_norm"
    became = "written as reductions"

    def __init__(self, targets: frozenset[Target]) -> None:
        self.targets = targets

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "p_norm":
            return False
        order = op.attr("porder", 2.0)
        if self.targets == LITE:
            return bool(op.attr("asvector")) or order != 2 or op.attr("epsilon", 1e-12) > _NEGLIGIBLE
        return bool(op.attr("asvector")) or order in _NO_POWERS

    def change(self, program: Program, op: Op) -> None:
        build = _Norm(program, op)
        build.write(op.attr("porder", 2.0))
        program.replace(op, *build.ops)


class _Norm(Builder):
    def __init__(self, program: Program, op: Op) -> None:
        super().__init__(program, f"{op.output('Out')}.part")
        self._x, self._out = op.input("X") or "", op.output("Out") or ""
        self._dims, self._reduced = program.shape(self._x), program.shape(self._out)
        self._attrs = {"dim": [op.attr("axis", -1)], "keep_dim": op.attr("keepdim", False), "in_dtype": -1}
        self._attrs |= {"reduce_all": bool(op.attr("asvector")), "out_dtype": -1}

    def write(self, order: float) -> None:
        """Of orders 0 and infinity what they are defined as, else (sum |x| ** order) ** (1 / order)."""
        if order == 0:
            nonzero = self.add("not_equal", {"X": self._x, "Y": self.constant(0.0)}, self._dims, "bool", axis=-1)
            self._over("sum", self.cast(nonzero, self._dims, "float32"), self._out)
            return
        magnitude = self.add("abs", {"X": self._x}, self._dims)
        if math.isinf(order):
            self._over("max" if order > 0 else "min", magnitude, self._out)
        elif order == 1:
            self._over("sum", magnitude, self._out)
        else:
            total = self._over("sum", self._power(magnitude, self._dims, order))
            self._power(total, self._reduced, 1 / order, self._out)

    def _over(self, kind: str, x: str, out: str | None = None) -> str:
        return self.add(f"reduce_{kind}", {"X": x}, self._reduced, out=out, **self._attrs)

    def _power(self, x: str, dims: tuple[int, ...], order: float, out: str | None = None) -> str:
        if order == 0.5:
            return self.add("sqrt", {"X": x}, dims, out=out)
        return self.add("pow", {"X": x}, dims, out=out, factor=float(order))
