"""Rewrites NHWC operators as NCHW operators between two transposes.

paddle2onnx and Paddle-Lite silently treat some NHWC operators as NCHW.
"""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator, count, transpose

# operator -> (input slot, output slot, attribute with the data layout)
_IMAGES: dict[str, tuple[str, str, str]] = {
    **dict.fromkeys(
        ("conv2d", "depthwise_conv2d", "conv2d_transpose", "depthwise_conv2d_transpose", "conv3d"),
        ("Input", "Output", "data_format"),
    ),
    **dict.fromkeys(
        ("pool2d", "pool3d", "pad3d", "prelu", "pixel_shuffle", "temporal_shift"), ("X", "Out", "data_format")
    ),
    **dict.fromkeys(("batch_norm", "group_norm"), ("X", "Y", "data_layout")),
    "affine_channel": ("X", "Out", "data_layout"),
    **dict.fromkeys(
        ("bilinear_interp_v2", "nearest_interp_v2", "bicubic_interp_v2", "trilinear_interp_v2", "linear_interp_v2"),
        ("X", "Out", "data_layout"),
    ),
    **dict.fromkeys(("bilinear_interp", "nearest_interp"), ("X", "Out", "data_layout")),
}


class ChannelsFirst(EachOperator):
    """Transposes the image, changes the operator's layout attribute, and transposes the result back."""

    name = "channels_first"
    version = "3"
    targets = EVERY

    def takes(self, program: Program, op: Op) -> bool:
        if op.type not in _IMAGES:
            return False
        source, _, order = _IMAGES[op.type]
        return op.attr(order, "").endswith("C") and len(program.shape(op.input(source) or "")) > 2

    def change(self, program: Program, op: Op) -> None:
        source, result, order = _IMAGES[op.type]
        rank = len(program.shape(op.input(source) or ""))
        to_first, to_last = [0, rank - 1, *range(1, rank - 1)], [0, *range(2, rank), 1]
        image, before = transpose(program, op.input(source) or "", to_first)
        out = op.output(result) or ""
        sizes = program.shape(out)
        turned = program.add_var(f"{out}.channels_first", [sizes[axis] for axis in to_first], program.dtype(out))
        _, after = transpose(program, turned, to_last, out=out)
        op.inputs[source], op.outputs[result] = [image], [turned]
        layout = op.attr(order)
        op.set_attr(order, f"{layout[0]}C{layout[1:-1]}")
        program.insert_before(op, before)
        program.insert_after(op, after)

    def notes(self, changed: list[Op]) -> list[str]:
        types = ", ".join(sorted({op.type for op in changed}))
        return [f"{count(len(changed), types)} given channels first"]
