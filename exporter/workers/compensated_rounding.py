"""Rounds a layer's weights one input at a time; the remaining weights compensate each rounding error.

Frantar et al.: GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers (ICLR 2023), section
3: weights are rounded input by input; after each, the remaining weights are updated by the inverse Hessian of the
squared output error, so that they compensate the error. No labels, no training. NumPy only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

_DAMPING = 0.01  # of the mean of the Hessian's diagonal, section 3.3: a Hessian of few images is inexact
_BLOCK = 128  # columns whose updates of all later columns are done at once, section 3.3, "lazy batch updates"
_SHARES = np.linspace(1.0, 0.4, 13)  # of the largest magnitude: ranges that the search tries
_AT_END = 1e-4  # steps
_VALUES = 1 << 22  # numbers that the search has in memory at a time


class Rounded(NamedTuple):
    """The rounded weights and their error.

    Attributes:
        whole: (groups, outputs, inputs), int8.
        error: (groups, outputs): the squared error of each output, summed over the Hessian's positions.
        nearest: The same for rounding to the nearest integer.
    """

    whole: np.ndarray
    error: np.ndarray
    nearest: np.ndarray


class Compensation:
    """Rounds one layer. Its groups are separate layers that are computed together.

    Inputs that vary most are rounded first ("act-order" in the authors' code), while most others can still compensate
    their error.

    Args:
        hessian: (groups, inputs, inputs): the sum of the products of the inputs, over many output positions.
    """

    def __init__(self, hessian: np.ndarray) -> None:
        self._hessian = hessian
        self._order = np.argsort(-np.einsum("gkk->gk", hessian), axis=1, kind="stable")  # (groups, inputs)
        ordered = np.take_along_axis(_columns(hessian, self._order), self._order[:, :, None], axis=1)
        self._upper = _inverse_root(_damped(ordered))

    def round(self, weights: np.ndarray, steps: np.ndarray, top: int) -> Rounded:
        """Rounds the weights to integers; an output for which the nearest integers have the smaller error gets those.

        Args:
            weights: (groups, outputs, inputs).
            steps: (groups, outputs): the step of each output's weights. Or (groups, outputs, inputs): of each weight.
            top: The largest magnitude of an integer.
        """
        found, _ = self._compensated(weights, steps, top)
        spread = _per_weight(steps)
        nearest = np.clip(np.rint(weights / spread), -top, top)
        errors = [output_error(whole * spread - weights, self._hessian) for whole in (found, nearest)]
        better = errors[0] <= errors[1]
        whole = np.where(better[:, :, None], found, nearest).astype(np.int8)
        return Rounded(whole, np.minimum(*errors), errors[1])

    def _compensated(self, weights: np.ndarray, steps: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
        """The compensated integers, and each output's squared error by the damped Hessian.

        A weight of exactly `top` steps does not change, so that steps computed from the largest weight are the same.
        """
        spread = _per_weight(steps)
        ends = _columns(np.abs(weights) >= (top - _AT_END) * spread, self._order)
        spread = _columns(spread, self._order) if spread.shape[2] > 1 else spread
        original = _columns(weights, self._order)
        left = original.astype(np.float64)
        found, loss = np.empty(left.shape, np.int8), np.zeros(left.shape[:2])
        upper, inputs = self._upper, weights.shape[2]
        for start in range(0, inputs, _BLOCK):
            stop = min(start + _BLOCK, inputs)
            part = np.ascontiguousarray(np.moveaxis(left[:, :, start:stop], 2, 0))  # (inputs, groups, outputs)
            errors = np.empty(part.shape)
            for column in range(stop - start):
                row = upper[:, start + column, start:stop].T  # (inputs, groups)
                step = spread[:, :, start + column if spread.shape[2] > 1 else 0]
                whole = np.clip(np.rint(part[column] / step), -top, top)
                whole = np.where(ends[:, :, start + column], np.sign(original[:, :, start + column]) * top, whole)
                found[:, :, start + column] = whole
                errors[column] = error = (part[column] - whole * step) / row[column][:, None]
                part[column + 1 :] -= row[column + 1 :, :, None] * error
            loss += (errors**2).sum(axis=0)
            left[:, :, stop:] -= np.moveaxis(errors, 0, 2) @ upper[:, start:stop, stop:]
        return _columns(found, np.argsort(self._order, axis=1)), loss

    def best_steps(self, weights: np.ndarray, top: int, parts: int = 1) -> np.ndarray:
        """Searches the step of each output that gives the smallest rounding error.

        With few steps, clipping the largest weights reduces the error: the clipped part is compensated too.

        Args:
            weights: (groups, outputs, inputs).
            top: As in `round`.
            parts: This many consecutive groups share the steps of their outputs.

        Returns:
            (groups, outputs).
        """
        groups, outputs, inputs = weights.shape
        found = np.empty((groups, outputs))
        at_once = max(1, _VALUES // (groups * inputs * len(_SHARES)))
        for start in range(0, outputs, at_once):
            part = weights[:, start : start + at_once]
            widest = _shared(whole_range(part, top), parts, np.max)
            tried = widest[:, :, None] * _SHARES  # (groups, outputs, shares)
            spread = np.repeat(part, len(_SHARES), axis=1)
            _, loss = self._compensated(spread, tried.reshape(groups, -1), top)
            best = _shared(loss.reshape(tried.shape), parts, np.sum).argmin(axis=2)  # the widest of equals
            found[:, start : start + at_once] = np.take_along_axis(tried, best[:, :, None], axis=2)[:, :, 0]
        return found


def block_steps(weights: np.ndarray, top: int, size: int, importance: np.ndarray) -> np.ndarray:
    """Searches the step of each block of consecutive weights that gives the smallest error of rounding and clipping.

    Args:
        weights: (groups, outputs, inputs).
        top: The largest magnitude of an integer.
        size: Weights per block; divides the number of inputs.
        importance: (groups, inputs): how much the square of an input's error counts.

    Returns:
        (groups, outputs, inputs), equal within a block.
    """
    groups, outputs, _ = weights.shape
    blocks = weights.reshape(groups, outputs, -1, size)
    counts = importance.reshape(groups, 1, -1, size)
    largest = np.abs(blocks).max(axis=3, keepdims=True)
    widest = np.where(largest > 0, largest, 1.0) / top
    found, least = widest, np.full(widest.shape, np.inf)
    for share in _SHARES:
        tried = widest * share
        error = np.clip(np.rint(blocks / tried), -top, top) * tried - blocks
        error = (counts * error**2).sum(axis=3, keepdims=True)
        found = np.where(error < least, tried, found)
        least = np.minimum(least, error)
    return np.broadcast_to(found, blocks.shape).reshape(weights.shape)


def whole_range(weights: np.ndarray, top: int) -> np.ndarray:
    """The step that rounds each output's largest weight to `top`; (groups, outputs), never 0."""
    largest = np.abs(weights).max(axis=2)
    return np.where(largest > 0, largest, 1.0) / top


def output_error(difference: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """The squared error of each output that a difference of the weights causes, summed over the Hessian's positions.

    Args:
        difference: (groups, outputs, inputs).
        hessian: (groups, inputs, inputs).

    Returns:
        (groups, outputs).
    """
    return np.einsum("gok,gok->go", difference @ hessian, difference)


def _shared(values: np.ndarray, parts: int, how: Callable[..., np.ndarray]) -> np.ndarray:
    """Reduces the values of every `parts` consecutive groups by `how`; each of the groups gets the result."""
    split = values.reshape(-1, parts, *values.shape[1:])
    return np.repeat(how(split, axis=1), parts, axis=0)


def _per_weight(steps: np.ndarray) -> np.ndarray:
    """Steps as (groups, outputs, inputs), or (groups, outputs, 1) if an output has one."""
    return steps if steps.ndim == 3 else steps[:, :, None]


def _damped(hessian: np.ndarray) -> np.ndarray:
    mean = np.einsum("gkk->gk", hessian).mean(axis=1, keepdims=True)
    more = np.where(mean > 0, _DAMPING * mean, 1.0)  # a group with only zeros as inputs rounds to the nearest
    return hessian + more[:, :, None] * np.eye(hessian.shape[1])


def _inverse_root(hessian: np.ndarray) -> np.ndarray:
    """The upper triangular U with inverse(H) = transposed(U) U: its rows are the updates of section 3.3, step 3."""
    lower = np.linalg.cholesky(hessian[:, ::-1, ::-1])
    return np.triu(np.linalg.inv(lower[:, ::-1, ::-1]))


def _columns(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Reorders the last axis of each group by the group's order."""
    return np.take_along_axis(values, order[:, None, :], axis=2)
