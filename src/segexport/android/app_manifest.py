"""Reads the permissions in an AndroidManifest.xml: as text, or in an APK's binary form."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from xml.etree import ElementTree

from segexport.errors import UnreadableError
from segexport.files.foreign import reading

_NAME = "{http://schemas.android.com/apk/res/android}name"
_PERMISSIONS = ("uses-permission", "uses-permission-sdk-23")
_MAX_BYTES = 4 << 20
# Chunk types of the binary form; see ResourceTypes.h of Android's libandroidfw.
_STRING_POOL, _XML, _START_ELEMENT = 0x0001, 0x0003, 0x0102
_UTF8 = 1 << 8
_NONE = 0xFFFFFFFF


def permissions(data: bytes, name: str) -> list[str]:
    """Returns the permissions that the app asks for, in the order of the file.

    Raises:
        InputError: The data is not an AndroidManifest.xml.
    """
    with reading(name, "an AndroidManifest.xml"):
        if len(data) > _MAX_BYTES:
            raise UnreadableError(f"{name}: {len(data):,} bytes, which no AndroidManifest.xml has")
        binary = data[:2] == struct.pack("<H", _XML)
        found = _binary_elements(data) if binary else _text_elements(data)
        return [value for element, value in found if element in _PERMISSIONS and value]


def _text_elements(data: bytes) -> Iterator[tuple[str, str]]:
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ValueError("a manifest has no document type")
    for element in ElementTree.fromstring(data).iter():
        yield element.tag, element.get(_NAME, "")


def _binary_elements(data: bytes) -> Iterator[tuple[str, str]]:
    """Yields each element's tag and the value of its attribute `name`."""
    strings: list[str] = []
    _, place, end = struct.unpack_from("<HHI", data)
    if end > len(data):
        raise ValueError(f"{len(data)} bytes of {end}")
    while place < end:
        kind, header, size = struct.unpack_from("<HHI", data, place)
        if size < 8:
            raise ValueError(f"a chunk of {size} bytes")
        if kind == _STRING_POOL:
            strings = _strings(data[place : place + size])
        elif kind == _START_ELEMENT:
            body = place + header
            tag, first, length, count = struct.unpack_from("<IHHH", data, body + 4)
            values = {}
            for index in range(count):
                _, key, raw = struct.unpack_from("<III", data, body + first + index * length)
                values[strings[key]] = "" if raw == _NONE else strings[raw]
            yield strings[tag], values.get("name", "")
        place += size


def _strings(chunk: bytes) -> list[str]:
    header, _, count, _, flags, start, _ = struct.unpack_from("<HIIIIII", chunk, 2)
    found = []
    for index in range(count):
        (offset,) = struct.unpack_from("<I", chunk, header + 4 * index)
        found.append(_string(chunk, start + offset, utf8=bool(flags & _UTF8)))
    return found


def _string(chunk: bytes, place: int, *, utf8: bool) -> str:
    if utf8:  # two lengths, in characters and in bytes, one or two bytes each
        place += 2 if chunk[place] & 0x80 else 1
        length = chunk[place]
        place += 1
        if length & 0x80:
            length = (length & 0x7F) << 8 | chunk[place]
            place += 1
        return chunk[place : place + length].decode("utf-8", "replace")
    (length,) = struct.unpack_from("<H", chunk, place)
    place += 2
    if length & 0x8000:
        (low,) = struct.unpack_from("<H", chunk, place)
        length, place = (length & 0x7FFF) << 16 | low, place + 2
    return chunk[place : place + 2 * length].decode("utf-16-le", "replace")
