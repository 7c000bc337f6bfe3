"""Counts of a semantic segmentation model."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from segexport.measure import metrics
from segexport.measure.parity import Counts


@dataclass
class PixelCounts(Counts):
    """Pixel counts by class.

    Attributes:
        class_counts: Per image (3, C) int64: right pixels, pixels of the truth, pixels of the prediction, by class.
        boundary: Per image (3, C) int64: the same for boundaries.
        confusion: (C, C) int64, all images, rows are the truth; one more column with a label map.
        mask_confusion: (M, M) int64 of the model's classes, all images, rows are the reference's masks.
        decided_agreement: As `agreement`, for pixels on which the reference was confident; NaN without scores.
    """

    class_counts: list[np.ndarray] = field(default_factory=list)
    boundary: list[np.ndarray] = field(default_factory=list)
    confusion: np.ndarray | None = None
    mask_confusion: np.ndarray | None = None
    decided_agreement: list[float] = field(default_factory=list)

    @property
    def images(self) -> int:
        return len(self.class_counts)

    def image_miou(self, index: int) -> float | None:
        return metrics.mean_iou(metrics.iou_per_class(self.class_counts[index]))
