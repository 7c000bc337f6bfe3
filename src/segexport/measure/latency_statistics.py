"""Statistics of interleaved timings: percentiles, the ratio of two programs with an interval, drift, end of warm-up.

No function here reads a clock. Samples are milliseconds, (sessions, blocks, runs): each session is a separate process,
and within a block the programs alternate (A B B A), so that a slow drift of the machine affects both equally.

Runs within a process vary much less than processes do, so the interval uses the sessions alone (Kalibera and Jones,
"Rigorous Benchmarking in Reasonable Time", ISMM 2013, sections 6 to 9: the variance of the means of the highest level
includes that of all lower levels). With few sessions a bootstrap is too narrow: resampling five numbers covers the
truth in 85 % of the cases at a nominal 95 %. So the interval is Student's t on logarithms of ratios.

A session's time is the lower quartile of its runs. Other load only makes runs slower (Chen and Revels, "Robust
benchmarking in noisy environments", 2016), so the quartile is stable until three runs in four are disturbed, a median
only until half of them are; the minimum would depend on a single run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from segexport.measure.student_t import student_t_quantile
from segexport.recipe.limits import DRIFT_LIMIT

MIN_SESSIONS = 3
"""Two would give an interval that is thirteen times as wide as their standard error."""

_DRIFT_P = 0.01
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
        p_value: Mann-Kendall test (Mann 1945) with ties, two-sided: the probability of this trend by chance.
    """

    change: float
    p_value: float

    def exceeds(self, limit: float = DRIFT_LIMIT) -> bool:
        """Whether the trend is large and significant."""
        return abs(self.change) > limit and self.p_value < _DRIFT_P


@dataclass(frozen=True)
class LatencyRatio:
    """Export over baseline, below 1 is faster.

    Attributes:
        value: Geometric mean over the sessions of the ratio of their times (`session_times`).
        interval: 95 %; None with fewer than `MIN_SESSIONS` sessions.
        sessions: Number of sessions of the program with fewer.
    """

    value: float
    interval: tuple[float, float] | None
    sessions: int
    export_drift: Drift
    baseline_drift: Drift

    def drift(self, limit: float = DRIFT_LIMIT) -> Drift | None:
        """The larger trend above the limit; None if the run was steady."""
        beyond = [drift for drift in (self.export_drift, self.baseline_drift) if drift.exceeds(limit)]
        return max(beyond, key=lambda drift: abs(drift.change), default=None)


def percentiles(samples_ms: np.ndarray | Sequence[float]) -> LatencyPercentiles:
    """p50, p90 and p99 of all samples.

    Raises:
        ValueError: There are no samples, or one is not a finite positive number.
    """
    return LatencyPercentiles(*(float(value) for value in np.percentile(_checked(samples_ms), (50, 90, 99))))


def latency_ratio(export_ms: np.ndarray, baseline_ms: np.ndarray, *, level: float = 0.95) -> LatencyRatio:
    """The ratio of two programs with interleaved sessions, with an interval over the pairs of sessions.

    Whatever slowed one session of both down leaves its ratio alone.

    Args:
        export_ms: (sessions, blocks, runs) samples.
        baseline_ms: The same sessions; blocks and runs may differ.

    Raises:
        ValueError: Unequal numbers of sessions, no samples, or samples that are not times.
    """
    export_ms, baseline_ms = _checked(export_ms), _checked(baseline_ms)
    if export_ms.ndim != 3 or baseline_ms.ndim != 3 or len(export_ms) != len(baseline_ms):
        raise ValueError(
            f"samples of {export_ms.shape} and {baseline_ms.shape}: expected (sessions, blocks, runs) of equal sessions"
        )
    logs = np.log(session_times(export_ms)) - np.log(session_times(baseline_ms))
    sessions = len(logs)
    error = float(logs.std(ddof=1)) / math.sqrt(sessions) if sessions >= MIN_SESSIONS else None
    return LatencyRatio(
        value=math.exp(logs.mean()),
        interval=_interval(float(logs.mean()), error, sessions - 1, level),
        sessions=sessions,
        export_drift=trend(np.median(export_ms, axis=2).reshape(-1)),
        baseline_drift=trend(np.median(baseline_ms, axis=2).reshape(-1)),
    )


def ratio_of_separate(
    export_ms: np.ndarray | Sequence[float], baseline_ms: np.ndarray | Sequence[float], *, level: float = 0.95
) -> LatencyRatio:
    """The ratio of two programs that were timed apart: Welch's t interval (1947) on the logarithms of session times.

    Args:
        export_ms: (sessions,) times (`session_times`).
        baseline_ms: (sessions,) times of other sessions, as many or not.

    Raises:
        ValueError: There are no times, or some are not finite.
    """
    logs = [np.log(_checked(times)) for times in (export_ms, baseline_ms)]
    sessions = min(len(one) for one in logs)
    delta, error, freedom = float(logs[0].mean() - logs[1].mean()), None, 1
    if sessions >= MIN_SESSIONS:
        variances = [float(one.var(ddof=1)) / len(one) for one in logs]
        error = math.sqrt(sum(variances))
        # Rounded down: this Student's t takes integer degrees of freedom, and fewer give a wider interval.
        below = sum(variance**2 / (len(one) - 1) for variance, one in zip(variances, logs, strict=True))
        freedom = max(sessions - 1, int(error**4 / below)) if below > 0 else sessions - 1
    steady = (trend(np.exp(one)) for one in logs)
    return LatencyRatio(math.exp(delta), _interval(delta, error, freedom, level), sessions, *steady)


def session_times(samples_ms: np.ndarray) -> np.ndarray:
    """(sessions,) lower quartiles of (sessions, blocks, runs) samples."""
    return np.quantile(samples_ms.reshape(len(samples_ms), -1), 0.25, axis=1)


def undisturbed_ms(times_ms: Sequence[float] | np.ndarray) -> float:
    """The time of an undisturbed run: the geometric mean of (sessions,) times (`session_times`).

    The ratio of two programs that were timed alternately is the quotient of these.
    """
    return math.exp(float(np.log(_checked(times_ms)).mean()))


def _interval(center: float, error: float | None, freedom: int, level: float) -> tuple[float, float] | None:
    """A t interval of a logarithm, as ratios."""
    if error is None:
        return None
    width = student_t_quantile((1 + level) / 2, freedom) * error
    return math.exp(center - width), math.exp(center + width)


def trend(medians_ms: np.ndarray) -> Drift:
    """The trend of (blocks,) medians in measuring order."""
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
    """Whether warm-up is over: the medians of the last `window` runs and of the `window` before agree.

    Medians, so that one outlier neither ends nor prolongs the warm-up.
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
