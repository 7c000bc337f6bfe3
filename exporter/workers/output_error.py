"""Measures the error of a quantized model's outputs relative to the float model's, on the same images."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

# Limits of a sound model. Sound int8 models of four networks reach at most a tenth of the first, 0.036 of the second.
_FLOATS = 0.01  # squared error / variance
_INTEGERS = 0.05  # fraction of different elements


def output_error(pairs: Iterable[tuple[list[np.ndarray], list[np.ndarray]]]) -> float:
    """The worst output's error over all images, relative to its limit: above 1, the output is far off.

    The limit for floats is a squared error of 1 % of the variance; for integers, 5 % different elements.

    Args:
        pairs: For each image, the float model's outputs and the quantized model's.
    """
    wrong, whole = np.zeros(0), np.zeros(0)
    for expected, found in pairs:
        terms = [_terms(np.asarray(one), np.asarray(other)) for one, other in zip(expected, found, strict=True)]
        off, allowed = np.array(terms).T
        wrong, whole = (off, allowed) if not wrong.size else (wrong + off, whole + allowed)
    return float(np.max(np.divide(wrong, whole, out=np.zeros_like(wrong), where=whole > 0)))


def _terms(expected: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    if expected.shape != found.shape:
        return float(expected.size), float(
            expected.size
        ) * _INTEGERS  # sizes that depend on the values differ: all elements count as different
    if expected.dtype.kind != "f":
        return float(np.count_nonzero(expected != found)), float(expected.size) * _INTEGERS
    difference = np.square(expected.astype(np.float64) - found)
    variance = float(expected.var(dtype=np.float64)) * expected.size
    return float(np.nan_to_num(difference, nan=np.inf).sum()), variance * _FLOATS
