"""The JSON of answers, in the forms of PaddleX's basic serving."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np


def success(log_id: str, result: bytes) -> bytes:
    """A result, already JSON, in its envelope."""
    head = json.dumps({"logId": log_id, "errorCode": 0, "errorMsg": "Success"}).encode()
    return b"".join((head[:-1], b', "result": ', result, b"}"))


def no_result(log_id: str, code: int, message: str) -> bytes:
    """What is told where there is no result: an error, or that all is well."""
    content: dict[str, Any] = {"logId": log_id, "errorCode": code, "errorMsg": message}
    return json.dumps(content, ensure_ascii=False).encode()


def segmentation(mask: np.ndarray, jpeg: bytes | None) -> bytes:
    """`labelMap` (row by row), `size` [height, width], and `image` where there is one.

    Args:
        mask: (height, width) uint8 or uint16.
        jpeg: The picture's file.
    """
    height, width = mask.shape
    parts = [b'{"labelMap": [', label_map(mask), b'], "size": [%d, %d]' % (height, width)]
    if jpeg is not None:
        parts += [b', "image": "', base64.b64encode(jpeg), b'"']
    return b"".join((*parts, b"}"))


def label_map(mask: np.ndarray) -> bytes:
    """The classes with commas between them, each as wide as the widest, with spaces before it.

    json.dumps would need a Python number for each pixel: 50 times the time, all of it with the interpreter's lock held.
    """
    values = mask.reshape(-1)
    digits = len(str(int(values.max())))
    text = np.full((values.size, digits + 1), ord(" "), np.uint8)
    text[:, digits] = ord(",")
    for place in range(digits):
        power = 10**place
        shown = values // power % 10 + ord("0")
        text[:, digits - 1 - place] = shown if place == 0 else np.where(values >= power, shown, ord(" "))
    return text.reshape(-1)[:-1].tobytes()
