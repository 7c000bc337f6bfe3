"""Gates on an export's results: each compares a measurement with a limit and returns a `Check` with a message.

Accuracy is estimated, so it must be proven: non-inferiority, PASS only if the whole interval is inside the margin.
There are many classes and some are rare, so the class gate looks for proven losses. Gates on agreement and cost are in
`agreement_gates` and `cost_gates`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from segexport.judge.bootstrap import MIN_IMAGES, ClassDelta, PairedDelta, autocorrelation_limit, holm
from segexport.recipe.limits import Limits
from segexport.report.schema import NOT_RUN_HERE, VALUES_RUN
from segexport.verdict import Check, Verdict

NEARLY_IDENTICAL = 0.999
"""Smallest agreement for which a t interval over fewer than `MIN_IMAGES` images is used: few pixels differ."""

SEEN_SHARE = 0.2
PASS_IMAGES = 14
"""With fewer images mIoU passes nearly identical masks only. No interval can tell of a loss in images that were not
drawn: a fault in a share s of all images is in none of n with probability (1 - s) ** n, and `gate_simulation.py` finds
that this explains all false passes in that population. From 14 images on, this probability is under 5 % for a share of
one in five; with n images, for a share of 1 - 0.05 ** (1 / n), about 3 / n (the rule of three), which every report
states. A lower minimum would miss a rare fault too often; a higher one (29 images for one in ten, 59 for one in twenty)
would leave small sets without a verdict, while rarer losses still depend on the worst image's agreement. If images are
grouped, this applies to groups: 14 videos, not 14 frames.
"""

INDEPENDENT = "images.independent"

FAMILY_LEVEL = 0.02
"""Nominal error of the class gate over all classes. With tens of images, t intervals of rare classes are too narrow:
`benchmarks/gate_simulation.py` finds up to 8 % at a nominal 5 %. At this level it finds 6.6 % in one case of 45 (14
images, only cars are damaged) and under 5 % in all others."""


def tripwire_checks(
    *,
    images: int,
    not_finite: Sequence[str] = (),
    constant_images: int = 0,
    reference_constant_images: int = 0,
    wrong_shape: str = "",
    repeatable: bool | None = None,
) -> list[Check]:
    """Checks for faults that make every other figure meaningless.

    Args:
        images: Images that were run.
        not_finite: Images on which the output contained NaN or infinity.
        constant_images: Images on which the export's mask is one class.
        reference_constant_images: The same for the reference.
        wrong_shape: Difference of shape or dtype from the declared ones; empty if there is none.
        repeatable: Whether a second run gave the same mask; None without a second run.
    """
    checks = [
        _yes_no(
            "tripwire.finite",
            not not_finite,
            f"no NaN or infinity in the output on {images} images.",
            f"NaN or infinity in the output on {len(not_finite)} of {images} images ({next(iter(not_finite), '')}).",
        ),
        _yes_no(
            "tripwire.shape",
            not wrong_shape,
            "the output has the shape that the reference has, or the smaller one that its manifest declares.",
            f"the output is not what it should be: {wrong_shape}.",
        ),
    ]
    if constant_images < images or images == 0:
        constant = Check(
            name="tripwire.constant",
            verdict=Verdict.PASS,
            message=f"the mask is one single class on {constant_images} of {images} images, "
            f"the reference's on {reference_constant_images}.",
        )
    elif reference_constant_images < images:
        constant = Check(
            name="tripwire.constant",
            verdict=Verdict.FAIL,
            message=f"the mask is one single class on all {images} images, the reference's is not: it is dead.",
        )
    else:
        constant = Check(
            name="tripwire.constant",
            verdict=Verdict.INCONCLUSIVE,
            message=f"reference and export give one single class on all {images} images: nothing can be compared.",
        )
    checks.append(constant)
    if repeatable is not None:
        checks.append(
            _yes_no(
                "tripwire.repeatable",
                repeatable,
                "a second run on the first image gave the same mask.",
                "a second run on the first image gave another mask: the runtime is not deterministic.",
            )
        )
    return checks


def values_check(not_run: str) -> Check:
    """Reports why other values than the export's were compared. It does not affect the verdict.

    Args:
        not_run: The substitute for the export's file or arithmetic, and the reason.
    """
    return Check(name=VALUES_RUN, verdict=Verdict.SKIPPED, message=f"{NOT_RUN_HERE}: {not_run}.", gated=False)


def miou_check(delta: PairedDelta, limits: Limits, *, agreement: float, labelled: bool = True) -> Check:
    """Non-inferiority of the pooled mIoU.

    Args:
        delta: The delta of areas (`metrics.class_counts`).
        agreement: Fraction of pixels with the reference's class; from `NEARLY_IDENTICAL` on, few images suffice.
        labelled: Whether the truth is labels; otherwise it is the reference's masks, and the mIoU is unknown.
    """
    return _non_inferiority("miou.delta", "mIoU", delta, limits.miou_margin, agreement, labelled)


def box_ap_check(delta: PairedDelta, limits: Limits, *, agreement: float, labelled: bool = True) -> Check:
    """Non-inferiority of the boxes' average precision (`instance.ap_delta`), for instance segmentation."""
    return _non_inferiority("bbox_ap.delta", "box AP", delta, limits.ap_margin, agreement, labelled)


