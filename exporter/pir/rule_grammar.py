"""The words of which a rule consists: how an operator of Paddle 3 is laid out in a legacy program.

What stands in the table (`rules`) is read here. What Paddle 3 takes as an operand is often an attribute of the legacy
operator as long as it is a constant, and an input slot otherwise:

    operands   "X"                        a tensor, into the slot X
               "X*"                       a list of tensors
               "X?"                       may be left out
               "Size!int32", "Sizes*!int32"  cast to this element type where they are of another
               "axis:INT"                 a constant, into the attribute axis
               "axis:INT|AxisTensor"      the same, or, where it is computed, into the slot AxisTensor
               "shape:INTS|Shape|Sizes*"  the same with a second slot for a list of tensors, one for each size
               "sections:INTS||Sections*" the same with that slot alone
               "ksize:INTS|VARS"          a constant, or the names of variables, into the attribute
               "-"                        not kept
    results    "Out", "Out*", "-"         as above; "+XShape": one that only the legacy operator has
               "Out:bool"                 of another element type than Paddle 3 records, which is wrong for a few
    attrs      "groups:INT"               kept
               "transpose_x>trans_x:BOOLEAN"  kept under another name
               "stable=true|false"        not kept, any of these values is the legacy behaviour
               "sparse"                   not kept
               "+axis:INT=-1"             one that only the legacy operator has

Types are those of the wire (`framework_proto`), and two more: DTYPE, a name that becomes a code (INT), and BOUNDS,
integers (INTS) of which those beyond 32 bits mean "to the end".
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any, NamedTuple


class Rule(NamedTuple):
    """One row: the legacy operator, and the words for operands, results and attributes."""

    op: str
    operands: str = "X"
    results: str = "Out"
    attrs: str = ""


class Operand(NamedTuple):
    """Where an operand goes: into a slot, or an attribute, or, when it is not constant, a slot after all.

    `dtype` is that of a tensor in a slot, empty where any will do.
    """

    slot: str
    list_slot: str
    is_optional: bool
    attr: str
    type: str
    dtype: str


class Result(NamedTuple):
    """`dtype` is empty where the type is that of the file."""

    slot: str
    is_list: bool
    is_new: bool
    dtype: str


class Attribute(NamedTuple):
    """`legacy` is empty where it is not kept; `allowed` then holds the only values that may be dropped."""

    name: str
    legacy: str
    type: str
    allowed: tuple[Any, ...]
    is_new: bool


_OPERAND = re.compile(
    r"(?P<name>-|\w+)(?P<many>\*)?(:(?P<type>[A-Z0-9]+)(\|(?P<slot>\w*)(\|(?P<list>\w+)\*)?)?)?(!(?P<dtype>\w+))?(?P<optional>\?)?"
)
_RESULT = re.compile(r"(?P<new>\+)?(?P<name>-|\w+)(?P<many>\*)?(:(?P<dtype>\w+))?")
_ATTRIBUTE = re.compile(r"(?P<new>\+)?(?P<name>\w+)(>(?P<legacy>\w+))?(:(?P<type>[A-Z0-9]+))?(=(?P<value>\S+))?")


@cache
def operands(words: str) -> tuple[Operand, ...]:
    """Reads a rule's words for the operands."""
    found = []
    for word in words.split():
        match = _OPERAND.fullmatch(word)
        assert match, word
        if match["type"]:
            slots, attr = (match["slot"] or "", match["list"] or ""), match["name"]
        else:
            name = match["name"].strip("-")
            slots, attr = ("", name) if match["many"] else (name, ""), ""
        found.append(Operand(*slots, bool(match["optional"]), attr, match["type"] or "", match["dtype"] or ""))
    return tuple(found)


@cache
def results(words: str) -> tuple[Result, ...]:
    """Reads a rule's words for the results."""
    found = []
    for word in words.split():
        match = _RESULT.fullmatch(word)
        assert match, word
        found.append(Result(match["name"].strip("-"), bool(match["many"]), bool(match["new"]), match["dtype"] or ""))
    return tuple(found)


@cache
def attributes(words: str) -> tuple[Attribute, ...]:
    """Reads a rule's words for the attributes."""
    found = []
    for word in words.split():
        match = _ATTRIBUTE.fullmatch(word)
        assert match, word
        allowed = tuple(json.loads(value) for value in (match["value"] or "").split("|") if value)
        legacy = (match["legacy"] or match["name"]) if match["type"] else ""
        found.append(Attribute(match["name"], legacy, match["type"] or "", allowed, bool(match["new"])))
    return tuple(found)
