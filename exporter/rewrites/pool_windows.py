"""Rewrites average pooling that includes padding where Paddle and ONNX Runtime count the padding differently.

For a window that extends past the end of the image, Paddle counts as many pixels after the image as the padding
*before* it has; ONNX Runtime counts the padding after it, and with `ceil_mode` the whole window. The rewrite pads the
image with exactly the zeros that Paddle counts and pools the padded image.
"""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import ONNX, EachOperator, OpBuilder

_TYPES = ("pool2d", "pool3d")


class CountedZeros(EachOperator):
    """Pads explicitly before pooling. Requires numeric paddings (see `same_padding`)."""

    name = "counted_zeros"
    version = "1"
    targets = frozenset({ONNX})
    what = "of pooling"
    became = "given an image with the zeros that it counts"

    def takes(self, program: Program, op: Op) -> bool:
        return counts_other_zeros(op) and bool(_sides(program, op))

    def change(self, program: Program, op: Op) -> None:
        sides = _sides(program, op)
        if any(zeros for before, zeros, _ in sides for zeros in (before, zeros)):
            program.insert_before(op, *_surrounded(program, op, sides))
        op.set_attr("paddings", [side for _, _, uncounted in sides for side in (0, uncounted)])
        op.set_attr("exclusive", True)
        if -1 not in _sizes(program, op):
            op.set_attr("ceil_mode", False)


def counts_other_zeros(op: Op) -> bool:
    """Whether the operator averages over padding that ONNX Runtime counts differently."""
    if op.type not in _TYPES or op.attr("global_pooling") or op.attr("adaptive"):
        return False
    if op.attr("pooling_type") != "avg" or op.attr("exclusive", True):
        return False
    if op.attr("padding_algorithm", "EXPLICIT") == "SAME":
        return True
    return bool(op.attr("ceil_mode")) or any(before != behind for before, behind in _paddings(op))


def _sizes(program: Program, op: Op) -> tuple[int, ...]:
    return program.shape(op.input("X") or "")[2:]


def _paddings(op: Op) -> list[tuple[int, int]]:
    """Returns the padding before and after, per axis."""
    given = list(op.attr("paddings", []))
    if len(given) == len(op.attr("ksize")):
        return [(pad, pad) for pad in given]
    return list(zip(given[::2], given[1::2], strict=True))


def _sides(program: Program, op: Op) -> list[tuple[int, int, int]]:
    """Returns per axis the counted zeros before and after the image, and the uncounted padding after those.

    Empty if sizes are dynamic and the paddings uneven, or if an algorithm determines them.
    """
    if op.attr("padding_algorithm", "EXPLICIT") != "EXPLICIT":
        return []
    found = []
    windows = zip(_sizes(program, op), _paddings(op), op.attr("ksize"), op.attr("strides"), strict=True)
    for size, (before, behind), width, stride in windows:
        if size < 0:
            if before != behind:
                return []
            found.append((before, behind, 0))
            continue
        steps = (size + before + behind - width + (stride - 1 if op.attr("ceil_mode") else 0)) // stride
        beyond = max(steps * stride + width - size - before, 0)
        found.append((before, min(before, beyond), max(beyond - before, 0)))
    return found


def has_empty_window(program: Program, op: Op) -> bool:
    """Whether `ceil_mode` adds a last window without pixels: Paddle keeps it, ONNX Runtime does not.

    For a dynamic size: whether that is possible.
    """
    if not op.attr("ceil_mode") or op.attr("global_pooling") or op.attr("adaptive"):
        return False
    windows = zip(_sizes(program, op), op.attr("ksize"), op.attr("strides"), _paddings(op), strict=True)
    return any(_is_empty(*window) for window in windows)


def _is_empty(size: int, width: int, stride: int, paddings: tuple[int, int]) -> bool:
    before, behind = paddings
    if size < 0:
        return behind + stride > width
    last = -(-(size + before + behind - width) // stride)
    return last * stride - before >= size


def _surrounded(program: Program, op: Op, sides: list[tuple[int, int, int]]) -> list[Op]:
    """Pads the operator's input with zeros."""
    image = op.input("X") or ""
    dims = list(program.shape(image))
    pads = [0, 0, 0, 0]
    for axis, (before, behind, _) in enumerate(sides, start=2):
        dims[axis] = dims[axis] + before + behind if dims[axis] >= 0 else -1
        pads += [before, behind]
    build = OpBuilder(program, f"{image}.surrounded")
    op.inputs["X"] = [build.add("pad", {"X": image}, tuple(dims), paddings=pads, pad_value=0.0)]
    return build.ops
