"""What a model is for: its address, its requests, and the work before and after it."""

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

_JPEG_QUALITY = 75  # what PaddleX sends


@dataclass(frozen=True)
class Prepared:
    """An image on its way through the model.

    Attributes:
        request: What was asked for.
        image: (H, W, 3) uint8 RGB; kept for the picture, None if not asked for.
        tensors: What the model takes.
        placement: How the image lies in its tensor.
    """

    request: Any
    image: np.ndarray | None
    tensors: Sequence[np.ndarray]
    placement: Placement


class Endpoint(Protocol):
    """What a task's models answer; all but `path` is called in threads."""

    path: str

    def read(self, body: bytes) -> ImageRequest:
        """What a body asks for; raises Refused for what is not a request."""
        ...

    def prepare(self, request: Any, data: bytes) -> Prepared:
        """From an image file to the model's input; raises InputError."""
        ...

    def finish(self, prepared: Prepared, prediction: Prediction) -> bytes:
        """Converts the model's result to the JSON of `result`."""
        ...


def prepared(
    request: ImageRequest, data: bytes, contract: Preprocess, manifest: Manifest, limits: ServerLimits
) -> Prepared:
    """Decodes and preprocesses an image, inside the limits.

    Raises:
        InputError: No image, one that is too large, or a size that the model does not take.
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
    """Tensors that the model takes, to run once before the first request; sides that are free become 256."""
    spec = manifest.image
    tensor = np.zeros([1, *(256 if side < 1 else side for side in spec.shape[1:])], spec.dtype)
    height, width = tensor.shape[2:]
    return feed(manifest.inputs, tensor, Placement(((width, height),)))


def jpeg(picture: np.ndarray) -> bytes:
    """The file of an RGB picture; Pillow's libjpeg is three times as quick as OpenCV's."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=_JPEG_QUALITY)
    return stream.getvalue()