def mask_ap_check(delta: PairedDelta, limits: Limits, *, agreement: float, labelled: bool = True) -> Check:
    """Non-inferiority of the masks' average precision."""
    return _non_inferiority("segm_ap.delta", "mask AP", delta, limits.ap_margin, agreement, labelled)


def boundary_check(delta: PairedDelta, limits: Limits, *, agreement: float, labelled: bool = True) -> Check:
    """Non-inferiority of the boundary IoU (`boundary.boundary_counts`), which detects a shifted resize."""
    return _non_inferiority("boundary.delta", "boundary IoU", delta, limits.boundary_iou_margin, agreement, labelled)


def _non_inferiority(
    name: str, what: str, delta: PairedDelta, margin: float | None, agreement: float, labelled: bool
) -> Check:
    if delta.delta is None:
        nothing = "annotated object" if what.endswith("AP") else "labelled pixel of a known class"
        message = f"no {nothing} on any image: there is no {what} to compare."
        return Check(name=name, verdict=Verdict.ERROR, message=message, limit=margin)
    if not labelled:
        if not what.endswith("AP"):
            return skipped(name, f"no labels: the {what} is unknown.")
        message = f"no labels: {what} against the reference's own objects is {delta.miou_export:.4f}, reported only."
        return skipped(name, message, value=delta.delta)
    found = f"{what} {delta.miou_reference:.4f} -> {delta.miou_export:.4f}, delta {_signed(delta.delta)}"
    if delta.interval is not None:
        found += f" (95 % interval {_signed(delta.interval[0])} to {_signed(delta.interval[1])})"
    found += f" on {_counted(delta.images, 'image')}"
    if delta.groups is not None:
        found += f" in {_counted(delta.groups, 'group')}"
    if delta.one_sided_classes:
        found += f", {len(delta.one_sided_classes)} classes left out that only one of the two predicts and no label has"
    if margin is None:
        return skipped(name, f"{found}; not gated.", value=delta.delta, interval=delta.interval)
    verdict, reason = _decide(delta, margin, agreement)
    return Check(
        name=name,
        verdict=verdict,
        message=f"{found}: {reason}.",
        value=delta.delta,
        interval=delta.interval,
        limit=-margin,
        details={
            "images": delta.images,
            "groups": delta.groups,
            "standard_error": delta.standard_error,
            "smallest_detectable": delta.smallest_detectable,
            "lower_bound_95": delta.lower_bound,
            "upper_bound_95": delta.upper_bound,
            "resamples": delta.resamples,
            "seed": delta.seed,
            "unseen_share": unseen_share(delta.units),
            "autocorrelation": delta.autocorrelation,
        },
    )


