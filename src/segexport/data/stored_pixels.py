"""Reads an image file's channels and values, of any number and type, in the form of a `spec.Pixels`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from segexport.data import array_files, tiff
from segexport.spec import Pixels

Layout = Literal["gray", "gray+alpha", "rgb", "rgba", "channels"]

_PNG_MAGIC, _PNG_DEPTH_AT = b"\x89PNG\r\n\x1a\n", 24
_WIDE_GREY = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_EXACT = 1 << 24  # integers up to here are exact in float32
_LUMA = np.array([9798, 19235, 3735])  # OpenCV's weights of red, green and blue, times 32768


@dataclass(frozen=True)
class Stored:
    """The pixels of a file.

    Attributes:
        values: (height, width, channels) uint8, uint16 or float32.
        layout: Meaning of the channels. `channels`: unknown.
    """

    values: np.ndarray
    layout: Layout


def is_array(data: bytes) -> bool:
    return data.startswith((array_files.NPY_MAGIC, array_files.ZIP_MAGIC))


def stored_size(data: bytes) -> tuple[int, int, int] | None:
    """The stored (width, height, channels) of an array or a TIFF that Pillow does not read; None for other files."""
    if is_array(data):
        shape, _ = array_files.array_shape(data)
        if len(shape) not in (2, 3):
            raise ValueError(f"an array of the shape {list(shape)}; (height, width[, channels]) is read")
        height, width, channels = (*shape, 1)[:3]
        return width, height, channels
    if data[:4] in tiff.MAGICS:
        page = tiff.open_tiff(data)
        return *page.size, page.samples * page.pages
    return None


def read_array(data: bytes) -> Stored:
    """The array in a `.npy` or `.npz` file."""
    array = array_files.read_array(data)
    return Stored(_plain(array if array.ndim == 3 else array[:, :, None]), "channels" if array.ndim == 3 else "gray")


def read_tiff(data: bytes, wanted: Pixels) -> Stored:
    """A TIFF's channels; its pages are channels if the model has as many channels.

    Raises:
        UnusualTiff: Pillow may read it.
    """
    page = tiff.open_tiff(data)
    stacked = wanted.color == "channels" and page.samples == 1 and page.pages == wanted.channels
    layout: Layout = "channels"
    if page.is_color:
        layout = "rgb" if page.samples == 3 else "rgba"
    elif page.samples == 1 and not (stacked and page.pages > 1):
        layout = "gray"
    elif page.samples == 2 and page.alpha:
        layout = "gray+alpha"
    return Stored(_plain(page.pixels(pages=page.pages if stacked else 1)), layout)


def read_picture(image: Image.Image, data: bytes) -> Stored:
    """Decodes with Pillow, or with OpenCV for a PNG with 16-bit colours, of which Pillow keeps the upper 8 bits."""
    if data.startswith(_PNG_MAGIC) and data[_PNG_DEPTH_AT] == 16 and image.mode not in _WIDE_GREY:
        return _wide_png(data)
    if image.mode in _WIDE_GREY or image.mode == "F":
        return Stored(_plain(np.asarray(image)[:, :, None]), "gray")
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode not in _LAYOUTS:
        image = image.convert("RGB")
    values = np.asarray(image)
    return Stored(values if values.ndim == 3 else values[:, :, None], _LAYOUTS[image.mode])


_LAYOUTS: dict[str, Layout] = {"L": "gray", "LA": "gray+alpha", "RGB": "rgb", "RGBA": "rgba"}


def _wide_png(data: bytes) -> Stored:
    import cv2

    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16:
        raise ValueError("a PNG of 16 bits that cannot be decoded")
    if data[_PNG_DEPTH_AT + 1] == 4:  # grey and alpha, which OpenCV converts to four channels
        return Stored(values[:, :, [0, 3]] if values.ndim == 3 else values[:, :, None], "gray+alpha")
    return Stored(values[:, :, [2, 1, 0, 3][: values.shape[2]]], "rgb" if values.shape[2] == 3 else "rgba")


def as_wanted(stored: Stored, wanted: Pixels) -> np.ndarray:
    """The pixels (height, width, channels) in the form `wanted`.

    Raises:
        ValueError: The file has another number of channels, or values that do not fit 8 bits.
    """
    values = _in_depth(stored.values, wanted)
    count = values.shape[2]
    if wanted.color == "channels":
        if count != wanted.channels:
            raise ValueError(f"{count} channels; the model takes {wanted.channels}")
        return values
    if wanted.color == "gray":
        if stored.layout.startswith("rgb"):
            return _grey(values[:, :, :3])
        if stored.layout.startswith("gray") or count == 1:
            return values[:, :, :1]
    elif stored.layout.startswith("rgb") or (stored.layout == "channels" and count == 3):
        return values[:, :, :3]
    elif stored.layout.startswith("gray"):
        return np.repeat(values[:, :, :1], 3, axis=2)
    raise ValueError(f"{count} channels; the model takes {'grey' if wanted.color == 'gray' else 'colours'}")


def _in_depth(values: np.ndarray, wanted: Pixels) -> np.ndarray:
    if wanted.depth == "stored" or values.dtype == np.uint8:
        return values
    if values.dtype == np.uint16:
        return (values >> 8).astype(np.uint8)
    raise ValueError("floating-point pixels; the model takes 8 bits")


def _grey(colors: np.ndarray) -> np.ndarray:
    """(height, width, 1) of the same type, by the weights of OpenCV's COLOR_RGB2GRAY, which rounds to nearest."""
    if colors.dtype == np.float32:
        return (colors @ (_LUMA / 32768).astype(np.float32))[:, :, None]
    return ((colors.astype(np.int64) @ _LUMA + 16384) >> 15).astype(colors.dtype)[:, :, None]


def _plain(values: np.ndarray) -> np.ndarray:
    """8 and 16 bits unchanged, everything else as float32; raises ValueError for other values."""
    if values.dtype.kind == "b":
        values = values.astype(np.uint8)
    if values.dtype.kind not in "uif":
        raise ValueError(f"values of the type {values.dtype}")
    if values.dtype.newbyteorder("=") in (np.uint8, np.uint16):
        return np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    if values.dtype.kind in "ui" and values.size and max(abs(int(values.min())), int(values.max())) > _EXACT:
        raise ValueError(f"values from {values.min()} to {values.max()}; whole numbers up to {_EXACT} are read exactly")
    plain = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(plain).all():
        raise ValueError("values that are NaN or infinite")
    return plain
