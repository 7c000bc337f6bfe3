"""What a rewrite is: one change of a program that keeps its results and lets an exporter take it."""

from __future__ import annotations

from typing import Literal, Protocol

from segexport.exporter.program import Op, Program

Target = Literal["onnx", "paddle-lite arm", "paddle-lite x86"]

ONNX: Target = "onnx"
LITE_ARM: Target = "paddle-lite arm"
LITE_X86: Target = "paddle-lite x86"
LITE: frozenset[Target] = frozenset({LITE_ARM, LITE_X86})
EVERY: frozenset[Target] = frozenset({ONNX, LITE_ARM, LITE_X86})


class Rewrite(Protocol):
    """One file, one rewrite. Decisions come from operators, attributes and shapes, never from names.

    Attributes:
        name: As lineage and `inspect` show it.
        version: Changes when the result changes.
        targets: The exports that need it.
    """

    name: str
    version: str
    targets: frozenset[Target]

    def applies(self, program: Program) -> bool:
        """Whether there is anything to change."""

    def apply(self, program: Program) -> list[str]:
        """Changes the program in place; returns a sentence per kind of change."""


def has(program: Program, *types: str) -> bool:
    """Whether any operator is of one of these types."""
    return any(op.type in types for op in program.all_ops())


def reshape(program: Program, source: str, dims: tuple[int, ...] | list[int], out: str | None = None) -> tuple[str, Op]:
    """A reshape2 of `source` to `dims` (no -1), with the XShape output that Paddle-Lite expects; the caller places it.

    Returns:
        The result's name and the operator.
    """
    result = out or program.add_var(f"{source}.reshaped", dims, program.dtype(source))
    shadow = program.add_var(f"{result}.xshape", (0, *program.shape(source)), program.dtype(source))
    op = Op("reshape2", {"X": [source]}, {"Out": [result], "XShape": [shadow]})
    op.set_attr("shape", list(dims), "INTS")
    return result, op


def transpose(program: Program, source: str, axes: list[int], out: str | None = None) -> tuple[str, Op]:
    """A transpose2 of `source`; the caller places it. Returns the result's name and the operator."""
    dims = program.shape(source)
    result = out or program.add_var(f"{source}.transposed", [dims[axis] for axis in axes], program.dtype(source))
    shadow = program.add_var(f"{result}.xshape", (0, *dims), program.dtype(source))
    op = Op("transpose2", {"X": [source]}, {"Out": [result], "XShape": [shadow]})
    op.set_attr("axis", list(axes), "INTS")
    return result, op


def binary(program: Program, kind: str, x: str, y: str, dims: tuple[int, ...], dtype: str = "") -> tuple[str, Op]:
    """An elementwise operator or comparison of two variables; the caller places it."""
    result = program.add_var(f"{x}.{kind}", dims, dtype or program.dtype(x))
    op = Op(kind, {"X": [x], "Y": [y]}, {"Out": [result]})
    op.set_attr("axis", -1)
    return result, op


def matmul(program: Program, x: str, y: str, dims: tuple[int, ...], out: str | None = None) -> tuple[str, Op]:
    """A matmul_v2 without transposition; the caller places it."""
    result = out or program.add_var(f"{x}.matmul", dims, program.dtype(x))
    op = Op("matmul_v2", {"X": [x], "Y": [y]}, {"Out": [result]})
    op.set_attr("trans_x", False)
    op.set_attr("trans_y", False)
    return result, op


def count(number: int, what: str) -> str:
    """`3 operators relu6`: the start of a note."""
    return f"{number} {'operator' if number == 1 else 'operators'} {what}"