def _decide(delta: PairedDelta, margin: float, agreement: float) -> tuple[Verdict, str]:
    """The verdict and its reason; with few units, only nearly identical results pass."""
    units, unit, identical = delta.units, delta.unit, agreement >= NEARLY_IDENTICAL
    if delta.interval is None:
        return _one_unit(delta, margin, identical)
    low, high = delta.interval
    inside = low >= -margin
    if units < MIN_IMAGES:
        if inside and identical:
            return Verdict.PASS, f"few {unit}s, but nearly identical answers, and inside the margin of {margin:g}"
        return Verdict.INCONCLUSIVE, f"too few {unit}s for the margin of {margin:g}; use at least {PASS_IMAGES}"
    if inside and units < PASS_IMAGES and not identical:
        unseen = f"{100 * (1 - SEEN_SHARE) ** units:.1f} %"
        return Verdict.INCONCLUSIVE, (
            f"inside the margin of {margin:g}, but so few {unit}s all miss a loss that sits in one {unit} of five in "
            f"{unseen} of the cases; use at least {PASS_IMAGES}"
        )
    if inside:
        return Verdict.PASS, f"the whole interval is inside the margin of {margin:g}"
    if high < -margin:
        return Verdict.FAIL, f"the whole interval is beyond the margin of {margin:g}"
    reason = f"the interval crosses the margin of {margin:g}; so many {unit}s show differences from "
    reason += f"{delta.smallest_detectable:.5f} on"
    needed = delta.units_needed(margin)
    if needed and needed > units:
        reason += f", about {needed} {unit}s would show the margin"
    return Verdict.INCONCLUSIVE, reason


def _one_unit(delta: PairedDelta, margin: float, identical: bool) -> tuple[Verdict, str]:
    """The result for a single image or group: the variance between units is unknown."""
    if delta.groups is None:
        return Verdict.INCONCLUSIVE, f"one image has no spread, so no margin can be decided; use at least {PASS_IMAGES}"
    if identical and delta.images >= PASS_IMAGES and delta.delta is not None and delta.delta >= -margin:
        return Verdict.PASS, f"one group alone, but nearly identical answers, and inside the margin of {margin:g}"
    return Verdict.INCONCLUSIVE, (
        f"all images are of one group, so the loss on other groups is unknown; use at least {PASS_IMAGES} groups"
    )


def unseen_share(units: int) -> float:
    """The largest share of images (or groups) with a fault that a random sample misses in 5 % of the cases."""
    return 1 - 0.05 ** (1 / units)


def independence_check(delta: PairedDelta, *, agreement: float) -> Check | None:
    """Warns if consecutive images have similar losses, as frames of a video do; it does not affect the verdict.

    A mean over similar images varies more than their number suggests, so intervals are too narrow and PASS is too
    frequent. The warning finds a third to two thirds of these lists; its absence proves nothing.

    Args:
        agreement: Fraction of pixels with the reference's class.

    Returns:
        None if no verdict depends on an interval: the masks are nearly identical, or there are very few images.
    """
    if delta.autocorrelation is None or agreement >= NEARLY_IDENTICAL:
        return None
    limit, unit = autocorrelation_limit(delta.units), delta.unit
    found = f"(autocorrelation of losses {delta.autocorrelation:+.2f}, by chance under {limit:.2f})"
    verdict, message = Verdict.PASS, f"neighbouring {unit}s lose independently of each other {found}."
    if delta.neighbours_alike:
        cause = "as frames of a video do" if delta.groups is None else "as parts of larger groups do"
        verdict = Verdict.INCONCLUSIVE
        message = (
            f"neighbouring {unit}s lose alike {found}, {cause}: then intervals are too narrow, and PASS is worth "
            "little. Say which images belong together, with --groups or data.groups."
        )
    return Check(
        name=INDEPENDENT, verdict=verdict, message=message, value=delta.autocorrelation, limit=limit, gated=False
    )


