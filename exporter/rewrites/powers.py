"""Rewrites integer powers as products: Paddle-Lite on x86 uses logarithms, which fail for negative numbers."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator, OpBuilder

_LARGEST = 64


class PowerToProduct(EachOperator):
    """Rewrites x ** n for integer n as a product, for negative n as its reciprocal."""

    name = "power_to_product"
    version = "2"
    targets = LITE
    what = "pow"
    became = "written as products or element by element"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "pow" or op.input("FactorTensor"):
            return False
        return program.dtype(op.input("X") or "") == "float32"

    def change(self, program: Program, op: Op) -> None:
        x, out, power = op.input("X") or "", op.output("Out") or "", op.attr("factor")
        dims = program.shape(x)
        build = OpBuilder(program, f"{out}.power")
        if abs(power) not in _POWERS:
            build.add("elementwise_pow", {"X": x, "Y": build.constant(power)}, dims, out=out, axis=-1)
            program.replace(op, *build.ops)
            return
        power = int(power)
        product = _product(build, x, abs(power), dims) if power else build.affine(x, dims, scale=0.0, bias=1.0)
        build.add("reciprocal" if power < 0 else "assign", {"X": product}, dims, out=out)
        program.replace(op, *build.ops)


_POWERS = range(_LARGEST + 1)


def _product(build: OpBuilder, x: str, power: int, dims: tuple[int, ...]) -> str:
    """Computes x ** power by repeated squaring."""
    found, square = "", x
    while True:
        if power % 2:
            found = build.binary("elementwise_mul", found, square, dims) if found else square
        power //= 2
        if not power:
            return found
        square = build.binary("elementwise_mul", square, square, dims)
