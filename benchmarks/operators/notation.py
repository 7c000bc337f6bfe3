"""The notation of the sweep's tables: an operator, its tensors, its attributes, and the values to try.

    sweep("leaky_relu", X=fed(2, 3, 5, 7), alpha=each(0.0, 0.1, 1.5))

Tensors are inputs, all other values attributes. If there are few combinations, all are tried; if there are many, enough
to include every pair of values at least once.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

MOST_PRODUCTS = 40
"""Largest number of combinations that are all tried; beyond it, only pairs are covered."""


@dataclass(frozen=True)
class Tensor:
    """A tensor that an operator reads.

    Attributes:
        shape: Sizes of the axes.
        dtype: Element type for the operator; a network's input is float32 and is cast to it.
        draw: `normal`: quarters from -6 to 6, with zeros and ties; `nonzero`: without zeros; `positive`: from 0.25 on;
            `unit`: between -1 and 1; a pair of integers: from the first to below the second; an array: these values.
        held: Whether it is a parameter.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    draw: Any = "normal"
    held: bool = False

    def __str__(self) -> str:
        said = ["x".join(map(str, self.shape)) or "scalar"]
        said += [] if self.dtype == "float32" else [self.dtype]
        if isinstance(self.draw, np.ndarray):
            said += ["of", *(f"{number:g}" for number in self.draw.ravel()[:3])]
        elif self.draw != "normal":
            said += [self.draw if isinstance(self.draw, str) else "from {} to {}".format(*self.draw)]
        return " ".join([*said, "parameter"] if self.held else said)

    def values(self, random: np.random.Generator) -> np.ndarray:
        """Draws the values, float32 for an input, or the parameter's type."""
        if isinstance(self.draw, np.ndarray):
            drawn = self.draw
        elif isinstance(self.draw, tuple):
            drawn = random.integers(*self.draw, self.shape)
        elif self.draw == "unit":
            drawn = random.uniform(-0.99, 0.99, self.shape)
        else:
            drawn = np.clip(np.round(random.normal(0, 2.2, self.shape) * 4) / 4, -6, 6)
            if self.draw == "positive":
                drawn = np.abs(drawn) + 0.25
            if self.draw == "nonzero":
                drawn = np.where(drawn == 0, 0.25, drawn)
        return np.asarray(drawn).reshape(self.shape).astype(self.dtype if self.held else "float32")


@dataclass(frozen=True)
class Result:
    """An output of an earlier operator of the same cell: number, slot."""

    op: int
    slot: str = "Out"


@dataclass(frozen=True)
class Op:
    """An operator of a cell. `gives`: slot -> number of outputs; default: the first output."""

    type: str
    inputs: dict[str, tuple[Tensor | Result, ...]]
    attrs: dict[str, Any]
    gives: dict[str, int]


@dataclass(frozen=True)
class Cell:
    """A small program: one operator with one choice of attributes and tensors, or a few in a row.

    Attributes:
        family: The operator's type, or a name for several operators.
        label: Distinguishes two tables of one operator.
        choice: The chosen values, if there are several.
        free: Whether its inputs have dynamic sizes.
        keeps_extra: Whether the program keeps attributes that newer Paddle versions omit.
    """

    family: str
    choice: dict[str, str]
    ops: tuple[Op, ...]
    label: str = ""
    free: bool = False
    keeps_extra: bool = False

    @property
    def name(self) -> str:
        chosen = ", ".join(f"{key} {value}" for key, value in self.choice.items())
        parts = (self.family, self.label, f"[{chosen}]" if chosen else "", "free" if self.free else "")
        return " ".join(filter(None, parts))

    def random(self) -> np.random.Generator:
        """A random generator that depends only on the cell."""
        return np.random.default_rng(int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:8], "big"))


@dataclass(frozen=True)
class Each:
    """Values to try one after the other."""

    values: tuple[Any, ...]


def each(*values: Any) -> Each:
    return Each(values)


def fed(*shape: int, dtype: str = "float32", draw: Any = "normal") -> Tensor:
    """An input of the network."""
    return Tensor(shape, dtype, draw)


def held(*shape: int, dtype: str = "float32", draw: Any = "normal") -> Tensor:
    """A parameter."""
    return Tensor(shape, dtype, draw, held=True)


def given(values: Any, dtype: str = "int64", *, held: bool = True) -> Tensor:
    """A tensor with these values."""
    array = np.asarray(values)
    return Tensor(array.shape, dtype, array, held)