def class_check(delta: PairedDelta, limits: Limits, *, labels: Sequence[str] = (), labelled: bool = True) -> Check:
    """Looks for a class that lost more than its margin.

    FAIL if a loss above the margin is proven (Holm-corrected over the gated classes, under 5 % for the family);
    INCONCLUSIVE if one was measured but is not proven; else PASS. Rare classes have wide intervals, so a proof
    that every class is inside would need far more images than the mIoU gate does.
    """
    name, margin = "iou.classes", limits.class_iou_margin
    gated = [c for c in delta.classes if c.delta is not None and c.units >= limits.min_images_per_class]
    others = [c for c in delta.classes if c not in gated and (c.images or c.delta is not None)]
    few = f"; too few {delta.unit}s for {', '.join(label_of(c.index, labels) for c in others)}" if others else ""
    if margin is None or not labelled:
        return skipped(name, "IoU of single classes is not gated" + ("." if labelled else " without labels."))
    if not gated:
        least = limits.min_images_per_class
        where = "on" if delta.groups is None else "in"
        return skipped(name, f"no class is {where} {least} {delta.unit}s or more, so none is gated.")
    adjusted = dict(zip((c.index for c in gated), holm([_harm(c, margin) for c in gated]), strict=True))
    worst = min(gated, key=_change)
    proven = [c for c in gated if adjusted[c.index] < FAMILY_LEVEL and _change(c) < -margin]
    suspected = [c for c in gated if _change(c) < -margin]
    found = f"largest loss {_signed(_change(worst))} ({label_of(worst.index, labels)}, on {worst.images} images"
    found += ")" if delta.groups is None else f" in {_counted(worst.units, 'group')})"
    if proven:
        which = ", ".join(f"{label_of(c.index, labels)} {_signed(_change(c))}" for c in proven)
        verdict, reason = Verdict.FAIL, f"proven beyond the margin of {margin:g}: {which}"
    elif suspected:
        which = ", ".join(label_of(c.index, labels) for c in suspected)
        verdict, reason = Verdict.INCONCLUSIVE, f"beyond the margin of {margin:g}, but not proven: {which}"
    else:
        verdict, reason = Verdict.PASS, f"no class lost more than {margin:g}"
    return Check(
        name=name,
        verdict=verdict,
        message=f"{len(gated)} classes, {found}: {reason}{few}.",
        value=worst.delta,
        interval=worst.interval,
        limit=-margin,
        details={
            "classes": {
                label_of(c.index, labels): {
                    "delta": c.delta,
                    "interval": c.interval,
                    "images": c.images,
                    "units": c.units,
                    "p_holm": adjusted.get(c.index),
                }
                for c in delta.classes
            },
            "not_gated": [label_of(c.index, labels) for c in others],
        },
    )


def _change(of: ClassDelta) -> float:
    return 0.0 if of.delta is None else of.delta


def _harm(of: ClassDelta, margin: float) -> float:
    """The p value of a gated class; 1 if there is none."""
    p_value = of.p_not_worse_than(margin)
    return 1.0 if p_value is None else p_value


def _yes_no(name: str, good: bool, yes: str, no: str) -> Check:
    return Check(name=name, verdict=Verdict.PASS if good else Verdict.FAIL, message=yes if good else no)


def skipped(name: str, message: str, value: float | None = None, interval: tuple[float, float] | None = None) -> Check:
    return Check(name=name, verdict=Verdict.SKIPPED, message=message, value=value, interval=interval, gated=False)


def at_least(name: str, value: float, limit: float | None, what: str) -> Check:
    found = f"{_share(value)} {what}"
    if limit is None:
        return skipped(name, f"{found}; not gated.", value=value)
    good = value >= limit
    message = f"{found}; the limit is {_share(limit)}."
    return Check(name=name, verdict=Verdict.PASS if good else Verdict.FAIL, message=message, value=value, limit=limit)


def label_of(index: int, labels: Sequence[str]) -> str:
    return labels[index] if index < len(labels) else f"class {index}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _signed(value: float) -> str:
    return f"{value + 0.0:+.5f}".replace("-0.00000", "+0.00000")


def _share(value: float) -> str:
    """Percent, rounded down: 99.99996 % must not become 100 %."""
    return f"{math.floor(value * 1e6 + 1e-6) / 1e4:.4f}".rstrip("0").rstrip(".") + " %"
