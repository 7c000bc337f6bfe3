"""Instance segmentation: objects, each with its class, score, box and mask."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from segexport.artifact import Manifest
from segexport.errors import EnvironmentMissingError, OptionError
from segexport.predict.target_size import TargetSize
from segexport.runtimes.base import Prediction
from segexport.runtimes.objects import Objects
from segexport.serve import responses as answer
from segexport.serve.endpoint import Prepared, jpeg, prepared
from segexport.serve.limits import ServerLimits
from segexport.serve.request import InstanceRequest, read_request
from segexport.task.instance.draw import overlay
from segexport.task.instance.model import checked
from segexport.task.instance.result import DRAW_THRESHOLD


class Instances:
    """The endpoint of an instance segmentation model.

    Args:
        manifest: The model's manifest.
        target_size: Must be None: the export fixes the size.
        limits: Uses `image_pixels` and `network_pixels`.

    Raises:
        InputError: There is a target_size.
        EnvironmentMissingError: pycocotools is missing, which encodes the masks of answers.
    """

    path = "/instance-segmentation"

    def __init__(self, manifest: Manifest, target_size: TargetSize, limits: ServerLimits) -> None:
        if target_size is not None:
            raise OptionError(
                f"{manifest.name}: target_size cannot be set",
                cause="the export of an instance segmentation model fixes its input size",
            )
        try:
            import pycocotools.mask
        except ImportError as error:
            raise EnvironmentMissingError(
                "pycocotools cannot be imported", cause=str(error), hint="pip install 'segexport[coco]'"
            ) from None
        self._rle = pycocotools.mask
        self._manifest, self._limits = manifest, limits

    def read(self, body: bytes) -> InstanceRequest:
        return read_request(InstanceRequest, body)

    def prepare(self, request: InstanceRequest, data: bytes) -> Prepared:
        return prepared(request, data, self._manifest.preprocess, self._manifest, self._limits)

    def finish(self, prepared: Prepared, prediction: Prediction) -> bytes:
        threshold = prepared.request.threshold
        found = checked(prediction, self._manifest, prepared.placement, "image")
        found = found.at_least(DRAW_THRESHOLD if threshold is None else threshold)
        result = json.dumps({"instances": [self._instance(found, index) for index in range(len(found))]}).encode()
        image = prepared.image
        return answer.with_picture(
            result, None if image is None else jpeg(overlay(image, found, self._manifest.labels))
        )

    def _instance(self, found: Objects, index: int) -> dict[str, Any]:
        label = self._manifest.labels[int(found.classes[index])]
        mask = found.mask(index)
        counts = self._rle.encode(np.asfortranarray(mask, np.uint8))["counts"]
        if isinstance(counts, bytes):
            counts = counts.decode()
        return {
            "bbox": [float(side) for side in found.boxes[index]],
            "categoryId": label.id,
            "categoryName": label.name,
            "score": float(found.scores[index]),
            "mask": {"rleResult": counts, "size": list(mask.shape)},
        }
