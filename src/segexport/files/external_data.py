"""Finds the files with an ONNX model's weights ("external data") from the model's bytes alone.

An ONNX file may name any path for its weights, and a runtime reads that file. A file outside the model's folder is in
no digest and no size, and is missing on another machine; so it is refused.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from segexport.errors import InputError, MissingInputError
from segexport.files.foreign import guarded
from segexport.files.wire_format import fields, varint

# Field numbers of onnx.proto that lead to a tensor: message -> field -> message. They never change.
_BELOW = {
    "Model": {7: "Graph", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Function": {7: "Node"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 13, 14, 1  # fields of a tensor; the last is the value for "external"
_KEY, _VALUE = 1, 2  # fields of an entry of external_data
_MAX_DEPTH = 100  # protobuf's limit


@guarded("an ONNX model")
def external_data(model: Path) -> tuple[str, ...]:
    """The paths of an ONNX file's external tensors, as written in the file, without duplicates; not opened or checked.

    A file that is not ONNX has none; the runtime reports its fault.
    """
    if model.stat().st_size == 0:
        return ()
    with model.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found: dict[str, None] = {}
        try:
            for location in _locations(data, 0, len(data), "Model", 0):
                found[location] = None
        except (ValueError, IndexError):
            return ()
    return tuple(found)


def require_inside(model: Path, location: str) -> str:
    """The path of a file of weights, relative to the model's folder, with `/`.

    Raises:
        InputError: The path is outside that folder (directly, or as a link), or the file is missing.
    """
    what = f"{model}: its weights are in {location!r}"
    path = PurePosixPath(location)
    folder = Path(os.path.realpath(model.parent))
    file = folder / path
    if not location or "\0" in location or path.is_absolute() or ".." in path.parts or "\\" in location:
        raise InputError(what, cause=_OUTSIDE, hint=_HINT)
    real = Path(os.path.realpath(file))
    if not real.is_relative_to(folder):
        raise InputError(f"{what}, a link to {real}", cause=_OUTSIDE, hint=_HINT)
    if not file.is_file():
        raise MissingInputError(
            what, cause="there is no such file beside the model", hint="copy it there, under that name"
        )
    return str(path)


_OUTSIDE = "that is outside of the model's folder, so that nothing vouches for it, and no other machine has it"
_HINT = "write the model with its weights beside it: onnx.save(onnx.load(MODEL), NEW) makes one file of both"


def _locations(data: mmap.mmap, start: int, end: int, message: str, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deep")
    below = _BELOW[message]
    for field, low, high in fields(data, start, end):
        kind = below.get(field)
        if kind == "Tensor":
            yield from _of_tensor(data, low, high)
        elif kind is not None:
            yield from _locations(data, low, high, kind, depth + 1)


def _of_tensor(data: mmap.mmap, start: int, end: int) -> Iterator[str]:
    locations, external = [], False
    for field, low, high in fields(data, start, end):
        if field == _EXTERNAL_DATA:
            entry = {key: data[a:b] for key, a, b in fields(data, low, high)}
            if entry.get(_KEY) == b"location":
                locations.append(entry.get(_VALUE, b"").decode("utf-8", "surrogateescape"))
        elif field == _DATA_LOCATION:
            external = varint(data, low)[0] == _EXTERNAL
    if external:
        yield from locations
