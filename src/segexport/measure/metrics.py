"""Segmentation metrics from confusion matrices: rows are the truth, columns the prediction, counts are pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from segexport.errors import DataError, InputError, ModelOutputError

MIOU_CONVENTION = (
    "mIoU is the mean over classes of the IoU from pixels pooled over all images; ignored pixels do not count, and "
    "a class that is in neither the truth nor the prediction is left out of the mean."
)

MASK_IOU_CONVENTION = (
    "Mask IoU is the mean over classes of the IoU of the export's pixels with the reference's, pooled over all images; "
    "a class that is in the masks of neither is left out of the mean."
)

AbsentRule = Literal["skip", "zero", "one"]
"""Treatment in the mean of a class that is in neither truth nor prediction.

`skip` (ours, mmsegmentation, cityscapesScripts): left out. `zero`: the plain formula with 0/0 = 0, PaddleSeg up to 2.3.
`one`: PaddleSeg 2.10. The other two exist to reproduce published numbers.
"""

Counts = npt.NDArray[np.int64]

# cv2.calcHist counts in float32, which is exact up to 2**24: larger images are counted in parts.
_EXACT_PIXELS = 1 << 24


def confusion_matrix(
    truth: np.ndarray,
    prediction: np.ndarray,
    num_classes: int,
    ignore_index: int | None = 255,
    *,
    prediction_classes: int | None = None,
    name: str = "mask",
) -> Counts:
    """Counts the pixels of one image by their class in the truth and in the prediction.

    Args:
        truth: Class of each pixel, any integer dtype, any shape.
        prediction: The same shape.
        num_classes: Classes of the truth: values are 0 to num_classes - 1, or `ignore_index`.
        ignore_index: Pixels with this value in the truth are not counted; None when there is no such value.
        prediction_classes: Number of columns, if the prediction has more classes: the "other" of `label_map_lookup`.
        name: The image's path, for errors.

    Returns:
        int64, (num_classes, prediction_classes or num_classes).

    Raises:
        InputError: The shapes differ, or values are not integers or not classes; the error lists them.
    """
    columns = num_classes if prediction_classes is None else prediction_classes
    if truth.shape != prediction.shape:
        raise DataError(
            f"{name}: the truth is {_size(truth)}, the prediction {_size(prediction)}",
            cause="the label and the mask have different sizes",
        )
    if truth.size == 0:
        return np.zeros((num_classes, columns), np.int64)
    truth_8, prediction_8 = _as_uint8(truth, f"{name}: truth"), _as_uint8(prediction, f"{name}: prediction")
    if truth_8 is None or prediction_8 is None:
        return _wide_confusion(truth, prediction, num_classes, columns, ignore_index, name)

    joint = _joint_histogram(truth_8, prediction_8)
    matrix = np.zeros((num_classes, columns), np.int64)
    rows_here, columns_here = min(num_classes, 256), min(columns, 256)
    matrix[:rows_here, :columns_here] = joint[:rows_here, :columns_here]
    if matrix.sum() != truth.size:
        ignored = np.zeros(256, bool)
        if ignore_index is not None and 0 <= ignore_index < 256:
            ignored[ignore_index] = True
        truth_values = {int(v): int(joint[v].sum()) for v in np.flatnonzero(joint.any(1) & ~ignored)}
        _refuse_outside(truth_values, num_classes, ignore_index, f"{name}: truth")
        columns_seen = {int(v): int(joint[:, v].sum()) for v in np.flatnonzero(joint.any(0))}
        _refuse_outside(columns_seen, columns, None, f"{name}: prediction")
    if ignore_index is not None and 0 <= ignore_index < num_classes:
        matrix[ignore_index] = 0
    return matrix


def _joint_histogram(truth: np.ndarray, prediction: np.ndarray) -> Counts:
    """(256, 256) counts of the pairs of two uint8 images."""
    joint = np.zeros((256, 256), np.int64)
    truth, prediction = truth.reshape(-1), prediction.reshape(-1)
    for start in range(0, truth.size, _EXACT_PIXELS):
        part = slice(start, start + _EXACT_PIXELS)
        planes = [np.ascontiguousarray(truth[part]), np.ascontiguousarray(prediction[part])]
        joint += cv2.calcHist(planes, [0, 1], None, [256, 256], [0, 256, 0, 256]).astype(np.int64)
    return joint


def _wide_confusion(
    truth: np.ndarray, prediction: np.ndarray, rows: int, columns: int, ignore_index: int | None, name: str
) -> Counts:
    """Counts pairs that do not fit 8 bits: more than 256 classes, or an ignore_index like -1 or 65535."""
    counted = np.ones(truth.shape, bool) if ignore_index is None else truth != ignore_index
    for values, classes, ignore, what in (
        (truth[counted], rows, ignore_index, "truth"),
        (prediction, columns, None, "prediction"),
    ):
        if values.size and (values.min() < 0 or values.max() >= classes):
            seen, pixels = np.unique(values, return_counts=True)
            seen_pixels = dict(zip(seen.tolist(), pixels.tolist(), strict=True))
            _refuse_outside(seen_pixels, classes, ignore, f"{name}: {what}")
    codes = truth[counted].astype(np.int64) * columns + prediction[counted].astype(np.int64)
    return np.bincount(codes, minlength=rows * columns).reshape(rows, columns).astype(np.int64, copy=False)


def _as_uint8(mask: np.ndarray, what: str) -> np.ndarray | None:
    """The mask as uint8; None if its values do not fit."""
    if mask.dtype == np.uint8:
        return mask
    if mask.dtype == np.bool_:
        return mask.astype(np.uint8)
    if mask.dtype.kind not in "iu":
        raise InputError(f"{what}: a mask of class ids has integers, this one is {mask.dtype}")
    return mask.astype(np.uint8) if mask.min() >= 0 and mask.max() <= 255 else None


def _refuse_outside(seen: Mapping[int, int], classes: int, ignore_index: int | None, what: str) -> None:
    bad = {value: pixels for value, pixels in seen.items() if not 0 <= value < classes}
    if not bad:
        return
    shown = ", ".join(str(value) for value in list(bad)[:8]) + (", ..." if len(bad) > 8 else "")
    ignore = "" if ignore_index is None else f"; ignore_index is {ignore_index}"
    raise DataError(
        f"{what} contains values that are not classes: {shown} ({sum(bad.values())} pixels)",
        cause=f"there are {classes} classes, 0 to {classes - 1}{ignore}",
        hint="compare labels.txt and ignore_index with the values in the label files",
    )


def _size(mask: np.ndarray) -> str:
    return "x".join(map(str, mask.shape[::-1])) if mask.ndim == 2 else str(mask.shape)


def class_counts(confusion: np.ndarray) -> Counts:
    """The counts of an image that IoU needs and the bootstrap resamples.

    Args:
        confusion: (..., C, C), or (..., C, C + k) where k columns are not a class of the truth.

    Returns:
        (..., 3, C) int64 pixels: predicted correctly; in the truth; predicted (where the truth is not ignored).
    """
    confusion = np.asarray(confusion)
    classes = confusion.shape[-2]
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return np.stack([hits, confusion.sum(-1), confusion[..., :classes].sum(-2)], axis=-2).astype(np.int64)


def iou_per_class(counts: np.ndarray) -> np.ndarray:
    """IoU from (..., 3, C) class counts, float64 (..., C); NaN for a class in neither truth nor prediction."""
    hits, truth, predicted = np.moveaxis(np.asarray(counts), -2, 0)
    return _ratio(hits, truth + predicted - hits)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)


def _mean(values: np.ndarray) -> float | None:
    found = values[~np.isnan(values)]
    return float(found.mean()) if found.size else None


def _listed(values: np.ndarray) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else float(value) for value in values)


def mean_iou(class_iou: np.ndarray, absent: AbsentRule = "skip") -> float | None:
    """The mean of (C,) IoU with NaN for absent classes; None if no class is present."""
    if absent != "skip" and not np.isnan(class_iou).all():
        class_iou = np.nan_to_num(class_iou, nan=0.0 if absent == "zero" else 1.0)
    return _mean(class_iou)


@dataclass(frozen=True)
class Scores:
    """Fractions from 0 to 1; None if there is nothing to measure. Per-class tuples are in the order of the labels.

    Attributes:
        class_accuracy: Fraction of the class's true pixels that were found: recall, "category accuracy".
        class_precision: Fraction of the pixels predicted as the class that have the class.
        mean_accuracy: Mean of `class_accuracy` over the classes in the truth.
        kappa: Cohen's kappa (1960) over pixels; None if there is one class only.
        mean_dice: Mean of 2|A∩B| / (|A| + |B|) over the classes that the mean IoU counts.
    """

    miou: float | None
    class_iou: tuple[float | None, ...]
    pixel_accuracy: float | None
    mean_accuracy: float | None
    class_accuracy: tuple[float | None, ...]
    class_precision: tuple[float | None, ...]
    kappa: float | None
    mean_dice: float | None
    class_dice: tuple[float | None, ...]
    pixels: int


def scores(confusion: np.ndarray, absent: AbsentRule = "skip") -> Scores:
    """All metrics of a pooled confusion matrix, (C, C) or (C, C + k) with k columns of classes not in the truth."""
    confusion = np.asarray(confusion)
    hits, truth, predicted = class_counts(confusion)
    pixels = int(confusion.sum())
    iou, dice = _ratio(hits, truth + predicted - hits), _ratio(2 * hits, truth + predicted)
    recall, precision = _ratio(hits, truth), _ratio(hits, predicted)
    accuracy = float(hits.sum() / pixels) if pixels else None
    return Scores(
        miou=mean_iou(iou, absent),
        class_iou=_listed(iou),
        pixel_accuracy=accuracy,
        mean_accuracy=_mean(recall),
        class_accuracy=_listed(recall),
        class_precision=_listed(precision),
        kappa=_kappa(accuracy, truth, predicted, pixels),
        mean_dice=mean_iou(dice, absent),
        class_dice=_listed(dice),
        pixels=pixels,
    )


def _kappa(accuracy: float | None, truth: np.ndarray, predicted: np.ndarray, pixels: int) -> float | None:
    if accuracy is None:
        return None
    by_chance = float((truth / pixels) @ (predicted / pixels))
    return None if by_chance >= 1.0 else (accuracy - by_chance) / (1.0 - by_chance)


def agreement(mask_a: np.ndarray, mask_b: np.ndarray) -> float:
    """The fraction of equal pixels of two masks of the same shape.

    Raises:
        InputError: The shapes differ, or there are no pixels.
    """
    if mask_a.shape != mask_b.shape or mask_a.size == 0:
        raise InputError(f"masks of {_size(mask_a)} and {_size(mask_b)} pixels cannot be compared")
    return np.count_nonzero(mask_a == mask_b) / mask_a.size


def apply_label_map(mask: np.ndarray, lookup: np.ndarray) -> np.ndarray:
    """Converts a mask from model ids to dataset ids and "other"; `confusion_matrix` then needs one more column.

    Raises:
        InputError: The mask contains an id that the model has no label for.
    """
    low, high = (mask.min(), mask.max()) if mask.size else (0, 0)
    if low < 0 or high >= len(lookup):
        values = [int(value) for value in np.unique(mask) if not 0 <= value < len(lookup)]
        raise ModelOutputError(
            f"the mask contains classes that the model has no label for: {', '.join(map(str, values[:8]))}",
            cause=f"the model has {len(lookup)} labels",
        )
    if mask.dtype == np.uint8 and lookup.dtype == np.uint8 and mask.ndim == 2:
        full = np.zeros(256, np.uint8)
        full[: len(lookup)] = lookup[:256]
        return cv2.LUT(mask, full)
    return lookup[mask]
