"""Every label of a data set, looked at before a long work begins with it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from segexport.data.dataset import Dataset
from segexport.errors import InputError
from segexport.progress import Progress, silent

_THREADS = 2


def pixels_of_classes(data: Dataset, classes: int, progress: Progress = silent) -> np.ndarray:
    """How many pixels each class has, int64 (classes,).

    Raises:
        InputError: A label that cannot be read, has another size than its image, or holds values that are no class; or
            labels in which every pixel is ignored.
    """

    def count(index: int) -> np.ndarray:
        values = np.bincount(data.read_label(index).reshape(-1), minlength=classes)
        if data.ignore_index < classes:
            values[data.ignore_index] = 0
        return values[:classes]

    total = np.zeros(classes, np.int64)
    with progress("looking at the labels", len(data)) as bar, ThreadPoolExecutor(_THREADS) as pool:
        try:
            for counts in pool.map(count, range(len(data))):
                total += counts
                bar.advance()
        except InputError:
            pool.shutdown(cancel_futures=True)
            raise
    if not total.any():
        raise InputError(
            f"{data.root}: every pixel of {data.split}'s {len(data)} labels is ignored",
            cause=f"all are {data.ignore_index}, the ignore_index",
            hint="segexport data check shows the values of each label",
        )
    return total
