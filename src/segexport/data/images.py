"""Decodes image files to pixels and label files to class ids; every fault of a file raises an `InputError`.

Pillow decodes 8-bit colours and grey, because it reads the size before any pixel (a decompression bomb is refused) and
refuses a truncated file, which OpenCV fills up. Only listed formats are enabled: others (PostScript, ...) start
programs or are not photographs.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from segexport.data import stored_pixels
from segexport.data.tiff import MAGICS as TIFF_MAGICS
from segexport.data.tiff import UnusualTiff, open_tiff
from segexport.errors import DataError, InputError, MissingInputError, OptionError, TooLargeError, UnreadableError
from segexport.files.foreign import guarded
from segexport.spec import Pixels

MAX_PIXELS = 64_000_000
MAX_PIXELS_IN_TILES = 175_000_000  # Pillow's own limit is 178 million
MAX_SIDE_PIXELS = 20_000
_MAX_VALUES_PER_PIXEL = 4  # for an image of MAX_PIXELS; a smaller image may have more channels
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"})
ARRAY_SUFFIXES = frozenset({".npy", ".npz"})
COLORS, GREY = Pixels(), Pixels(color="gray", channels=1)

# Importing a plugin registers its format; otherwise Pillow imports all sixty plugins for the first WebP.
_PLUGINS = (
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
# Sizes are compared with the limits here, before any pixel is decoded; Pillow would warn above 89 million.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
_LABEL_FORMATS = ("PNG", "BMP", "TIFF", "GIF", "PPM")  # lossless formats: class ids must not change
_EXIF_ORIENTATION = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WIDE_GREY = ("I", "I;16", "I;16L", "I;16B", "I;16N")

Source = Path | bytes


@guarded("an image")
def decode_image(
    source: Source,
    *,
    order: Literal["rgb", "bgr"] = "rgb",
    pixels: Pixels = COLORS,
    name: str = "",
    max_pixels: int = MAX_PIXELS,
    max_side_pixels: int = MAX_SIDE_PIXELS,
) -> np.ndarray:
    """Decodes a photograph: JPEG, PNG, BMP, WebP, TIFF, GIF (the first frame) or PNM; or a NumPy array.

    The EXIF orientation is applied. An alpha channel is dropped, not blended. Grey is repeated, a palette becomes its
    colours, CMYK becomes RGB, and 16 bits are reduced to the upper 8, unless `pixels` needs another form.

    Args:
        source: A file, or its bytes.
        order: The order of three channels in the result.
        pixels: The form that a model needs: colours, grey or the file's channels, in 8 bits or as stored.
        name: Name of `bytes` input in errors.
        max_pixels: Width times height above which the file is refused before it is decoded; by default
            `MAX_PIXELS`, or `MAX_PIXELS_IN_TILES` where `pixels` says so.
        max_side_pixels: The same for one side.

    Returns:
        uint8 (height, width, 3), read-only; with `pixels` (height, width, channels) uint8, uint16 or float32.

    Raises:
        InputError: The file is missing, empty, truncated, corrupt or no image, or lacks the channels of `pixels`.
        TooLargeError: The image has more pixels than the limits.
    """
    if pixels.in_tiles:
        if max_pixels == MAX_PIXELS:
            max_pixels = MAX_PIXELS_IN_TILES
        pixels = pixels.model_copy(update={"in_tiles": False})
    if pixels != COLORS or (isinstance(source, Path) and source.suffix.lower() in ARRAY_SUFFIXES):
        return _decode_as(source, pixels, name, max_pixels, max_side_pixels)
    with _opened(source, name, _FORMATS, max_pixels, max_side_pixels) as image:
        image.load()  # before reading EXIF, which also decodes a PNG, and whose errors are ignored
        orientation = _orientation(image)
        image = _to_rgb(image)
        if orientation in _TRANSPOSE:
            image = image.transpose(_TRANSPOSE[orientation])
        colors = np.asarray(image)
    if order == "bgr":
        colors = np.ascontiguousarray(colors[:, :, ::-1])
        colors.flags.writeable = False
    return colors


def _decode_as(source: Source, wanted: Pixels, name: str, max_pixels: int, max_side_pixels: int) -> np.ndarray:
    """Decodes other forms than 8-bit colours, and files that Pillow does not read."""
    what = _what(source, name)
    if isinstance(source, Path) and not source.is_file():
        raise MissingInputError(f"{what}: no such file" if not source.exists() else f"{what}: not a file")
    data = source if isinstance(source, bytes) else source.read_bytes()
    if wanted == GREY and not stored_pixels.is_array(data):
        colors = decode_image(data, name=what, max_pixels=max_pixels, max_side_pixels=max_side_pixels)
        return _read_only(stored_pixels.as_wanted(stored_pixels.Stored(colors, "rgb"), wanted))
    try:
        width, height, _ = found = stored_pixels.stored_size(data) or (0, 0, 0)
        if found != (0, 0, 0):
            _require_fair_size(what, (width, height), max_pixels, max_side_pixels)
            if math.prod(found) > _MAX_VALUES_PER_PIXEL * max_pixels:
                raise TooLargeError(f"{what}: the image is too large, {width}x{height} of {found[2]} channels")
        stored, orientation = _stored(data, wanted, what, max_pixels, max_side_pixels)
        return _read_only(_turned(stored_pixels.as_wanted(stored, wanted), orientation))
    except InputError:
        raise
    except Exception as error:  # malicious bytes may raise anything, as in `_opened`
        raise UnreadableError(
            f"{what}: the image cannot be decoded", cause=f"{error or type(error).__name__}"
        ) from error


def _stored(
    data: bytes, wanted: Pixels, what: str, max_pixels: int, max_side_pixels: int
) -> tuple[stored_pixels.Stored, int]:
    """The file's channels, and the orientation in which they are stored."""
    if stored_pixels.is_array(data):
        if wanted.color == "rgb":
            raise OptionError(
                f"{what}: the channel order of an array is unknown",
                cause="the model takes red, green and blue",
                hint="save it as a PNG or a TIFF",
            )
        return stored_pixels.read_array(data), 1
    if data[:4] in TIFF_MAGICS:
        with suppress(UnusualTiff):
            return stored_pixels.read_tiff(data, wanted), open_tiff(data).orientation
    with _opened(data, what, _FORMATS, max_pixels, max_side_pixels) as image:
        image.load()
        return stored_pixels.read_picture(image, data), _orientation(image)


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """As `Image.transpose` with `_TRANSPOSE[orientation]`."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _read_only(pixels: np.ndarray) -> np.ndarray:
    pixels = np.ascontiguousarray(pixels)
    pixels.flags.writeable = False
    return pixels


@guarded("an image")
def own_pixels(source: Source, *, name: str = "") -> Pixels:
    """The default pixels of a file: 8-bit colours if Pillow reads it, else the file's channels.

    Raises:
        InputError: As `image_size`.
    """
    image_size(source, name=name)
    data = source if isinstance(source, bytes) else source.read_bytes()
    try:
        with _opened(data, name, _FORMATS, MAX_PIXELS, MAX_SIDE_PIXELS):
            return COLORS
    except InputError:
        found = stored_pixels.stored_size(data)
        return COLORS if found is None else Pixels(color="channels", channels=found[2], depth="stored")


def encode_image(pixels: np.ndarray) -> tuple[bytes, str]:
    """Encodes an image losslessly; returns bytes and suffix: PNG for integers in grey or colours, else `.npy`."""
    if pixels.dtype == np.float32 or pixels.shape[2] not in (1, 3):
        stream = io.BytesIO()
        np.save(stream, pixels)
        return stream.getvalue(), ".npy"
    if pixels.dtype == np.uint16:
        import cv2

        return cv2.imencode(".png", np.ascontiguousarray(pixels[:, :, ::-1]))[1].tobytes(), ".png"
    stream = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(stream, "PNG", optimize=True)
    return stream.getvalue(), ".png"


@guarded("a label")
def decode_label(source: Source, *, name: str = "", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes a label image: one channel of class ids. The index into a palette is kept, not its colour.

    Returns:
        uint8 (height, width), or uint16 if the file has 16 bits; read-only.

    Raises:
        InputError: As `decode_image`; or the file is a colour picture or lossy (JPEG).
    """
    with _opened(source, name, _LABEL_FORMATS, max_pixels, MAX_SIDE_PIXELS) as image:
        label = _what(source, name)
        if image.mode == "1":
            return np.asarray(image).astype(np.uint8)
        if image.mode in ("L", "P"):
            return np.asarray(image)
        if image.mode not in _WIDE_GREY:
            raise UnreadableError(
                f"{label}: not a label image, it has the channels {'+'.join(image.getbands())}",
                cause="a label has one channel of class ids, as a grey or a palette PNG; this is a colour picture",
                hint="write the class id of each pixel into one channel, not the class's colour",
            )
        values = np.asarray(image)
        if values.size and (values.min() < 0 or values.max() > 0xFFFF):
            raise DataError(
                f"{label}: class ids from {values.min()} to {values.max()}", cause="they must be in 0..65535"
            )
        return values.astype(np.uint16, copy=False)


