"""Confidence intervals of an IoU delta by a paired bootstrap over images, and the smallest detectable difference.

Both models run on the same images, so images are resampled with both results (Efron and Tibshirani 1993, chapter 10).
The pooled mIoU needs three counts per image and class, so a resample is a row of multinomial weights and all resamples
are one matrix product.

The interval is the outer hull of the bootstrap-t interval (Efron and Tibshirani 1993, section 12.5; standard errors by
the infinitesimal jackknife) and the percentile interval with t-expanded levels (Hesterberg 2015, "What Teachers Should
Know About the Bootstrap", section 5.3). `benchmarks/gate_simulation.py` is the reason: on real per-image confusions the
plain percentile interval passes exports at the margin in up to 11 % of the runs with 10 images, since losses are skewed
(a few images lose most), and BCa is hardly better; the hull stays under 5 %. No interval can see a loss in images that
are not in the sample: if one image in five loses, 10 images miss all of them in 11 % of the cases. Therefore
`gates.PASS_IMAGES`.

Frames of one video are not independent: consecutive frames have similar losses, and videos differ more than their
frames. Then whole groups (videos, patients, scenes) are resampled, the "pairs cluster bootstrap-t" of Cameron, Gelbach
and Miller ("Bootstrap-Based Improvements for Inference with Clustered Errors", 2008, section III). So `groups` are
summed first, and groups are then resampled instead of images; unequal groups count for fewer (`Grouping.freedom`).
Runs of one video cannot replace videos: in `benchmarks/frame_simulation.py` they pass exports at the margin in up to
38 % of the cases, since one video cannot show how videos differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from segexport.judge.groups import Grouping
from segexport.measure.metrics import iou_per_class, mean_iou
from segexport.measure.student_t import student_t_cdf, student_t_quantile

RESAMPLES = 2000
MIN_IMAGES = 10
"""With fewer images, resampling gives no useful interval: a t interval is reported, and the gates do not use it."""

_POWER = 0.8
_BLOCK = 256  # resamples at a time, so that memory does not grow with their number
_NORMAL = NormalDist()


@dataclass(frozen=True)
class ClassDelta:
    """IoU delta of one class, over the images with it; None if it is not defined for both models.

    Attributes:
        index: Class id.
        images: Images with the class in the truth.
        interval: 95 % t interval with the infinitesimal jackknife's standard error; None under two units.
        units: Number of units of the class's error: its images, or the groups with the class.
        freedom: Degrees of freedom of t.
    """

    index: int
    images: int
    iou_reference: float | None
    iou_export: float | None
    delta: float | None
    standard_error: float | None
    interval: tuple[float, float] | None
    units: int
    freedom: int

    def p_not_worse_than(self, margin: float) -> float | None:
        """p value of the hypothesis "the class lost at most `margin`": small if it lost more."""
        if self.delta is None or self.standard_error is None:
            return None
        if self.standard_error == 0:
            return 1.0 if self.delta >= -margin else 0.0
        return student_t_cdf((self.delta + margin) / self.standard_error, self.freedom)


@dataclass(frozen=True)
class PairedDelta:
    """The pooled mIoU delta (export minus reference) and how well these images determine it. Fractions of 1.

    Attributes:
        images: Number of images with at least one counted pixel; others are left out.
        groups: Groups that these images form; None if each image is independent.
        autocorrelation: Lag-1 autocorrelation of units' influences in the list's order: near 0 if units are
            independent; None if no unit differs, or there are too few (`MIN_IMAGES`).
        miou_reference: By the convention of `metrics.MIOU_CONVENTION`; None if no class is present.
        miou_export: The same.
        delta: Over the classes that are defined for both models. It is the difference of the two mIoU, except where a
            class that is nowhere in the truth is predicted by one model only (`one_sided_classes`): the convention
            then gives the two means different classes, and one stray pixel would move mIoU by points.
        interval: Two-sided 95 %; None for a single unit whose results differ.
        lower_bound: One-sided 95 %.
        upper_bound: One-sided 95 %.
        standard_error: Infinitesimal jackknife; None for a single unit.
        smallest_detectable: From the delta down to the interval's end, plus z(0.8) * standard_error: the smallest
            margin inside which an export that loses nothing passes in about 80 % of the cases, and equally the smallest
            loss beyond a margin that is found so often. Without skew it is (t(0.975) + z(0.8)) * standard_error.
    """

    images: int
    miou_reference: float | None
    miou_export: float | None
    delta: float | None
    interval: tuple[float, float] | None
    lower_bound: float | None
    upper_bound: float | None
    standard_error: float | None
    smallest_detectable: float | None
    classes: tuple[ClassDelta, ...]
    one_sided_classes: tuple[int, ...] = ()
    resamples: int = 0
    seed: int = 0
    groups: int | None = None
    autocorrelation: float | None = None

    @property
    def units(self) -> int:
        """Number of resampled units: groups, or images."""
        return self.images if self.groups is None else self.groups

    @property
    def unit(self) -> str:
        """The name of a unit: group or image."""
        return "image" if self.groups is None else "group"

    @property
    def neighbours_alike(self) -> bool:
        """Whether consecutive units have similar losses; false positives: about 2 % of lists of independent units."""
        return self.autocorrelation is not None and self.autocorrelation > autocorrelation_limit(self.units)

    def units_needed(self, margin: float) -> int | None:
        """The number of units that resolve `margin`: the smallest detectable difference falls as 1/sqrt(units)."""
        if not self.smallest_detectable or margin <= 0:
            return None
        return math.ceil(self.units * (self.smallest_detectable / margin) ** 2)


def autocorrelation_limit(units: int) -> float:
    """The limit above which a lag-1 autocorrelation of this many units is significant (Box and Jenkins 1970, 2.1.6)."""
    return 2 / math.sqrt(units)


def paired_delta(
    reference: np.ndarray,
    export: np.ndarray,
    *,
    groups: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> PairedDelta:
    """The mIoU delta of two models on the same images, with its interval.

    Args:
        reference: (N, 3, C) class counts of the reference (`metrics.class_counts`), or of its boundaries.
        export: The same images in the same order; the truth's counts may differ (label-free checks never do).
        groups: The group of each image, if images of a group are not independent; None: all images are independent.
        resamples: Bootstrap resamples.
        seed: Equal seeds give equal intervals.
        level: Confidence level of the two-sided interval.
    """
    reference, export = np.asarray(reference, np.int64), np.asarray(export, np.int64)
    if reference.shape != export.shape or reference.ndim != 3:
        raise ValueError(f"class counts of {reference.shape} and {export.shape}: expected twice the same (N, 3, C)")
    used = reference[:, 1].any(1) | export[:, 1].any(1)
    grouping = Grouping.of(groups, len(used)).of_images(used)
    reference, export = reference[used], export[used]
    pooled_reference, pooled_export = iou_per_class(reference.sum(0)), iou_per_class(export.sum(0))
    both = ~np.isnan(pooled_reference) & ~np.isnan(pooled_export)
    one_sided = np.flatnonzero(np.isnan(pooled_reference) != np.isnan(pooled_export))
    features = grouping.sums(_features(reference, export))
    classes = _class_deltas(features, reference[:, 1], pooled_reference, pooled_export, level, grouping)
    delta = interval = error = detectable = alike = None
    bounds: tuple[float | None, float | None] = (None, None)
    if both.any():
        delta = float(_mean_difference(features.sum(0)))
        influences = features @ _gradient(features.sum(0))
        error = _standard_error(influences)
        if error == 0 or np.array_equal(reference, export):
            interval = bounds = (delta, delta)
            detectable = 0.0
        elif error is not None:
            tails = ((1 - level) / 2, 1 - level)
            interval, bounds = _intervals(features, delta, error, tails, resamples, seed, grouping.freedom)
            detectable = delta - interval[0] + _NORMAL.inv_cdf(_POWER) * error
            alike = autocorrelation(influences)
    return PairedDelta(
        images=len(reference),
        miou_reference=mean_iou(pooled_reference),
        miou_export=mean_iou(pooled_export),
        delta=delta,
        interval=interval,
        lower_bound=bounds[0],
        upper_bound=bounds[1],
        standard_error=error,
        smallest_detectable=detectable,
        classes=classes,
        one_sided_classes=tuple(int(index) for index in one_sided),
        resamples=resamples,
        seed=seed,
        groups=None if groups is None else len(grouping),
        autocorrelation=alike,
    )


def autocorrelation(influences: np.ndarray) -> float | None:
    """Lag-1 autocorrelation of (units,) values in the list's order; None for fewer than `MIN_IMAGES`, or equal ones."""
    centred = influences - influences.mean()
    total = float(centred @ centred)
    if len(influences) < MIN_IMAGES or total == 0:
        return None
    return float(centred[1:] @ centred[:-1]) / total


