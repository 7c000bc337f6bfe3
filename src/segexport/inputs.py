"""What `predict` takes: paths, folders, URLs, arrays, and lists of these."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from segexport.errors import InputError
from segexport.images import IMAGE_SUFFIXES, decode_image

MAX_DOWNLOAD_BYTES = 64 << 20
DOWNLOAD_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Picture:
    """An image (H, W, 3) uint8 RGB and what to call it."""

    name: str
    image: np.ndarray


def pictures(source: Any) -> Iterator[Picture]:
    """Every image of `source`, decoded when its turn comes.

    Raises:
        InputError: Something that is no image, or cannot be read or downloaded.
    """
    if isinstance(source, np.ndarray):
        yield Picture("array", _from_array(source))
    elif isinstance(source, list | tuple):
        for entry in source:
            yield from pictures(entry)
    elif isinstance(source, str | Path):
        yield from _from_text(str(source))
    else:
        raise InputError(
            f"predict takes no {type(source).__name__}",
            cause="it takes paths, folders, URLs, arrays, or lists of these",
        )


def _from_text(text: str) -> Iterator[Picture]:
    if text.startswith(("http://", "https://")):
        name = PurePosixPath(urlsplit(text).path).name or "download"
        yield Picture(name, decode_image(_download(text), name=text))
        return
    path = Path(text)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            raise InputError(
                f"{path}: no images in this folder", cause=f"images end in {', '.join(sorted(IMAGE_SUFFIXES))}"
            )
        for file in files:
            yield Picture(file.name, decode_image(file))
        return
    yield Picture(path.name, decode_image(path))


def _from_array(array: np.ndarray) -> np.ndarray:
    if (
        array.dtype != np.uint8
        or array.ndim not in (2, 3)
        or (array.ndim == 3 and array.shape[2] != 3)
        or not array.size
    ):
        raise InputError(
            f"an array of {array.dtype} {list(array.shape)} is no image",
            cause="it has to be uint8 (height, width, 3) in BGR order, or (height, width)",
        )
    return np.repeat(array[:, :, None], 3, axis=2) if array.ndim == 2 else np.ascontiguousarray(array[:, :, ::-1])


def _download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_S) as answer:
            data = answer.read(MAX_DOWNLOAD_BYTES + 1)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise InputError(f"{url}: cannot be downloaded", cause=str(getattr(error, "reason", error))) from None
    if len(data) > MAX_DOWNLOAD_BYTES:
        raise InputError(f"{url}: more than {MAX_DOWNLOAD_BYTES >> 20} MiB", hint="download it and give the file")
    return data
