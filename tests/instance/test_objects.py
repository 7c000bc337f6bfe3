"""Objects as bits, run-length codes, and which object of one model is which of another."""

from __future__ import annotations

import numpy as np
import pytest

from segexport.runtimes import object_matching as match
from segexport.runtimes.objects import Objects
from segexport.task.instance import rle
from segexport.task.instance.detections import decoded, encoded


def box_mask(size: tuple[int, int], left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros(size[::-1], np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def objects(*rows: tuple[int, float, tuple[int, int, int, int]], size: tuple[int, int] = (21, 10)) -> Objects:
    """(class, score, box) with the box as the mask."""
    masks = [box_mask(size, *box) for _, _, box in rows]
    return Objects.of([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], masks, size)


def test_masks_come_back_from_their_bits() -> None:
    masks = np.random.default_rng(0).random((3, 7, 13)) < 0.5
    found = Objects.of([0, 1, 1], [0.9, 0.5, 0.2], np.zeros((3, 4)), masks, (13, 7))
    assert found.bits.shape == (3, 7, 2)
    assert all((found.mask(index) == masks[index]).all() for index in range(3))
    assert [len(found.at_least(score)) for score in (0, 0.5, 0.91)] == [3, 2, 0]
    assert (found.at_least(0.5).mask(1) == masks[1]).all()
    assert found.same_as(found.take(np.arange(3)))
    assert not found.same_as(found.take(np.array([0, 2, 1])))


@pytest.mark.parametrize(
    ("mask", "counts"),
    [
        ([[0, 0, 1], [0, 1, 1]], [3, 3]),
        ([[1, 0], [1, 0]], [0, 2, 2]),
        ([[0, 0], [0, 0]], [4]),
        ([[1, 1], [1, 1]], [0, 4]),
    ],
)
def test_run_length_codes_run_down_the_columns(mask: list, counts: list[int]) -> None:
    code = rle.encode(np.array(mask))
    assert code == {"size": list(np.shape(mask)), "counts": counts}
    assert (decoded(code, np.shape(mask)[::-1]) == mask).all()  # pycocotools reads it so too


def test_compressed_codes_are_those_of_pycocotools() -> None:
    mask = np.random.default_rng(1).random((9, 17)) < 0.3
    assert (decoded(encoded(mask), (17, 9)) == mask).all()


def test_boxes_overlap_as_their_areas_say() -> None:
    one = np.array([[0, 0, 10, 10]], np.float32)
    two = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [2, 2, 4, 4]], np.float32)
    assert match.box_iou(one, two)[0] == pytest.approx([1, 50 / 150, 0, 4 / 100])


def test_the_best_score_chooses_first_and_classes_do_not_mix() -> None:
    one = objects((0, 0.6, (0, 0, 10, 10)), (0, 0.9, (1, 0, 11, 10)), (1, 0.9, (0, 0, 10, 10)))
    two = objects((0, 0.8, (1, 0, 11, 10)), (0, 0.7, (0, 0, 10, 10)))
    pairs = match.matched(one, two)
    assert pairs == [(1, 0, 1.0), (0, 1, 1.0)]


def test_agreement_counts_sure_objects_of_both() -> None:
    """Reference: 2 sure objects, one of which the export has at 0.4 only; the export has a sure one more."""
    reference = objects((0, 0.9, (0, 0, 10, 10)), (0, 0.6, (11, 0, 21, 10)), (0, 0.3, (0, 0, 3, 3)))
    export = objects((0, 0.8, (0, 0, 10, 8)), (0, 0.4, (11, 0, 21, 10)), (1, 0.9, (5, 5, 9, 9)))
    same = match.agreement(reference, export)
    assert (same.objects, same.partnered) == (2 + 2, 2 + 1)
    assert same.share == 0.75
    assert same.box_iou == pytest.approx((0.8, 1.0))
    assert same.mask_iou == pytest.approx((0.8, 1.0))
    assert same.score_delta == pytest.approx((-0.1, -0.2))


def test_an_object_that_fell_far_below_has_no_partner() -> None:
    reference, export = objects((0, 0.9, (0, 0, 10, 10))), objects((0, 0.2, (0, 0, 10, 10)))
    assert match.agreement(reference, export).share == 0


def test_nothing_agrees_with_nothing() -> None:
    assert match.agreement(objects(), objects()).share == 1
    assert match.agreement(objects(), objects((0, 0.9, (0, 0, 4, 4)))).share == 0
