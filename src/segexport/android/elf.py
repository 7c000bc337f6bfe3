"""Reads the processor and the segments' alignment of a shared library for Android."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from segexport.errors import UnreadableError
from segexport.files.foreign import reading

_MACHINES = {183: "arm64-v8a", 40: "armeabi-v7a", 62: "x86_64", 3: "x86", 243: "riscv64"}
ABIS = tuple(_MACHINES.values())
_LOAD = 1  # PT_LOAD
_LITTLE_ENDIAN, _BITS = 1, {1: 32, 2: 64}


@dataclass(frozen=True)
class SharedLibrary:
    """The header of an ELF file.

    Attributes:
        abi: Android's name of the processor; `machine N` for an unknown one.
        alignments: Alignment of each loaded segment, in bytes.
    """

    abi: str
    bits: int
    alignments: tuple[int, ...]


def read_elf(data: bytes, name: str) -> SharedLibrary:
    """Reads the headers; see the ELF specification, "ELF Header" and "Program Header".

    Raises:
        InputError: The file is damaged or not a little-endian ELF file.
    """
    with reading(name, "a shared library"):
        if data[:4] != b"\x7fELF":
            raise UnreadableError(f"{name}: not a shared library", cause="it does not start as an ELF file")
        if data[5] != _LITTLE_ENDIAN or data[4] not in _BITS:
            raise UnreadableError(f"{name}: not a shared library for Android", cause="it is not little-endian")
        bits = _BITS[data[4]]
        (machine,) = struct.unpack_from("<H", data, 18)
        (start,) = struct.unpack_from("<Q", data, 32) if bits == 64 else struct.unpack_from("<I", data, 28)
        size, count = struct.unpack_from("<HH", data, 54 if bits == 64 else 42)
        alignments = []
        for place in range(start, start + size * count, max(size, 1)):
            (kind,) = struct.unpack_from("<I", data, place)
            form, last = ("<Q", 48) if bits == 64 else ("<I", 28)
            (alignment,) = struct.unpack_from(form, data, place + last)
            if kind == _LOAD:
                alignments.append(alignment)
        if not alignments:
            raise UnreadableError(f"{name}: not a shared library", cause="it has no segment that is loaded")
        return SharedLibrary(_MACHINES.get(machine, f"machine {machine}"), bits, tuple(alignments))
