"""The objects of one image, predicted or annotated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Objects:
    """The objects of one image, one per row.

    Masks are packed bits because hundreds of masks at image size would fill the memory.

    Attributes:
        classes: (n,) int64, class indices.
        scores: (n,) float32 in 0..1; 1 for annotations.
        boxes: (n, 4) float32: left, top, right, bottom in image pixels, edges not centres.
        bits: (n, height, ceil(width / 8)) uint8, rows packed by `numpy.packbits`; None if only boxes are known.
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
        """Builds objects from lists; each mask is (height, width), nonzero inside the object."""
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
        """Returns the mask of one object, (height, width) bool."""
        if self.bits is None:
            raise ValueError("these objects have boxes only, no masks")
        return np.unpackbits(self.bits[index], axis=1, count=self.size[0]).view(bool)

    def take(self, which: np.ndarray) -> Objects:
        """Returns the objects selected by a boolean mask or a list of indices."""
        bits = None if self.bits is None else self.bits[which]
        return Objects(self.classes[which], self.scores[which], self.boxes[which], bits, self.size)

    def at_least(self, score: float) -> Objects:
        """Returns the objects with at least this score."""
        return self.take(self.scores >= score)

    def same_as(self, other: Objects) -> bool:
        """Whether all values are equal."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("classes", "scores", "boxes", "bits"))
        return self.size == other.size and all(np.array_equal(a, b) for a, b in pairs)
