"""One program of Paddle 3 on its way into a legacy program, operator by operator."""

from __future__ import annotations

import struct
from typing import Any

from segexport.errors import InputError, UnsupportedModelError
from segexport.exporter import framework_proto as proto
from segexport.exporter.layers import LAYER_PATH
from segexport.exporter.pir.attributes import typed as as_attribute
from segexport.exporter.pir.custom_rules import SPECIAL
from segexport.exporter.pir.file import KNOWN_VERSION, PirGraph, PirOp, PirValue
from segexport.exporter.pir.rule_grammar import Rule, attributes, operands, results
from segexport.exporter.pir.rules import RULES
from segexport.exporter.program import Attr, Block, Op, Program, Var

LEGACY_VERSION = 2006002  # what Paddle 2.6.2 writes
# Attributes about devices, distributed training and the like: they change no result.
_IGNORED = frozenset({"place", "op_dist_attr", "op_role", "chunk_id", "op_callstack", "place_type"})
HINT = "export it with FLAGS_enable_pir_api=0 in the environment (Paddle 3.1 or older), or without this operator"


def rule_name(op: PirOp) -> str | None:
    """The name that the tables have for an operator, None if they have none; `relu_` is `relu` in place."""
    name = op.name if op.name == "p" else op.full_name
    candidates = (name, name[:-1]) if name.endswith("_") else (name,)
    return next((found for found in candidates if found in SPECIAL or found in RULES), None)


