"""Defines rewrites: changes that make a program convertible without changing its results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any, Protocol

import numpy as np

from segexport.exporter.framework_proto import DTYPE_CODE
from segexport.exporter.program import Op, Program

Target = str
"""Name of a `converters.Converter`; each rewrite lists the converters that need it."""

ONNX: Target = "onnx"
LITE_ARM: Target = "paddle-lite arm"
LITE_X86: Target = "paddle-lite x86"
LITE: frozenset[Target] = frozenset({LITE_ARM, LITE_X86})
EVERY: frozenset[Target] = frozenset({ONNX, LITE_ARM, LITE_X86})


class Rewrite(Protocol):
    """A rewrite; one per file. It decides by operators, attributes and shapes, never by names.

    Attributes:
        name: Name in the lineage and in `inspect`.
        version: Raised when the rewrite's result changes.
        targets: Converters that need the rewrite.
    """

    name: str
    version: str
    targets: frozenset[Target]

    def applies(self, program: Program) -> bool:
        """Whether the program contains anything to rewrite."""
        ...

    def apply(self, program: Program) -> list[str]:
        """Rewrites the program in place; returns one note per kind of change."""
        ...


class EachOperator:
    """A rewrite of individual operators: `takes` selects an operator, `change` rewrites it.

    Attributes:
        what: Noun that the note counts, usually the operator type.
        became: The end of the note.
        everywhere: Whether operators in inner blocks are rewritten too.
    """

    what: str
    became: str
    everywhere = False

    def takes(self, program: Program, op: Op) -> bool:
        """Whether to rewrite this operator."""
        raise NotImplementedError

    def change(self, program: Program, op: Op) -> None:
        """Modifies the operator or replaces it."""
        raise NotImplementedError

    def notes(self, changed: list[Op]) -> list[str]:
        """Returns the notes about the changed operators."""
        return [f"{count(len(changed), self.what)} {self.became}"]

    def applies(self, program: Program) -> bool:
        return any(self.takes(program, op) for op in self._operators(program))

    def apply(self, program: Program) -> list[str]:
        changed = [op for op in self._operators(program) if self.takes(program, op)]
        for op in changed:
            self.change(program, op)
        return self.notes(changed)

    def _operators(self, program: Program) -> Iterable[Op]:
        return program.all_ops() if self.everywhere else program.ops


MOST_ELEMENTS = 1 << 24  # largest tensor that `OpBuilder.flat_index` can index


def has(program: Program, *types: str) -> bool:
    """Whether any operator has one of these types."""
    return any(op.type in types for op in program.all_ops())


def reshape(program: Program, source: str, dims: tuple[int, ...] | list[int], out: str | None = None) -> tuple[str, Op]:
    """Builds a reshape2 of `source` to `dims` (no -1) with the XShape output that Paddle-Lite expects.

        The caller inserts the operator.

    Returns:
        The result's name and the operator.
    """
    result = out or program.add_var(f"{source}.reshaped", dims, program.dtype(source))
    shadow = program.add_var(f"{result}.xshape", (0, *program.shape(source)), program.dtype(source))
    op = Op("reshape2", {"X": [source]}, {"Out": [result], "XShape": [shadow]})
    op.set_attr("shape", list(dims), "INTS")
    return result, op


def transpose(program: Program, source: str, axes: list[int], out: str | None = None) -> tuple[str, Op]:
    """Builds a transpose2 of `source`; the caller inserts it. Returns the result's name and the operator."""
    dims = program.shape(source)
    result = out or program.add_var(f"{source}.transposed", [dims[axis] for axis in axes], program.dtype(source))
    shadow = program.add_var(f"{result}.xshape", (0, *dims), program.dtype(source))
    op = Op("transpose2", {"X": [source]}, {"Out": [result], "XShape": [shadow]})
    op.set_attr("axis", list(axes), "INTS")
    return result, op


def binary(program: Program, kind: str, x: str, y: str, dims: tuple[int, ...], dtype: str = "") -> tuple[str, Op]:
    """Builds an elementwise operator or comparison of two variables; the caller inserts it."""
    result = program.add_var(f"{x}.{kind}", dims, dtype or program.dtype(x))
    op = Op(kind, {"X": [x], "Y": [y]}, {"Out": [result]})
    op.set_attr("axis", -1)
    return result, op


def matmul(program: Program, x: str, y: str, dims: tuple[int, ...], out: str | None = None) -> tuple[str, Op]:
    """Builds a matmul_v2 without transposition; the caller inserts it."""
    result = out or program.add_var(f"{x}.matmul", dims, program.dtype(x))
    op = Op("matmul_v2", {"X": [x], "Y": [y]}, {"Out": [result]})
    op.set_attr("trans_x", False)
    op.set_attr("trans_y", False)
    return result, op


