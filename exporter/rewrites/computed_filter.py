"""Rewrites convolutions with an image-dependent filter as products per filter tap, for Paddle-Lite.

Paddle-Lite's kernels pack a filter on their first run and cache it: the first image is correct, and every later one is
convolved with the first image's filter. For a 1x1 filter, Opt crashes for ARM. A convolution is the sum over its taps
of the image, shifted to the tap's position, times the tap's weights; products are recomputed for every image.

Example network: He et al., Dynamic Multi-scale Filters for Semantic Segmentation, ICCV 2019.
"""

from __future__ import annotations

from typing import Any

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator, OpBuilder, transpose

_CONVOLUTIONS = ("conv2d", "depthwise_conv2d")
_END = 2**31 - 1  # slice end: the end of the axis


class ComputedFilterToProducts(EachOperator):
    """Rewrites single-group and depthwise convolutions."""

    name = "computed_filter_to_products"
    version = "1"
    targets = LITE
    what = "conv2d"
    became = "with a computed filter written as products"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type not in _CONVOLUTIONS or not has_computed_filter(program, op) or op.input("Bias"):
            return False
        filter, channels = program.shape(op.input("Filter") or ""), program.shape(op.input("Input") or "")[1]
        groups = op.attr("groups", 1)
        return -1 not in filter and (groups == 1 or groups == filter[0] == channels) and bool(_padding(op, filter))

    def change(self, program: Program, op: Op) -> None:
        image, filter, out = (op.inputs["Input"][0], op.inputs["Filter"][0], op.outputs["Output"][0])
        (outs, ins, rows, columns), by_channel = program.shape(filter), op.attr("groups", 1) > 1
        batch, _, height, width = program.shape(out)
        build = _Taps(program, f"{out}.taps")
        weights = build.weights(filter, rows * columns, 1 if by_channel else ins, outs)
        moved = build.channels_last(image, _padding(op, program.shape(filter)))
        dims, total = (batch, height, width, outs), ""
        for tap, weight in enumerate(weights):
            window = build.window(moved, op, divmod(tap, columns), (rows, columns), (height, width))
            if by_channel:
                product = build.binary("elementwise_mul", window, weight, dims)
            else:
                product = build.add("matmul_v2", {"X": window, "Y": weight}, dims, trans_x=False, trans_y=False)
            total = build.binary("elementwise_add", total, product, dims) if total else product
        build.ops.append(transpose(program, total, [0, 3, 1, 2], out)[1])
        program.replace(op, *build.ops)


def has_computed_filter(program: Program, op: Op) -> bool:
    """Whether the filter depends on the image. A constant filter that is rounded for int8 does not."""
    waiting, seen = list(op.inputs.get("Filter", ())), set()
    makers: dict[str, Op] = {}
    while waiting:
        name = waiting.pop()
        if name in program.params or name in seen:
            continue
        if name in program.feed_names:
            return True
        seen.add(name)
        makers = makers or {out: each for each in program.ops for out in each.output_names()}
        waiting += makers[name].input_names() if name in makers else ()
    return False


def _padding(op: Op, filter: tuple[int, ...]) -> list[int]:
    """Returns the padding above, below, left and right; empty if it depends on a dynamic size."""
    algorithm, given = op.attr("padding_algorithm", "EXPLICIT"), list(op.attr("paddings", [0, 0]))
    if algorithm == "VALID":
        return [0] * 4
    if algorithm == "SAME":
        if set(op.attr("strides")) != {1} or set(op.attr("dilations")) != {1}:
            return []
        spans = [size - 1 for size in filter[2:]]
        return [pixels for span in spans for pixels in (span // 2, span - span // 2)]
    return given if len(given) == 4 else [given[0], given[0], given[1], given[1]]


class _Taps(OpBuilder):
    """Builds the parts of one convolution."""

    def weights(self, filter: str, taps: int, ins: int, outs: int) -> list[str]:
        """Returns one matrix [ins, outs] per tap; `ins` is 1 for a depthwise convolution."""
        last, op = transpose(self._program, self.reshape(filter, (outs, ins, taps)), [2, 1, 0])
        self.ops.append(op)
        flat = self.reshape(last, (taps * ins, outs))
        if taps == 1:
            return [flat]
        parts = [self._program.add_var(self._hint, (ins, outs), "float32") for _ in range(taps)]
        split = Op("split", {"X": [flat]}, {"Out": parts})
        for name, value in {"axis": 0, "num": taps, "sections": []}.items():
            split.set_attr(name, value, "INTS" if name == "sections" else "INT")
        self.ops.append(split)
        return parts

    def channels_last(self, image: str, sides: list[int]) -> str:
        """Returns the zero-padded image as [batch, height, width, channels]."""
        batch, channels, height, width = self._program.shape(image)
        if any(sides):
            added = (sides[0] + sides[1], sides[2] + sides[3])
            height, width = (
                size if size < 0 else size + more for size, more in zip((height, width), added, strict=True)
            )
            attrs: dict[str, Any] = {"mode": "constant", "pad_value": 0.0, "data_format": "NCHW", "paddings": sides}
            image = self.add("pad2d", {"X": image}, (batch, channels, height, width), **attrs)
        moved, op = transpose(self._program, image, [0, 2, 3, 1])
        self.ops.append(op)
        return moved

    def window(self, image: str, op: Op, tap: tuple[int, int], kernel: tuple[int, int], size: tuple[int, int]) -> str:
        """Returns the pixels that one filter tap reads."""
        starts, ends = [], []
        for place, taps, dilation in zip(tap, kernel, op.attr("dilations"), strict=True):
            behind = (taps - 1 - place) * dilation
            starts.append(place * dilation)
            ends.append(-behind if behind else _END)
        strides, (batch, _, _, channels) = list(op.attr("strides")), self._program.shape(image)
        bounds: dict[str, Any] = {"axes": [1, 2], "starts": starts, "ends": ends}
        dims = (batch, *size, channels)
        if strides != [1, 1]:
            bounds |= {"strides": strides, "infer_flags": [1, 1]}
            return self.add("strided_slice", {"Input": image}, dims, decrease_axis=[], **bounds)
        if kernel == (1, 1):
            return image
        return self.add("slice", {"Input": image}, dims, decrease_axis=[], infer_flags=[1, 1], **bounds)
