"""Parses Protobuf's wire format without a schema, and without reading a whole message into memory."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

Buffer = bytes | mmap.mmap


def fields(data: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(field number, first byte, byte after the last) of each value in a message.

    Raises:
        ValueError, IndexError: The bytes are no message, or are truncated.
    """
    at = start
    while at < end:
        tag, at = varint(data, at)
        kind, low = tag & 7, at
        if kind == 0:
            _, at = varint(data, at)
        elif kind == 1:
            at += 8
        elif kind == 2:
            length, low = varint(data, at)
            at = low + length
        elif kind == 5:
            at += 4
        elif kind not in (3, 4):  # start and end of a group, which has no length; its fields are parsed too
            raise ValueError(f"wire type {kind}")
        if at > end:
            raise ValueError("a value is longer than its message")
        yield tag >> 3, low, at


def varint(data: Buffer, at: int) -> tuple[int, int]:
    """A number of variable length, and the offset after it; raises as `fields` does."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of over 64 bits")