def count(number: int, what: str) -> str:
    """Returns the start of a note, e.g. `3 operators relu6`."""
    return f"{number} {'operator' if number == 1 else 'operators'} {what}"


class OpBuilder:
    """Collects the operators that replace one operator; each method returns the name of its result."""

    def __init__(self, program: Program, hint: str) -> None:
        self._program, self._hint = program, hint
        self.ops: list[Op] = []

    def add(
        self,
        type: str,
        inputs: Mapping[str, str | list[str]],
        dims: tuple[int, ...],
        dtype: str = "float32",
        *,
        slot: str = "Out",
        out: str | None = None,
        also: dict[str, str] | None = None,
        **attrs: Any,
    ) -> str:
        """Adds an operator that writes a new variable (or `out`) to `slot`, and further ones to the slots of `also`."""
        result = out or self._program.add_var(self._hint, dims, dtype)
        named = {name: [value] if isinstance(value, str) else list(value) for name, value in inputs.items()}
        op = Op(type, named, {slot: [result], **{name: [value] for name, value in (also or {}).items()}})
        for name, value in attrs.items():
            op.set_attr(name, value)
        self.ops.append(op)
        return result

    def binary(self, kind: str, x: str, y: str, dims: tuple[int, ...], dtype: str = "float32") -> str:
        """Adds an elementwise operator or comparison."""
        return self.add(kind, {"X": x, "Y": y}, dims, dtype, axis=-1)

    def affine(self, x: str, dims: tuple[int, ...], scale: float = 1.0, bias: float = 0.0) -> str:
        """Adds x * scale + bias."""
        return self.add("scale", {"X": x}, dims, scale=float(scale), bias=float(bias), bias_after_scale=True)

    def cast(self, x: str, dims: tuple[int, ...], dtype: str, out: str | None = None) -> str:
        """Adds a cast to another element type."""
        codes: dict[str, Any] = {"in_dtype": DTYPE_CODE[self._program.dtype(x)], "out_dtype": DTYPE_CODE[dtype]}
        return self.add("cast", {"X": x}, dims, dtype, out=out, **codes)

    def column(self, x: str, index: int, rows: int) -> str:
        """Adds a slice: column `index` of a matrix with `rows` rows, as [rows, 1]."""
        attrs: dict[str, Any] = {"axes": [1], "starts": [index], "ends": [index + 1], "infer_flags": [1]}
        return self.add("slice", {"Input": x}, (rows, 1), self._program.dtype(x), decrease_axis=[], **attrs)

    def reshape(self, x: str, dims: tuple[int, ...], out: str | None = None) -> str:
        """Adds a reshape to `dims`, one of which may be -1."""
        shadow = self._program.add_var(f"{self._hint}.xshape", (0, *self._program.shape(x)), self._program.dtype(x))
        return self.add(
            "reshape2", {"X": x}, dims, self._program.dtype(x), out=out, also={"XShape": shadow}, shape=list(dims)
        )

    def positions(self, size: str, length: int = -1) -> str:
        """Adds the numbers from 0 to below `size`, an int32 [1]; `length` of them, if it is known."""
        zero, one = (self.param(np.array([number], np.int32)) for number in (0, 1))
        return self.add("range", {"Start": zero, "End": size, "Step": one}, (length,), "int32")

    def rows(self, x: str, index: str, dims: tuple[int, ...]) -> str:
        """Adds a gather of the rows of `x` at a list of indices."""
        return self.add("gather", {"X": x, "Index": index}, dims, self._program.dtype(x), axis=0)

    def flat_index(self, index: str, dims: tuple[int, ...], axis: int) -> str:
        """Converts `index` along one axis of a tensor of shape `dims` to indices into the flattened tensor.

        Returns:
            int32, one per element of `index`. All sizes must be known and float32 must count them exactly (up to 2^24).
        """
        wanted, axis = self._program.shape(index), axis % len(dims)
        strides = [prod(dims[at + 1 :]) for at in range(len(dims))]
        counts = np.indices(wanted, dtype=np.float32)
        starts = sum(counts[at] * strides[at] for at in range(len(dims)) if at != axis) + np.zeros(wanted, np.float32)
        number = self.affine(self.cast(index, wanted, "float32"), wanted, strides[axis])
        starts = np.asarray(starts, np.float32)  # NumPy 1 widens float32 times a number above 2^16
        place = self.binary("elementwise_add", number, self.param(starts), wanted)
        return self.cast(self.reshape(place, (prod(wanted),)), (prod(wanted),), "int32")

    def param(self, value: np.ndarray) -> str:
        """Adds a parameter."""
        return self._program.add_param(f"{self._hint}.constant", value)

    def constant(self, value: float | int, dtype: str = "float32") -> str:
        """Adds a parameter of one element."""
        return self.param(np.array([value], dtype))
