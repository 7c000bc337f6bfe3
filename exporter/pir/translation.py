"""The state of the translation of one Paddle 3 program, through which a rule reads an operator and adds legacy ones."""

from __future__ import annotations

import struct
from typing import Any

from segexport.errors import InputError, UnreadableError, UnsupportedModelError
from segexport.exporter import framework_proto as proto
from segexport.exporter.layers import LAYER_PATH
from segexport.exporter.pir.attributes import typed as as_attribute
from segexport.exporter.pir.file import KNOWN_VERSION, PirGraph, PirOp, PirValue
from segexport.exporter.pir.rule_grammar import attributes
from segexport.exporter.program import Attr, Block, Op, Program, Var

LEGACY_VERSION = 2006002  # what Paddle 2.6.2 writes
HINT = "export it with FLAGS_enable_pir_api=0 in the environment (Paddle 3.1 or older), or without this operator"


class Translation:
    """The translation of one program. The `.json` identifies values by number, the legacy program variables by name.

    Attributes:
        names: Value -> variable.
        lists: Value -> the variables of a list of tensors.
        constants: Value -> its content, for constants that may become attributes.
        unsaved: Value -> the name of a buffer that is not persistable and therefore in no file. Recurrent layers have
            one that they read only in training.
    """

    def __init__(self, graph: PirGraph, source: str) -> None:
        ends = (("feed", "FEED_MINIBATCH"), ("fetch", "FETCH_LIST"))
        block = Block(vars={name: Var(name, kind, persistable=True) for name, kind in ends})
        self.program = Program([block], {}, version=LEGACY_VERSION)
        self.names: dict[int, str] = {}
        self.lists: dict[int, list[str]] = {}
        self.constants: dict[int, Any] = {}
        self.unsaved: dict[int, str] = {}
        self._graph, self._source = graph, source
        self._read: set[str] = set()
        self._wanted = {op.operands[0]: op.attrs.get("name") for op in graph.ops if op.name == "fetch" and op.operands}

    # -- values ------------------------------------------------------------------------------------------------

    def operand(self, op: PirOp, index: int) -> int:
        """The number of an operand's value; 0: the operand is omitted."""
        return op.operands[index] if index < len(op.operands) else 0

    def tensor(self, op: PirOp, index: int) -> str:
        """The variable of an operand."""
        number = self.operand(op, index)
        name = self.names.get(number)
        if number in self.unsaved:
            raise self.unsupported(op, f"it reads {self.unsaved[number]}, a buffer that Paddle does not save")
        if name is None:
            raise self.damaged(op, f"its operand {index} is not a tensor")
        return name

    def tensors(self, op: PirOp, index: int) -> list[str]:
        """The variables of an operand that is a list of tensors."""
        names = self.lists.get(self.operand(op, index))
        if names is None:
            raise self.damaged(op, f"its operand {index} is not a list of tensors")
        return list(names)

    def constant(self, op: PirOp, index: int) -> Any:
        """An operand's content, None if it is unknown before the program runs."""
        return self.constants.get(self.operand(op, index))

    def result(self, op: PirOp, index: int) -> int:
        """The number of a result's value."""
        if index >= len(op.results):
            raise self.damaged(op, f"it has {len(op.results)} results")
        return op.results[index].id

    def declare(self, op: PirOp, index: int, name: str = "") -> str:
        """Declares the variable of a result; an output of the program keeps Paddle 3's name."""
        number = self.result(op, index)
        types = op.results[index].types
        if len(types) != 1 or op.results[index].is_list:
            raise self.damaged(op, f"its result {index} is not a tensor")
        hint = name or self._wanted.get(number) or f"{op.name}_{number}"
        found = self.new_var(str(hint), types[0].dtype, types[0].dims)
        if number:
            self.names[number] = found
        return found

    def declare_list(self, op: PirOp, value: PirValue) -> list[str]:
        if not value.is_list or not value.types:
            raise self.damaged(op, "a result is not a list of tensors")
        made = enumerate(value.types)
        self.lists[value.id] = [self.new_var(f"{op.name}_{value.id}.{i}", type.dtype, type.dims) for i, type in made]
        return list(self.lists[value.id])

    def new_var(self, hint: str, dtype: str, dims: tuple[int, ...]) -> str:
        """Adds a tensor variable and returns its name: `hint`, followed by underscores if it is taken."""
        name = hint
        while name in self.program.vars:
            name += "_"
        self.program.vars[name] = Var(name, dtype=dtype, dims=dims)
        return name

    def dtype(self, op: PirOp) -> str:
        """The element type in the attribute `dtype`, else that of the first result."""
        named = self.attr(op, "dtype") if "dtype" in op.attrs else None
        if isinstance(named, str) and named in proto.DTYPE_CODE:
            return named
        if not op.results or len(op.results[0].types) != 1:
            raise self.damaged(op, "it has no result of a known type")
        return op.results[0].types[0].dtype

    # -- attributes --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Resets the list of attributes that were read; call it before each operator."""
        self._read = set()

    def unread(self, op: PirOp) -> list[str]:
        """The operator's attributes that no rule has read since `start`."""
        return [name for name in op.attrs if name not in self._read]

    def attr(self, op: PirOp, name: str) -> Any:
        """The attribute's value in the file."""
        if name not in op.attrs:
            raise self.damaged(op, f"it has no attribute {name!r}")
        self._read.add(name)
        return op.attrs[name]

    def attributes(self, op: PirOp, words: str) -> dict[str, Attr]:
        """The legacy attributes that a rule's words list."""
        found = {}
        for word in attributes(words):
            if word.is_new:
                found[word.legacy] = self.typed(op, word.type, word.allowed[0])
            elif word.legacy:
                found[word.legacy] = self.typed(op, word.type, self.attr(op, word.name))
            elif word.name in op.attrs:
                value = self.attr(op, word.name)
                if word.allowed and value not in word.allowed:
                    raise self.unsupported(op, f"its {word.name} is {value!r}, which the legacy operator does not have")
        return found

    def typed(self, op: PirOp, type: str, value: Any) -> Attr:
        """A value as an attribute of a legacy type; `rule_grammar` lists the types."""
        try:
            return as_attribute(type, value)
        except (TypeError, ValueError, OverflowError, struct.error):
            raise self.damaged(op, f"{str(value)[:80]} is not of type {type}") from None

    # -- operators ---------------------------------------------------------------------------------------------

    def emit(
        self, op: PirOp, type: str, inputs: dict[str, list[str]], outputs: dict[str, list[str]], attrs: dict[str, Attr]
    ) -> None:
        """Adds a legacy operator that keeps the layer's path of `op`."""
        common = {LAYER_PATH: Attr("STRING", op.path), "op_role": Attr("INT", 0)}
        self.program.ops.append(Op(type, inputs, outputs, attrs | common))

    def emit_cast(self, op: PirOp, source: str, target: str) -> None:
        """Adds a cast from a variable's element type to another's."""
        codes = {
            "in_dtype": self.typed(op, "DTYPE", self.program.dtype(source)),
            "out_dtype": self.typed(op, "DTYPE", self.program.dtype(target)),
        }
        self.emit(op, "cast", {"X": [source]}, {"Out": [target]}, codes)

    def in_dtype(self, op: PirOp, name: str, dtype: str) -> str:
        """A variable cast to this element type if it has another; an empty `dtype` accepts any."""
        before = self.program.vars[name]
        if dtype in ("", before.dtype):
            return name
        out = self.new_var(f"{name}.{dtype}", dtype, before.dims)
        self.emit_cast(op, name, out)
        return out

    # -- errors ------------------------------------------------------------------------------------------------

    def damaged(self, op: PirOp, what: str) -> InputError:
        """The error for a file that Paddle cannot have written."""
        hint = "copy the file again, or export the model again"
        return UnreadableError(f"{self._source}: {op}: {what}", cause="the program is damaged or incomplete", hint=hint)

    def unsupported(self, op: PirOp, why: str) -> UnsupportedModelError:
        """The error for an operator whose use here has no legacy form."""
        cause = why
        if self._graph.version > KNOWN_VERSION:
            cause += f"; the file has format {self._graph.version}, newer than {KNOWN_VERSION}, the last one supported"
        return UnsupportedModelError(f"{self._source}: {op} cannot be translated", cause=cause, hint=HINT)
