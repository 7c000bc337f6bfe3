"""Which object of one model is which of another: pairs of one class whose boxes overlap, best scores first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segexport.runtimes.objects import Objects

IOU = 0.5
SURE = 0.5
"""Score from which an object has to be in the other model's answer too."""
LEAST = SURE / 2
"""Score that its partner there must have: an object at the edge of being sure is not lost by falling below it."""

_ONES = np.array([bin(byte).count("1") for byte in range(256)], np.uint16)


@dataclass(frozen=True)
class Agreement:
    """How far two models found the same objects in one image.

    Attributes:
        objects: Sure objects of both models together.
        partnered: Those of them that have a partner in the other model's answer.
        box_iou, mask_iou: IoU of each pair that was found from the reference's sure objects.
        score_delta: Score of the export minus that of the reference, for the same pairs.
    """

    objects: int
    partnered: int
    box_iou: tuple[float, ...]
    mask_iou: tuple[float, ...]
    score_delta: tuple[float, ...]

    @property
    def share(self) -> float:
        """Part of the sure objects that have a partner; 1 where there is none."""
        return self.partnered / self.objects if self.objects else 1.0


def agreement(reference: Objects, export: Objects) -> Agreement:
    """Compares the sure objects of each with all of the other's that reach `LEAST`.

    Args:
        reference, export: Of the same image, with masks of the same size.
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
    """(index in `one`, index in `two`, IoU of the boxes), each object in one pair at most.

    The best score of `one` chooses first, and takes the free object of its class that it overlaps most.
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
    """(n, m) float64 of boxes (n, 4) and (m, 4): left, top, right, bottom."""
    one, two = one.astype(np.float64), two.astype(np.float64)
    low = np.maximum(one[:, None, :2], two[None, :, :2])
    high = np.minimum(one[:, None, 2:], two[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (one, two)]
    return common / np.maximum(areas[0][:, None] + areas[1][None] - common, 1e-12)


def bits_iou(one: np.ndarray, two: np.ndarray) -> float:
    """IoU of two packed masks; 1 where both are empty."""
    union = int(_ONES[one | two].sum(dtype=np.int64))
    return int(_ONES[one & two].sum(dtype=np.int64)) / union if union else 1.0
