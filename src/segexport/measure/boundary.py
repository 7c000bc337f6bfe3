"""Boundary IoU (Cheng, Girshick, Dollár, Berg, Kirillov, CVPR 2021): IoU of the pixels near the masks' contours.

mIoU hardly changes if a mask is shifted by a pixel, because areas are much larger than contours; boundary IoU does.
"""

from __future__ import annotations

import math

import numpy as np

from segexport.measure.metrics import class_counts, confusion_matrix

DILATION_RATIO = 0.02  # of the image's diagonal, section 5 of the paper


def boundary_counts(
    truth: np.ndarray,
    prediction: np.ndarray,
    num_classes: int,
    ignore_index: int | None = 255,
    *,
    dilation_ratio: float = DILATION_RATIO,
    name: str = "mask",
) -> np.ndarray:
    """Counts of one image in the layout of `metrics.class_counts`, so that they pool and resample like areas.

    Args:
        truth: Class of each pixel, (H, W) integers.
        prediction: The same shape; the "other" of `metrics.label_map_lookup` has no boundary.
        num_classes: Classes of the truth.
        ignore_index: Value of the truth that is not counted; its edges are not contours.
        dilation_ratio: Width of the boundary as a fraction of the diagonal, at least one pixel.
        name: The image's name, for errors.

    Returns:
        (3, C) int64 pixels: in both boundaries; in the truth's; in the prediction's (where the truth is not ignored).

    Raises:
        InputError: Unequal shapes, or a value on a boundary that is not a class (`metrics.confusion_matrix` finds all).
    """
    if truth.size == 0 or truth.shape != prediction.shape:  # the second raises
        return class_counts(confusion_matrix(truth, prediction, num_classes, ignore_index, name=name))
    width = boundary_width(truth.shape[0], truth.shape[1], dilation_ratio)
    counted = np.ones(truth.shape, bool) if ignore_index is None else truth != ignore_index
    # With one more class, "not on a boundary", the IoU of boundaries is an IoU of areas.
    off, ignored = num_classes, num_classes + 1
    on_truth = _kept(truth, _boundary(truth, width, counted), off)
    on_truth[~counted] = ignored
    on_prediction = _kept(prediction, _boundary(prediction, width), off)
    return class_counts(confusion_matrix(on_truth, on_prediction, num_classes + 1, ignored, name=name))[:, :num_classes]


def _kept(mask: np.ndarray, where: np.ndarray, other: int) -> np.ndarray:
    """The mask where `where` is true, `other` elsewhere; in a dtype with room for one value more."""
    dtype = mask.dtype if mask.dtype != np.uint8 or other < 255 else np.uint16
    kept = np.full(mask.shape, other, dtype)
    np.copyto(kept, mask, where=where)
    return kept


def boundary_width(height: int, width: int, dilation_ratio: float = DILATION_RATIO) -> int:
    """Pixels from the contour that count as boundary."""
    return max(1, round(dilation_ratio * math.hypot(height, width)))


def _boundary(mask: np.ndarray, width: int, counted: np.ndarray | None = None) -> np.ndarray:
    """Pixels that an erosion by `width` removes from their class, for all classes at once; bool (H, W).

    The paper erodes every class by `width` steps of a 3x3 square: a pixel remains if the whole square of `width` around
    it has its class and is inside the image, so that the square's minimum and maximum are equal.
    """
    boundary = np.ones(mask.shape, bool)
    if min(mask.shape) <= 2 * width:
        return boundary
    low = high = _small_unsigned(mask)
    if counted is not None and not counted.all():
        low, high = low.copy(), high.copy()
        low[~counted], high[~counted] = np.iinfo(low.dtype).max, 0
    size = 2 * width + 1
    inside = _over_squares(low, size, np.minimum) != _over_squares(high, size, np.maximum)
    boundary[width:-width, width:-width] = inside
    return boundary


def _over_squares(mask: np.ndarray, size: int, pick: np.ufunc) -> np.ndarray:
    """`pick` over every `size` x `size` square inside the image: (H - size + 1, W - size + 1).

    By doubling: two overlapping runs form one of up to twice the length, so log2(size) passes suffice.
    """
    reach = 1
    while reach < size:
        step = min(reach, size - reach)
        mask = pick(mask[:-step], mask[step:])
        mask = pick(mask[:, :-step], mask[:, step:])
        reach += step
    return mask


def _small_unsigned(mask: np.ndarray) -> np.ndarray:
    """Casts to the smallest unsigned dtype, the fastest; 16 bits represent every class id and the ignored value."""
    if mask.dtype == np.uint8:
        return mask
    return mask.astype(np.uint8 if mask.min() >= 0 and mask.max() < 256 else np.uint16)
