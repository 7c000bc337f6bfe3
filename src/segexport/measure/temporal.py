"""Measures how steady a video's masks are: flicker, and agreement of each mask with the motion-compensated last one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segexport.measure.metrics import confusion_matrix, scores


@dataclass
class Steadiness:
    """Counts over the pairs of consecutive frames of a video; call `add` for each pair in order.

    Args:
        classes: Number of classes.

    Attributes:
        matrix: (classes, classes) int64: class in the last mask, moved along the motion, by class in the current one.
    """

    classes: int

    def __post_init__(self) -> None:
        self.matrix = np.zeros((self.classes, self.classes), np.int64)

    def add(
        self, previous: np.ndarray, current: np.ndarray, motion: np.ndarray, seen: np.ndarray | None = None
    ) -> None:
        """Counts a pair of masks.

        Args:
            previous, current: (h, w) class indices.
            motion: (h, w, 2): offset (x, y) in pixels from each pixel of `current` to its position in `previous`.
            seen: (h, w) bool: whether that position was visible in `previous`; None: if it is inside the frame.
        """
        moved, inside = warped(previous, motion)
        counted = inside if seen is None else inside & seen
        self.matrix += confusion_matrix(moved[counted][None], current[counted][None], self.classes, None)

    @property
    def flicker(self) -> float:
        """Fraction of the counted pixels whose class changes, from 0 to 1; NaN if nothing was counted."""
        total = self.matrix.sum()
        return float(1 - np.trace(self.matrix) / total) if total else float("nan")

    @property
    def warped_miou(self) -> float | None:
        """mIoU of each mask with the last one, moved to it: temporal consistency (Liu et al., ECCV 2020, 3.1)."""
        return scores(self.matrix).miou


def warped(mask: np.ndarray, motion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Moves a mask along the motion, by nearest neighbour; also returns where the source is inside the frame.

    Args:
        mask: (h, w).
        motion: As in `Steadiness.add`.

    Returns:
        (h, w) of the mask's dtype, and (h, w) bool.
    """
    height, width = mask.shape
    rows, columns = np.indices(mask.shape)
    x = np.floor(columns + motion[..., 0] + 0.5).astype(np.int64)
    y = np.floor(rows + motion[..., 1] + 0.5).astype(np.int64)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return mask[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)], inside
