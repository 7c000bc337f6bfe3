"""Reads a recipe from YAML and tells every fault at once, each with its line and a suggestion."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from segexport.errors import InputError
from segexport.recipe import Recipe
from segexport.yaml_reader import compose, to_data


def read_recipe(path: Path) -> Recipe:
    """The recipe in `path`.

    Raises:
        InputError: The file is missing, not YAML, or not a recipe; all faults are listed.
    """
    node = compose(path)
    data = to_data(node, path)
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        faults = [_fault(fault, node) for fault in error.errors()]
        raise InputError(
            f"{path}: {len(faults)} fault{'s' if len(faults) > 1 else ''} in the recipe\n"
            + "\n".join(f"  line {line}: {text}" for line, text in sorted(faults)),
            hint="`segexport recipe schema` lists every key",
        ) from None


def _fault(fault: dict[str, Any], node: yaml.Node) -> tuple[int, str]:
    # The tag of a discriminated union stands in the location, but not in the file.
    place = [part for part in fault["loc"] if part not in ("onnx", "paddle-lite")]
    line = _line(node, place)
    where = ".".join(map(str, place))
    if fault["type"] == "extra_forbidden":
        known = _known_keys(fault["loc"][:-1])
        near = difflib.get_close_matches(str(place[-1]), known, n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"the keys here are {', '.join(known)}" if known else ""
        return line, f"{where}: unknown key. {advice}".rstrip()
    return line, f"{where or 'recipe'}: {fault['msg']}" + _given(fault)


def _given(fault: dict[str, Any]) -> str:
    value = fault.get("input")
    return f" (given: {value!r})" if isinstance(value, str | int | float) and fault["type"] != "missing" else ""


def _line(node: yaml.Node, place: list) -> int:
    """The line of the deepest node on the way to `place` that the file has."""
    line = node.start_mark.line + 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(part)]
            if not found:
                return line
            key, node = found[0]
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line


def _known_keys(place: tuple) -> list[str]:
    """The keys that the schema allows at `place`."""
    schema = Recipe.model_json_schema()
    current: dict[str, Any] = schema
    for part in place:
        current = _resolved(current, schema)
        if isinstance(part, int):
            current = current.get("items", {})
        elif part in ("onnx", "paddle-lite"):
            mapping = current.get("discriminator", {}).get("mapping", {})
            current = {"$ref": mapping.get(part, "")} if part in mapping else {}
        else:
            current = current.get("properties", {}).get(part, {})
    return sorted(_resolved(current, schema).get("properties", {}))


def _resolved(current: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    options = [option for option in current.get("anyOf", []) if option.get("type") != "null"]
    if len(options) == 1:
        current = options[0]
    name = current.get("$ref", "").rpartition("/")[2]
    return schema["$defs"].get(name, {}) if name else current
