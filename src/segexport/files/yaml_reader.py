"""Reads YAML that segexport did not write: plain data only, bounded, no duplicate keys, and lines for messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from segexport.errors import TooLargeError, UnreadableError, cannot_read
from segexport.files.foreign import guarded

MAX_BYTES = 1 << 20
MAX_NODES = 20_000  # after aliases are followed: a few lines of nested aliases would otherwise fill the memory


@guarded("plain YAML data")
def read_yaml(path: Path) -> Any:
    """The file's content as dicts, lists and scalars.

    Raises:
        InputError: The file is missing, too large or not YAML, or has duplicate keys or more than `MAX_NODES` nodes.
    """
    return to_data(compose(path), path)


@guarded("plain YAML data")
def read_lenient_yaml(path: Path) -> tuple[Any, tuple[str, ...]]:
    """The content as Paddle's tools read it: the last of repeated keys is taken, and Python tuples are lists.

    Returns:
        The content, and the repeated keys with their lines.

    Raises:
        InputError: As for `read_yaml`, but for repeated keys.
    """
    repeated: list[str] = []
    node = compose(path, repeated)
    tuples_to_lists(node)
    return to_data(node, path), tuple(repeated)


@guarded("YAML")
def compose(path: Path, repeated: list[str] | None = None) -> yaml.Node:
    """The file as YAML nodes with their lines; raises as `read_yaml` does.

    Args:
        repeated: Gets the keys that are given again, with their lines; None: such a key is an error.
    """
    try:
        with path.open("rb") as stream:  # a pipe has no size before it is read
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise TooLargeError(f"{path}: more than {MAX_BYTES} bytes of YAML", cause="it is not a configuration")
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{path}: not UTF-8 text", cause=str(error)) from None
    except OSError as error:
        raise cannot_read(path, error) from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise UnreadableError(f"{path}: not valid YAML", cause=_place_of(error)) from None
    if node is None:
        raise UnreadableError(f"{path}: empty")
    _check(node, path, [0], repeated)
    return node


def tuples_to_lists(node: yaml.Node) -> None:
    """Converts Python tuples, which PyYAML writes with a tag of their own, to lists."""
    if isinstance(node, yaml.SequenceNode):
        if node.tag == "tag:yaml.org,2002:python/tuple":
            node.tag = "tag:yaml.org,2002:seq"
        children = node.value
    else:
        children = [child for pair in node.value for child in pair] if isinstance(node, yaml.MappingNode) else []
    for child in children:
        tuples_to_lists(child)


def to_data(node: yaml.Node, path: Path) -> Any:
    """Plain data from checked nodes.

    Raises:
        InputError: A tag is not plain data, such as `!!python/...`.
    """
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    except Exception as error:  # constructors raise many types for empty or wrong values
        raise UnreadableError(f"{path}: not plain YAML data", cause=_place_of(error)) from None
    finally:
        loader.dispose()


def _place_of(error: Exception) -> str:
    """The error's position and text, in one line."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())[:300]
    said = (getattr(error, "context", None), getattr(error, "problem", None))
    what = ", ".join(text for text in said if text)
    return f"line {mark.line + 1}, column {mark.column + 1}: {what}"


def _check(node: yaml.Node, path: Path, count: list[int], repeated: list[str] | None, depth: int = 0) -> None:
    count[0] += 1
    if count[0] > MAX_NODES or depth > 100:
        raise TooLargeError(
            f"{path}: too much YAML: over {MAX_NODES} values or 100 levels",
            cause="aliases multiply a small file, or it is not a configuration",
        )
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _check(child, path, count, repeated, depth + 1)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, child in node.value:
            line = key.start_mark.line + 1
            name = str(key.value)
            if name in seen and name != "<<":
                if repeated is None:
                    raise UnreadableError(f"{path}: line {line}: {name!r} is given twice, first in line {seen[name]}")
                repeated.append(f"{name!r} in line {line}")
            seen[name] = line
            _check(child, path, count, repeated, depth + 1)
