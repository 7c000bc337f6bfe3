"""How far a difference of average precision can be trusted: a paired bootstrap over images.

An image is drawn with what both models found in it. Average precision is no sum over images, so nothing shorter than
counting again gives a resample's value; the matching of objects, which costs most, is done once (`average_precision`).
The interval is the hull of the percentile interval with t-expanded levels (Hesterberg 2015, section 5.3) and the t
interval with the bootstrap's standard error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from segexport.judge.bootstrap import MIN_IMAGES, RESAMPLES, PairedDelta, student_t_quantile
from segexport.task.instance.average_precision import ClassMatches, mean_ap

_NORMAL = NormalDist()
_POWER = 0.8
_LEAST_RESAMPLES = 200
_BUDGET = 150_000_000  # detections x thresholds x resamples of one model: some 8 s of processor time


def paired_ap_delta(
    reference: Sequence[ClassMatches], export: Sequence[ClassMatches], *, seed: int = 0, level: float = 0.95
) -> PairedDelta:
    """The difference of mean average precision, export minus reference, in the fields that a mIoU's has.

    Args:
        reference, export: The matches of each class, of the same images and annotations.
        seed: Equal seeds give equal intervals.
        level: Of the two-sided interval.
    """
    images = len(reference[0].positives) if reference else 0
    first, second = (float(mean_ap(found)[0]) for found in (reference, export))
    if math.isnan(first) or math.isnan(second):
        return _without_interval(images, None, None)
    delta = second - first
    same = all(_equal(one, two) for one, two in zip(reference, export, strict=True))
    if same or images < 2:
        interval = (delta, delta) if same else None
        return _without_interval(images, first, second, interval, 0.0 if same else None)
    resamples = _resamples(reference, export)
    drawn = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples)
    deltas = mean_ap(export, drawn) - mean_ap(reference, drawn)
    deltas = deltas[~np.isnan(deltas)]
    if not deltas.size:
        return _without_interval(images, first, second)
    error = float(deltas.std()) * math.sqrt(images / (images - 1))
    interval, bounds = (_interval(deltas, delta, error, images, tail) for tail in ((1 - level) / 2, 1 - level))
    return PairedDelta(
        images=images,
        miou_reference=first,
        miou_export=second,
        delta=delta,
        interval=interval,
        lower_bound=bounds[0],
        upper_bound=bounds[1],
        standard_error=error,
        smallest_detectable=delta - interval[0] + _NORMAL.inv_cdf(_POWER) * error,
        classes=(),
        resamples=resamples,
        seed=seed,
    )


def _interval(deltas: np.ndarray, delta: float, error: float, images: int, tail: float) -> tuple[float, float]:
    t = student_t_quantile(1 - tail, images - 1)
    width = t * error
    if images < MIN_IMAGES:
        return delta - width, delta + width
    expanded = _NORMAL.cdf(-math.sqrt(images / (images - 1)) * t)
    low, high = np.quantile(deltas, [expanded, 1 - expanded])
    return float(min(low, delta - width)), float(max(high, delta + width))


def _resamples(reference: Sequence[ClassMatches], export: Sequence[ClassMatches]) -> int:
    """As many as the time allows; the largest data sets get fewer."""
    cells = max(sum(found.right.size for found in model) for model in (reference, export))
    return int(np.clip(_BUDGET // max(cells, 1), _LEAST_RESAMPLES, RESAMPLES))


def _equal(one: ClassMatches, two: ClassMatches) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(two, name)) for name in ("images", "right", "wrong"))


def _without_interval(
    images: int,
    first: float | None,
    second: float | None,
    interval: tuple[float, float] | None = None,
    error: float | None = None,
) -> PairedDelta:
    delta = None if first is None or second is None else second - first
    low, high = interval or (None, None)
    return PairedDelta(images, first, second, delta, interval, low, high, error, error, ())