@guarded("an image")
def image_size(source: Source, *, name: str = "") -> tuple[int, int]:
    """Reads (width, height) of the result of `decode_image` from the file's header.

    Raises:
        InputError: As `decode_image`, for faults in the header.
    """
    try:
        with _opened(source, name, _FORMATS, MAX_PIXELS, MAX_SIDE_PIXELS) as image:
            width, height = image.size
            turned = _orientation(image) >= 5 and image.format != "TIFF"  # Pillow returns a TIFF's size rotated
            return (height, width) if turned else (width, height)
    except TooLargeError:
        raise
    except InputError as error:  # perhaps an array, or a TIFF of many channels
        try:
            data = source if isinstance(source, bytes) else source.read_bytes()
            size = stored_pixels.stored_size(data)
            turned = data[:4] in TIFF_MAGICS and open_tiff(data).orientation >= 5
        except Exception:  # malicious bytes may raise anything
            size, turned = None, False
        if size is None:
            raise error from error.__cause__
        _require_fair_size(_what(source, name), size[:2], MAX_PIXELS, MAX_SIDE_PIXELS)
        return (size[1], size[0]) if turned else (size[0], size[1])


@contextmanager
def _opened(
    source: Source, name: str, formats: tuple[str, ...], max_pixels: int, max_side_pixels: int
) -> Iterator[Image.Image]:
    """Opens an image within the limits; every error of the decoder in the block becomes an `InputError`."""
    what = _what(source, name)
    if isinstance(source, Path) and not source.is_file():
        raise MissingInputError(f"{what}: no such file" if not source.exists() else f"{what}: not a file")
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats) as image:
            _require_fair_size(what, image.size, max_pixels, max_side_pixels)
            yield image
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise TooLargeError(
            f"{what}: the image is too large", cause=str(error), hint="make it smaller first"
        ) from error
    except Image.UnidentifiedImageError as error:
        raise UnreadableError(f"{what}: not an image", cause=_identify(source, formats)) from error
    except Exception as error:  # a decoder of malicious bytes may raise anything: struct.error, KeyError, ...
        raise UnreadableError(
            f"{what}: the image cannot be decoded", cause=f"{error or type(error).__name__}"
        ) from error


