"""Pascal VOC's average precision at one IoU, by its two rules (Everingham et al. 2010, section 4.2).

`11point` (VOC 2007, and PaddleDetection's default): the mean, over the recalls 0, 0.1, ..., 1, of the best precision at
that or a higher recall. `integral` (since VOC 2010): the area under the monotonically decreasing precision. A detection
belongs to the annotation of its class with the largest overlap; the first one above the threshold is right, later ones
of the same annotation are wrong, and those of a difficult annotation do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from segexport.task.instance.data import Annotation
from segexport.task.instance.detections import Detections, code_of, mask_tools

Rule = Literal["11point", "integral"]
IOU = 0.5


def class_aps(
    truth: Sequence[Sequence[Annotation]],
    sizes: Sequence[tuple[int, int]],
    found: Sequence[Detections],
    classes: int,
    *,
    masks: bool = False,
    rule: Rule = "11point",
) -> list[float | None]:
    """The average precision of each class; None for a class without annotations.

    Args:
        truth: Annotations of each image.
        sizes: (width, height) of each image.
        found: A model's detections in each image.
        classes: Number of classes of the data.
        masks: Whether to compare masks instead of boxes.
        rule: `11point` or `integral`, see above.
    """
    hits: list[list[tuple[float, bool]]] = [[] for _ in range(classes)]
    positives = np.zeros(classes, np.int64)
    for objects, size, detections in zip(truth, sizes, found, strict=True):
        for index in {one.class_id for one in objects} | set(map(int, detections.classes)):
            mine = [one for one in objects if one.class_id == index]
            rows = np.flatnonzero(detections.classes == index)
            rows = rows[np.argsort(-detections.scores[rows], kind="stable")]
            ignored = [one.difficult or one.crowd for one in mine]
            positives[index] += ignored.count(False)
            overlaps = _overlaps(mine, detections, rows, size, masks)
            taken: set[int] = set()
            for row, overlap in zip(rows, overlaps, strict=True):
                best = int(np.argmax(overlap)) if len(mine) else -1
                if best < 0 or overlap[best] < IOU:
                    hits[index].append((float(detections.scores[row]), False))
                elif not ignored[best]:
                    hits[index].append((float(detections.scores[row]), best not in taken))
                    taken.add(best)
    return [_ap(pairs, int(count), rule) if count else None for pairs, count in zip(hits, positives, strict=True)]


def mean_ap(aps: Sequence[float | None]) -> float | None:
    """The mean over the annotated classes; None if there are none."""
    there = [value for value in aps if value is not None]
    return float(np.mean(there)) if there else None


def _overlaps(
    mine: Sequence[Annotation], detections: Detections, rows: np.ndarray, size: tuple[int, int], masks: bool
) -> np.ndarray:
    """(detections, annotations) IoU."""
    if not len(rows) or not mine:
        return np.zeros((len(rows), len(mine)))
    tools = mask_tools()
    plain = [0] * len(mine)  # also for crowds, which are ignored here like difficult annotations
    if not masks:
        boxes = np.concatenate([detections.boxes[rows, :2], detections.boxes[rows, 2:] - detections.boxes[rows, :2]], 1)
        return np.asarray(tools.iou(boxes.astype(np.float64), np.array([one.bbox for one in mine]), plain))
    codes = [code_of(one.segmentation, size) for one in mine]
    return np.asarray(tools.iou([(detections.masks or [])[row] for row in rows], codes, plain))


def _ap(pairs: Sequence[tuple[float, bool]], positives: int, rule: Rule) -> float:
    if not pairs:
        return 0.0
    right = np.array([hit for _, hit in sorted(pairs, key=lambda pair: -pair[0])])
    recall = np.cumsum(right) / positives
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]  # at this or a higher recall
    if rule == "integral":
        return float((np.diff(recall, prepend=0.0) * best).sum())
    points = (np.searchsorted(recall, level - 1e-12) for level in np.linspace(0, 1, 11))
    return float(sum(best[point] if point < len(best) else 0.0 for point in points) / 11)
