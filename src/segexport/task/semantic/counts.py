"""What is counted of a model that gives the class of each pixel."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from segexport.measure import metrics
from segexport.measure.parity import Counts


@dataclass
class PixelCounts(Counts):
    """Pixels by class.

    Attributes:
        class_counts: Per image (3, C) int64: pixels right, pixels of the truth, pixels of the prediction, by class.
        boundary: Per image (3, C) int64: the same of the boundaries.
        confusion: (C, C) int64, all images, rows are the truth; a column more with a label map.
        mask_confusion: (M, M) int64 of the model's own classes, all images, rows are the reference's masks.
        decided_agreement: As `agreement`, among pixels where the reference was sure; NaN where it gives no scores.
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
