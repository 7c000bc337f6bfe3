"""An exported Paddle inference program, read, checked, changed and written in pure Python.

The graph becomes plain objects (`Program`, `Block`, `Op`, `Var`) that rewrites change freely; the wire format is met
only in `framework_proto` and at the two ends, `program_reader` and `program_writer`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segexport.spec import TensorSpec

# Attributes that say where and how a program was traced; they hold paths of that machine and change no result.
BUILD_ATTRIBUTES = frozenset({"op_callstack", "op_device", "op_role_var"})


class Attr(NamedTuple):
    """An attribute's value and its type's name on the wire (INT, FLOATS, SCALARS, ...)."""

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
        """An independent copy; attributes' values are never changed in place, so they are shared."""
        inputs = {slot: list(names) for slot, names in self.inputs.items()}
        outputs = {slot: list(names) for slot, names in self.outputs.items()}
        return Op(self.type, inputs, outputs, dict(self.attrs), self.is_target)

    def input(self, slot: str) -> str | None:
        """The first variable of an input slot, None where the slot is absent or empty."""
        names = self.inputs.get(slot)
        return names[0] if names else None

    def output(self, slot: str) -> str | None:
        """The first variable of an output slot, None where the slot is absent or empty."""
        names = self.outputs.get(slot)
        return names[0] if names else None

    def input_names(self) -> list[str]:
        """Every variable that the operator reads, those given as attributes too."""
        names = [name for names in self.inputs.values() for name in names]
        for attr in self.attrs.values():
            if attr.type == "VAR":
                names.append(attr.value)
            elif attr.type == "VARS":
                names.extend(attr.value)
        return names

    def output_names(self) -> list[str]:
        """Every variable that the operator writes."""
        return [name for names in self.outputs.values() for name in names]

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute's value, `default` where it is absent."""
        found = self.attrs.get(name)
        return default if found is None else found.value

    def set_attr(self, name: str, value: Any, type: str | None = None) -> None:
        """Sets an attribute. The type is `type`, else the one that it has already, else the value's own."""
        if type is None:
            type = self.attrs[name].type if name in self.attrs else attr_type(value)
        self.attrs[name] = Attr(type, list(value) if isinstance(value, (list, tuple)) else value)

    def rename(self, old: str, new: str, *, inputs: bool = True, outputs: bool = False) -> None:
        """Replaces a variable's name among the inputs, the outputs, or both."""
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
    """The wire type that a Python value takes as an attribute."""
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


# The widest kind of a list's items decides.
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
        dtype: numpy's name of the element type; empty where the variable is no tensor or the program does not say.
        dims: Sizes, -1 where free. Empty for a 0-D tensor.
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
    """A straight list of operators and the variables that they name; loops and branches hold blocks of their own."""

    idx: int = 0
    parent_idx: int = -1
    forward_idx: int = -1
    ops: list[Op] = field(default_factory=list)
    vars: dict[str, Var] = field(default_factory=dict)

    def copy(self) -> Block:
        """An independent copy (by hand: ten times faster than `deepcopy`, which shows on 2,000 operators)."""
        variables = {name: replace(var) for name, var in self.vars.items()}
        return Block(self.idx, self.parent_idx, self.forward_idx, [op.copy() for op in self.ops], variables)


