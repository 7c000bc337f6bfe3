"""Small harm to a good file: to its bytes, or to the tree of its values. Chance comes from a `random.Random`,
so that hypothesis can drive it and cut a finding down."""

from __future__ import annotations

import copy
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import yaml

Mutation = Callable[[random.Random, bytes], bytes]

_DEEP: Any = "x"
for _ in range(150):
    _DEEP = [_DEEP]

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 255, 256, 2**31, 2**63, -(2**63), 10**40, 0.5, -0.0, 1e308, -1e308,
    float("nan"), float("inf"), "", " ", "0", "-1", "nan", "\0", "\u202e", "\ud800", "x" * 3000, "../../etc/passwd",
    "/etc/passwd", "a/b", "%s%n", [], [[]], [None], [1, "a"], {}, {"": None}, {"a": {"a": {}}}, _DEEP,
)  # fmt: skip
_ODD_INTEGERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF)
_ODD_BYTES = (b"\0", b"\xff", b"\n", b"{", b"[", b'"', b"&a *a", b"!!int ''", b"<!ENTITY", b"\xff\xfe", b"\r\n", b"\t")


def edit_bytes(chance: random.Random, data: bytes) -> bytes:
    """Flips, cuts, doubles, fills and overwrites with numbers that readers trip over."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(found) + 1)
        length = min(chance.choice((1, 1, 2, 4, 16, 200)), len(found) - place)
        kind = chance.randrange(7)
        if kind == 0:
            del found[place:]
        elif kind == 1:
            del found[place : place + length]
        elif kind == 2:
            found[place:place] = found[place : place + length] * chance.choice((1, 2, 50))
        elif kind == 3:
            found[place:place] = chance.choice(_ODD_BYTES)
        elif kind == 4 and place < len(found):
            found[place] ^= 1 << chance.randrange(8)
        elif kind == 5:
            width, order = chance.choice((1, 2, 4, 8)), chance.choice(("little", "big"))
            number = chance.choice(_ODD_INTEGERS) & ((1 << 8 * width) - 1)
            found[place : place + width] = number.to_bytes(width, order)
        else:
            found[place : place + length] = bytes(chance.randrange(256) for _ in range(length))
    return bytes(found)


def edit_tree(chance: random.Random, tree: Any) -> Any:
    """Values of another type, gone, doubled, moved, or under another name, somewhere in plain data."""
    root = [copy.deepcopy(tree)]
    for _ in range(chance.randint(1, 3)):
        parent, key = _somewhere(chance, root)
        kind = chance.randrange(6)
        if kind <= 2:
            parent[key] = copy.deepcopy(chance.choice(ODD_VALUES))
        elif kind == 3 and parent is not root:
            del parent[key]
        elif kind == 4:
            other, other_key = _somewhere(chance, root)
            parent[key] = copy.deepcopy(other[other_key])
        elif isinstance(parent, dict):
            parent[chance.choice(("", "x", "id", "\0"))] = parent.pop(key)
        else:
            parent.append(copy.deepcopy(parent[key]))
    return root[0]


def _somewhere(chance: random.Random, root: list[Any]) -> tuple[Any, Any]:
    parent: Any = root
    while True:
        key = chance.choice(list(parent)) if isinstance(parent, dict) else chance.randrange(len(parent))
        child = parent[key]
        if not isinstance(child, dict | list) or not child or chance.random() < 0.15:
            return parent, key
        parent = child


def edit_json(chance: random.Random, data: bytes) -> bytes:
    """Most often the tree, now and then the bytes."""
    if chance.random() < 0.2:
        return edit_bytes(chance, data)
    return json.dumps(edit_tree(chance, json.loads(data))).encode("utf-8", "surrogatepass")


def edit_yaml(chance: random.Random, data: bytes) -> bytes:
    """As `edit_json`."""
    if chance.random() < 0.4:
        return edit_bytes(chance, data)
    tree = edit_tree(chance, yaml.unsafe_load(data))
    return yaml.dump(tree, allow_unicode=True, sort_keys=False).encode("utf-8", "surrogatepass")


def edit_protobuf(chance: random.Random, data: bytes) -> bytes:
    """One field of a message, at any depth: its number, its value or its bytes; the lengths around it are kept true."""
    if chance.random() < 0.2:
        return edit_bytes(chance, data)
    fields = _fields(data)
    if not fields:
        return edit_bytes(chance, data)
    place = chance.randrange(len(fields))
    number, kind, value = fields[place]
    action = chance.randrange(6)
    if action == 0:
        del fields[place]
    elif action == 1:
        fields.insert(chance.randrange(len(fields)), fields[place])
    elif action == 2:
        fields[place] = (chance.choice((1, 2, 3, 5, 9, 15, 1000)), kind, value)
    elif kind == 2:
        inner = edit_protobuf if action < 5 and _fields(value) else edit_bytes
        fields[place] = (number, kind, inner(chance, value))
    elif kind == 0:
        fields[place] = (number, kind, chance.choice((*_ODD_INTEGERS, (1 << 64) - 1)))
    else:
        fields[place] = (number, kind, bytes(chance.randrange(256) for _ in value))
    return b"".join(_field(*field) for field in fields)


def _fields(data: bytes) -> list[tuple[int, int, Any]]:
    """(number, wire type, value) of a message; empty for what is none."""
    found, at = [], 0
    try:
        while at < len(data):
            tag, at = _varint(data, at)
            kind = tag & 7
            if kind == 0:
                value, at = _varint(data, at)
            else:
                length = 8 if kind == 1 else 4
                if kind == 2:
                    length, at = _varint(data, at)
                if kind not in (1, 2, 5) or at + length > len(data) or not tag >> 3:
                    return []
                value, at = data[at : at + length], at + length
            found.append((tag >> 3, kind, value))
    except IndexError:
        return []
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def _field(number: int, kind: int, value: Any) -> bytes:
    head = _as_varint(number << 3 | kind)
    return head + (_as_varint(value) if kind == 0 else (_as_varint(len(value)) if kind == 2 else b"") + value)


def _as_varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def edit_array(chance: random.Random, data: bytes) -> bytes:
    """A `.npy` whose header claims another type, another shape or something that is no header."""
    if chance.random() < 0.3 or len(data) < 10:
        return edit_bytes(chance, data)
    length = struct.unpack("<H", data[8:10])[0]
    dtype = chance.choice(("<f4", "<i8", "|O", "|u1", "<f8", "|S7", "<c16", "|b1", "<U2", "|V3", "[('a','<i4')]"))
    sides = tuple(chance.choice((0, 1, 2, 3, 7, 10**6, 2**40, -1)) for _ in range(chance.randrange(5)))
    header = f"{{'descr': {dtype!r}, 'fortran_order': {chance.random() < 0.2}, 'shape': {sides}, }}\n".encode()
    return data[:8] + struct.pack("<H", len(header)) + header + data[10 + length :]


def edit_zip(header: str, reseal: Callable[[dict[str, bytes], dict[str, Any]], None]) -> Mutation:
    """Edits the archive's bytes, the JSON member `header`, or another member, and then makes every digest true again.

    Args:
        reseal: Is given the members and the header's content, and corrects the content.
    """

    def edit(chance: random.Random, data: bytes) -> bytes:
        if chance.random() < 0.2:
            return edit_bytes(chance, data)
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            members = {name: file.read(name) for name in file.namelist()}
        content = json.loads(members[header])
        name = chance.choice([header, header, *members])
        if name == header:
            content = edit_tree(chance, content)
        else:
            members[name] = (edit_array if name.endswith(".npy") else edit_bytes)(chance, members[name])
        if isinstance(content, dict) and chance.random() < 0.95:
            with suppress(TypeError, KeyError, AttributeError, ValueError):  # what is left names no members
                reseal(members, content)
        members[header] = json.dumps(content).encode("utf-8", "surrogatepass")
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as file:
            for name, member in members.items():
                file.writestr(name, member)
        return stream.getvalue()

    return edit
