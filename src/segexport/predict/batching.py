"""Images one after the other become batches, where a model takes such."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from segexport.artifact import Manifest
from segexport.errors import InputError
from segexport.preprocess import Placement

T = TypeVar("T")


@dataclass(frozen=True)
class Placed(Generic[T]):
    """An image as the network gets it: (1, channels, height, width), and the way back."""

    of: T
    tensor: np.ndarray
    placement: Placement


def batch_limit(manifest: Manifest, batch_size: int) -> int:
    """`batch_size` if the first axis of every input and output is dynamic, else 1: then images run one by one.

    Raises:
        InputError: A batch of nothing.
    """
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}", cause="it is at least 1")
    free = all(spec.shape and spec.shape[0] == -1 for spec in (*manifest.inputs, *manifest.outputs))
    return batch_size if free else 1


def batches(placed: Iterable[Placed[T]], limit: int) -> Iterator[list[Placed[T]]]:
    """Neighbours whose tensors have one size, at most `limit` of them."""
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
    """(batch, channels, height, width); of one image its own tensor."""
    return batch[0].tensor if len(batch) == 1 else np.concatenate([one.tensor for one in batch])


def each_of(masks: np.ndarray, count: int) -> list[np.ndarray]:
    """The (H, W) masks of a batch's answer."""
    return [masks] if count == 1 else list(masks)