@dataclass
class Program:
    """A program and its parameters.

    Attributes:
        blocks: Block 0 is the main one.
        params: Arrays by name, in file order (sorted names). Treat them as read-only: copies of a program share them.
        version, op_versions: What the writing Paddle recorded of itself.
    """

    blocks: list[Block]
    params: dict[str, np.ndarray]
    version: int = 0
    op_versions: dict[str, int] = field(default_factory=dict)

    # -- access ------------------------------------------------------------------------------------------------

    @property
    def ops(self) -> list[Op]:
        """The main block's operators, in execution order. The list may be changed in place."""
        return self.blocks[0].ops

    @ops.setter
    def ops(self, ops: Iterable[Op]) -> None:
        self.blocks[0].ops = list(ops)

    @property
    def vars(self) -> dict[str, Var]:
        """The main block's variables."""
        return self.blocks[0].vars

    @property
    def feed_names(self) -> list[str]:
        """The names of the inputs in their order."""
        feeds = sorted((op for op in self.ops if op.type == "feed"), key=lambda op: op.attr("col", 0))
        return [op.output("Out") or "" for op in feeds]

    @property
    def fetch_names(self) -> list[str]:
        """The names of the outputs in their order."""
        fetches = sorted((op for op in self.ops if op.type == "fetch"), key=lambda op: op.attr("col", 0))
        return [op.input("X") or "" for op in fetches]

    def all_ops(self) -> Iterator[Op]:
        """The operators of every block."""
        for block in self.blocks:
            yield from block.ops

    def compute_ops(self) -> Iterator[Op]:
        """The main block's operators without feed and fetch."""
        return (op for op in self.ops if op.type not in ("feed", "fetch"))

    def shape(self, name: str) -> tuple[int, ...]:
        """A variable's sizes as the program records them, -1 where free."""
        return self.vars[name].dims

    def dtype(self, name: str) -> str:
        """A variable's element type by numpy's name."""
        return self.vars[name].dtype

    def producers(self) -> dict[str, Op]:
        """Variable -> the operator that writes it (the last one where several do)."""
        return {name: op for op in self.ops for name in op.output_names()}

    def consumers(self) -> dict[str, list[Op]]:
        """Variable -> the operators that read it, in execution order."""
        found: dict[str, list[Op]] = {}
        for op in self.ops:
            for name in dict.fromkeys(op.input_names()):
                found.setdefault(name, []).append(op)
        return found

    # -- change ------------------------------------------------------------------------------------------------

    def copy(self) -> Program:
        """An independent copy of the graph; the parameters' arrays are shared."""
        return Program([block.copy() for block in self.blocks], dict(self.params), self.version, dict(self.op_versions))

    def fresh_name(self, hint: str) -> str:
        """A name that no variable has yet."""
        taken = {name for block in self.blocks for name in block.vars}
        if hint not in taken:
            return hint
        return next(name for index in range(len(taken) + 1) if (name := f"{hint}_{index}") not in taken)

    def add_var(self, hint: str, dims: Iterable[int], dtype: str = "float32") -> str:
        """Adds a tensor variable to the main block and returns its name (`hint`, numbered where it is taken)."""
        name = self.fresh_name(hint)
        self.vars[name] = Var(name, dtype=dtype, dims=tuple(int(size) for size in dims))
        return name

    def add_param(self, hint: str, value: np.ndarray) -> str:
        """Adds a parameter to the main block and returns its name (`hint`, numbered where it is taken)."""
        name = self.fresh_name(hint)
        self.set_param(name, value)
        return name

    def set_param(self, name: str, value: np.ndarray) -> None:
        """Makes variable `name` a parameter of this value, whatever it was before."""
        value = np.asarray(value)
        value = value if value.flags.c_contiguous else value.copy(order="C")  # keeps 0-D, unlike ascontiguousarray
        self.vars[name] = Var(
            name, dtype=str(value.dtype), dims=value.shape, persistable=True, is_parameter=True, stop_gradient=True
        )
        self.params[name] = value
        self.params = dict(sorted(self.params.items()))

    def insert_before(self, anchor: Op, *ops: Op) -> None:
        """Puts operators in front of `anchor` in the main block."""
        index = self._index(anchor)
        self.ops[index:index] = ops

    def insert_after(self, anchor: Op, *ops: Op) -> None:
        """Puts operators behind `anchor` in the main block."""
        index = self._index(anchor) + 1
        self.ops[index:index] = ops

    def replace(self, old: Op, *new: Op) -> None:
        """Puts operators in the place of `old`; with none, removes it."""
        index = self._index(old)
        self.ops[index : index + 1] = new

    def _index(self, wanted: Op) -> int:
        return next(index for index, op in enumerate(self.ops) if op is wanted)

    def prune(self) -> None:
        """Drops operators that no output needs, then variables and parameters that no operator names."""
        if len(self.blocks) == 1:
            needed: set[str] = set()
            kept = []
            for op in reversed(self.ops):
                if op.type in ("feed", "fetch") or needed.intersection(op.output_names()):
                    kept.append(op)
                    needed.update(op.input_names())
            self.ops = kept[::-1]
        used = {name for op in self.all_ops() for name in (*op.input_names(), *op.output_names())}
        for block in self.blocks:
            block.vars = {name: var for name, var in block.vars.items() if name in used or not var.is_tensor}
        self.params = {name: value for name, value in self.params.items() if name in used}

    def strip_build_paths(self) -> None:
        """Removes what the tracing machine left behind: call stacks with its paths, its devices."""
        for op in self.all_ops():
            for name in BUILD_ATTRIBUTES.intersection(op.attrs):
                del op.attrs[name]

    # -- checks and specs --------------------------------------------------------------------------------------

    def verify(self, source: str = "program") -> None:
        """Checks that the program can run: what it names exists, and is written before it is read.

        Args:
            source: What error messages call the program (its path).

        Raises:
            InputError: The first fault, with the operator's number and type.
        """
        from segexport.exporter.program_verify import verify

        verify(self, source)

    def inputs(self) -> list[TensorSpec]:
        """The inputs in feed order; a 4-D float input with 1, 3 or 4 channels counts as an image."""
        return [self._input_spec(name) for name in self.feed_names]

    def _input_spec(self, name: str) -> TensorSpec:
        var = self.vars[name]
        layout = ""
        if len(var.dims) == 4:
            layout = "NHWC" if var.dims[3] in (1, 3, 4) and var.dims[1] not in (1, 3, 4) else "NCHW"
        channels = var.dims[layout.index("C")] if layout else 0
        is_image = channels in (-1, 1, 3, 4) and var.dtype.startswith("float")
        return TensorSpec(
            name=name, dtype=var.dtype, shape=var.dims, layout=layout, semantics="image" if is_image else "other"
        )

    def outputs(self) -> list[TensorSpec]:
        """The outputs in fetch order, with layout and semantics as the graph shows them (see `head`)."""
        from segexport.exporter.head import output_specs

        return output_specs(self)

    # -- files -------------------------------------------------------------------------------------------------

    def write(self, folder: Path, stem: str = "model") -> tuple[Path, Path]:
        """Writes `stem.pdmodel` and `stem.pdiparams`; equal programs give equal bytes.

        Returns:
            The two paths.

        Raises:
            StorageError: The folder cannot be written or is full; nothing half-written stays.
        """
        from segexport.exporter.program_writer import write

        return write(self, Path(folder), stem)

    def to_bytes(self) -> bytes:
        """The `.pdmodel` file's bytes, in canonical order and without build paths."""
        from segexport.exporter.program_writer import model_bytes

        return model_bytes(self)


def read(model: Path, params: Path) -> Program:
    """Reads an exported inference program and its parameters, and verifies both.

    Args:
        model: The `.pdmodel` file.
        params: The `.pdiparams` file.

    Raises:
        InputError: A file is missing, empty, damaged, swapped, or of another kind; the cause says which.
    """
    from segexport.exporter.program_reader import read_program

    return read_program(Path(model), Path(params))