def _features(reference: np.ndarray, export: np.ndarray) -> np.ndarray:
    """(N, 4C) float64: hits and union of the reference, hits and union of the export. Sums stay exact below 2**53."""
    parts = []
    for counts in (reference, export):
        hits, truth, predicted = counts[:, 0], counts[:, 1], counts[:, 2]
        parts += [hits, truth + predicted - hits]
    return np.concatenate(parts, axis=1).astype(np.float64)


def _differences(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """IoU of reference and export, and whether both are defined, from (..., 4C) pooled features."""
    hits_r, union_r, hits_e, union_e = np.split(sums, 4, axis=-1)
    both = (union_r > 0) & (union_e > 0)
    zero = np.zeros_like(hits_r)
    iou_r = np.divide(hits_r, union_r, out=zero.copy(), where=both)
    iou_e = np.divide(hits_e, union_e, out=zero, where=both)
    return iou_r, iou_e, both


def _mean_difference(sums: np.ndarray) -> np.ndarray:
    """The mIoU delta of pooled features, (..., 4C) -> (...), over the classes defined for both models."""
    iou_r, iou_e, both = _differences(sums)
    return (iou_e - iou_r).sum(-1) / np.maximum(both.sum(-1), 1)


def _gradient(sums: np.ndarray) -> np.ndarray:
    """Derivative of the mIoU delta by the pooled features, (..., 4C); features @ gradient: the units' influences."""
    iou_r, iou_e, both = _differences(sums)
    _, union_r, _, union_e = np.split(sums, 4, axis=-1)
    share = both / np.maximum(both.sum(-1, keepdims=True), 1)
    by_r, by_e = share / np.where(both, union_r, 1), share / np.where(both, union_e, 1)
    return np.concatenate([-by_r, by_r * iou_r, by_e, -by_e * iou_e], axis=-1)


def _standard_error(influences: np.ndarray) -> float | None:
    units = len(influences)
    if units < 2:
        return None
    return math.sqrt(float((influences**2).sum()) * units / (units - 1))


def _intervals(
    features: np.ndarray, delta: float, error: float, tails: Sequence[float], resamples: int, seed: int, freedom: int
) -> tuple[tuple[float, float], ...]:
    """One interval per probability on either side."""
    units = len(features)
    if units < MIN_IMAGES:
        widths = [student_t_quantile(1 - tail, freedom) * error for tail in tails]
        return tuple((delta - width, delta + width) for width in widths)
    deltas, errors = _resampled(features, resamples, seed)
    # A resample of nearly equal units has almost no error; without the floor, the ratio would be huge.
    ratios = (deltas - delta) / np.maximum(errors, error / 10)
    found = []
    for tail in tails:
        low, high = np.quantile(ratios, [tail, 1 - tail])
        expanded = _NORMAL.cdf(-math.sqrt(units / (units - 1)) * student_t_quantile(1 - tail, freedom))
        lower, upper = np.quantile(deltas, [expanded, 1 - expanded])
        found.append((float(min(delta - high * error, lower)), float(max(delta - low * error, upper))))
    return tuple(found)


def _resampled(features: np.ndarray, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The delta of each resample and its standard error, two (resamples,) float64."""
    units = len(features)
    rng = np.random.default_rng(seed)
    deltas, errors = np.empty(resamples), np.empty(resamples)
    for start in range(0, resamples, _BLOCK):
        part = slice(start, min(start + _BLOCK, resamples))
        weights = rng.multinomial(units, np.full(units, 1 / units), size=part.stop - part.start).astype(np.float64)
        sums = weights @ features
        deltas[part] = _mean_difference(sums)
        influences = _gradient(sums) @ features.T
        errors[part] = np.sqrt(np.einsum("bn,bn,bn->b", weights, influences, influences) * units / (units - 1))
    return deltas, errors


def _class_deltas(
    features: np.ndarray,
    truth: np.ndarray,
    iou_reference: np.ndarray,
    iou_export: np.ndarray,
    level: float,
    grouping: Grouping,
) -> tuple[ClassDelta, ...]:
    """t intervals: with hundreds of classes, Holm's smallest levels lie beyond what 2000 resamples resolve."""
    hits_r, union_r, hits_e, union_e = np.split(features, 4, axis=1)
    found = []
    for index, (iou_r, iou_e) in enumerate(zip(iou_reference, iou_export, strict=True)):
        having = truth[:, index] > 0
        those = grouping.of_images(having)
        delta = error = interval = None
        if not (np.isnan(iou_r) or np.isnan(iou_e)):
            delta = float(iou_e - iou_r)
            by_r, by_e = union_r[:, index].sum(), union_e[:, index].sum()
            influences = (hits_e[:, index] - iou_e * union_e[:, index]) / by_e
            influences -= (hits_r[:, index] - iou_r * union_r[:, index]) / by_r
            if len(those) >= 2 and (error := _standard_error(influences)) is not None:
                width = student_t_quantile((1 + level) / 2, those.freedom) * error
                interval = (delta - width, delta + width)
        found.append(
            ClassDelta(
                index=index,
                images=int(np.count_nonzero(having)),
                iou_reference=None if np.isnan(iou_r) else float(iou_r),
                iou_export=None if np.isnan(iou_e) else float(iou_e),
                delta=delta,
                standard_error=error,
                interval=interval,
                units=len(those),
                freedom=those.freedom,
            )
        )
    return tuple(found)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """p values adjusted for multiple tests (Holm 1979): those under 0.05 are significant together at 5 %."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return tuple(adjusted)
