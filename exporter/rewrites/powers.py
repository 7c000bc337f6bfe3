"""Small whole powers as products: Paddle-Lite on x86 computes powers by logarithms, which negative numbers have not."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, Builder, count

_LARGEST = 4


class PowerToProduct:
    """Rewrites x ** 2, 3 and 4."""

    name = "power_to_product"
    version = "1"
    targets = LITE

    def applies(self, program: Program) -> bool:
        return any(_is_small(op) for op in program.ops)

    def apply(self, program: Program) -> list[str]:
        changed = [op for op in program.ops if _is_small(op)]
        for op in changed:
            x, out = op.input("X") or "", op.output("Out") or ""
            dims, dtype = program.shape(x), program.dtype(x)
            build, product = Builder(program, f"{out}.power"), x
            for index in range(2, int(op.attr("factor")) + 1):
                last = out if index == op.attr("factor") else None
                product = build.add("elementwise_mul", {"X": product, "Y": x}, dims, dtype, out=last, axis=-1)
            program.replace(op, *build.ops)
        return [f"{count(len(changed), 'pow')} written as products"]


def _is_small(op: Op) -> bool:
    return op.type == "pow" and not op.input("FactorTensor") and op.attr("factor") in range(2, _LARGEST + 1)
