"""A model's objects in the images of a data set, in compact form: boxes as numbers, masks as run-length codes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segexport.errors import EnvironmentMissingError
from segexport.runtimes.objects import Objects

MAX_PER_IMAGE = 100
"""Most objects per image and class that COCO's protocol counts, best scores first."""


@dataclass(frozen=True)
class Detections:
    """The detections in one image.

    Attributes:
        classes: (n,) int64, classes of the data; objects of other classes are left out.
        scores: (n,) float32.
        boxes: (n, 4) float32: left, top, right, bottom, in pixels.
        masks: n compressed run-length codes of COCO; None if masks are not measured.
    """

    classes: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    masks: list[dict[str, Any]] | None = field(default=None)

    @classmethod
    def of(cls, objects: Objects, lookup: np.ndarray, *, masks: bool) -> Detections:
        """Selects the measured part of a model's objects.

        Args:
            lookup: (classes of the model,): the class of the data, or -1 if there is none.
            masks: Whether to keep masks.
        """
        classes = lookup[objects.classes]
        known = np.flatnonzero(classes >= 0)
        codes = [encoded(objects.mask(index)) for index in known] if masks else None
        return cls(classes[known], objects.scores[known], objects.boxes[known], codes)

    def __len__(self) -> int:
        return len(self.classes)


def encoded(mask: np.ndarray) -> dict[str, Any]:
    """COCO's compressed run-length code of a mask (height, width)."""
    return mask_tools().encode(np.asfortranarray(mask, np.uint8))


def code_of(shape: Any, size: tuple[int, int]) -> dict[str, Any]:
    """COCO's compressed run-length code of a segmentation in any form; `size` is (width, height)."""
    width, height = size
    if isinstance(shape, list):
        return mask_tools().merge(mask_tools().frPyObjects(shape, height, width))
    if isinstance(shape["counts"], list):
        return mask_tools().frPyObjects(shape, height, width)
    return shape


def decoded(shape: Any, size: tuple[int, int]) -> np.ndarray:
    """The mask of a segmentation, (height, width) uint8 of 0 and 1."""
    return mask_tools().decode(code_of(shape, size))


def mask_tools() -> Any:
    """Imports the mask module of pycocotools.

    Raises:
        EnvironmentMissingError: pycocotools is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError as error:
        raise EnvironmentMissingError(
            "average precision of objects needs pycocotools", hint="pip install 'segexport[coco]'"
        ) from error
    return mask
