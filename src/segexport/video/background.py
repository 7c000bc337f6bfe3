"""Replaces the background of a frame."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from segexport.data.images import decode_image
from segexport.errors import MissingInputError

_COLOR = re.compile(r"#?([0-9a-fA-F]{6})")
_BLUR_SHARE = 0.02  # standard deviation of the blur, as a fraction of the frame's longer side
_SHRUNK = 4  # the background is blurred at a quarter of each side


class Background(Protocol):
    """Combines a frame with another background."""

    def __call__(self, image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        """Returns uint8 (h, w, 3) or (h, w, 4) in the image's channel order.

        Args:
            image: uint8 (h, w, 3).
            alpha: float32 (h, w), opacity of the foreground.
        """
        ...


def background_named(text: str) -> Background:
    """Returns the background for an option: `blur`, `matte`, `cutout`, a colour `#rrggbb`, or an image file.

    Raises:
        InputError: The option is none of these, or the image cannot be read.
    """
    if text in ("blur", "matte", "cutout"):
        return {"blur": blur, "matte": matte, "cutout": cutout}[text]
    if (color := _COLOR.fullmatch(text)) and not Path(text).exists():
        red, green, blue = bytes.fromhex(color[1])
        return Replacement(np.full((1, 1, 3), (blue, green, red), np.uint8))
    if not Path(text).exists():
        raise MissingInputError(
            f"--background {text}: no such file",
            hint="blur, matte, cutout, a colour such as #00ff00, or an image file",
        )
    return Replacement(decode_image(Path(text), order="bgr"))


def blur(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Blurs the background. Pixels are weighted by their opacity as background, so the foreground leaves no halo."""
    height, width = alpha.shape
    small = max(1, width // _SHRUNK), max(1, height // _SHRUNK)
    share = cv2.resize(1 - alpha, small, interpolation=cv2.INTER_AREA)
    weight = np.maximum(share, np.float32(1e-4))
    behind = over(image, 1 - alpha, np.zeros_like(image))
    colors = cv2.resize(behind.astype(np.float32), small, interpolation=cv2.INTER_AREA)
    sigma = max(_BLUR_SHARE * max(small), 0.5)
    spread = cv2.GaussianBlur(colors, (0, 0), sigma) / cv2.GaussianBlur(weight, (0, 0), sigma)[..., None]
    whole = cv2.resize(np.clip(np.rint(spread), 0, 255).astype(np.uint8), (width, height))
    return over(image, alpha, whole)


def matte(_image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Shows the opacity as grey."""
    return cv2.cvtColor(as_grey(alpha), cv2.COLOR_GRAY2BGR)


def cutout(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Adds the opacity to the image as its fourth channel."""
    return np.dstack([image, as_grey(alpha)])


class Replacement:
    """A picture behind the foreground, scaled to cover the frame and cropped at both sides.

    Args:
        picture: uint8 (h, w, 3), in the frames' channel order.
    """

    def __init__(self, picture: np.ndarray) -> None:
        self._picture = picture
        self._fitted = picture

    def __call__(self, image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        if self._fitted.shape != image.shape:
            self._fitted = _covering(self._picture, image.shape[1], image.shape[0])
        return over(image, alpha, self._fitted)


def over(image: np.ndarray, alpha: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """Blends the image over another one, uint8."""
    alpha = np.ascontiguousarray(alpha)
    return cv2.blendLinear(np.ascontiguousarray(image), behind, alpha, 1 - alpha)


def as_grey(alpha: np.ndarray) -> np.ndarray:
    """Converts opacity to uint8, rounded."""
    return (alpha * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def _covering(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    scale = max(width / picture.shape[1], height / picture.shape[0])
    size = max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale))
    whole = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    return np.ascontiguousarray(whole[top : top + height, left : left + width])
