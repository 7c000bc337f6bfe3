"""Converts times to the report's form, and computes the ratios for the gates."""

from __future__ import annotations

from typing import TypeGuard

import numpy as np

from segexport.judge.results import Measured, ReferenceRun
from segexport.measure import latency
from segexport.measure.latency_statistics import (
    LatencyRatio,
    latency_ratio,
    percentiles,
    ratio_of_separate,
    session_times,
)
from segexport.measure.parity import Counts
from segexport.report.schema import Latency, Percentiles
from segexport.runtimes.base import SessionInfo

_SAMPLES_KEPT = 2000  # raw samples per export in the report


def ratio_to_reference(reference: ReferenceRun, entry: Measured) -> LatencyRatio | None:
    """The ratio to the reference; None if that ran unoptimized, on another device or with other threads."""
    if reference.unoptimized:
        return None
    if reference.recorded is None:
        return ratio_to(reference.timing, entry.timing)
    own, info = reference.info, entry.info
    same = info is not None and (own.device, own.threads) == (info.device, info.threads)
    if not same or not _taken(reference.timing) or not _taken(entry.timing):
        return None
    return ratio_of_separate(session_times(entry.timing.sessions_ms), session_times(reference.timing.sessions_ms))


def ratio_to(baseline: latency.Timing | None, timing: latency.Timing | None) -> LatencyRatio | None:
    """The ratio of two programs that were timed alternately."""
    if not _taken(timing) or not _taken(baseline):
        return None
    return latency_ratio(timing.sessions_ms, baseline.sessions_ms)


def _taken(timing: latency.Timing | None) -> TypeGuard[latency.Timing]:
    return timing is not None and bool(timing.sessions_ms.size) and timing.error is None


def percentiles_of(timing: latency.Timing | None) -> Percentiles | None:
    return _percentiles(timing) if _taken(timing) else None


def _percentiles(timing: latency.Timing) -> Percentiles:
    return Percentiles(**percentiles(timing.samples_ms)._asdict())


def latency_of(
    timing: latency.Timing | None, info: SessionInfo | None, counts: Counts, preprocess_ms: float
) -> Latency | None:
    """Times in the form of the report; None if none were taken."""
    if not _taken(timing) or info is None:
        return None
    return times_of(timing, info.threads, info.device, preprocess_ms, float(np.median(counts.postprocess_ms)))


def times_of(timing: latency.Timing, threads: int, device: str, preprocess_ms: float, postprocess_ms: float) -> Latency:
    """Raw times, and those of preprocessing and postprocessing, in the report's form."""
    return Latency(
        inference_ms=_percentiles(timing),
        samples_ms=tuple(round(float(value), 4) for value in timing.samples_ms[:: _step(timing)]),
        sessions_ms=tuple(round(float(value), 4) for value in session_times(timing.sessions_ms)),
        load_ms=timing.load_ms,
        first_ms=timing.first_ms,
        preprocess_ms=preprocess_ms,
        postprocess_ms=postprocess_ms,
        peak_rss_bytes=timing.peak_rss_bytes or None,
        threads=threads,
        device=device,
    )


def _step(timing: latency.Timing) -> int:
    """The step between kept samples."""
    return -(-timing.samples_ms.size // _SAMPLES_KEPT)
