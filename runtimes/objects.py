"""The objects of one image: as predicted by a model, or annotated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Objects:
    """Objects of one image, one per row.

    Masks are kept as bits, since hundreds of them at the image's size would fill the memory.

    Attributes:
        classes: (n,) int64, the class of each.
        scores: (n,) float32 in 0..1; of annotations 1.
        boxes: (n, 4) float32: left, top, right, bottom in pixels of the image, edges not centres.
        bits: (n, height, ceil(width / 8)) uint8, masks as `numpy.packbits` packs rows; None where only boxes are known.
        size: (width, height) of the image.
    """

    classes: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    bits: np.ndarray | None
    size: tuple[int, int]

    @classmethod
    def of(
        cls,
        classes: Sequence[int],
        scores: Sequence[float],
        boxes: np.ndarray | Sequence[Sequence[float]],
        masks: Sequence[np.ndarray] | None,
        size: tuple[int, int],
    ) -> Objects:
        """From plain lists; `masks` are (height, width) each, anything but 0 belongs to the object."""
        width, height = size
        bits = None
        if masks is not None:
            bits = np.zeros((len(masks), height, -(-width // 8)), np.uint8)
            for row, mask in zip(bits, masks, strict=True):
                row[:] = np.packbits(np.asarray(mask) != 0, axis=1)
        return cls(
            np.asarray(classes, np.int64).reshape(-1),
            np.asarray(scores, np.float32).reshape(-1),
            np.asarray(boxes, np.float32).reshape(-1, 4),
            bits,
            size,
        )

    def __len__(self) -> int:
        return len(self.classes)

    def mask(self, index: int) -> np.ndarray:
        """(height, width) bool of one object."""
        if self.bits is None:
            raise ValueError("of these objects only boxes are known")
        return np.unpackbits(self.bits[index], axis=1, count=self.size[0]).view(bool)

    def take(self, which: np.ndarray) -> Objects:
        """Those of a mask or a list of indices."""
        bits = None if self.bits is None else self.bits[which]
        return Objects(self.classes[which], self.scores[which], self.boxes[which], bits, self.size)

    def at_least(self, score: float) -> Objects:
        """Those with this score or more."""
        return self.take(self.scores >= score)

    def same_as(self, other: Objects) -> bool:
        """Whether every number is the same."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("classes", "scores", "boxes", "bits"))
        return self.size == other.size and all(np.array_equal(a, b) for a, b in pairs)
