"""The tools that read a rewritten program and make an export of it, and the operators that each one takes."""

from __future__ import annotations

from dataclasses import dataclass

from segexport.exporter import supported_operators as tables


@dataclass(frozen=True)
class Converter:
    """A tool that reads Paddle programs.

    Attributes:
        name: As rewrites call it (`Rewrite.targets`): those for this name run before it.
        tool: With the version that the table of its operators is from.
        operators: The types that it takes.
    """

    name: str
    tool: str
    operators: frozenset[str]


_OPT = f"paddlelite {tables.VERSIONS['paddlelite']}"
PADDLE2ONNX = Converter("onnx", f"paddle2onnx {tables.VERSIONS['paddle2onnx']}", tables.ONNX)
OPT_ARM = Converter("paddle-lite arm", _OPT, tables.LITE_ARM)
OPT_X86 = Converter("paddle-lite x86", _OPT, tables.LITE_X86)
CONVERTERS = {converter.name: converter for converter in (PADDLE2ONNX, OPT_ARM, OPT_X86)}
