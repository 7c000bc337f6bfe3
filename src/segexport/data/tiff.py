"""Reads TIFF files with any number of channels and 8, 16 or 32 bits, as from satellites, scanners and microscopes.

Pillow and OpenCV read at most four channels, and Pillow reads only the upper 8 bits of 16-bit colours. Supported here:
TIFF 6.0 and BigTIFF; strips and tiles; interleaved and planar channels; uncompressed, LZW, Deflate, PackBits;
predictors 2 and 3 (TIFF 6.0, section 14; Adobe Photoshop TIFF Technical Note 3). Pages with one channel each are read
as channels.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q", 18: "Q"}  # integer tags
_MAX_PAGES, _MAX_VALUES = 4096, 1 << 22
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES = 273, 274, 277, 278, 279
_PLANAR, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = 284, 317, 322, 323, 324, 325
_EXTRA, _SAMPLE_FORMAT = 338, 339
_NONE, _LZW, _DEFLATE, _PACKBITS = (1,), (5,), (8, 32946), (32773,)
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3


class UnusualTiff(ValueError):
    """A TIFF that this reader does not support: a palette, JPEG compression, or values that are not whole bytes."""


@dataclass(frozen=True)
class Page:
    """The first page of a TIFF, and the number of equal pages.

    Attributes:
        size: (width, height) in pixels, as stored.
        orientation: 1 to 8, as in EXIF.
        samples: Channels of a page.
        pages: Number of pages that can be stacked (one channel, equal size and type); else 1.
        photometric: 0: white is zero; 1: black is zero; 2: RGB; others are left to Pillow.
        alpha: Whether the last channel is alpha.
    """

    size: tuple[int, int]
    orientation: int
    samples: int
    pages: int
    photometric: int
    alpha: bool
    _data: bytes
    _order: str
    _tags: tuple[dict[int, tuple[int, ...]], ...]

    @property
    def is_color(self) -> bool:
        """Whether its first three channels are red, green and blue."""
        return self.photometric == _RGB and self.samples in (3, 4)

    def pixels(self, *, pages: int = 1) -> np.ndarray:
        """(height, width, channels) of the first page, or of this many stacked pages.

        Raises:
            UnusualTiff: Its storage form is not supported here.
            ValueError: The file is damaged or truncated.
        """
        found = [_pixels(self._data, self._order, tags) for tags in self._tags[:pages]]
        return found[0] if pages == 1 else np.concatenate(found, axis=2)


def open_tiff(data: bytes) -> Page:
    """Reads the header and the tags; raises ValueError if the file is no TIFF."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2], "")
    if not order or data[:4] not in MAGICS:
        raise ValueError("not a TIFF")
    big = data[2:4] in (b"+\0", b"\0+")
    (at,) = _unpack(order + ("Q" if big else "I"), data, 8 if big else 4)
    found: list[dict[int, tuple[int, ...]]] = []
    seen = set()
    while at and at not in seen and len(found) < _MAX_PAGES:
        seen.add(at)
        tags, at = _tags(data, order, at, big)
        if found and (_kind(tags) != _kind(found[0]) or _one(tags, _SAMPLES, 1) != 1):
            break
        found.append(tags)
        if _one(tags, _SAMPLES, 1) != 1:
            break
    first = found[0] if found else {}
    if _WIDTH not in first or _HEIGHT not in first:
        raise ValueError("a TIFF without an image")
    samples, extra = _one(first, _SAMPLES, 1), first.get(_EXTRA, ())
    return Page(
        size=(_one(first, _WIDTH), _one(first, _HEIGHT)),
        orientation=_one(first, _ORIENTATION, 1),
        samples=samples,
        pages=len(found),
        photometric=_one(first, _PHOTOMETRIC, _BLACK_IS_ZERO),
        alpha=bool(extra) and extra[-1] in (1, 2),
        _data=data,
        _order=order,
        _tags=tuple(found),
    )


def _tags(data: bytes, order: str, at: int, big: bool) -> tuple[dict[int, tuple[int, ...]], int]:
    """Tag -> integers of one directory, and the offset of the next directory."""
    (count,) = _unpack(order + ("Q" if big else "H"), data, at)
    at += 8 if big else 2
    if count > 4096:
        raise ValueError(f"{count} tags in one directory")
    tags = {}
    room, entry = (8, 20) if big else (4, 12)
    for start in range(at, at + count * entry, entry):
        tag, kind, values = _unpack(order + ("HHQ" if big else "HHI"), data, start)
        code = _TYPES.get(kind)
        if code is None:
            continue
        if values > _MAX_VALUES:
            raise ValueError(f"{values} values of tag {tag}")
        place = start + entry - room
        if values * struct.calcsize("<" + code) > room:
            (place,) = _unpack(order + ("Q" if big else "I"), data, place)
        tags[tag] = _unpack(f"{order}{values}{code}", data, place)
    (following,) = _unpack(order + ("Q" if big else "I"), data, at + count * entry)
    return tags, following


def _kind(tags: dict[int, tuple[int, ...]]) -> tuple[Any, ...]:
    return tuple(tags.get(tag) for tag in (_WIDTH, _HEIGHT, _BITS, _SAMPLE_FORMAT, _PHOTOMETRIC))


