"""What interleaved timings say: percentiles, the ratio of two programs with an interval, drift, and an end to warm-up.

Nothing here looks at a clock. Samples are milliseconds, (blocks, runs): within a block the two programs ran in turn
(A B B A), so a slow drift of the machine hits both alike and a block is the unit that may be resampled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from segexport.judge.bootstrap import RESAMPLES, student_t_quantile
from segexport.judge.limits import DRIFT_LIMIT

MIN_BLOCKS = 5

_DRIFT_P = 0.01
_SAMPLES_AT_ONCE = 1 << 22
_NORMAL = NormalDist()


class LatencyPercentiles(NamedTuple):
    """Milliseconds; linear interpolation between samples."""

    p50: float
    p90: float
    p99: float


@dataclass(frozen=True)
class Drift:
    """A trend over the blocks of one program.

    Attributes:
        change: Theil-Sen slope (Sen 1968) times the length of the run, relative to the median: 0.1 is 10 % slower.
        p_value: Mann-Kendall test (Mann 1945) with ties, two-sided: how likely such a trend is by chance.
    """

    change: float
    p_value: float

    def exceeds(self, limit: float = DRIFT_LIMIT) -> bool:
        """A trend that is both large and not by chance."""
        return abs(self.change) > limit and self.p_value < _DRIFT_P


@dataclass(frozen=True)
class LatencyRatio:
    """Export over baseline, below 1 is faster.

    Attributes:
        value: Ratio of the medians of all samples.
        interval: 95 %; None with fewer than `MIN_BLOCKS` blocks.
    """

    value: float
    interval: tuple[float, float] | None
    blocks: int
    export_drift: Drift
    baseline_drift: Drift

    def drift(self, limit: float = DRIFT_LIMIT) -> Drift | None:
        """The larger trend beyond the limit, None when the run was steady."""
        beyond = [drift for drift in (self.export_drift, self.baseline_drift) if drift.exceeds(limit)]
        return max(beyond, key=lambda drift: abs(drift.change), default=None)


def percentiles(samples_ms: np.ndarray | Sequence[float]) -> LatencyPercentiles:
    """p50, p90 and p99 of all samples.

    Raises:
        ValueError: No samples, or one that is not a finite positive number.
    """
    return LatencyPercentiles(*(float(value) for value in np.percentile(_checked(samples_ms), (50, 90, 99))))


def latency_ratio(
    export_ms: np.ndarray, baseline_ms: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0, level: float = 0.95
) -> LatencyRatio:
    """The ratio of medians with an interval from resampling whole blocks, both programs together.

    Percentile interval with t-expanded levels (Hesterberg 2015, section 5.3), since there are few blocks. Pooled
    medians rather than a mean of the blocks' ratios: they shrug off spikes even with two runs a block, and they are
    the ratio of the p50 that a report shows. Under drift the interval errs on the wide side.

    Args:
        export_ms: (blocks, runs) samples.
        baseline_ms: (blocks, runs) samples of the same blocks; the number of runs may differ.

    Raises:
        ValueError: Unequal numbers of blocks, no samples, or samples that are no times.
    """
    export_ms, baseline_ms = _checked(export_ms), _checked(baseline_ms)
    if export_ms.ndim != 2 or baseline_ms.ndim != 2 or len(export_ms) != len(baseline_ms):
        raise ValueError(
            f"samples of {export_ms.shape} and {baseline_ms.shape}: expected (blocks, runs) of equal blocks"
        )
    blocks = len(export_ms)
    interval = None
    if blocks >= MIN_BLOCKS:
        picks = np.random.default_rng(seed).integers(0, blocks, (resamples, blocks))
        ratios = _resampled_medians(export_ms, picks) / _resampled_medians(baseline_ms, picks)
        quantile = student_t_quantile((1 + level) / 2, blocks - 1)
        tail = _NORMAL.cdf(-math.sqrt(blocks / (blocks - 1)) * quantile)
        low, high = np.quantile(ratios, [tail, 1 - tail])
        interval = (float(low), float(high))
    return LatencyRatio(
        value=float(np.median(export_ms) / np.median(baseline_ms)),
        interval=interval,
        blocks=blocks,
        export_drift=trend(np.median(export_ms, axis=1)),
        baseline_drift=trend(np.median(baseline_ms, axis=1)),
    )


def _resampled_medians(samples: np.ndarray, picks: np.ndarray) -> np.ndarray:
    rows = max(1, _SAMPLES_AT_ONCE // samples.size)
    parts = [
        np.median(samples[picks[start : start + rows]].reshape(len(picks[start : start + rows]), -1), axis=1)
        for start in range(0, len(picks), rows)
    ]
    return np.concatenate(parts)


def trend(medians_ms: np.ndarray) -> Drift:
    """The trend of (blocks,) medians in the order taken."""
    medians = _checked(medians_ms)
    count = len(medians)
    if count < 3:
        return Drift(0.0, 1.0)
    first, second = np.triu_indices(count, 1)
    rises = medians[second] - medians[first]
    slope = float(np.median(rises / (second - first)))
    score = float(np.sign(rises).sum())
    ties = np.unique(medians, return_counts=True)[1]
    variance = (count * (count - 1) * (2 * count + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    z = 0.0 if variance <= 0 else max(abs(score) - 1, 0) / math.sqrt(variance)
    return Drift(change=slope * (count - 1) / float(np.median(medians)), p_value=2 * (1 - _NORMAL.cdf(z)))


def is_warm(samples_ms: Sequence[float], *, window: int = 5, tolerance: float = 0.05) -> bool:
    """Warm-up is over when the rolling median has settled: the last `window` runs against the `window` before.

    Medians, so that one spike neither ends the warm-up nor prolongs it.
    """
    if len(samples_ms) < 2 * window:
        return False
    before = float(np.median(samples_ms[-2 * window : -window]))
    return abs(float(np.median(samples_ms[-window:])) - before) <= tolerance * before


def _checked(samples_ms: np.ndarray | Sequence[float]) -> np.ndarray:
    samples = np.asarray(samples_ms, np.float64)
    if samples.size == 0:
        raise ValueError("no latency samples")
    if not (np.isfinite(samples).all() and (samples > 0).all()):
        raise ValueError("latency samples must be finite and positive milliseconds")
    return samples
