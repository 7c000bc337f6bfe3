"""The context of a shape rule: sizes of an operator's inputs, and their values if known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import numpy as np

from segexport.exporter.program import Attr, Op, Program

Dims = tuple[int, ...]


class NoRule(Exception):
    """No rule infers this operator's output sizes."""


class Context:
    """The context of a shape rule for one operator: attributes, sizes of its inputs, known values."""

    def __init__(self, program: Program, op: Op, values: Mapping[str, np.ndarray]) -> None:
        self.program, self.op, self.values = program, _with_known_attributes(op, values), values

    def dims(self, slot: str = "X", index: int = 0) -> Dims:
        return self.program.shape(self.op.inputs[slot][index])

    def all_dims(self, slot: str = "X") -> list[Dims]:
        return [self.program.shape(name) for name in self.op.inputs[slot]]

    def integers(self, attr: str, tensor: str = "", tensors: str = "") -> list[int]:
        """An attribute of integers. If tensors give it instead, unknown values are -1."""
        given = self.op.input(tensor) if tensor else None
        if given:
            if given in self.values:
                return [int(value) for value in self.values[given].reshape(-1)]
            count = prod(self.program.shape(given))
            if count < 1:
                raise NoRule
            return [-1] * count
        if tensors and self.op.inputs.get(tensors):
            names = self.op.inputs[tensors]
            return [int(self.values[n].reshape(-1)[0]) if n in self.values else -1 for n in names]
        value = self.op.attr(attr, [])
        return [int(item) for item in value] if isinstance(value, list) else [int(value)]


def _with_known_attributes(op: Op, values: Mapping[str, np.ndarray]) -> Op:
    """The operator with attributes that variables give replaced by the variables' values, -1 where unknown."""
    if not any(attr.type in ("VAR", "VARS") for attr in op.attrs.values()):
        return op
    attrs = dict(op.attrs)
    for name, attr in op.attrs.items():
        if attr.type in ("VAR", "VARS"):
            names = attr.value if attr.type == "VARS" else [attr.value]
            numbers = [int(value) for n in names for value in values.get(n, np.array(-1)).reshape(-1)]
            attrs[name] = Attr("INTS", numbers) if attr.type == "VARS" else Attr("INT", numbers[0])
    return Op(op.type, op.inputs, op.outputs, attrs)


def broadcast(x: Dims, y: Dims) -> Dims:
    """NumPy's rule, extended to dynamic sizes (-1)."""
    rank = max(len(x), len(y))
    out = []
    for a, b in zip((1,) * (rank - len(x)) + x, (1,) * (rank - len(y)) + y, strict=True):
        if a != b and 1 not in (a, b) and -1 not in (a, b):
            raise ValueError(f"{list(x)} and {list(y)} do not broadcast")
        out.append(b if a == 1 else a if b == 1 else max(a, b))
    return tuple(out)


Rule = Callable[[Context], "Dims | list[Dims]"]
