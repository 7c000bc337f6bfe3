"""Reads the kernels that Opt chose from a Paddle-Lite `.nb`; the runtime runs exactly those."""

from __future__ import annotations

import re
import struct

from segexport.errors import UnreadableError
from segexport.measure.audit import MOVES, Ran, only_moves

# "conv2d/def/4/1/1": operator, alias, target, precision, layout, as Paddle-Lite's enum values (paddle_place.h).
_NB_KERNEL = re.compile(rb"([a-z][a-z0-9_]*)/([A-Za-z0-9_]+)/(\d{1,2})/(\d{1,2})/(\d{1,2})(?!\d)")
_NB_HEADER_BYTES, _NB_LAYOUTS = 18, (1, 2)
_NB_TARGETS = {1: "host", 2: "x86", 3: "cuda", 4: "arm", 5: "opencl", 6: "any"}
_NB_PRECISIONS = {1: "fp32", 2: "int8", 3: "int32", 4: "any", 5: "fp16", 6: "bool", 7: "int64", 8: "int16", 9: "int8"}


def nb_kernels(data: bytes, source: str = "the .nb") -> tuple[Ran, ...]:
    """Returns the kernels that a `.nb` names, one per operator, in file order.

    Raises:
        InputError: The file names no kernel.
    """
    found = []
    for kind, alias, target, precision, _layout in _NB_KERNEL.findall(data):
        operator = kind.decode()
        name = _NB_PRECISIONS.get(int(precision), f"precision {int(precision)}")
        place = _NB_TARGETS.get(int(target), f"target {int(target)}")
        found.append(Ran(operator, MOVES if only_moves(operator) else name, place, alias.decode()))
    if not any(one.operator not in ("feed", "fetch") for one in found):
        raise UnreadableError(f"{source}: no kernels in it", cause="it is no .nb, or one of another Paddle-Lite")
    return tuple(found)


def nb_version(data: bytes) -> str:
    """Returns the version of Paddle-Lite that wrote a `.nb`, such as `2.13-rc`; empty if the file does not say.

    A `.nb` starts with the number of its layout, 2 bytes, and the version, 16 bytes padded with zeros.
    """
    if len(data) < _NB_HEADER_BYTES or struct.unpack_from("<H", data)[0] not in _NB_LAYOUTS:
        return ""
    version = data[2:_NB_HEADER_BYTES].split(b"\0")[0].decode("ascii", "replace").removeprefix("v")
    return version if re.fullmatch(r"\d+(\.\d+)+(-\w+)?", version) else ""


def quantized_weights(data: bytes) -> int:
    """Counts the operators of a `.nb` with 8-bit weights that the runtime converts to float at load time."""
    return data.count(b"quantize_weight_bits")
