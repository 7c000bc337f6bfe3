"""Groups consecutive images into batches, if the model supports batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from segexport.artifact import Manifest
from segexport.errors import OptionError
from segexport.preprocess import Placement

T = TypeVar("T")


@dataclass(frozen=True)
class Placed(Generic[T]):
    """The network's input of an image, (1, channels, height, width), and its placement, to map the mask back."""

    of: T
    tensor: np.ndarray
    placement: Placement


def batch_limit(manifest: Manifest, batch_size: int) -> int:
    """`batch_size` if the first axis of every input and output is dynamic, else 1: then images run one at a time.

    Raises:
        InputError: `batch_size` is below 1.
    """
    if batch_size < 1:
        raise OptionError(f"batch_size is {batch_size}", cause="it is at least 1")
    free = all(spec.shape and spec.shape[0] == -1 for spec in (*manifest.inputs, *manifest.outputs))
    return batch_size if free else 1


def batches(placed: Iterable[Placed[T]], limit: int) -> Iterator[list[Placed[T]]]:
    """Groups consecutive images with tensors of equal size, at most `limit` per batch."""
    waiting: list[Placed[T]] = []
    for one in placed:
        if waiting and one.tensor.shape != waiting[0].tensor.shape:
            yield waiting
            waiting = []
        waiting.append(one)
        if len(waiting) == limit:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def stacked(batch: list[Placed[T]]) -> np.ndarray:
    """The batch's tensor (batch, channels, height, width); a single image's tensor is not copied."""
    return batch[0].tensor if len(batch) == 1 else np.concatenate([one.tensor for one in batch])


def each_of(masks: np.ndarray, count: int) -> list[np.ndarray]:
    """The (H, W) masks of a batch's prediction."""
    return [masks] if count == 1 else list(masks)
