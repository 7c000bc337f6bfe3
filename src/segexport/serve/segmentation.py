"""Semantic segmentation: a class for each pixel."""

from __future__ import annotations

from segexport.artifact import Manifest
from segexport.errors import InputError
from segexport.predict.target_size import TargetSize, checked_size, with_size
from segexport.preprocess import restore_mask
from segexport.runtimes.base import Prediction
from segexport.serve import responses as answer
from segexport.serve.endpoint import Prepared, jpeg, prepared
from segexport.serve.limits import ServerLimits
from segexport.serve.request import SegmentationRequest, read_request, wrong
from segexport.ui.pictures import overlay


class Segmentation:
    """The endpoint of a semantic segmentation model.

    Args:
        manifest: The model's manifest.
        target_size: Default for requests without a size.
        limits: Uses `image_pixels` and `network_pixels`.

    Raises:
        InputError: The target_size is invalid.
    """

    path = "/semantic-segmentation"

    def __init__(self, manifest: Manifest, target_size: TargetSize, limits: ServerLimits) -> None:
        self._manifest, self._target_size, self._limits = manifest, checked_size(target_size), limits

    def read(self, body: bytes) -> SegmentationRequest:
        request = read_request(SegmentationRequest, body)
        try:
            checked_size(request.targetSize)
        except InputError:
            raise wrong("targetSize") from None
        return request

    def prepare(self, request: SegmentationRequest, data: bytes) -> Prepared:
        size = self._target_size if request.targetSize is None else request.targetSize
        contract = with_size(self._manifest.preprocess, size)
        return prepared(request, data, contract, self._manifest, self._limits)

    def finish(self, prepared: Prepared, prediction: Prediction) -> bytes:
        mask = restore_mask(prediction.mask, prepared.placement)
        image = prepared.image
        return answer.segmentation(mask, None if image is None else jpeg(overlay(image, mask, self._manifest.labels)))
