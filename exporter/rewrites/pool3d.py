"""Rewrites 3-D pooling as two 2-D poolings, for Paddle-Lite, which has no 3-D pooling.

A maximum, or an average that excludes padding, over depth, height and width equals one over height and width followed
by one over depth. The first pooling treats each slice as an image, the second each depth column.
"""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator, OpBuilder

_SAME = (1, 1)  # a window of one pixel changes nothing


class Pool3dToPool2d(EachOperator):
    """Rewrites operators of known size with numeric paddings."""

    name = "pool3d_to_pool2d"
    version = "1"
    targets = LITE
    what = "pool3d"
    became = "written as pool2d"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "pool3d" or op.attr("adaptive") or op.attr("global_pooling"):
            return False
        plain = op.attr("padding_algorithm", "EXPLICIT") == "EXPLICIT" and len(op.attr("paddings", [])) == 3
        inside = op.attr("pooling_type") == "max" or op.attr("exclusive", True)
        sizes = (*program.shape(op.input("X") or "")[1:], *program.shape(op.output("Out") or "")[1:])
        return plain and inside and op.attr("data_format", "NCDHW") == "NCDHW" and -1 not in sizes

    def change(self, program: Program, op: Op) -> None:
        x, out = op.input("X") or "", op.output("Out") or ""
        (batch, channels, depth, *image), (*_, rows, columns) = program.shape(x), program.shape(out)
        build = OpBuilder(program, f"{out}.pool")
        found = x
        if any(op.attr(name)[1:] != plain for name, plain in (("ksize", [1, 1]), ("strides", [1, 1]))):
            slices = build.reshape(found, (batch, channels * depth, *image))
            found = _pool(build, op, slices, (batch, channels * depth, rows, columns), slice(1, 3))
        lines = build.reshape(found, (batch, channels, depth, rows * columns))
        pooled = _pool(build, op, lines, (batch, channels, program.shape(out)[2], rows * columns), slice(0, 1))
        build.reshape(pooled, program.shape(out), out=out)
        program.replace(op, *build.ops)


def _pool(build: OpBuilder, op: Op, source: str, dims: tuple[int, ...], axes: slice) -> str:
    """Pools along one or two of the volume's axes."""
    window = [*op.attr("ksize")[axes], *_SAME][:2]
    steps, sides = [*op.attr("strides")[axes], *_SAME][:2], [*op.attr("paddings")[axes], 0, 0][:2]
    attrs = {"ksize": window, "strides": steps, "paddings": sides, "pooling_type": op.attr("pooling_type")}
    attrs |= {"ceil_mode": bool(op.attr("ceil_mode")), "exclusive": True, "global_pooling": False, "adaptive": False}
    return build.add("pool2d", {"X": source}, dims, padding_algorithm="EXPLICIT", data_format="NCHW", **attrs)
