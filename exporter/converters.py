"""The tools that convert rewritten programs, with the operators that each tool supports."""

from __future__ import annotations

from dataclasses import dataclass

from segexport.exporter import supported_operators as tables


@dataclass(frozen=True)
class Converter:
    """A tool that converts Paddle programs.

    Attributes:
        name: Name in `Rewrite.targets`; the rewrites that list it run before the tool.
        tool: The tool's name, with the version that the operator list comes from.
        operators: Supported operator types.
    """

    name: str
    tool: str
    operators: frozenset[str]


_OPT = f"paddlelite {tables.VERSIONS['paddlelite']}"
PADDLE2ONNX = Converter("onnx", f"paddle2onnx {tables.VERSIONS['paddle2onnx']}", tables.ONNX)
# Operators that paddle2onnx converts to ONNX operators that the LiteRT writer lacks, or to tensors whose size depends
# on the image.
_NOT_IN_LITERT = frozenset(
    {
        "acos", "asin", "atan", "atan2", "conv3d", "deformable_conv", "gaussian_random",
        "multiclass_nms3", "rnn", "roi_align",
        "trilinear_interp_v2", "unique", "where_index", "yolo_box",
    }
)  # fmt: skip
LITERT = Converter("onnx", "segexport's LiteRT writer", tables.ONNX - _NOT_IN_LITERT)
OPT_ARM = Converter("paddle-lite arm", _OPT, tables.LITE_ARM)
OPT_X86 = Converter("paddle-lite x86", _OPT, tables.LITE_X86)
CONVERTERS = {converter.name: converter for converter in (PADDLE2ONNX, OPT_ARM, OPT_X86)}
