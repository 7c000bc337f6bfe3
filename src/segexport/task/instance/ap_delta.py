"""Confidence intervals of a difference of average precision, by a paired bootstrap over images or groups of images.

A draw of an image contains both models' objects in it, a draw of a group all its images (see `judge.bootstrap`).
Average precision is not a sum over images, so that each resample has to be counted again; the matching of objects,
which costs most, is done once (`average_precision`). The interval is the hull of the percentile interval with
t-expanded levels (Hesterberg 2015, section 5.3) and the t interval with the bootstrap's standard error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from segexport.judge.bootstrap import MIN_IMAGES, RESAMPLES, PairedDelta
from segexport.judge.groups import Grouping
from segexport.measure.student_t import student_t_quantile
from segexport.task.instance.average_precision import ClassMatches, mean_ap

_NORMAL = NormalDist()
_POWER = 0.8
_LEAST_RESAMPLES = 200
_BUDGET = 150_000_000  # detections x thresholds x resamples of one model: about 8 s of processor time


def paired_ap_delta(
    reference: Sequence[ClassMatches],
    export: Sequence[ClassMatches],
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
    level: float = 0.95,
) -> PairedDelta:
    """The difference of mean average precision, export minus reference, with its interval.

    Args:
        reference, export: Matches of each class, for the same images and annotations.
        groups: Group of each image, if images of a group are not independent; None if all images are independent.
        seed: Seed of the random draws; equal seeds give equal intervals.
        level: Confidence level of the two-sided interval.
    """
    images = len(reference[0].positives) if reference else 0
    grouping = Grouping.of(groups, images)
    units = len(grouping)
    counted = PairedDelta(images, None, None, None, None, None, None, None, None, ())
    counted = replace(counted, groups=None if groups is None else units)
    first, second = (float(mean_ap(found)[0]) for found in (reference, export))
    if math.isnan(first) or math.isnan(second):
        return counted
    delta = second - first
    counted = replace(counted, miou_reference=first, miou_export=second, delta=delta)
    if all(_equal(one, two) for one, two in zip(reference, export, strict=True)):
        return _with_interval(counted, (delta, delta), (delta, delta), 0.0)
    if units < 2:
        return counted
    resamples = _resamples(reference, export)
    drawn = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), size=resamples)
    drawn = drawn[:, grouping.codes]
    deltas = mean_ap(export, drawn) - mean_ap(reference, drawn)
    deltas = deltas[~np.isnan(deltas)]
    if not deltas.size:
        return counted
    error = float(deltas.std()) * math.sqrt(units / (units - 1))
    tails = ((1 - level) / 2, 1 - level)
    interval, bounds = (_interval(deltas, delta, error, grouping, tail) for tail in tails)
    return replace(_with_interval(counted, interval, bounds, error), resamples=resamples, seed=seed)


def _with_interval(
    counted: PairedDelta, interval: tuple[float, float], bounds: tuple[float, float], error: float
) -> PairedDelta:
    return replace(
        counted,
        interval=interval,
        lower_bound=bounds[0],
        upper_bound=bounds[1],
        standard_error=error,
        smallest_detectable=(counted.delta or 0.0) - interval[0] + _NORMAL.inv_cdf(_POWER) * error,
    )


def _interval(deltas: np.ndarray, delta: float, error: float, grouping: Grouping, tail: float) -> tuple[float, float]:
    units, t = len(grouping), student_t_quantile(1 - tail, grouping.freedom)
    width = t * error
    if units < MIN_IMAGES:
        return delta - width, delta + width
    expanded = _NORMAL.cdf(-math.sqrt(units / (units - 1)) * t)
    low, high = np.quantile(deltas, [expanded, 1 - expanded])
    return float(min(low, delta - width)), float(max(high, delta + width))


def _resamples(reference: Sequence[ClassMatches], export: Sequence[ClassMatches]) -> int:
    """The number of resamples; large data sets get fewer, to limit the time."""
    cells = max(sum(found.right.size for found in model) for model in (reference, export))
    return int(np.clip(_BUDGET // max(cells, 1), _LEAST_RESAMPLES, RESAMPLES))


def _equal(one: ClassMatches, two: ClassMatches) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(two, name)) for name in ("images", "right", "wrong"))
