"""Matches the objects of two models: pairs of the same class whose boxes overlap, best scores first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segexport.runtimes.objects import Objects

IOU = 0.5
SURE = 0.5
"""Score above which the other model must also find the object."""
LEAST = SURE / 2
"""Score that the matching object must reach; lower, so that a score near the threshold does not count as lost."""

_ONES = np.array([bin(byte).count("1") for byte in range(256)], np.uint16)


@dataclass(frozen=True)
class Agreement:
    """The agreement of two models' objects in one image.

    Attributes:
        objects: Number of confident objects of both models together.
        partnered: Number of them with a match in the other model's result.
        box_iou, mask_iou: IoU of each pair matched from the reference's confident objects.
        score_delta: Export score minus reference score, for the same pairs.
    """

    objects: int
    partnered: int
    box_iou: tuple[float, ...]
    mask_iou: tuple[float, ...]
    score_delta: tuple[float, ...]

    @property
    def share(self) -> float:
        """Fraction of the confident objects that have a match; 1 if there are no confident objects."""
        return self.partnered / self.objects if self.objects else 1.0


def agreement(reference: Objects, export: Objects) -> Agreement:
    """Compares the confident objects of each model with the other's objects that reach `LEAST`.

    Args:
        reference, export: Objects of the same image, with masks of the same size.
    """
    first = reference.at_least(SURE)
    pairs = matched(first, others := export.at_least(LEAST))
    second = export.at_least(SURE)
    back = matched(second, reference.at_least(LEAST))
    masks = []
    if first.bits is not None and others.bits is not None and first.size == others.size:
        masks = [(first.bits[i], others.bits[j]) for i, j, _ in pairs]
    return Agreement(
        objects=len(first) + len(second),
        partnered=len(pairs) + len(back),
        box_iou=tuple(iou for _, _, iou in pairs),
        mask_iou=tuple(bits_iou(one, two) for one, two in masks),
        score_delta=tuple(float(others.scores[j] - first.scores[i]) for i, j, _ in pairs),
    )


def matched(one: Objects, two: Objects) -> list[tuple[int, int, float]]:
    """Returns (index in `one`, index in `two`, box IoU) per pair; each object is in at most one pair.

    In descending score, each object of `one` takes the unmatched object of its class with the highest IoU.
    """
    if not len(one) or not len(two):
        return []
    overlap = np.where(one.classes[:, None] == two.classes[None], box_iou(one.boxes, two.boxes), -1.0)
    pairs = []
    for index in np.argsort(-one.scores, kind="stable"):
        partner = int(np.argmax(overlap[index]))
        if overlap[index, partner] >= IOU:
            pairs.append((int(index), partner, float(overlap[index, partner])))
            overlap[:, partner] = -1.0
    return pairs


def box_iou(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Returns the IoU (n, m) float64 of boxes (n, 4) and (m, 4): left, top, right, bottom."""
    one, two = one.astype(np.float64), two.astype(np.float64)
    low = np.maximum(one[:, None, :2], two[None, :, :2])
    high = np.minimum(one[:, None, 2:], two[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (one, two)]
    return common / np.maximum(areas[0][:, None] + areas[1][None] - common, 1e-12)


def bits_iou(one: np.ndarray, two: np.ndarray) -> float:
    """Returns the IoU of two packed masks; 1 if both are empty."""
    union = int(_ONES[one | two].sum(dtype=np.int64))
    return int(_ONES[one & two].sum(dtype=np.int64)) / union if union else 1.0
