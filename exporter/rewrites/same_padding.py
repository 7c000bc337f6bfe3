"""Replaces the paddings "SAME" and "VALID" by numbers.

With SAME, Paddle ignores the dilation of a convolution; paddle2onnx keeps it and writes a model that does not run.
Paddle derives the paddings of a transposed convolution from its input size, ONNX from its output size. `pool_windows`
handles the padding of pools and requires numbers.
"""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator, count

_CONVOLUTIONS = ("conv2d", "depthwise_conv2d", "conv3d")
_TRANSPOSED = ("conv2d_transpose", "depthwise_conv2d_transpose")
_POOLS = ("pool2d", "pool3d")


class ExplicitPadding(EachOperator):
    """Writes the paddings if the sizes are known or irrelevant (stride 1).

    Otherwise a convolution keeps SAME and loses the dilation.
    """

    name = "explicit_padding"
    version = "3"
    targets = EVERY

    def takes(self, program: Program, op: Op) -> bool:
        algorithm = op.attr("padding_algorithm")
        if op.type in _CONVOLUTIONS:
            return algorithm == "SAME" and set(op.attr("dilations")) != {1}
        if op.type in _TRANSPOSED:
            wanted = algorithm in ("SAME", "VALID")
        else:
            is_windowed = op.type in _POOLS and not op.attr("global_pooling") and not op.attr("adaptive")
            wanted = is_windowed and algorithm in ("SAME", "VALID")
        return wanted and bool(_paddings(program, op))

    def change(self, program: Program, op: Op) -> None:
        paddings = _paddings(program, op)
        if op.type not in _POOLS and op.attr("padding_algorithm") == "SAME":
            op.set_attr("dilations", [1] * len(op.attr("dilations")), "INTS")
        if paddings:
            op.set_attr("paddings", paddings, "INTS")
            op.set_attr("padding_algorithm", "EXPLICIT")

    def notes(self, changed: list[Op]) -> list[str]:
        types = ", ".join(sorted({op.type for op in changed}))
        return [f"{count(len(changed), types)} given paddings in numbers"]


def _paddings(program: Program, op: Op) -> list[int]:
    """Returns the padding before and after per axis; empty if it depends on a dynamic size."""
    is_pool = op.type in _POOLS
    sizes = program.shape(op.input("X" if is_pool else "Input") or "")[2:]
    kernel = op.attr("ksize") if is_pool else program.shape(op.input("Filter") or "")[2:]
    if op.attr("padding_algorithm") == "VALID":
        return [0] * (2 * len(kernel))
    pads = []
    for size, width, stride in zip(sizes, kernel, op.attr("strides"), strict=True):
        if size < 0 and stride != 1:
            return []
        span = width - 1 if stride == 1 else max((-(-size // stride) - 1) * stride + width - size, 0)
        pads += [span // 2, span - span // 2]
    return pads
