"""Histograms of a tensor's values over all calibration images, in constant memory. NumPy only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Costs = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
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

    def state(self) -> list[np.ndarray]:
        """Everything that `of_state` needs."""
        return [np.array([self.low, self.high, self._limit]), self._counts]

    @classmethod
    def of_state(cls, limits: np.ndarray, counts: np.ndarray) -> Histogram:
        found = cls()
        found.low, found.high, found._limit = (float(value) for value in limits)
        found._counts = counts
        return found

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
        return self._searched(low, high, self._divergences if method == "entropy" else self._squared_errors, symmetric)

    def _searched(self, low: float, high: float, costs: Costs, symmetric: bool) -> tuple[float, float]:
        """The shrunken range with the smallest cost; the wider of two with the same cost."""
        centres = (np.arange(2 * _BINS) + 0.5) / _BINS * self._limit - self._limit
        used = self._counts > 0
        if costs == self._divergences:
            used[_BINS] = False  # every range represents 0 exactly; ReLU's many zeros would force the finest step
        values, weights = centres[used], self._counts[used].astype(np.float64)
        bottoms = low * (_SHRINKS if low < 0 else np.ones(1))
        tops = high * (_SHRINKS if high > 0 else np.ones(1))
        if not symmetric:
            bottoms, tops = np.repeat(bottoms, len(tops)), np.tile(tops, len(bottoms))
        best = int(np.argmin(costs(values, weights, bottoms, tops)))
        return float(bottoms[best]), float(tops[best])

    @staticmethod
    def _squared_errors(values: np.ndarray, weights: np.ndarray, bottoms: np.ndarray, tops: np.ndarray) -> np.ndarray:
        """The expected squared errors of 8-bit rounding and clipping, by sums over the ends of the sorted values."""
        first = np.searchsorted(values, bottoms, side="left")  # of those inside
        end = np.searchsorted(values, tops, side="right")
        moments = [np.concatenate([[0.0], np.cumsum(weights * values**power)]) for power in range(3)]
        reverse = [np.concatenate([[0.0], np.cumsum((weights * values**power)[::-1])]) for power in range(3)]
        below = [sums[first] for sums in moments]
        above = [sums[len(values) - end] for sums in reverse]
        clipped = sum(
            part[2] - 2 * limit * part[1] + limit**2 * part[0] for part, limit in ((below, bottoms), (above, tops))
        )
        inside = weights.sum() - below[0] - above[0]
        return clipped + inside * ((tops - bottoms) / (_LEVELS - 1)) ** 2 / 12.0

    @classmethod
    def _divergences(cls, values: np.ndarray, weights: np.ndarray, bottoms: np.ndarray, tops: np.ndarray) -> np.ndarray:
        found = (cls._divergence(values, weights, *limits) for limits in zip(bottoms, tops, strict=True))
        return np.fromiter(found, np.float64)

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
