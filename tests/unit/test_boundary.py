"""Boundary IoU against a direct reading of the paper: each class eroded on its own, a 3x3 square at a time."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from segexport.errors import InputError
from segexport.measure.boundary import boundary_counts, boundary_width
from segexport.measure.metrics import class_counts, confusion_matrix, iou_per_class


def class_boundary(mask: np.ndarray, width: int) -> np.ndarray:
    """The boundary of one binary mask; outside the image there is none of the class."""
    padded = np.pad(mask.astype(np.uint8), 1)
    for _ in range(width):
        padded = cv2.erode(padded, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return mask & ~padded[1:-1, 1:-1].astype(bool)


def blobs(seed: int, shape: tuple[int, int] = (90, 120), size: float = 7) -> np.ndarray:
    noise = np.random.default_rng(seed).random((4, *shape))
    return np.stack([cv2.GaussianBlur(plane, (0, 0), size) for plane in noise]).argmax(0).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_equals_the_paper_class_by_class(dtype: type) -> None:
    truth, prediction = blobs(0), np.roll(blobs(0), 2, 1)
    width = boundary_width(*truth.shape)
    assert width == 3  # 0.02 * 150
    counts = boundary_counts(truth.astype(dtype), prediction.astype(dtype), 4)
    for index in range(4):
        in_truth, in_prediction = (class_boundary(mask == index, width) for mask in (truth, prediction))
        expected = [(in_truth & in_prediction).sum(), in_truth.sum(), in_prediction.sum()]
        assert counts[:, index].tolist() == expected


def test_by_hand() -> None:
    truth = np.zeros((20, 20), np.uint8)
    truth[5:15, 5:15] = 1  # a square of 10 has 36 pixels on its rim
    prediction = np.zeros((20, 20), np.uint8)
    prediction[5:15, 6:16] = 1
    counts = boundary_counts(truth, prediction, 2)
    assert counts[1:, 1].tolist() == [36, 36]
    assert counts[0, 1] == 18  # nine each of the upper and lower rim
    assert iou_per_class(counts)[1] == pytest.approx(18 / 54)


def test_sees_a_shift_that_areas_hide() -> None:
    truth = blobs(1, (240, 320), 40)
    shifted = np.roll(truth, 2, 1)
    area = np.nanmean(iou_per_class(class_counts(confusion_matrix(truth, shifted, 4))))
    edge = np.nanmean(iou_per_class(boundary_counts(truth, shifted, 4)))
    assert area - edge > 0.1
    assert np.nanmean(iou_per_class(boundary_counts(truth, truth, 4))) == 1.0


def test_ignored_pixels_are_neither_counted_nor_a_contour() -> None:
    truth = np.zeros((30, 30), np.uint8)
    truth[10:20, 10:20] = 255
    counts = boundary_counts(truth, np.zeros_like(truth), 2)
    rim = 30 * 30 - 28 * 28
    assert counts[:, 0].tolist() == [rim, rim, rim]
    assert counts[:, 1].tolist() == [0, 0, 0]
    all_ignored = boundary_counts(np.full_like(truth, 255), np.zeros_like(truth), 2)
    assert not all_ignored.any()


def test_the_other_class_of_a_label_map() -> None:
    truth = np.zeros((30, 30), np.uint8)
    prediction = truth.copy()
    prediction[:, 15:] = 2
    counts = boundary_counts(truth, prediction, 2)
    assert counts.shape == (3, 2)
    assert counts[0, 0] < counts[1, 0]


@pytest.mark.parametrize("shape", [(7, 400), (400, 7), (17, 400), (16, 400), (41, 43)])
def test_flat_images_equal_the_paper_too(shape: tuple[int, int]) -> None:
    truth, prediction = blobs(2, shape), blobs(3, shape)
    width = boundary_width(*shape)
    counts = boundary_counts(truth, prediction, 4)
    for index in range(4):
        in_truth, in_prediction = (class_boundary(mask == index, width) for mask in (truth, prediction))
        assert counts[:, index].tolist() == [(in_truth & in_prediction).sum(), in_truth.sum(), in_prediction.sum()]


def test_255_classes_leave_room() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[:, 20:] = 254
    counts = boundary_counts(mask, mask, 255, None)
    assert counts[:, 254].tolist() == [116] * 3  # the rim of 20 x 40 is one pixel wide: 2 * 20 + 2 * 40 - 4
    assert np.array_equal(boundary_counts(mask.astype(int), mask.astype(int), 300)[:, :255], counts)


def test_tiny_images_and_bad_masks() -> None:
    one = np.zeros((1, 1), np.uint8)
    assert boundary_counts(one, one, 2).tolist() == [[1, 0], [1, 0], [1, 0]]
    assert not boundary_counts(one[:0], one[:0], 2).any()
    with pytest.raises(InputError, match="2x1"):
        boundary_counts(one, np.zeros((1, 2), np.uint8), 2)
    with pytest.raises(InputError, match="values that are not classes: 9"):
        boundary_counts(one + 9, one, 2)
