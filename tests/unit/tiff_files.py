"""Writes TIFF files in forms that Pillow and OpenCV do not write."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

_FORMATS = {"u": 1, "i": 2, "f": 3}
_CODES = {3: "H", 4: "I", 16: "Q"}


def tiff(
    *pages: np.ndarray,
    order: str = "<",
    big: bool = False,
    planar: bool = False,
    tile: int = 0,
    rows: int = 0,
    compression: str = "none",
    predictor: int = 1,
    photometric: int | None = None,
    orientation: int = 1,
    extra: Sequence[int] = (),
) -> bytes:
    """The bytes of a TIFF.

    Args:
        pages: (height, width, channels) each.
        tile: Side of tiles, a multiple of 16; 0: strips.
        rows: Of a strip; 0: all.
        compression: none, deflate, lzw or packbits.
        extra: Meanings of the channels beyond those that `photometric` has.
    """
    word, count, offset = ("Q", "Q", 16) if big else ("I", "H", 4)
    out = bytearray((b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42))
    if big:
        out += struct.pack(order + "HHQ", 8, 0, 0)
    else:
        out += struct.pack(order + "I", 0)
    link = len(out) - (8 if big else 4)
    for array in pages:
        height, width, channels = array.shape
        array = array.astype(array.dtype.newbyteorder(order))
        parts = _parts(array, planar, tile, rows, compression, predictor)
        places = []
        for part in parts:
            places.append(len(out))
            out += part
        photo = photometric if photometric is not None else 2 if channels in (3, 4) else 1
        tags = {
            256: (4, [width]), 257: (4, [height]), 258: (3, [8 * array.itemsize] * channels),
            259: (3, [{"none": 1, "lzw": 5, "deflate": 8, "packbits": 32773}[compression]]), 262: (3, [photo]),
            274: (3, [orientation]), 277: (3, [channels]), 284: (3, [2 if planar else 1]), 317: (3, [predictor]),
            339: (3, [_FORMATS[array.dtype.kind]] * channels),
        }  # fmt: skip
        if extra:
            tags[338] = (3, list(extra))
        if tile:
            tags |= {322: (4, [tile]), 323: (4, [tile]), 324: (offset, places), 325: (4, [len(p) for p in parts])}
        else:
            tags |= {273: (offset, places), 278: (4, [rows or height]), 279: (4, [len(p) for p in parts])}
        entries = bytearray()
        for tag, (kind, values) in sorted(tags.items()):
            packed = struct.pack(f"{order}{len(values)}{_CODES[kind]}", *values)
            if len(packed) > struct.calcsize(word):
                value = struct.pack(order + word, len(out))
                out += packed
            else:
                value = packed.ljust(struct.calcsize(word), b"\0")
            entries += struct.pack(f"{order}HH{word}", tag, kind, len(values)) + value
        struct.pack_into(order + word, out, link, len(out))
        out += struct.pack(order + count, len(tags)) + entries
        link = len(out)
        out += struct.pack(order + word, 0)
    return bytes(out)


def _parts(array: np.ndarray, planar: bool, tile: int, rows: int, compression: str, predictor: int) -> list[bytes]:
    planes = [array[:, :, [channel]] for channel in range(array.shape[2])] if planar else [array]
    height, width = array.shape[:2]
    found = []
    for plane in planes:
        for top in range(0, height, tile or rows or height):
            for left in range(0, width, tile or width):
                part = plane[top : top + (tile or rows or height), left : left + (tile or width)]
                if tile:
                    missing = (tile - part.shape[0], tile - part.shape[1])
                    part = np.pad(part, ((0, missing[0]), (0, missing[1]), (0, 0)))
                found.append(_compressed(_predicted(part, predictor), len(part), compression))
    return found


def _predicted(part: np.ndarray, predictor: int) -> bytes:
    if predictor == 1:
        return part.tobytes()
    if predictor == 2:
        native = part.astype(part.dtype.newbyteorder("="))
        different = np.concatenate([native[:, :1], np.diff(native, axis=1)], axis=1)
        return different.astype(part.dtype).tobytes()
    rows, width, channels = part.shape
    planes = part.astype(part.dtype.newbyteorder(">")).tobytes()
    planes = np.frombuffer(planes, np.uint8).reshape(rows, width * channels, part.itemsize).transpose(0, 2, 1)
    planes = np.ascontiguousarray(planes).reshape(rows, width * part.itemsize, channels)
    return np.concatenate([planes[:, :1], np.diff(planes, axis=1)], axis=1).tobytes()


def _compressed(raw: bytes, rows: int, compression: str) -> bytes:
    if compression == "none":
        return raw
    if compression == "deflate":
        return zlib.compress(raw)
    grey = Image.frombytes("L", (len(raw) // rows, rows), raw)
    stream = io.BytesIO()
    names = {"lzw": "tiff_lzw", "packbits": "packbits"}
    grey.save(stream, "TIFF", compression=names[compression], tiffinfo={278: rows})
    with Image.open(io.BytesIO(stream.getvalue())) as written:
        (place,), (length,) = written.tag_v2[273], written.tag_v2[279]
    return stream.getvalue()[place : place + length]
