"""Defines a task's endpoint: path, requests, and the work before and after the model."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

from segexport.artifact import Manifest
from segexport.errors import TooLargeError
from segexport.preprocess import Placement, apply, feed, place
from segexport.runtimes.base import Prediction
from segexport.serve.limits import ServerLimits
from segexport.serve.picture import decode_picture
from segexport.serve.request import ImageRequest
from segexport.spec import Preprocess

_JPEG_QUALITY = 75  # as in PaddleX


@dataclass(frozen=True)
class Prepared:
    """A preprocessed image.

    Attributes:
        request: The request.
        image: (H, W, 3) uint8 RGB for the picture; None if no picture is requested.
        tensors: The model's input.
        placement: Position of the image in its tensor.
    """

    request: Any
    image: np.ndarray | None
    tensors: Sequence[np.ndarray]
    placement: Placement


class Endpoint(Protocol):
    """A task's endpoint; all methods run in threads."""

    path: str

    def read(self, body: bytes) -> ImageRequest:
        """Parses a request body; raises Refused if it is invalid."""
        ...

    def prepare(self, request: Any, data: bytes) -> Prepared:
        """Converts an image file to the model's input; raises InputError."""
        ...

    def finish(self, prepared: Prepared, prediction: Prediction) -> bytes:
        """Converts the model's result to the JSON of `result`."""
        ...


def prepared(
    request: ImageRequest, data: bytes, contract: Preprocess, manifest: Manifest, limits: ServerLimits
) -> Prepared:
    """Decodes and preprocesses an image within the limits.

    Raises:
        InputError: The data is not an image, is too large, or has a size that the model does not support.
    """
    image = decode_picture(data, max_pixels=limits.image_pixels, pixels=contract.pixels)
    width, height = place(contract, image.shape[1], image.shape[0]).tensor
    if width * height > limits.network_pixels:
        raise TooLargeError(
            f"the network's input would be {width}x{height}",
            cause=f"the limit is {limits.network_pixels / 1e6:.1f} million pixels",
        )
    tensor, placement = apply(contract, image, input_spec=manifest.image)
    tensors = feed(manifest.inputs, tensor, placement)
    return Prepared(request, image if request.with_picture else None, tensors, placement)


def trial(manifest: Manifest) -> list[np.ndarray]:
    """Returns input tensors for a first run before any request; dynamic sides become 256."""
    spec = manifest.image.channels_first
    tensor = np.zeros([1, *(256 if side < 1 else side for side in spec.shape[1:])], spec.dtype)
    height, width = tensor.shape[2:]
    return feed(manifest.inputs, tensor, Placement(((width, height),)))


def jpeg(picture: np.ndarray) -> bytes:
    """Encodes an RGB picture; Pillow's libjpeg is three times as fast as OpenCV's."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=_JPEG_QUALITY)
    return stream.getvalue()