def _what(source: Source, name: str) -> str:
    return str(source) if isinstance(source, Path) else name or "image"


def _require_fair_size(what: str, size: tuple[int, int], max_pixels: int, max_side_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise DataError(f"{what}: the image has no pixels ({width}x{height})")
    if width * height > max_pixels or max(size) > max_side_pixels:
        raise TooLargeError(
            f"{what}: the image is too large, {width}x{height} pixels",
            cause=f"the limits are {max_pixels / 1e6:g} million pixels and {max_side_pixels} pixels on a side",
            hint="make it smaller first, or run it in tiles: --tile-size",
        )


def _identify(source: Source, formats: tuple[str, ...]) -> str:
    """Describes a file that is not an image of these formats."""
    if isinstance(source, bytes):
        size, head = len(source), source[:64]
    else:
        size = source.stat().st_size
        with source.open("rb") as stream:
            head = stream.read(64)
    if size == 0:
        return "the file is empty"
    if head[:3] == b"\xff\xd8\xff" and "JPEG" not in formats:
        return "it is a JPEG, which changes class ids; labels must be PNG"
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, the image itself was not fetched"
    kind = "text" if head.isascii() and b"\0" not in head else "of an unknown kind"
    return f"its {size} bytes are {kind}; images are {', '.join(formats)}"


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 if it is missing or the EXIF block is broken."""
    try:
        value = int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # a broken EXIF block must not make the image unreadable
        return 1
    return value if 1 <= value <= 8 else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """Converts any mode of Pillow to 8-bit RGB, without blending."""
    if image.mode in _WIDE_GREY:
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ValueError(f"grey values from {values.min()} to {values.max()}; 8 and 16 bits can be read")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point pixels; 8 and 16 bits can be read")
    return image if image.mode == "RGB" else image.convert("RGB")
