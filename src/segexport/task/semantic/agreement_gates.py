"""The gates on agreement of an export's masks with the reference's, counted on the images of the check."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segexport.judge.gates import at_least, label_of, skipped
from segexport.measure.metrics import iou_per_class
from segexport.recipe.limits import Limits
from segexport.verdict import Check, Verdict

COMMON_CLASS_SHARE = 0.01
"""A class below this fraction of the reference's pixels is too small for a separate agreement."""


def agreement_checks(
    per_image: Sequence[float] | np.ndarray,
    limits: Limits,
    *,
    confident: Sequence[float] | np.ndarray | None = None,
    mask_counts: np.ndarray | None = None,
    images: Sequence[str] = (),
    labels: Sequence[str] = (),
) -> list[Check]:
    """Compares the masks with the reference's. The values are exact counts, without intervals.

    Pixel agreement alone is high for a dead export if one class fills the images; so each common class has to agree
    separately.

    Args:
        per_image: (N,) fraction of pixels with the reference's class.
        confident: (N,) the same for pixels on which the reference was confident; NaN or None without scores.
        mask_counts: (3, C) class counts with the reference's masks as truth, all images pooled.
        images: Names of the images, for messages.
        labels: Class names, for messages.
    """
    per_image = np.asarray(per_image, np.float64)
    if not per_image.size:
        message = "no image was compared with the reference."
        return [Check(name="agreement.pixels", verdict=Verdict.ERROR, message=message)]
    worst = int(np.argmin(per_image))
    where = images[worst] if worst < len(images) else f"image {worst}"
    checks = [
        at_least(
            "agreement.pixels",
            float(per_image.mean()),
            limits.agreement_min,
            f"of the pixels agree with the reference on {len(per_image)} images",
        ),
        at_least(
            "agreement.worst_image",
            float(per_image[worst]),
            limits.agreement_worst_image_min,
            f"of the pixels agree on the worst image, {where}",
        ),
    ]
    sure = np.asarray([] if confident is None else confident, np.float64)
    sure = sure[~np.isnan(sure)]
    if sure.size:
        what = "of the pixels agree where the reference was sure"
        checks.append(at_least("agreement.confident", float(sure.mean()), limits.agreement_confident_min, what))
    else:
        checks.append(
            skipped("agreement.confident", "the reference outputs classes only, so its confidence is unknown.")
        )
    if mask_counts is not None:
        checks.append(_common_classes(np.asarray(mask_counts), limits.agreement_class_min, labels))
    return checks


def mask_iou_check(mask_iou: float | None, limits: Limits) -> Check:
    """Checks the mean IoU of the export's masks with the reference's, for images without labels.

    Below the limit it is unknown whether the differing pixels are worse: INCONCLUSIVE, not FAIL.
    """
    name, limit = "agreement.mask_iou", limits.agreement_mask_iou_min
    if mask_iou is None:
        return Check(name=name, verdict=Verdict.ERROR, message="no class on any image: there are no masks to compare.")
    found = f"no labels: the masks have a mean IoU of {mask_iou:.4f} with the reference's"
    if limit is None:
        return skipped(name, f"{found}; not gated.", value=mask_iou)
    verdict, reason = Verdict.PASS, f"the limit is {limit:g}"
    if mask_iou < limit:
        verdict = Verdict.INCONCLUSIVE
        reason = f"below the limit of {limit:g}, and only labels can show whether the differing pixels are worse"
    return Check(name=name, verdict=verdict, message=f"{found}: {reason}.", value=mask_iou, limit=limit)


def _common_classes(counts: np.ndarray, limit: float | None, labels: Sequence[str]) -> Check:
    pixels = counts[1]
    common = pixels >= COMMON_CLASS_SHARE * max(int(pixels.sum()), 1)
    iou = np.where(common, iou_per_class(counts), np.inf)
    worst = int(np.argmin(iou))
    what = f"is the IoU with the reference's mask of the class that agrees least, {label_of(worst, labels)}"
    return at_least("agreement.classes", float(iou[worst]), limit, what)
