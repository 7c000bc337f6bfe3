"""Collective operations for data-parallel training (`python -m paddle.distributed.launch`), or for one process.

Every process takes its share of a batch's images; gradients are averaged before each step, so that all processes have
the same parameters. BatchNorm's running statistics follow each process's images and are averaged when they are read.

Imports paddle; only for worker processes and tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np
import paddle
from paddle import Tensor, distributed


def begin() -> None:
    """Joins the other processes, if the launcher started several."""
    if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) > 1:
        distributed.init_parallel_env()


def count() -> int:
    return distributed.get_world_size()


def own() -> int:
    """Returns this process's rank, from 0."""
    return distributed.get_rank()


def is_first() -> bool:
    """Whether this process writes the files (rank 0)."""
    return own() == 0


def sum_of(counts: np.ndarray) -> np.ndarray:
    """Sums an int64 array over the processes."""
    if count() == 1:
        return counts
    total = paddle.to_tensor(counts)
    distributed.all_reduce(total)
    return total.numpy()


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replaces gradients by their mean over the processes."""
    if count() > 1:
        given = [tensor for tensor in parameters if tensor.grad is not None]
        for tensor, mean in zip(given, _mean([tensor.grad for tensor in given]), strict=True):
            tensor.grad = mean


def average_values(tensors: Iterable[Tensor]) -> None:
    """Replaces tensors by their mean over the processes."""
    if count() > 1:
        tensors = list(tensors)
        for tensor, mean in zip(tensors, _mean(tensors), strict=True):
            tensor.set_value(mean)


@paddle.no_grad()
def _mean(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Averages all tensors in one message, to save a round trip per tensor."""
    if not tensors:
        return []
    flat = paddle.concat([tensor.flatten() for tensor in tensors])
    distributed.all_reduce(flat)
    parts = paddle.split(flat / count(), [tensor.size for tensor in tensors])
    return [part.reshape(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]
