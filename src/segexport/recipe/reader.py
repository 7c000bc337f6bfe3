"""Reads a recipe from YAML and reports all faults together, each with its line and a suggestion."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from segexport.errors import RecipeError
from segexport.files.foreign import guarded
from segexport.files.yaml_reader import compose, to_data
from segexport.recipe.schema import Recipe


@guarded("a recipe")
def read_recipe(path: Path) -> Recipe:
    """Reads the recipe in `path`.

    Raises:
        InputError: The file is missing, not YAML, or not a recipe; the error lists all faults.
    """
    node = compose(path)
    data = to_data(node, path)
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        faults: dict[tuple[int, str], list[str]] = {}
        for fault in error.errors():
            place = _place(fault, node)
            if fault["type"] == "too_short" and len(_node(node, place).value) >= fault.get("ctx", {})["min_length"]:
                continue  # its items report their faults
            where = ".".join(map(str, place)) or "recipe"
            faults.setdefault((_line(node, place), where), []).append(_message(fault, place))
        lines = [f"  line {line}: {where}: {'; or '.join(texts)}" for (line, where), texts in sorted(faults.items())]
        raise RecipeError(
            "\n".join([f"{path}: {len(faults)} fault{'s' if len(faults) > 1 else ''} in the recipe", *lines]),
            hint="`segexport recipe schema` lists every key",
        ) from None


def _place(fault: Mapping[str, Any], node: yaml.Node) -> list:
    """The keys and indices that lead to a fault, without pydantic's names for the members of a union."""
    place = []
    last = len(fault["loc"]) - 1
    for index, part in enumerate(fault["loc"]):
        child = _child(node, part)
        if child is not None:
            node = child
        elif not (index == last and fault["type"] in ("missing", "extra_forbidden")):
            continue
        place.append(part)
    return place


def _message(fault: Mapping[str, Any], place: list) -> str:
    if fault["type"] == "extra_forbidden":
        known = _known_keys(fault["loc"][:-1])
        near = difflib.get_close_matches(str(place[-1]), known, n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"the keys here are {', '.join(known)}" if known else ""
        return f"unknown key. {advice}".rstrip()
    if fault["type"] == "union_tag_not_found":
        return f"{fault['ctx']['discriminator']} is missing"
    if fault["type"] == "union_tag_invalid":
        return _plain(f"{fault['ctx']['tag']!r} is none of {fault['ctx']['expected_tags']}")
    return _plain(fault["msg"].removeprefix("Value error, ")) + _given(fault)


def _plain(text: str) -> str:
    """Removes Python's names for the members of an enumeration."""
    return re.sub(r"<\w+\.\w+: ('[^']*')>", r"\1", text)


def _given(fault: Mapping[str, Any]) -> str:
    value = fault.get("input")
    return f" (given: {value!r})" if isinstance(value, str | int | float) and fault["type"] != "missing" else ""


def _line(node: yaml.Node, place: list) -> int:
    """The line of the deepest existing node on the path `place`; for a pair, the line of its key."""
    line = node.start_mark.line + 1
    for part in place:
        child = _child(node, part)
        if child is None:
            return line
        keys = [key for key, _ in node.value if key.value == str(part)] if isinstance(node, yaml.MappingNode) else []
        node = child
        line = (keys[0] if keys else node).start_mark.line + 1
    return line


def _node(node: yaml.Node, place: list) -> yaml.Node:
    for part in place:
        node = _child(node, part) or node
    return node


def _child(node: yaml.Node, part: str | int) -> yaml.Node | None:
    """The value of a key, of a merged key, or of an index."""
    if isinstance(node, yaml.MappingNode):
        for wanted in (str(part), "<<"):
            for key, value in node.value:
                found = value if wanted != "<<" else _merged(value, part)
                if key.value == wanted and found is not None:
                    return found
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part]
    return None


def _merged(node: yaml.Node, part: str | int) -> yaml.Node | None:
    parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return next((found for one in parts if (found := _child(one, part)) is not None), None)


def _known_keys(place: tuple) -> list[str]:
    """The keys that the schema allows at `place`."""
    schema = Recipe.model_json_schema()
    current: dict[str, Any] = schema
    for part in place:
        current = _resolved(current, schema)
        if isinstance(part, int):
            current = current.get("items", {})
        elif part in (mapping := current.get("discriminator", {}).get("mapping", {})):
            current = {"$ref": mapping[part]}
        else:
            current = current.get("properties", {}).get(part, {})
    return sorted(_resolved(current, schema).get("properties", {}))


def _resolved(current: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    options = [option for option in current.get("anyOf", []) if option.get("type") != "null"]
    if len(options) == 1:
        current = options[0]
    name = current.get("$ref", "").rpartition("/")[2]
    return schema["$defs"].get(name, {}) if name else current
