"""Rewrites the padding of images, which Paddle writes as unsqueeze, pad3d and squeeze.

Paddle-Lite fuses the three into pad2d and reads the sides in the wrong order, so only equal padding on all sides is
correct; the rewrite pads the two dimensions explicitly. No converter supports circular padding; the rewrite
concatenates the image's opposite sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, LITE, OpBuilder, count

_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}  # of pad3d -> of pad2d
_END = 2**31 - 1


@dataclass(frozen=True)
class _Padding:
    """The three operators, and the padding in pixels on the left, right, top and bottom."""

    ops: tuple[Op, Op, Op]
    sides: tuple[int, int, int, int]

    @property
    def source(self) -> str:
        return self.ops[0].input("X") or ""

    @property
    def out(self) -> str:
        return self.ops[2].output("Out") or ""

    @property
    def mode(self) -> str:
        return self.ops[1].attr("mode", "constant")

    def replace(self, program: Program, *new: Op) -> None:
        """Replaces the three operators."""
        program.replace(self.ops[2], *new)
        for op in self.ops[:2]:
            program.replace(op)


class PadInTwoDimensions:
    """Rewrites every padding of height and width that pad2d can express."""

    name = "pad_in_two_dimensions"
    version = "1"
    targets = LITE

    def applies(self, program: Program) -> bool:
        return bool(_paddings(program, *_MODES))

    def apply(self, program: Program) -> list[str]:
        found = _paddings(program, *_MODES)
        for one in found:
            left, right, top, bottom = one.sides
            pad = Op("pad2d", {"X": [one.source]}, {"Out": [one.out]})
            pad.set_attr("paddings", [top, bottom, left, right])
            pad.set_attr("mode", _MODES[one.mode])
            pad.set_attr("pad_value", float(one.ops[1].attr("value", 0.0)))
            pad.set_attr("data_format", "NCHW")
            one.replace(program, pad)
        return [f"{count(len(found), 'pad3d')} of images written as pad2d"]


class CircularPadToConcat:
    """Rewrites every circular padding of height and width."""

    name = "circular_pad_to_concat"
    version = "1"
    targets = EVERY

    def applies(self, program: Program) -> bool:
        return bool(_paddings(program, "circular"))

    def apply(self, program: Program) -> list[str]:
        found = _paddings(program, "circular")
        for one in found:
            build = _Joined(program, f"{one.out}.pad")
            left, right, top, bottom = one.sides
            wide = build.joined(one.source, 3, left, right)
            high = build.joined(wide, 2, top, bottom)
            build.add("assign", {"X": high}, program.shape(one.out), out=one.out)
            one.replace(program, *build.ops)
        return [f"{count(len(found), 'circular pad3d')} written as slices, joined"]


class _Joined(OpBuilder):
    def joined(self, x: str, axis: int, before: int, after: int) -> str:
        """Concatenates the last pixels along an axis, the whole image, and the first pixels."""
        parts = [self._part(x, axis, -before, _END, before)] if before else []
        parts += [x, self._part(x, axis, 0, after, after)] if after else [x]
        dims = list(self._program.shape(x))
        dims[axis] = -1 if dims[axis] < 0 else dims[axis] + before + after
        return self.add("concat", {"X": parts}, tuple(dims), axis=axis) if len(parts) > 1 else x

    def _part(self, x: str, axis: int, start: int, end: int, size: int) -> str:
        dims = list(self._program.shape(x))
        dims[axis] = size
        attrs: dict[str, Any] = {"axes": [axis], "starts": [start], "ends": [end], "infer_flags": [1]}
        return self.add("slice", {"Input": x}, tuple(dims), **attrs)


def _paddings(program: Program, *modes: str) -> list[_Padding]:
    producers, readers = program.producers(), program.consumers()
    found = []
    for op in program.ops:
        if op.type != "pad3d" or op.attr("mode", "constant") not in modes or op.input("Paddings"):
            continue
        sides = list(op.attr("paddings", []))
        opened, closing = producers.get(op.input("X") or ""), readers.get(op.output("Out") or "", [])
        if len(sides) != 6 or any(sides[4:]) or op.attr("data_format", "NCDHW") != "NCDHW":
            continue
        if opened is None or len(closing) != 1 or len(readers.get(op.input("X") or "", [])) != 1:
            continue
        if _is_depth(opened, "unsqueeze2") and _is_depth(closing[0], "squeeze2"):
            found.append(_Padding((opened, op, closing[0]), tuple(sides[:4])))
    return found


def _is_depth(op: Op, type: str) -> bool:
    return op.type == type and op.attr("axes") in ([2], [-3]) and not op.input("AxesTensor")
