"""The work on one request of semantic segmentation, before the model and after it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from segexport import preprocess
from segexport.artifact import Manifest
from segexport.errors import TooLargeError
from segexport.predict.target_size import TargetSize, with_size
from segexport.runtimes.base import Prediction
from segexport.serve import answer
from segexport.serve.limits import Limits
from segexport.serve.picture import decode_picture
from segexport.show.pictures import overlay

PATH = "/semantic-segmentation"
_JPEG_QUALITY = 75  # what Pillow writes where nothing is said, as PaddleX does


@dataclass(frozen=True)
class Prepared:
    """An image on its way through the model.

    Attributes:
        image: (H, W, 3) uint8 RGB; kept for the picture, None where nobody wants one.
        tensor: What the model takes.
        placement: How the tensor lies in the image.
    """

    image: np.ndarray | None
    tensor: np.ndarray
    placement: preprocess.Placement


class Segmentation:
    """Prepares images and finishes masks; both are called in threads.

    Args:
        manifest: The model's.
        target_size: Where a request names none.
        limits: `image_pixels` and `network_pixels` count.
    """

    def __init__(self, manifest: Manifest, target_size: TargetSize, limits: Limits) -> None:
        self._manifest, self._target_size, self._limits = manifest, target_size, limits

    def prepare(self, data: bytes, target_size: TargetSize, visualize: bool) -> Prepared:
        """From an image file to the model's input.

        Raises:
            InputError: No image, one that is too large, or a size that the model does not take.
        """
        image = decode_picture(data, max_pixels=self._limits.image_pixels)
        size = self._target_size if target_size is None else target_size
        contract = with_size(self._manifest.preprocess, size)
        width, height = preprocess.place(contract, image.shape[1], image.shape[0]).tensor
        if width * height > self._limits.network_pixels:
            raise TooLargeError(
                f"the network's input would be {width}x{height}",
                cause=f"the limit is {self._limits.network_pixels / 1e6:.1f} million pixels; send a smaller targetSize",
            )
        tensor, placement = preprocess.apply(contract, image, input_spec=self._manifest.inputs[0])
        return Prepared(image if visualize else None, tensor, placement)

    def finish(self, prepared: Prepared, prediction: Prediction) -> bytes:
        """From the model's mask to the JSON of `result`."""
        mask = preprocess.restore_mask(prediction.mask, prepared.placement)
        if prepared.image is None:
            return answer.segmentation(mask, None)
        picture = overlay(prepared.image, mask, self._manifest.labels)
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        return answer.segmentation(mask, jpeg.tobytes())

    def trial(self) -> np.ndarray:
        """A tensor that the model takes, to run once before the first request; sides that are free become 256."""
        spec = self._manifest.inputs[0]
        shape = (1, *(256 if side < 1 else side for side in spec.shape[1:]))
        return np.zeros(shape, spec.dtype)