def _pixels(data: bytes, order: str, tags: dict[int, tuple[int, ...]]) -> np.ndarray:
    width, height, samples = _one(tags, _WIDTH), _one(tags, _HEIGHT), _one(tags, _SAMPLES, 1)
    dtype, photometric = _dtype(tags, order), _one(tags, _PHOTOMETRIC, _BLACK_IS_ZERO)
    if photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        raise UnusualTiff(f"photometric interpretation {photometric}")
    if _one(tags, _FILL_ORDER, 1) != 1:
        raise UnusualTiff("bits in reversed order")
    tiled = _TILE_OFFSETS in tags
    offsets = tags.get(_TILE_OFFSETS if tiled else _STRIP_OFFSETS, ())
    lengths = tags.get(_TILE_BYTES if tiled else _STRIP_BYTES, ())
    part_width = _one(tags, _TILE_WIDTH) if tiled else width
    part_height = _one(tags, _TILE_HEIGHT) if tiled else min(_one(tags, _ROWS_PER_STRIP, height), height)
    if min(part_width, part_height) < 1:
        raise ValueError("tiles or strips without pixels")
    planes = samples if _one(tags, _PLANAR, 1) == 2 else 1
    in_part = samples // planes
    across, down = math.ceil(width / part_width), math.ceil(height / part_height)
    if len(offsets) != across * down * planes or len(lengths) != len(offsets):
        raise ValueError(f"{len(offsets)} parts of {across * down * planes}")
    image = np.empty((height, width, samples), dtype.newbyteorder("="))
    for index, (offset, length) in enumerate(zip(offsets, lengths, strict=True)):
        plane, place = divmod(index, across * down)
        top, left = place // across * part_height, place % across * part_width
        rows = part_height if tiled else min(part_height, height - top)
        if offset + length > len(data):
            raise ValueError("the file ends before its pixels do")
        size = rows * part_width * in_part * dtype.itemsize
        raw = _decompressed(data[offset : offset + length], _one(tags, _COMPRESSION, 1), rows, size)
        part = _unpredicted(raw, _one(tags, _PREDICTOR, 1), dtype, (rows, part_width, in_part))
        bottom, right = min(top + rows, height), min(left + part_width, width)
        image[top:bottom, left:right, plane : plane + in_part] = part[: bottom - top, : right - left]
    if photometric == _WHITE_IS_ZERO and image.dtype.kind == "u":
        return np.iinfo(image.dtype).max - image
    return image


def _dtype(tags: dict[int, tuple[int, ...]], order: str) -> np.dtype:
    bits, formats = set(tags.get(_BITS, (1,))), set(tags.get(_SAMPLE_FORMAT, (_UNSIGNED,)))
    if len(bits) != 1 or len(formats) != 1:
        raise UnusualTiff("channels of several types")
    kind, size = {_UNSIGNED: "u", _SIGNED: "i", _FLOAT: "f"}.get(formats.pop(), ""), bits.pop()
    if (kind, size) not in {(k, s) for k in "ui" for s in (8, 16, 32)} | {("f", 16), ("f", 32), ("f", 64)}:
        raise UnusualTiff(f"values of {size} bits")
    return np.dtype(f"{order}{kind}{size // 8}")


def _decompressed(part: bytes, compression: int, rows: int, size: int) -> bytes:
    """The `size` bytes of a strip or tile with this many rows."""
    if compression in _DEFLATE:
        part = zlib.decompressobj().decompress(part, size)
    elif compression in _LZW + _PACKBITS:
        part = _by_pillow(part, compression, size // rows, rows)
    elif compression not in _NONE:
        raise UnusualTiff(f"compression {compression}")
    if len(part) < size:
        raise ValueError("a strip or tile is shorter than its pixels")
    return part[:size]


def _by_pillow(part: bytes, compression: int, width: int, rows: int) -> bytes:
    """Decodes one part with Pillow's libtiff, as a grey picture whose pixels are the part's bytes."""
    from PIL import Image

    tags = {_WIDTH: width, _HEIGHT: rows, _BITS: 8, _COMPRESSION: compression, _PHOTOMETRIC: _BLACK_IS_ZERO,
            _STRIP_OFFSETS: 8, _SAMPLES: 1, _ROWS_PER_STRIP: rows, _STRIP_BYTES: len(part)}  # fmt: skip
    padded = part + b"\0" * (len(part) % 2)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    file = b"II*\0" + struct.pack("<I", 8 + len(padded)) + padded + directory
    with Image.open(io.BytesIO(file), formats=("TIFF",)) as image:
        return image.tobytes()


def _unpredicted(raw: bytes, predictor: int, dtype: np.dtype, shape: tuple[int, int, int]) -> np.ndarray:
    """(rows, width, channels) of a part with plain values, or with differences to the previous pixel."""
    if predictor == 1:
        return np.frombuffer(raw, dtype).reshape(shape)
    if predictor == 2 and dtype.kind in "ui":
        values = np.frombuffer(raw, dtype).reshape(shape).astype(dtype.newbyteorder("="))
        return np.cumsum(values, axis=1, dtype=values.dtype)
    if predictor == 3 and dtype.kind == "f":
        rows, width, channels = shape
        bytes_ = np.frombuffer(raw, np.uint8).reshape(rows, width * dtype.itemsize, channels)
        planes = np.cumsum(bytes_, axis=1, dtype=np.uint8).reshape(rows, dtype.itemsize, width * channels)
        return np.ascontiguousarray(planes.transpose(0, 2, 1)).view(dtype.newbyteorder(">")).reshape(shape)
    raise UnusualTiff(f"predictor {predictor} of {dtype}")


def _one(tags: dict[int, tuple[int, ...]], tag: int, default: int | None = None) -> int:
    values = tags.get(tag)
    if values:
        return values[0]
    if default is None:
        raise ValueError(f"tag {tag} is missing")
    return default


def _unpack(form: str, data: bytes, at: int) -> tuple[int, ...]:
    if at < 0 or at + struct.calcsize(form) > len(data):
        raise ValueError("the file ends before its tags do")
    return struct.unpack_from(form, data, at)
