"""What an export that finds objects must hold: the counterpart of the gates on pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segexport.judge import gates
from segexport.judge.bootstrap import PairedDelta
from segexport.measure.parity import Counts
from segexport.recipe.limits import Limits
from segexport.report.schema import ObjectScores
from segexport.task.instance import coco_ap
from segexport.task.instance.ap_delta import paired_ap_delta
from segexport.task.instance.average_precision import ClassMatches, class_ap, mean_ap
from segexport.task.instance.compare import InstanceCounts, ObjectScorer
from segexport.task.instance.match import SURE
from segexport.verdict import Check, Verdict

AP_CONVENTION = (
    "AP is COCO's average precision, the mean over the IoU thresholds from 0.5 to 0.95 and over the classes that are "
    "annotated; objects agree when class and box (IoU of at least 0.5) are the same."
)


@dataclass
class ObjectTruth:
    """What every contender is measured against, and what was worked out of the reference already.

    Attributes:
        counter: Holds the annotations and sizes of the images.
        classes: Of the data.
        labelled: Whether a person annotated the images; else the reference's sure objects are the truth.
    """

    counter: ObjectScorer
    classes: int
    labelled: bool
    _known: dict[tuple[int, str], list[ClassMatches]] = field(default_factory=dict)

    def matches(self, tally: InstanceCounts, kind: coco_ap.Kind) -> list[ClassMatches]:
        """Which of a contender's objects are right."""
        key = (id(tally), kind)
        if key not in self._known:
            counter = self.counter
            self._known[key] = coco_ap.matches(counter.truth, counter.sizes, tally.found, self.classes, kind)
        return self._known[key]


def judged(
    tally: InstanceCounts,
    own: InstanceCounts,
    truth: ObjectTruth,
    limits: Limits,
    images: tuple[str, ...],
    groups: tuple[str, ...] | None = None,
) -> tuple[list[Check], dict[str, Any]]:
    """The checks, and the figures of the export's row."""
    deltas = {
        kind: paired_ap_delta(truth.matches(own, kind), truth.matches(tally, kind), groups=groups)
        for kind in (("bbox", "segm") if tally.masks else ("bbox",))
    }
    share = _share(tally)
    checks = [
        *_tripwires(tally, own),
        *_agreement(tally, limits, images),
        gates.box_ap_check(deltas["bbox"], limits, agreement=share, labelled=truth.labelled),
    ]
    if "segm" in deltas:
        checks.append(gates.mask_ap_check(deltas["segm"], limits, agreement=share, labelled=truth.labelled))
    figures = {
        "agreement": share if tally.pairs else None,
        "agreement_worst": min(tally.agreement, default=None),
        "objects": _scores(tally, truth, deltas, own),
    }
    return checks, figures


def reference_scores(own: Counts, truth: ObjectTruth) -> ObjectScores:
    """The reference's own figures; average precision only where a person annotated."""
    return _scores(own, truth, {}, own) if truth.labelled else ObjectScores(found=own.sure)


def _scores(
    tally: InstanceCounts, truth: ObjectTruth, deltas: dict[str, PairedDelta], own: InstanceCounts
) -> ObjectScores:
    boxes, masks = (_all(tally, name) for name in ("box_iou", "mask_iou"))
    found: dict[str, Any] = {}
    for kind in ("bbox", "segm") if tally.masks else ("bbox",):
        found[f"{kind}_mmap"] = _number(mean_ap(truth.matches(tally, kind))[0])
        if (delta := deltas.get(kind)) is not None:
            found |= {f"{kind}_mmap_delta": delta.delta, f"{kind}_mmap_delta_interval": delta.interval}
    every = np.ones((1, len(truth.counter.sizes)))
    kind = "segm" if tally.masks else "bbox"
    aps, before = ([float(class_ap(one, every)[0]) for one in truth.matches(who, kind)] for who in (tally, own))
    return ObjectScores(
        **found,
        class_ap=tuple(map(_number, aps)),
        class_ap_delta=tuple(_number(a - b) for a, b in zip(aps, before, strict=True)) if tally is not own else (),
        found=tally.sure,
        box_iou=float(boxes.mean()) if boxes.size else None,
        mask_iou=float(masks.mean()) if masks.size else None,
    )


def _tripwires(tally: InstanceCounts, own: InstanceCounts) -> list[Check]:
    images = len(tally.found)
    checks = [
        check
        for check in gates.tripwire_checks(
            images=images, not_finite=tally.not_finite, wrong_shape=tally.wrong_shape, repeatable=tally.repeatable
        )
        if check.name != "tripwire.constant"
    ]
    name = "tripwire.objects"
    found = f"{tally.sure} objects with a score of {SURE:g} or more on {images} images, the reference {own.sure}"
    if tally.sure:
        verdict, reason = Verdict.PASS, "it finds something"
    elif own.sure:
        verdict, reason = Verdict.FAIL, "the export finds nothing: it is dead"
    else:
        verdict, reason = Verdict.INCONCLUSIVE, "neither finds anything, which tells nothing"
    return [*checks, Check(name=name, verdict=verdict, message=f"{found}: {reason}.", value=float(tally.sure))]


def _agreement(tally: InstanceCounts, limits: Limits, images: tuple[str, ...]) -> list[Check]:
    """Counted, not estimated: objects with partners, and how alike the pairs are."""
    total = sum(pair.objects for pair in tally.pairs)
    if not total:
        return [gates.skipped("agreement.objects", "neither model is sure of any object, so none can agree.")]
    worst = min(range(len(tally.agreement)), key=tally.agreement.__getitem__)
    boxes, masks, scores = (_all(tally, name) for name in ("box_iou", "mask_iou", "score_delta"))
    checks = [
        gates.at_least(
            "agreement.objects",
            _share(tally),
            limits.agreement_objects_min,
            f"of {total} sure objects of both models have a partner of their class in the other's answer",
        ),
        gates.skipped(
            "agreement.worst_image",
            f"on the worst image, {images[worst]}, {tally.pairs[worst].partnered} of {tally.pairs[worst].objects} "
            "objects have a partner; not gated, since a single object can be many per cent.",
            value=tally.agreement[worst],
        ),
    ]
    if boxes.size:
        what = f"is the mean IoU of the {boxes.size} pairs of boxes"
        checks.append(gates.at_least("agreement.boxes", float(boxes.mean()), limits.agreement_boxes_min, what))
        change = f"scores differ by {np.abs(scores).mean():.4f} on average, by {np.abs(scores).max():.4f} at most."
        checks.append(gates.skipped("agreement.scores", change, value=float(np.abs(scores).max())))
    if masks.size:
        what = f"is the mean IoU of the {masks.size} pairs of masks"
        checks.append(gates.at_least("agreement.masks", float(masks.mean()), limits.agreement_masks_min, what))
    return checks


def _share(tally: InstanceCounts) -> float:
    total = sum(pair.objects for pair in tally.pairs)
    return sum(pair.partnered for pair in tally.pairs) / total if total else 1.0


def _all(tally: InstanceCounts, name: str) -> np.ndarray:
    return np.array([value for pair in tally.pairs for value in getattr(pair, name)], np.float64)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
