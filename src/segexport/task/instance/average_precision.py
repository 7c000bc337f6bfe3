"""Average precision from matches with a weight per image: all 1 for COCO's value, or the counts of a resample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RECALLS = np.linspace(0.0, 1.0, 101)
"""The recalls at which COCO reads the precision."""

_CELLS = 4_000_000  # detections x thresholds x resamples at a time


@dataclass(frozen=True)
class ClassMatches:
    """The detections of one class in all images, best score first.

    Attributes:
        images: (D,) int, the image of each detection.
        right, wrong: (T, D) bool: whether it matches an annotation at this IoU threshold, or none; both False in a
            crowd.
        positives: (N,) int, number of annotations to find in each image.
    """

    images: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    positives: np.ndarray

    @classmethod
    def of(
        cls, images: np.ndarray, scores: np.ndarray, right: np.ndarray, ignored: np.ndarray, positives: np.ndarray
    ) -> ClassMatches:
        """Sorts by score; equal scores keep their order, as in pycocotools."""
        order = np.argsort(-scores, kind="mergesort")
        right, ignored = right[:, order], ignored[:, order]
        return cls(images[order].astype(np.intp), right & ~ignored, ~right & ~ignored, positives)

    @classmethod
    def empty(cls, positives: np.ndarray, thresholds: int) -> ClassMatches:
        """A class without detections."""
        none = np.zeros((thresholds, 0), bool)
        return cls(np.zeros(0, np.intp), none, none, positives)


def class_ap(found: ClassMatches, weights: np.ndarray) -> np.ndarray:
    """The average precision of a class, mean over the IoU thresholds.

    The precision at a recall is the best one at that or a higher recall, read at `RECALLS` (COCO's interpolation).

    Args:
        weights: (B, N): how often each image counts.

    Returns:
        (B,) float64; NaN if there is no annotation to find.
    """
    positives = weights @ found.positives
    total = np.zeros(len(weights))
    step = max(1, _CELLS // max(found.images.size * len(found.right), 1))
    for start in range(0, len(weights), step):
        part = slice(start, start + step)
        total[part] = _ap(found, weights[part], np.maximum(positives[part], 1))
    return np.where(positives > 0, total, np.nan)


def _ap(found: ClassMatches, weights: np.ndarray, positives: np.ndarray) -> np.ndarray:
    if not found.images.size:
        return np.zeros(len(weights))
    exact = len(weights) == 1  # of resamples only the spread is used, so a faster method suffices
    own = weights[:, None, found.images].astype(np.float64 if exact else np.float32)  # (B, 1, D)
    hits = np.cumsum(own * found.right, axis=2)
    counted = np.cumsum(own * found.wrong, axis=2)
    counted += hits
    precision = hits / np.maximum(counted, np.spacing(1.0))
    np.maximum.accumulate(precision[:, :, ::-1], axis=2, out=precision[:, :, ::-1])
    recall = hits / positives[:, None, None].astype(own.dtype)
    # the number of recalls that each detection is the first to reach
    if exact:
        reached = np.searchsorted(RECALLS, recall, side="right")
    else:
        reached = np.floor(recall * np.float32(100) + np.float32(1.0001))
    new = np.diff(reached, axis=2, prepend=0)
    return (new * precision).sum(axis=2, dtype=np.float64).mean(axis=1) / len(RECALLS)


def mean_ap(classes: Sequence[ClassMatches], weights: np.ndarray | None = None) -> np.ndarray:
    """The mean over the annotated classes, (B,) float64; NaN if there are none.

    Args:
        weights: (B, N): how often each image counts; None: once.
    """
    if weights is None:
        weights = np.ones((1, classes[0].positives.size)) if classes else np.ones((1, 0))
    each = np.array([class_ap(found, weights) for found in classes]).reshape(len(classes), len(weights))
    there = ~np.isnan(each)
    total = np.where(there, each, 0.0).sum(axis=0)
    return np.divide(total, there.sum(axis=0), out=np.full(len(weights), np.nan), where=there.any(axis=0))
