"""Translates a program of Paddle 3 into a legacy program, operator by operator."""

from __future__ import annotations

from segexport.exporter.pir.custom_rules import SPECIAL
from segexport.exporter.pir.file import PirGraph, PirOp, PirValue
from segexport.exporter.pir.rule_grammar import Rule, operands, results
from segexport.exporter.pir.rules import RULES
from segexport.exporter.pir.translation import Translation
from segexport.exporter.program import Attr, Program

# Attributes about devices, distributed training and similar matters: they do not change the result.
_IGNORED = frozenset({"place", "op_dist_attr", "op_role", "chunk_id", "op_callstack", "place_type"})


def rule_name(op: PirOp) -> str | None:
    """The operator's name in the tables, None if they lack it; `relu_` is `relu` in place."""
    name = op.name if op.name == "p" else op.full_name
    candidates = (name, name[:-1]) if name.endswith("_") else (name,)
    return next((found for found in candidates if found in SPECIAL or found in RULES), None)


def translate(graph: PirGraph, source: str) -> Program:
    """Translates a graph into a legacy program.

    Args:
        graph: The graph; each of its operators has a rule (`rule_name`).
        source: The file's name in messages.

    Raises:
        UnsupportedModelError: An operator has no legacy form for its use here.
        InputError: The program is damaged.
    """
    t = Translation(graph, source)
    for op in graph.ops:
        name = rule_name(op)
        assert name is not None, op
        t.start()
        if name in SPECIAL:
            SPECIAL[name](t, op)
        else:
            _apply(t, op, RULES[name])
        _check_all_read(t, op)
    return t.program


def _apply(t: Translation, op: PirOp, rule: Rule) -> None:
    inputs: dict[str, list[str]] = {}
    attrs, words = t.attributes(op, rule.attrs), operands(rule.operands)
    if any(op.operands[len(words) :]):
        raise t.unsupported(op, f"it has {len(op.operands)} operands; the legacy operator has {len(words)}")
    for index, word in enumerate(words):
        if not t.operand(op, index):
            if not (word.is_optional or word == operands("-")[0]):
                raise t.damaged(op, f"its operand {index} is missing")
            continue
        if word.attr and (value := t.constant(op, index)) is not None:
            attrs[word.attr] = t.typed(op, word.type, value)
        elif word.slot == "VARS":
            attrs[word.attr] = _variables(t, op, index)
        elif word.list_slot and t.operand(op, index) in t.lists:
            inputs[word.list_slot] = [t.in_dtype(op, name, word.dtype) for name in t.tensors(op, index)]
            if word.attr:  # computed sizes are -1 in the attribute
                attrs[word.attr] = t.typed(op, word.type, [-1] * len(inputs[word.list_slot]))
        elif word.slot:
            inputs[word.slot] = [t.in_dtype(op, t.tensor(op, index), word.dtype)]
            sizes = t.program.shape(inputs[word.slot][0])
            if word.type in ("INTS", "BOUNDS") and len(sizes) == 1 and sizes[0] > 0:  # exporters look for these
                attrs[word.attr] = t.typed(op, word.type, [-1] * sizes[0])
        elif word.attr:
            raise t.unsupported(op, f"its {word.attr} is computed; the legacy operator takes a constant")
        elif word.list_slot:
            raise t.damaged(op, f"its operand {index} is not a list of tensors")
    t.emit(op, rule.op, inputs, _outputs(t, op, rule), attrs)


def _outputs(t: Translation, op: PirOp, rule: Rule) -> dict[str, list[str]]:
    outputs: dict[str, list[str]] = {}
    for index, word in enumerate(results(rule.results)):
        if word.is_new:
            outputs[word.slot] = [_xshape(t, op, outputs.get("Out", [op.name])[0])]
        elif not word.slot or index >= len(op.results) or _is_left_out(op.results[index]):
            continue
        elif word.is_list:
            outputs[word.slot] = t.declare_list(op, op.results[index])
        else:
            outputs[word.slot] = [t.declare(op, index)]
            if word.dtype:
                t.program.vars[outputs[word.slot][0]].dtype = word.dtype
    return outputs


def _xshape(t: Translation, op: PirOp, out: str) -> str:
    """Declares the variable of XShape: the input's sizes after a leading 0, which marks a variable without data."""
    x = t.program.vars[t.tensor(op, 0)]
    return t.new_var(f"{out}.xshape", x.dtype, (0, *x.dims))


def _variables(t: Translation, op: PirOp, index: int) -> Attr:
    """An operand as an attribute of variable names: one variable with all sizes, or one for each size."""
    if t.operand(op, index) in t.lists:
        return Attr("VARS", t.tensors(op, index))
    return Attr("VAR", t.tensor(op, index))


def _check_all_read(t: Translation, op: PirOp) -> None:
    """Refuses an attribute that no rule has read: to drop it silently could change the result."""
    left = [name for name in t.unread(op) if name not in _IGNORED]
    if left and op.name != "p":
        raise t.unsupported(op, f"its attribute {left[0]} ({op.attrs[left[0]]!r}) has no legacy counterpart")


def _is_left_out(value: PirValue) -> bool:
    return not value.id or not (value.types or value.is_list)
