"""Protobuf's wire format, walked without a schema: for what must be known before, or without, all of it in memory."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

Buffer = bytes | mmap.mmap


def fields(data: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(field number, first byte, byte after the last) of each value in a message.

    Raises:
        ValueError, IndexError: No message, or one that is cut off.
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
        elif kind not in (3, 4):  # the two ends of a group, which has no length; what is in it is looked at as well
            raise ValueError(f"wire type {kind}")
        if at > end:
            raise ValueError("a value is longer than its message")
        yield tag >> 3, low, at


def varint(data: Buffer, at: int) -> tuple[int, int]:
    """A number of variable length, and the place behind it; raises as `fields` does."""
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
