"""Builds JSON responses in the format of PaddleX's basic serving."""

from __future__ import annotations

import base64
import functools
import json
from typing import Any

import numpy as np


def success(log_id: str, result: bytes) -> bytes:
    """Wraps a JSON result in the response envelope."""
    head = json.dumps({"logId": log_id, "errorCode": 0, "errorMsg": "Success"}).encode()
    return b"".join((head[:-1], b', "result": ', result, b"}"))


def no_result(log_id: str, code: int, message: str) -> bytes:
    """A response without a result: an error, or success."""
    content: dict[str, Any] = {"logId": log_id, "errorCode": code, "errorMsg": message}
    return json.dumps(content, ensure_ascii=False).encode()


def segmentation(mask: np.ndarray, jpeg: bytes | None) -> bytes:
    """Returns `labelMap` (row by row), `size` [height, width], and `image` if there is one.

    Args:
        mask: (height, width) uint8 or uint16.
        jpeg: The picture's file.
    """
    height, width = mask.shape
    return with_picture(b'{"labelMap": [%s], "size": [%d, %d]}' % (label_map(mask), height, width), jpeg)


def with_picture(result: bytes, jpeg: bytes | None) -> bytes:
    """Adds `image` to a JSON result if there is a picture."""
    if jpeg is None:
        return result
    return b"".join((result[:-1], b', "image": "', base64.b64encode(jpeg), b'"}'))


def label_map(mask: np.ndarray) -> bytes:
    """The classes with commas between them, each as wide as the widest, with spaces before it.

    json.dumps would need a Python number for each pixel: 50 times the time, all of it with the interpreter's lock held.
    """
    return _texts(int(mask.max())).take(mask).tobytes()[:-1]


@functools.lru_cache(maxsize=64)
def _texts(largest: int) -> np.ndarray:
    """The text of each class up to `largest`, with its comma."""
    width = len(str(largest))
    return np.array([f"{value:>{width}},".encode() for value in range(largest + 1)])
