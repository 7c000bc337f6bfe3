"""What `predict` takes: paths, folders, URLs, arrays, and lists of these."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segexport.data.images import IMAGE_SUFFIXES, decode_image
from segexport.errors import InputError
from segexport.predict.download import download

MAX_DOWNLOAD_BYTES = 64 << 20
DOWNLOAD_TIMEOUT_S = 30.0  # for all of it: a server that sends a byte now and then is stopped too


@dataclass(frozen=True)
class Picture:
    """An image (H, W, 3) uint8 RGB and where it came from: its path or URL, `array_0` for the first array."""

    name: str
    image: np.ndarray


def pictures(source: Any) -> Iterator[Picture]:
    """Every image of `source`, decoded when its turn comes.

    Args:
        source: A path, a folder, an http(s) URL, an array, {"img": one of these} as PaddleX's pipelines take it, or a
            list of all these.

    Raises:
        InputError: Something that is no image, or cannot be read or downloaded.
    """
    yield from _pictures(source, itertools.count())


def _pictures(source: Any, numbers: Iterator[int]) -> Iterator[Picture]:
    if isinstance(source, np.ndarray):
        yield Picture(f"array_{next(numbers)}", _from_array(source))
    elif isinstance(source, list | tuple):
        for entry in source:
            yield from _pictures(entry, numbers)
    elif isinstance(source, dict) and set(source) == {"img"}:
        yield from _pictures(source["img"], numbers)
    elif isinstance(source, str | Path):
        yield from _from_text(str(source))
    else:
        raise InputError(
            f"predict takes no {type(source).__name__}",
            cause="it takes paths, folders, URLs, arrays, or lists of these",
        )


def _from_text(text: str) -> Iterator[Picture]:
    if text.startswith(("http://", "https://")):
        yield Picture(text, decode_image(_downloaded(text), name=text))
        return
    path = Path(text)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            raise InputError(
                f"{path}: no images in this folder", cause=f"images end in {', '.join(sorted(IMAGE_SUFFIXES))}"
            )
        for file in files:
            yield Picture(str(file), decode_image(file))
        return
    yield Picture(str(path), decode_image(path))


def _from_array(array: np.ndarray) -> np.ndarray:
    """BGR or grey to RGB."""
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or not array.size or array.shape[2:] not in ((), (1,), (3,)):
        raise InputError(
            f"an array of {array.dtype} {list(array.shape)} is no image",
            cause="it has to be uint8 (height, width, 3) in BGR order, or (height, width)",
        )
    if array.shape[2:] == (3,):
        return np.ascontiguousarray(array[:, :, ::-1])
    return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)


def _downloaded(url: str) -> bytes:
    return download(url, max_bytes=MAX_DOWNLOAD_BYTES, timeout_s=DOWNLOAD_TIMEOUT_S)
