"""Reads images from NumPy files: `.npy`, or `.npz` with one array."""

from __future__ import annotations

import io
import zipfile
from typing import IO

import numpy as np

NPY_MAGIC, ZIP_MAGIC = b"\x93NUMPY", b"PK\x03\x04"


def array_shape(data: bytes) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of the array, from its header alone; raises ValueError if it is not an array."""
    with _opened(data) as stream:
        return _header(stream)


def read_array(data: bytes) -> np.ndarray:
    """The array; raises ValueError if it is not one, or truncated."""
    with _opened(data) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _opened(data: bytes) -> IO[bytes]:
    if data.startswith(NPY_MAGIC):
        return io.BytesIO(data)
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise ValueError(f"a damaged .npz: {error}") from error
    if len(names) != 1:
        raise ValueError(f"an .npz of {len(names)} arrays ({', '.join(names[:5])}); one is expected")
    return archive.open(names[0])


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"version {version} of NumPy's format")
    if dtype.hasobject:
        raise ValueError("an array of Python objects")
    return shape, dtype
