"""Pascal VOC's average precision against values that were worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from segexport.task.instance.data import Annotation
from segexport.task.instance.detections import Detections
from segexport.task.instance.voc_ap import class_aps, mean_ap

pytest.importorskip("pycocotools")

SIZES = [(100, 100), (100, 100)]
TRUTH = [
    [Annotation(0, (0, 0, 10, 10)), Annotation(0, (20, 0, 10, 10))],
    [Annotation(0, (0, 0, 10, 10), difficult=True), Annotation(0, (20, 0, 10, 10)), Annotation(1, (50, 50, 10, 10))],
]
# (class, score, left, top): all boxes are 10 x 10.
FOUND = [
    [
        (0, 0.9, 0, 0),  # right
        (0, 0.8, 0, 0),  # the same once more: wrong
        (0, 0.6, 21, 0),  # right: IoU 9/11
    ],
    [
        (0, 0.95, 0, 0),  # difficult: does not count
        (0, 0.7, 80, 80),  # nothing there: wrong
        (0, 0.5, 26, 0),  # IoU 4/16: wrong
        (0, 0.4, 20, 0),  # right
    ],
]


def detections(found: list[tuple]) -> Detections:
    boxes = [(left, top, left + 10, top + 10) for _, _, left, top in found]
    return Detections(
        np.array([one[0] for one in found], np.int64),
        np.array([one[1] for one in found], np.float32),
        np.array(boxes, np.float32).reshape(-1, 4),
    )


def aps(rule: str, found: list[list[tuple]] = FOUND) -> list[float | None]:
    return class_aps(TRUTH, SIZES, [detections(one) for one in found], 3, rule=rule)


def test_by_hand():
    """Of three annotations that count: right, wrong, wrong, right, wrong, right, by score.

    Precision 1, 1/2, 1/3, 1/2, 2/5, 1/2 at recall 1/3, 1/3, 1/3, 2/3, 2/3, 1; at a recall or beyond: 1 up to 1/3, then
    1/2. The area is 1/3 + 2/3 * 1/2; of the eleven recalls, four are up to 1/3 and seven beyond.
    """
    assert aps("integral")[0] == pytest.approx(1 / 3 + 1 / 3)
    assert aps("11point")[0] == pytest.approx((4 * 1 + 7 * 0.5) / 11)


def test_classes_that_are_missed_and_that_are_not_annotated():
    assert aps("11point")[1:] == [0.0, None]
    assert mean_ap([0.5, 0.0, None]) == 0.25
    assert mean_ap([None]) is None


def test_a_perfect_answer():
    found = [[(0, 0.9, 0, 0), (0, 0.8, 20, 0)], [(0, 0.7, 20, 0), (1, 0.3, 50, 50)]]
    for rule in ("11point", "integral"):
        assert aps(rule, found)[:2] == pytest.approx([1.0, 1.0])


def test_the_score_decides_who_is_the_duplicate():
    """Two boxes on one annotation, the worse one surer: it is right, and the better one is the duplicate."""
    found = [[(0, 0.9, 4, 0), (0, 0.8, 0, 0)], []]  # the first overlaps by 6/14, under the threshold: wrong
    assert aps("integral", found)[0] == pytest.approx(1 / 3 * 1 / 2)
    found = [[(0, 0.9, 3, 0), (0, 0.8, 0, 0)], []]  # 7/13: right
    assert aps("integral", found)[0] == pytest.approx(1 / 3)
