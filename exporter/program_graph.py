"""The graph of an inference program and its parameters, with lookup and modification methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from segexport.exporter.graph import Block, Op, Var
from segexport.spec import TensorSpec

if TYPE_CHECKING:
    from typing_extensions import Self

# Attributes that record how a program was traced; they contain paths of the tracing machine and affect no result.
BUILD_ATTRIBUTES = frozenset({"op_callstack", "op_device", "op_role_var"})


def _changes_nothing(op: Op) -> bool:
    by_one = op.attr("scale", 1.0) == 1 and op.attr("bias", 0.0) == 0
    return op.type == "scale" and by_one and not op.input("ScaleTensor")


@dataclass
class ProgramGraph:
    """A program and its parameters.

    Attributes:
        blocks: Block 0 is the main one.
        params: Arrays by name, in file order (sorted names). Treat them as read-only: copies of a program share them.
        version, op_versions: Version information recorded by the Paddle that wrote the program.
    """

    blocks: list[Block]
    params: dict[str, np.ndarray]
    version: int = 0
    op_versions: dict[str, int] = field(default_factory=dict)

    # -- access ------------------------------------------------------------------------------------------------

    @property
    def ops(self) -> list[Op]:
        """The main block's operators in execution order. The list can be modified in place."""
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
        """The names of the inputs, in order."""
        feeds = sorted((op for op in self.ops if op.type == "feed"), key=lambda op: op.attr("col", 0))
        return [op.output("Out") or "" for op in feeds]

    @property
    def fetch_names(self) -> list[str]:
        """The names of the outputs, in order."""
        fetches = sorted((op for op in self.ops if op.type == "fetch"), key=lambda op: op.attr("col", 0))
        return [op.input("X") or "" for op in fetches]

    def all_ops(self) -> Iterator[Op]:
        """Yields the operators of all blocks."""
        for block in self.blocks:
            yield from block.ops

    def compute_ops(self) -> Iterator[Op]:
        """Yields the main block's operators except feed and fetch."""
        return (op for op in self.ops if op.type not in ("feed", "fetch"))

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns a variable's recorded shape, -1 for dynamic sizes."""
        return self.vars[name].dims

    def dtype(self, name: str) -> str:
        """Returns a variable's element type as a numpy name."""
        return self.vars[name].dtype

    def producers(self) -> dict[str, Op]:
        """Returns variable -> the operator that writes it (the last of several, ignoring in-place `scale` by 1).

        A model that was loaded and saved again has such a scale after each output; a backward search would loop on it
        forever.
        """
        found: dict[str, Op] = {}
        for op in self.ops:
            for name in op.output_names():
                if name not in found or not (name in op.input_names() and _changes_nothing(op)):
                    found[name] = op
        return found

    def consumers(self) -> dict[str, list[Op]]:
        """Returns variable -> the operators that read it, in execution order."""
        found: dict[str, list[Op]] = {}
        for op in self.ops:
            for name in dict.fromkeys(op.input_names()):
                found.setdefault(name, []).append(op)
        return found

    # -- change ------------------------------------------------------------------------------------------------

    def copy(self) -> Self:
        """Returns an independent copy of the graph that shares the parameter arrays."""
        return type(self)(
            [block.copy() for block in self.blocks], dict(self.params), self.version, dict(self.op_versions)
        )

    def fresh_name(self, hint: str) -> str:
        """Returns an unused variable name."""
        taken = {name for block in self.blocks for name in block.vars}
        if hint not in taken:
            return hint
        return next(name for index in range(len(taken) + 1) if (name := f"{hint}_{index}") not in taken)

    def add_var(self, hint: str, dims: Iterable[int], dtype: str = "float32") -> str:
        """Adds a tensor variable to the main block and returns its name (`hint`, numbered if it is taken)."""
        name = self.fresh_name(hint)
        self.vars[name] = Var(name, dtype=dtype, dims=tuple(int(size) for size in dims))
        return name

    def add_param(self, hint: str, value: np.ndarray) -> str:
        """Adds a parameter to the main block and returns its name (`hint`, numbered if it is taken)."""
        name = self.fresh_name(hint)
        self.set_param(name, value)
        return name

    def set_param(self, name: str, value: np.ndarray) -> None:
        """Turns variable `name` into a parameter with this value, whatever it was before."""
        value = np.asarray(value)
        value = value if value.flags.c_contiguous else value.copy(order="C")  # keeps 0-D, unlike ascontiguousarray
        self.vars[name] = Var(
            name, dtype=str(value.dtype), dims=value.shape, persistable=True, is_parameter=True, stop_gradient=True
        )
        self.params[name] = value
        self.params = dict(sorted(self.params.items()))

    def insert_before(self, anchor: Op, *ops: Op) -> None:
        """Inserts operators before `anchor` in the main block."""
        index = self._index(anchor)
        self.ops[index:index] = ops

    def insert_after(self, anchor: Op, *ops: Op) -> None:
        """Inserts operators after `anchor` in the main block."""
        index = self._index(anchor) + 1
        self.ops[index:index] = ops

    def replace(self, old: Op, *new: Op) -> None:
        """Replaces `old` by operators; without any, removes it."""
        index = self._index(old)
        self.ops[index : index + 1] = new

    def _index(self, wanted: Op) -> int:
        return next(index for index, op in enumerate(self.ops) if op is wanted)

    def prune(self) -> None:
        """Removes operators that no output needs, then variables and parameters that no operator uses."""
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
        """Removes traces of the exporting machine: call stacks with paths, devices."""
        for op in self.all_ops():
            for name in BUILD_ATTRIBUTES.intersection(op.attrs):
                del op.attrs[name]

    # -- specs -----------------------------------------------------------------------------------------------------

    def inputs(self) -> list[TensorSpec]:
        """Returns the inputs in feed order; a 4-D float input is an image."""
        return [self._input_spec(name) for name in self.feed_names]

    def _input_spec(self, name: str) -> TensorSpec:
        var = self.vars[name]
        layout = ""
        if len(var.dims) == 4:
            layout = "NHWC" if var.dims[3] in (1, 3, 4) and var.dims[1] not in (1, 3, 4) else "NCHW"
        is_image = bool(layout) and var.dtype.startswith("float")
        return TensorSpec(
            name=name, dtype=var.dtype, shape=var.dims, layout=layout, semantics="image" if is_image else "other"
        )
