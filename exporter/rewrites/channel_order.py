"""Rewrites pixel_unshuffle and channel_shuffle as reshape, transpose and reshape: not every converter has them."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator, count, reshape, transpose

_TYPES = ("pixel_unshuffle", "channel_shuffle", "shuffle_channel")


class ChannelOrderToReshape(EachOperator):
    """Rewrites operators of known height and width; NCHW only."""

    name = "channel_order_to_reshape"
    version = "1"
    targets = EVERY

    def takes(self, program: Program, op: Op) -> bool:
        if op.type not in _TYPES or op.attr("data_format", "NCHW") != "NCHW":
            return False
        dims = program.shape(op.input("X") or "")
        return len(dims) == 4 and -1 not in dims[1:]

    def change(self, program: Program, op: Op) -> None:
        program.replace(op, *_rearranged(program, op))

    def notes(self, changed: list[Op]) -> list[str]:
        types = sorted({op.type for op in changed})
        return [f"{count(len(changed), ', '.join(types))} written as a transposition"]


def _rearranged(program: Program, op: Op) -> list[Op]:
    source, out = op.input("X") or "", op.output("Out") or ""
    batch, channels, height, width = program.shape(source)
    if op.type == "pixel_unshuffle":
        side = op.attr("downscale_factor")
        split, order = (batch, channels, height // side, side, width // side, side), [0, 1, 3, 5, 2, 4]
    else:
        groups = op.attr("groups") or op.attr("group")
        split, order = (batch, groups, channels // groups, height, width), [0, 2, 1, 3, 4]
    parts, cut = reshape(program, source, split)
    turned, turn = transpose(program, parts, order)
    _, join = reshape(program, turned, program.shape(out), out=out)
    for one, dims in ((cut, split), (join, program.shape(out))):
        one.set_attr("shape", [0, *dims[1:]])
    return [cut, turn, join]