class Translation:
    """One program on its way. Values of the `.json` go by their numbers, variables of the result by their names.

    Attributes:
        names: Value -> variable.
        lists: Value -> the variables of a list of tensors.
        constants: Value -> what it holds, for those that may become attributes.
        unsaved: Value -> the name of a buffer that is not persistable: no file holds it. Recurrent layers have one
            that they read in training only.
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

    def run(self) -> Program:
        """Translates every operator."""
        for op in self._graph.ops:
            name = rule_name(op)
            assert name is not None, op
            self._read = set()
            if name in SPECIAL:
                SPECIAL[name](self, op)
            else:
                self._apply(op, RULES[name])
            self._check_all_read(op)
        return self.program

    def _apply(self, op: PirOp, rule: Rule) -> None:
        inputs: dict[str, list[str]] = {}
        attrs, words = self.attributes(op, rule.attrs), operands(rule.operands)
        if any(op.operands[len(words) :]):
            raise self.unsupported(op, f"it has {len(op.operands)} operands, the legacy operator knows {len(words)}")
        for index, word in enumerate(words):
            if not self.operand(op, index):
                if not (word.is_optional or word == operands("-")[0]):
                    raise self.damaged(op, f"its operand {index} is missing")
                continue
            if word.attr and (value := self.constant(op, index)) is not None:
                attrs[word.attr] = self.typed(op, word.type, value)
            elif word.slot == "VARS":
                attrs[word.attr] = self._variables(op, index)
            elif word.list_slot and self.operand(op, index) in self.lists:
                inputs[word.list_slot] = [self.in_dtype(op, name, word.dtype) for name in self.tensors(op, index)]
                if word.attr:  # sizes that are computed are -1 in the attribute
                    attrs[word.attr] = self.typed(op, word.type, [-1] * len(inputs[word.list_slot]))
            elif word.slot:
                inputs[word.slot] = [self.in_dtype(op, self.tensor(op, index), word.dtype)]
                sizes = self.program.shape(inputs[word.slot][0])
                if word.type in ("INTS", "BOUNDS") and len(sizes) == 1 and sizes[0] > 0:  # exporters look for these
                    attrs[word.attr] = self.typed(op, word.type, [-1] * sizes[0])
            elif word.attr:
                raise self.unsupported(op, f"its {word.attr} is computed, the legacy operator takes a constant")
            elif word.list_slot:
                raise self.damaged(op, f"its operand {index} is no list of tensors")
        self.emit(op, rule.op, inputs, self._outputs(op, rule), attrs)

    def _outputs(self, op: PirOp, rule: Rule) -> dict[str, list[str]]:
        outputs: dict[str, list[str]] = {}
        for index, word in enumerate(results(rule.results)):
            if word.is_new:
                outputs[word.slot] = [self._xshape(op, outputs.get("Out", [op.name])[0])]
            elif not word.slot or index >= len(op.results) or _is_left_out(op.results[index]):
                continue
            elif word.is_list:
                outputs[word.slot] = self._declare_list(op, op.results[index])
            else:
                outputs[word.slot] = [self.declare(op, index)]
                if word.dtype:
                    self.program.vars[outputs[word.slot][0]].dtype = word.dtype
        return outputs

    def _xshape(self, op: PirOp, out: str) -> str:
        """The sizes before, of which a first 0 says that they are no tensor's data."""
        x = self.program.vars[self.tensor(op, 0)]
        return self.new_var(f"{out}.xshape", x.dtype, (0, *x.dims))

    # -- values ------------------------------------------------------------------------------------------------

    def operand(self, op: PirOp, index: int) -> int:
        """The number of an operand's value, 0 where it is left out."""
        return op.operands[index] if index < len(op.operands) else 0

    def tensor(self, op: PirOp, index: int) -> str:
        """The variable that an operand stands for."""
        number = self.operand(op, index)
        name = self.names.get(number)
        if number in self.unsaved:
            raise self.unsupported(op, f"it reads {self.unsaved[number]}, a buffer that Paddle does not save")
        if name is None:
            raise self.damaged(op, f"its operand {index} is no tensor")
        return name

    def tensors(self, op: PirOp, index: int) -> list[str]:
        """The variables of an operand that is a list."""
        names = self.lists.get(self.operand(op, index))
        if names is None:
            raise self.damaged(op, f"its operand {index} is no list of tensors")
        return list(names)

    def _variables(self, op: PirOp, index: int) -> Attr:
        """An operand as an attribute that names variables: one with all sizes, or one for each."""
        if self.operand(op, index) in self.lists:
            return Attr("VARS", self.tensors(op, index))
        return Attr("VAR", self.tensor(op, index))

    def constant(self, op: PirOp, index: int) -> Any:
        """What an operand holds, None where that is not known before the program runs."""
        return self.constants.get(self.operand(op, index))

    def result(self, op: PirOp, index: int) -> int:
        """The number of a result's value."""
        if index >= len(op.results):
            raise self.damaged(op, f"it has {len(op.results)} results")
        return op.results[index].id

    def declare(self, op: PirOp, index: int, name: str = "") -> str:
        """Makes the variable of a result; an output of the program is called as Paddle 3 calls it."""
        number = self.result(op, index)
        types = op.results[index].types
        if len(types) != 1 or op.results[index].is_list:
            raise self.damaged(op, f"its result {index} is no tensor")
        hint = name or self._wanted.get(number) or f"{op.name}_{number}"
        found = self.new_var(str(hint), types[0].dtype, types[0].dims)
        if number:
            self.names[number] = found
        return found

    def _declare_list(self, op: PirOp, value: PirValue) -> list[str]:
        if not value.is_list or not value.types:
            raise self.damaged(op, "a result is no list of tensors")
        made = enumerate(value.types)
        self.lists[value.id] = [self.new_var(f"{op.name}_{value.id}.{i}", type.dtype, type.dims) for i, type in made]
        return list(self.lists[value.id])

    def new_var(self, hint: str, dtype: str, dims: tuple[int, ...]) -> str:
        """Adds a tensor variable and returns its name: `hint`, with underscores behind it where that is taken."""
        name = hint
        while name in self.program.vars:
            name += "_"
        self.program.vars[name] = Var(name, dtype=dtype, dims=dims)
        return name

    def dtype(self, op: PirOp) -> str:
        """The element type that the attribute `dtype` names, else that of the first result."""
        named = self.attr(op, "dtype") if "dtype" in op.attrs else None
        if isinstance(named, str) and named in proto.DTYPE_CODE:
            return named
        if not op.results or len(op.results[0].types) != 1:
            raise self.damaged(op, "it has no result of a known type")
        return op.results[0].types[0].dtype

    # -- attributes --------------------------------------------------------------------------------------------

    def attr(self, op: PirOp, name: str) -> Any:
        """An attribute as the file has it."""
        if name not in op.attrs:
            raise self.damaged(op, f"it has no attribute {name!r}")
        self._read.add(name)
        return op.attrs[name]

    def attributes(self, op: PirOp, words: str) -> dict[str, Attr]:
        """The legacy attributes that a rule's words ask for."""
        found = {}
        for word in attributes(words):
            if word.is_new:
                found[word.legacy] = self.typed(op, word.type, word.allowed[0])
            elif word.legacy:
                found[word.legacy] = self.typed(op, word.type, self.attr(op, word.name))
            elif word.name in op.attrs:
                value = self.attr(op, word.name)
                if word.allowed and value not in word.allowed:
                    raise self.unsupported(op, f"its {word.name} is {value!r}; the legacy operator has no such choice")
        return found

    def typed(self, op: PirOp, type: str, value: Any) -> Attr:
        """A value as an attribute of a wire type; see `words` for the types."""
        try:
            return as_attribute(type, value)
        except (TypeError, ValueError, OverflowError, struct.error):
            raise self.damaged(op, f"{str(value)[:80]} is no {type}") from None

    def _check_all_read(self, op: PirOp) -> None:
        """What a rule does not know must not be dropped silently: it may change the result."""
        left = [name for name in op.attrs if name not in self._read and name not in _IGNORED]
        if left and op.name != "p":
            raise self.unsupported(op, f"its attribute {left[0]} ({op.attrs[left[0]]!r}) has no legacy counterpart")

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
        """A variable in another element type; any will do where `dtype` is empty."""
        before = self.program.vars[name]
        if dtype in ("", before.dtype):
            return name
        out = self.new_var(f"{name}.{dtype}", dtype, before.dims)
        self.emit_cast(op, name, out)
        return out

    # -- errors ------------------------------------------------------------------------------------------------

    def damaged(self, op: PirOp, what: str) -> InputError:
        """For a file that no Paddle wrote so."""
        hint = "copy the file again, or export the model again"
        return InputError(f"{self._source}: {op}: {what}", cause="the program is damaged or incomplete", hint=hint)

    def unsupported(self, op: PirOp, why: str) -> UnsupportedModelError:
        """For an operator that has no legacy form as it is used here."""
        cause = why
        if self._graph.version > KNOWN_VERSION:
            cause += f"; the file is of format {self._graph.version}, newer than {KNOWN_VERSION}, the last one known"
        return UnsupportedModelError(f"{self._source}: {op} cannot be translated", cause=cause, hint=HINT)


def _is_left_out(value: PirValue) -> bool:
    return not value.id or not (value.types or value.is_list)