def sweep(
    types: str | Sequence[str],
    label: str = "",
    *,
    gives: dict[str, int] | None = None,
    keeps_extra: bool = False,
    when: Callable[[dict[str, Any]], bool] = lambda _chosen: True,
    **values: Any,
) -> list[Cell]:
    """The cells of an operator, or of several similar ones.

    Args:
        types: Operator types.
        label: Distinguishes this table from others of the same operator.
        gives: Slot -> number of outputs to compare; default: the first slot.
        keeps_extra: As in `Cell`.
        when: Returns whether to try a combination.
        values: Inputs and attributes by name; `each` for several values.
    """
    cells = []
    for type in [types] if isinstance(types, str) else types:
        varied = {key: value.values for key, value in values.items() if isinstance(value, Each)}
        fixed = {key: value for key, value in values.items() if key not in varied}
        for chosen in _combinations(varied):
            if when(fixed | chosen):
                op = _op(type, fixed | chosen, gives or {})
                cells.append(
                    Cell(
                        type,
                        {key: _word(value) for key, value in chosen.items()},
                        (op,),
                        label,
                        keeps_extra=keeps_extra,
                    )
                )
    return cells


def chain(family: str, choice: dict[str, str], *ops: tuple[str, dict[str, Any]]) -> Cell:
    """A cell with a chain of operators, each (type, values)."""
    return Cell(family, choice, tuple(_op(type, values, {}) for type, values in ops))


def of_free_size(cell: Cell) -> Cell:
    """The same cell with dynamic input sizes."""
    return replace(cell, free=True)


def can_be_free(cell: Cell) -> bool:
    """Whether any of its sizes can be dynamic."""
    tensors = [item for op in cell.ops for items in op.inputs.values() for item in items if isinstance(item, Tensor)]
    return any(free_axes(cell, tensor) for tensor in tensors)


def free_axes(cell: Cell, tensor: Tensor) -> list[int]:
    """The axes with dynamic size: height and width of an image, the length of a list."""
    rank = len(tensor.shape)
    if tensor.held or not rank:
        return []
    orders = [op.attrs.get(name, "") for op in cell.ops for name in ("data_format", "data_layout")]
    if rank > 2 and any(order.endswith("C") for order in orders):
        return list(range(1, rank - 1))
    return list(range(2, rank)) if rank > 3 else [min(rank, 2) - 1]


def _op(type: str, values: dict[str, Any], gives: dict[str, int]) -> Op:
    inputs, attrs = {}, {}
    for key, value in values.items():
        parts = value if isinstance(value, (list, tuple)) else (value,)
        if parts and all(isinstance(part, (Tensor, Result)) for part in parts):
            inputs[key] = tuple(parts)
        elif value is not None:
            attrs[key] = value
    return Op(type, inputs, attrs, gives)


def _word(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "(" + " ".join(map(_word, value)) + ")"
    return str(value)


def _combinations(varied: dict[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    if math.prod(map(len, varied.values())) <= MOST_PRODUCTS:
        for values in itertools.product(*varied.values()):
            yield dict(zip(varied, values, strict=True))
        return
    names = list(varied)
    for indices in _pairwise([len(varied[name]) for name in names]):
        yield {name: varied[name][index] for name, index in zip(names, indices, strict=True)}


def _pairwise(sizes: list[int]) -> Iterator[tuple[int, ...]]:
    """Rows of indices that contain every pair of values of any two columns; a greedy, small set."""
    pairs = {
        (a, i, b, j)
        for a, b in itertools.combinations(range(len(sizes)), 2)
        for i in range(sizes[a])
        for j in range(sizes[b])
    }
    while pairs:
        a, i, b, j = min(pairs)
        row: list[int] = [-1] * len(sizes)
        row[a], row[b] = i, j
        for column in range(len(sizes)):
            if row[column] < 0:
                row[column] = max(range(sizes[column]), key=lambda value: _new(pairs, row, column, value))
        pairs -= {(a, row[a], b, row[b]) for a, b in itertools.combinations(range(len(sizes)), 2)}
        yield tuple(row)


def _new(pairs: set, row: list[int], column: int, value: int) -> int:
    """The number of missing pairs that the value would add."""
    found = 0
    for other, there in enumerate(row):
        if other != column and there >= 0:
            low, high = sorted(((other, there), (column, value)))
            found += (*low, *high) in pairs
    return found
