"""Reads pickles as plain data. A pickle can call any function; here nothing of it is executed.

The result contains dicts, lists, tuples, numbers, text and NumPy arrays. NumPy's classes are not used for reading: with
a crafted type, an array could use its bytes as pointers.
"""

from __future__ import annotations

import os
import pickle
import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import IO, Any

import numpy as np

_NUMBERS = re.compile(r"[<>|=]?(b1|i[1248]|u[1248]|f[248])")


def load(stream: IO[bytes]) -> Any:
    """The content of a pickle.

    Raises:
        pickle.UnpicklingError: It is damaged, contains other than plain data (the error names it; it was not run), or
            its memo has more objects than the file has bytes, which would take all memory.
        EOFError, ValueError, ...: Other errors of the reader for a damaged file.
    """
    size_bytes = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name.endswith("PUT") and int(argument or 0) > size_bytes:
                raise pickle.UnpicklingError(f"{opcode.name} {argument} in {size_bytes} bytes")
    except ValueError as error:
        raise pickle.UnpicklingError(str(error)) from None
    stream.seek(0)
    return _PlainUnpickler(stream, encoding="latin1").load()


class _PlainUnpickler(pickle.Unpickler):
    """Replaces the few names that NumPy and Paddle write for arrays by safe functions; refuses all others."""

    def find_class(self, module: str, name: str) -> Any:
        stand_in = _STAND_INS.get(name)
        if stand_in is None or not re.fullmatch(stand_in[0], module):
            raise pickle.UnpicklingError(f"it contains a {module}.{name}, which is not plain data; nothing was run")
        return stand_in[1]


class _Dtype:
    """A numeric type that replaces `numpy.dtype`."""

    def __init__(self, code: str, *_flags: object) -> None:
        if not isinstance(code, str) or not _NUMBERS.fullmatch(code):
            raise pickle.UnpicklingError(f"it contains an array of {code!r}, which are not numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
    """An array whose state is checked before use."""

    def __setstate__(self, state: tuple) -> None:  # type: ignore[override]
        _version, shape, dtype, fortran, content = state
        content = content.encode("latin1") if isinstance(content, str) else content  # written by Python 2
        super().__setstate__((1, *_checked(shape, dtype, content), bool(fortran), bytes(content)))


def _checked(shape: Any, dtype: Any, content: Any) -> tuple[tuple[int, ...], np.dtype]:
    good = isinstance(dtype, _Dtype) and isinstance(content, bytes | bytearray) and isinstance(shape, tuple)
    if not good or not all(type(side) is int and side >= 0 for side in shape):
        raise pickle.UnpicklingError("it contains an array without a shape and numbers")
    count = 1
    for side in shape:
        count *= side
    if count * dtype.dtype.itemsize != len(content):
        raise pickle.UnpicklingError(f"an array of {dtype.dtype} {list(shape)} has {len(content)} bytes")
    return shape, dtype.dtype


def _from_buffer(content: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    """`numpy.core.numeric._frombuffer`: arrays in pickles of protocol 5."""
    sides, numbers = _checked(shape, dtype, content)
    return np.frombuffer(content, numbers).reshape(sides, order="F" if order == "F" else "C")


def _scalar(dtype: Any, content: Any) -> Any:
    content = content.encode("latin1") if isinstance(content, str) else content
    return np.frombuffer(content, _checked((), dtype, content)[1])[0].item()


def _encoded(text: str, encoding: str) -> bytes:
    """`_codecs.encode`: bytes in pickles of protocol 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it contains bytes as {encoding}")
    return text.encode("latin1")


def _lod_tensor(source: str, names: dict[str, Any]) -> Any:
    """`eval("data", {"data": ...})`: how Paddle writes a tensor of its static mode. Nothing is evaluated."""
    if source != "data" or list(names) != ["data"]:
        raise pickle.UnpicklingError("it contains an expression, which was not run")
    return names["data"]


_BUILTINS, _MULTIARRAY = r"builtins|__builtin__", r"numpy\._?core\.multiarray"
_STAND_INS: dict[str, tuple[str, Callable[..., Any] | str]] = {
    "ndarray": ("numpy", "ndarray"),  # the class argument of `_reconstruct`; it cannot be called
    "dtype": ("numpy", _Dtype),
    "_reconstruct": (_MULTIARRAY, lambda *_: _Array((0,))),
    "scalar": (_MULTIARRAY, _scalar),
    "_frombuffer": (r"numpy\._?core\.numeric", _from_buffer),
    "encode": ("_codecs", _encoded),
    "OrderedDict": ("collections", OrderedDict),
    "bytes": (_BUILTINS, lambda: b""),  # protocol 2 has no bytes
    "tuple": (_BUILTINS, tuple),  # how Paddle writes a tensor with its name
    "eval": (_BUILTINS, _lod_tensor),
}
"""Name -> a pattern of modules, and the function that replaces it."""
