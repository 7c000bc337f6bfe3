"""Dilated convolutions with padding "SAME" as ones with numbers.

With SAME, Paddle ignores the dilation; paddle2onnx keeps it and writes a model that does not run.
"""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import ONNX, count

_TYPES = ("conv2d", "depthwise_conv2d")


class ExplicitPadding:
    """Writes the paddings where the sizes are known, or where they do not matter: a stride of 1."""

    name = "explicit_padding"
    version = "1"
    targets = frozenset({ONNX})

    def applies(self, program: Program) -> bool:
        return any(_paddings(program, op) for op in program.ops)

    def apply(self, program: Program) -> list[str]:
        changed = [(op, pads) for op in program.ops if (pads := _paddings(program, op))]
        for op, pads in changed:
            op.set_attr("dilations", [1, 1], "INTS")
            op.set_attr("paddings", pads, "INTS")
            op.set_attr("padding_algorithm", "EXPLICIT")
        types = ", ".join(sorted({op.type for op, _ in changed}))
        return [f"{count(len(changed), types)} given paddings in numbers"]


def _paddings(program: Program, op: Op) -> list[int]:
    """Top, bottom, left, right; none where they stay as they are."""
    if op.type not in _TYPES or op.attr("padding_algorithm") != "SAME" or set(op.attr("dilations")) == {1}:
        return []
    dims, kernel = program.shape(op.input("Input") or ""), program.shape(op.input("Filter") or "")[2:]
    spatial = dims[1:3] if op.attr("data_format") == "NHWC" else dims[2:]
    pads = []
    for size, width, stride in zip(spatial, kernel, op.attr("strides"), strict=True):
        if size < 0 and stride != 1:
            return []
        span = width - 1 if stride == 1 else max((-(-size // stride) - 1) * stride + width - size, 0)
        pads += [span // 2, span - span // 2]
    return pads
