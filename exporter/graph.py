"""Data classes for the parts of a program: operators with typed attributes, variables, blocks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np


class Attr(NamedTuple):
    """An attribute's value and its protobuf type name (INT, FLOATS, SCALARS, ...)."""

    type: str
    value: Any


@dataclass
class Op:
    """An operator: named slots of variable names, and typed attributes."""

    type: str
    inputs: dict[str, list[str]] = field(default_factory=dict)
    outputs: dict[str, list[str]] = field(default_factory=dict)
    attrs: dict[str, Attr] = field(default_factory=dict)
    is_target: bool = False

    def copy(self) -> Op:
        """Returns an independent copy that shares attribute values, which are never modified in place."""
        inputs = {slot: list(names) for slot, names in self.inputs.items()}
        outputs = {slot: list(names) for slot, names in self.outputs.items()}
        return Op(self.type, inputs, outputs, dict(self.attrs), self.is_target)

    def input(self, slot: str) -> str | None:
        """Returns the first variable of an input slot; None if the slot is absent or empty."""
        names = self.inputs.get(slot)
        return names[0] if names else None

    def output(self, slot: str) -> str | None:
        """Returns the first variable of an output slot; None if the slot is absent or empty."""
        names = self.outputs.get(slot)
        return names[0] if names else None

    def input_names(self) -> list[str]:
        """Returns every variable that the operator reads, including variables named by attributes."""
        names = [name for names in self.inputs.values() for name in names]
        for attr in self.attrs.values():
            if attr.type == "VAR":
                names.append(attr.value)
            elif attr.type == "VARS":
                names.extend(attr.value)
        return names

    def output_names(self) -> list[str]:
        """Returns every variable that the operator writes."""
        return [name for names in self.outputs.values() for name in names]

    def attr(self, name: str, default: Any = None) -> Any:
        """Returns an attribute's value, or `default` if it is absent."""
        found = self.attrs.get(name)
        return default if found is None else found.value

    def set_attr(self, name: str, value: Any, type: str | None = None) -> None:
        """Sets an attribute. Its type is `type`, else its existing type, else inferred from the value."""
        if type is None:
            type = self.attrs[name].type if name in self.attrs else attr_type(value)
        self.attrs[name] = Attr(type, list(value) if isinstance(value, (list, tuple)) else value)

    def rename(self, old: str, new: str, *, inputs: bool = True, outputs: bool = False) -> None:
        """Renames a variable in the inputs, the outputs, or both."""
        for wanted, slots in ((inputs, self.inputs), (outputs, self.outputs)):
            if wanted:
                for slot, names in slots.items():
                    slots[slot] = [new if name == old else name for name in names]
        if inputs:
            for name, attr in self.attrs.items():
                if attr.type == "VAR" and attr.value == old:
                    self.attrs[name] = Attr("VAR", new)
                elif attr.type == "VARS":
                    self.attrs[name] = Attr("VARS", [new if item == old else item for item in attr.value])


def attr_type(value: Any) -> str:
    """Returns the protobuf attribute type of a Python value."""
    if isinstance(value, (list, tuple)):
        kinds = {attr_type(item) for item in value}
        if not kinds:
            return "INTS"
        for kind, plural in _PLURAL:
            if kind in kinds:
                return plural
        raise TypeError(f"no attribute type for {value!r}")
    if isinstance(value, bool):
        return "BOOLEAN"
    if isinstance(value, (int, np.integer)):
        return "INT" if -(2**31) <= value < 2**31 else "LONG"
    if isinstance(value, (float, np.floating)):
        return "FLOAT"
    if isinstance(value, str):
        return "STRING"
    raise TypeError(f"no attribute type for {value!r}")


# The widest item type of a list decides.
_PLURAL = (
    ("STRING", "STRINGS"),
    ("FLOAT", "FLOATS"),
    ("LONG", "LONGS"),
    ("INT", "INTS"),
    ("BOOLEAN", "BOOLEANS"),
)


@dataclass
class Var:
    """A variable of a block.

    Attributes:
        kind: LOD_TENSOR for a tensor; FEED_MINIBATCH, FETCH_LIST, LOD_TENSOR_ARRAY, RAW, ... for the rest.
        dtype: numpy name of the element type; empty if the variable is not a tensor or the type is unknown.
        dims: Sizes, -1 if dynamic. Empty for a 0-D tensor.
    """

    name: str
    kind: str = "LOD_TENSOR"
    dtype: str = ""
    dims: tuple[int, ...] = ()
    lod_level: int = 0
    persistable: bool = False
    is_parameter: bool = False
    stop_gradient: bool = False
    need_check_feed: bool = False

    @property
    def is_tensor(self) -> bool:
        return self.kind == "LOD_TENSOR"


@dataclass
class Block:
    """A list of operators and their variables; loops and branches have separate blocks."""

    idx: int = 0
    parent_idx: int = -1
    forward_idx: int = -1
    ops: list[Op] = field(default_factory=list)
    vars: dict[str, Var] = field(default_factory=dict)

    def copy(self) -> Block:
        """Returns an independent copy; ten times faster than `deepcopy`, which matters for 2,000 operators."""
        variables = {name: replace(var) for name, var in self.vars.items()}
        return Block(self.idx, self.parent_idx, self.forward_idx, [op.copy() for op in self.ops], variables)
