"""Small whole powers as products: Paddle-Lite on x86 computes powers by logarithms, which negative numbers have not."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, Builder, EachOperator

_LARGEST = 4


class PowerToProduct(EachOperator):
    """Rewrites x ** 2, 3 and 4."""

    name = "power_to_product"
    version = "1"
    targets = LITE
    what = "pow"
    became = "written as products"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "pow" and not op.input("FactorTensor") and op.attr("factor") in range(2, _LARGEST + 1)

    def change(self, program: Program, op: Op) -> None:
        x, out = op.input("X") or "", op.output("Out") or ""
        dims, dtype = program.shape(x), program.dtype(x)
        build, product = Builder(program, f"{out}.power"), x
        for index in range(2, int(op.attr("factor")) + 1):
            last = out if index == op.attr("factor") else None
            product = build.add("elementwise_mul", {"X": product, "Y": x}, dims, dtype, out=last, axis=-1)
        program.replace(op, *build.ops)
