"""Scans labels for common faults: all pixels ignored, masks of 0 and 255, one class only."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from segexport.data.dataset import Dataset
from segexport.errors import DataError, InputError
from segexport.progress import Progress, silent

SCANNED_IMAGES = 16
"""Number of labels that `look` reads: these faults affect all labels of a data set."""
_THREADS = 2
_SEE_VALUES = "segexport data check shows the values of each label"


@dataclass(frozen=True)
class LabelPixels:
    """Pixel counts in the labels of a split.

    Attributes:
        classes: int64 (classes,), pixels of each class.
        ignored: Pixels with the data's `ignore_index`.
    """

    classes: np.ndarray
    ignored: int

    def suspicion(self, split: str, ignore_index: int) -> str:
        """Why the labels are probably wrong, in a sentence; empty if they look right."""
        total = self.ignored + int(self.classes.sum())
        if total and self.ignored == total:
            return f"{split}: all pixels are {ignore_index}, which is ignored"
        present = np.flatnonzero(self.classes)
        if present.size != 1 or self.classes.size < 2:
            return ""
        if ignore_index == 255 and self.ignored and present[0] == 0:
            return f"{split}: labels are 0 and 255 only; if 255 is meant as a class, it has to be 1"
        return f"{split}: every pixel that counts is class {present[0]}"


def look(data: Dataset, classes: int) -> str:
    """Why some labels, spread over the data, are probably wrong; empty if they look right or there are none.

    Raises:
        InputError: As `count_pixels`.
    """
    if not data.labelled:
        return ""
    return count_pixels(data.subset(SCANNED_IMAGES), classes).suspicion(data.split, data.ignore_index)


def count_pixels(data: Dataset, classes: int, progress: Progress = silent) -> LabelPixels:
    """Counts the pixels of every label; reads only the headers of images.

    Raises:
        InputError: A label cannot be read, differs in size from its image, or has values that are not classes.
    """

    def count(index: int) -> np.ndarray:
        values = np.bincount(data.read_label(index).reshape(-1), minlength=max(classes, data.ignore_index + 1))
        found = np.append(values[:classes], values[data.ignore_index])
        if data.ignore_index < classes:
            found[data.ignore_index] = 0
        return found

    total = np.zeros(classes + 1, np.int64)
    with progress("looking at the labels", len(data)) as bar, ThreadPoolExecutor(_THREADS) as pool:
        try:
            for counts in pool.map(count, range(len(data))):
                total += counts
                bar.advance()
        except InputError:
            pool.shutdown(cancel_futures=True)
            raise
    return LabelPixels(total[:-1], int(total[-1]))


def require_counted(data: Dataset, pixels: LabelPixels) -> None:
    """Raises InputError if every pixel is ignored."""
    if not pixels.classes.any():
        raise DataError(
            f"{data.root}: every pixel of {data.split}'s {len(data)} labels is ignored",
            cause=f"all are {data.ignore_index}, the ignore_index",
            hint=_SEE_VALUES,
        )


def require_trainable(data: Dataset, pixels: LabelPixels, names: Sequence[str]) -> None:
    """Refuses labels that cannot train a model.

    Raises:
        InputError: Every pixel is ignored, or all others have one class.
    """
    require_counted(data, pixels)
    present = np.flatnonzero(pixels.classes)
    if present.size == 1 and len(names) > 1:
        raise DataError(
            f"{data.root}: every pixel of {data.split}'s {len(data)} labels that counts is {names[present[0]]!r}",
            cause=pixels.suspicion(data.split, data.ignore_index),
            hint=_SEE_VALUES,
        )
