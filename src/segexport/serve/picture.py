"""Decodes images from untrusted bytes."""

from __future__ import annotations

import numpy as np

from segexport.data.images import COLORS, decode_image
from segexport.errors import UnreadableError
from segexport.spec import Pixels

# A progressive JPEG is decoded once per scan, and a scan of a whole image fits into a few bytes: minutes from a
# kilobyte. Cameras and encoders write about ten. In a JPEG's data a byte 255 is never followed by a marker's.
_MAX_SCANS = 100


def decode_picture(data: bytes, *, max_pixels: int, pixels: Pixels = COLORS) -> np.ndarray:
    """Decodes an image file.

    Returns:
        (height, width, channels) as the model asks for in `pixels`; without, uint8 RGB.

    Raises:
        TooLargeError: The header states more pixels than `max_pixels`; nothing was decoded.
        InputError: The data is not an image, truncated, corrupt, or crafted to decode slowly.
    """
    if data[:2] == b"\xff\xd8" and data.count(b"\xff\xda") > _MAX_SCANS:
        raise UnreadableError("image: it cannot be decoded", cause=f"a JPEG with more than {_MAX_SCANS} scans")
    return decode_image(data, name="image", max_pixels=max_pixels, pixels=pixels)
