"""How far the outputs of a quantized model are from the float model's, on images that both see."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

# What counts as far off. Sound int8 models of four networks: at most a tenth of the one, 0.036 of the other.
_FLOATS = 0.01  # squared error over variance
_INTEGERS = 0.05  # share that differs


def output_error(pairs: Iterable[tuple[list[np.ndarray], list[np.ndarray]]]) -> float:
    """The worst output's error over all images, over what counts as far off.

    An output of floats is far off by a squared error of 1 % of its variance, one of integers when 5 % of them differ.

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
        ) * _INTEGERS  # sizes that follow from the values: not one is the same
    if expected.dtype.kind != "f":
        return float(np.count_nonzero(expected != found)), float(expected.size) * _INTEGERS
    difference = np.square(expected.astype(np.float64) - found)
    variance = float(expected.var(dtype=np.float64)) * expected.size
    return float(np.nan_to_num(difference, nan=np.inf).sum()), variance * _FLOATS
