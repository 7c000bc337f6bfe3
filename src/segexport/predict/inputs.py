"""Reads the inputs of `predict`: paths, folders, URLs, arrays, and lists of these."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segexport.data.images import ARRAY_SUFFIXES, COLORS, IMAGE_SUFFIXES, decode_image
from segexport.data.stored_pixels import Stored, as_wanted
from segexport.errors import InputError, MissingInputError
from segexport.spec import Pixels

MAX_DOWNLOAD_BYTES = 64 << 20
DOWNLOAD_TIMEOUT_S = 30.0  # for a whole download


@dataclass(frozen=True)
class Picture:
    """An image (H, W, channels) in the model's pixel form, and its path or URL; `array_0` for the first array."""

    name: str
    image: np.ndarray


def pictures(source: Any, pixels: Pixels = COLORS) -> Iterator[Picture]:
    """Yields every image of `source`; each is decoded when needed.

    Args:
        source: A path, a folder, an http(s) URL, an array, {"img": one of these} as in PaddleX's pipelines, or a list
            of these.
        pixels: The model's pixel form.

    Raises:
        InputError: An input is not an image, or cannot be read or downloaded.
    """
    yield from _pictures(source, pixels, itertools.count())


def _pictures(source: Any, pixels: Pixels, numbers: Iterator[int]) -> Iterator[Picture]:
    if isinstance(source, np.ndarray):
        yield Picture(f"array_{next(numbers)}", _from_array(source, pixels))
    elif isinstance(source, list | tuple):
        for entry in source:
            yield from _pictures(entry, pixels, numbers)
    elif isinstance(source, dict) and set(source) == {"img"}:
        yield from _pictures(source["img"], pixels, numbers)
    elif isinstance(source, str | Path):
        yield from _from_text(str(source), pixels)
    else:
        raise InputError(
            f"predict takes no {type(source).__name__}",
            cause="it takes paths, folders, URLs, arrays, or lists of these",
        )


def _from_text(text: str, pixels: Pixels) -> Iterator[Picture]:
    if text.startswith(("http://", "https://")):
        yield Picture(text, decode_image(_downloaded(text), name=text, pixels=pixels))
        return
    path = Path(text)
    if path.is_dir():
        kinds = (IMAGE_SUFFIXES, ARRAY_SUFFIXES)
        found = ([file for file in path.iterdir() if file.suffix.lower() in suffixes] for suffixes in kinds)
        files = sorted(next(filter(None, found), []))
        if not files:
            raise MissingInputError(
                f"{path}: no images in this folder", cause=f"images end in {', '.join(sorted(IMAGE_SUFFIXES))}"
            )
        for file in files:
            yield Picture(str(file), decode_image(file, pixels=pixels))
        return
    yield Picture(str(path), decode_image(path, pixels=pixels))


def _from_array(array: np.ndarray, pixels: Pixels) -> np.ndarray:
    """Converts BGR, grey, or the model's channels to the model's pixel form."""
    shaped = array[:, :, None] if array.ndim == 2 else array
    takes = {"rgb": (1, 3), "gray": (1, 3), "channels": (pixels.channels,)}[pixels.color]
    types = ("uint8",) if pixels.depth == "uint8" else ("uint8", "uint16", "float32")
    if array.dtype not in types or shaped.ndim != 3 or not array.size or shaped.shape[2] not in takes:
        order = "3) in BGR order, or (height, width)" if 3 in takes else f"{pixels.channels})"
        raise InputError(
            f"an array of {array.dtype} {list(array.shape)} is not an image",
            cause=f"it has to be {' or '.join(types)} (height, width, {order}",
        )
    if pixels.color == "channels":
        return np.ascontiguousarray(shaped)
    layout = "gray" if shaped.shape[2] == 1 else "rgb"
    return np.ascontiguousarray(as_wanted(Stored(shaped[:, :, ::-1], layout), pixels))


def _downloaded(url: str) -> bytes:
    from segexport.files.download import download  # ssl and http take a while to import

    return download(url, max_bytes=MAX_DOWNLOAD_BYTES, timeout_s=DOWNLOAD_TIMEOUT_S)
