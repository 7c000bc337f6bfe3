"""Histograms of a tensor's values over all calibration images, in constant memory. NumPy only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Cost = Callable[[np.ndarray, np.ndarray, float, float], float]
"""(centres of the bins that are not empty, their counts, bottom, top) -> the cost of the range from bottom to top."""

_BINS = 4096  # on each side of zero
_SAMPLE = 1 << 16  # values of one tensor and image that are counted; minimum and maximum always are
_LEVELS = 256
_SHRINKS = np.linspace(1.0, 0.3, 15)  # factors that the search tries on each side of zero


class Histogram:
    """Counts on a grid symmetric about 0 whose width doubles when a value falls outside, so one pass is enough."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf
        self._limit = 0.0
        self._counts = np.zeros(2 * _BINS, np.int64)

    def add(self, values: np.ndarray) -> bool:
        """Counts `values`; False if one of them is NaN or infinite (then nothing is counted)."""
        flat = values.reshape(-1)
        low, high = float(flat.min()), float(flat.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            return False
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._widen(max(abs(low), abs(high)))
        # A stride without a common factor with usual widths visits all columns and channels.
        stride = max(1, flat.size // _SAMPLE) | 1
        sample = flat[::stride]
        if self._limit:
            index = ((sample / self._limit + 1.0) * _BINS).astype(np.int64)
            np.clip(index, 0, 2 * _BINS - 1, out=index)
            self._counts += np.bincount(index, minlength=2 * _BINS)
        return True

    def _widen(self, largest: float) -> None:
        if largest and not self._limit:
            self._limit = float(2.0 ** np.ceil(np.log2(largest)))
        while largest > self._limit:
            self._counts = _halved(self._counts)
            self._limit *= 2

    @classmethod
    def merged(cls, one: Histogram, other: Histogram) -> Histogram:
        """The histogram of both histograms' values."""
        both = cls()
        both.low, both.high = min(one.low, other.low), max(one.high, other.high)
        both._widen(max(one._limit, other._limit))
        for part in (one, other):
            counts, limit = part._counts, part._limit
            while limit and limit < both._limit:
                counts, limit = _halved(counts), limit * 2
            both._counts += counts
        return both

    def range(self, method: str, percentile: float, *, symmetric: bool = False) -> tuple[float, float]:
        """The range (lowest, highest) that the quantized tensor represents; it always contains 0.

        Args:
            symmetric: The lowest value is the negative of the highest, for runtimes without a zero point.
        """
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        if symmetric:
            high = max(-low, high)
            low = -high
        if method == "minmax" or not self._limit:
            return low, high
        if method == "percentile":
            tail = (100.0 - percentile) / 200.0
            share = np.cumsum(self._counts) / max(self._counts.sum(), 1)
            edges = np.linspace(-self._limit, self._limit, 2 * _BINS + 1)
            inner_low = edges[np.searchsorted(share, tail, side="right")]
            inner_high = edges[min(np.searchsorted(share, 1.0 - tail, side="left") + 1, 2 * _BINS)]
            if symmetric:
                high = min(high, max(-inner_low, inner_high, 0.0))
                return -high, high
            return max(low, min(inner_low, 0.0)), min(high, max(inner_high, 0.0))
        cost = self._divergence if method == "entropy" else self._squared_error
        return self._searched(low, high, cost, symmetric)

    def _searched(self, low: float, high: float, cost: Cost, symmetric: bool) -> tuple[float, float]:
        """The shrunken range with the smallest cost; the wider of two with the same cost."""
        centres = (np.arange(2 * _BINS) + 0.5) / _BINS * self._limit - self._limit
        used = self._counts > 0
        if cost == self._divergence:
            used[_BINS] = False  # every range represents 0 exactly; ReLU's many zeros would force the finest step
        values, weights = centres[used], self._counts[used].astype(np.float64)
        best, least = (low, high), np.inf
        for shrink_low in _SHRINKS if low < 0 else (1.0,):
            for shrink_high in (shrink_low,) if symmetric else _SHRINKS if high > 0 else (1.0,):
                bottom, top = low * shrink_low, high * shrink_high
                found = cost(values, weights, bottom, top)
                if found < least:
                    best, least = (bottom, top), found
        return best

    @staticmethod
    def _squared_error(values: np.ndarray, weights: np.ndarray, bottom: float, top: float) -> float:
        """The expected squared error of 8-bit rounding and clipping."""
        step = (top - bottom) / (_LEVELS - 1)
        outside = np.maximum(values - top, 0) + np.maximum(bottom - values, 0)
        return float((weights * outside**2).sum() + weights[outside == 0].sum() * step**2 / 12.0)

    @staticmethod
    def _divergence(values: np.ndarray, weights: np.ndarray, bottom: float, top: float) -> float:
        """KL(P || Q) of the values clipped to a range (P) and of their 256 levels (Q), each spread over its own bins.

        Migacz: 8-bit Inference with TensorRT (GTC 2017), "Entropy Calibration": values outside the range count in P at
        its ends and are missing in Q, so that clipping has a cost as coarse levels do. Here for both ends.
        """
        inside = (values >= bottom) & (values <= top)
        if not inside.any():
            return np.inf
        kept = weights[inside]
        clipped = kept.copy()
        clipped[0] += weights[values < bottom].sum()
        clipped[-1] += weights[values > top].sum()
        level = np.rint((values[inside] - bottom) / (top - bottom) * (_LEVELS - 1)).astype(np.int64)
        share = np.bincount(level, kept, _LEVELS) / np.maximum(np.bincount(level, minlength=_LEVELS), 1)
        p, q = clipped / clipped.sum(), share[level] / kept.sum()
        return float((p * np.log(p / q)).sum())


def _halved(counts: np.ndarray) -> np.ndarray:
    """The counts on a grid of twice the width."""
    wide = np.zeros_like(counts)
    wide[_BINS // 2 : _BINS // 2 + _BINS] = counts.reshape(-1, 2).sum(axis=1)
    return wide
