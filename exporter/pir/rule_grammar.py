"""Parses the rules of the table `rules`: how an operator of Paddle 3 is written in a legacy program.

A rule is made of words. An operand of Paddle 3 is often an attribute of the legacy operator if it is a constant, and an
input slot otherwise:

    operands   "X"                        a tensor, into the slot X
               "X*"                       a list of tensors
               "X?"                       optional
               "Size!int32", "Sizes*!int32"  cast to this element type if they have another
               "axis:INT"                 a constant, into the attribute axis
               "axis:INT|AxisTensor"      the same, or, if it is computed, into the slot AxisTensor
               "shape:INTS|Shape|Sizes*"  the same with a second slot for a list of tensors, one for each size
               "sections:INTS||Sections*" the same with only that slot
               "ksize:INTS|VARS"          a constant, or the names of variables, into the attribute
               "-"                        dropped
    results    "Out", "Out*", "-"         as above; "+XShape": only the legacy operator has it
               "Out:bool"                 this element type replaces the recorded one, which is wrong for a few
    attrs      "groups:INT"               copied
               "transpose_x>trans_x:BOOLEAN"  copied under another name
               "stable=true|false"        dropped; each of these values is the legacy behaviour
               "sparse"                   dropped
               "+axis:INT=-1"             only the legacy operator has it

Types are those of the legacy format (`framework_proto`), and two more: DTYPE, a name that becomes a code (INT), and
BOUNDS, integers (INTS); one beyond 32 bits means "to the end".
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any, NamedTuple


class Rule(NamedTuple):
    """One row of the table: the legacy operator, and the words for its operands, results and attributes."""

    op: str
    operands: str = "X"
    results: str = "Out"
    attrs: str = ""


class Operand(NamedTuple):
    """The destination of an operand: a slot, or an attribute with a slot for a value that is not constant.

    `dtype` is the element type that the slot needs; empty: any.
    """

    slot: str
    list_slot: str
    is_optional: bool
    attr: str
    type: str
    dtype: str


class Result(NamedTuple):
    """The destination of a result. `dtype` replaces the file's element type; empty: the file's is kept."""

    slot: str
    is_list: bool
    is_new: bool
    dtype: str


class Attribute(NamedTuple):
    """The destination of an attribute. `legacy` is empty if it is dropped; `allowed` then lists the valid values."""

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
    """Parses a rule's words for the operands."""
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
    """Parses a rule's words for the results."""
    found = []
    for word in words.split():
        match = _RESULT.fullmatch(word)
        assert match, word
        found.append(Result(match["name"].strip("-"), bool(match["many"]), bool(match["new"]), match["dtype"] or ""))
    return tuple(found)


@cache
def attributes(words: str) -> tuple[Attribute, ...]:
    """Parses a rule's words for the attributes."""
    found = []
    for word in words.split():
        match = _ATTRIBUTE.fullmatch(word)
        assert match, word
        allowed = tuple(json.loads(value) for value in (match["value"] or "").split("|") if value)
        legacy = (match["legacy"] or match["name"]) if match["type"] else ""
        found.append(Attribute(match["name"], legacy, match["type"] or "", allowed, bool(match["new"])))
    return tuple(found)
