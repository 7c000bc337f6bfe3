"""Counts a program's multiply-accumulates and parameters."""

from __future__ import annotations

from math import prod

from segexport.errors import UnsupportedModelError
from segexport.exporter.program import Op, Program


def macs(program: Program) -> int:
    """Counts the multiply-accumulates of convolutions and matrix products (with attention); batch 1 if dynamic.

    Raises:
        UnsupportedModelError: Height or width is dynamic, so the cost is undefined.
    """
    return sum(op_macs(program, op) for op in program.compute_ops())


def op_macs(program: Program, op: Op) -> int:
    """Counts the multiply-accumulates of one operator; 0 for all but convolutions and matrix products."""
    if op.type in ("conv2d", "depthwise_conv2d"):
        batch, _, *image = _sizes(program, op.output("Output"), op)
        return batch * prod(program.shape(op.input("Filter"))) * prod(image)
    if op.type in ("conv2d_transpose", "depthwise_conv2d_transpose"):
        batch, _, *image = _sizes(program, op.input("Input"), op)
        return batch * prod(program.shape(op.input("Filter"))) * prod(image)
    if op.type in ("matmul_v2", "matmul", "bmm", "mul"):
        x = _sizes(program, op.input("X"), op)
        turned = op.attr("trans_x", op.attr("transpose_X", False))
        return prod(_sizes(program, op.output("Out"), op)) * x[-2 if turned and len(x) > 1 else -1]
    if op.type == "einsum" and "->" in op.attr("equation", "") and "." not in op.attr("equation"):
        terms = op.attr("equation").replace(" ", "").split("->")[0].split(",")
        letters: dict[str, int] = {}
        for term, name in zip(terms, op.inputs["Operands"], strict=True):
            letters.update(zip(term, _sizes(program, name, op), strict=True))
        return prod(letters.values())
    return 0


def parameters(program: Program) -> int:
    """Counts the elements of all parameters and buffers."""
    return sum(value.size for value in program.params.values())


def _sizes(program: Program, name: str | None, op: Op) -> list[int]:
    sizes = list(program.shape(name or ""))
    if sizes and sizes[0] < 0:
        sizes[0] = 1
    if min(sizes, default=1) < 0:
        raise UnsupportedModelError(
            f"the cost of a model with dynamic sizes is unknown (operator '{op.type}' on {name}: {sizes})",
            hint="fix the input's size first: `segexport import MODEL --input-size WIDTHxHEIGHT -o DIR`",
        )
    return sizes
