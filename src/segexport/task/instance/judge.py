"""The gates of instance segmentation, like those on pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segexport.judge import gates
from segexport.judge.base import Judged
from segexport.judge.bootstrap import PairedDelta
from segexport.measure.parity import Comparison
from segexport.recipe.limits import Limits
from segexport.report.schema import ObjectScores
from segexport.runtimes.object_matching import SURE
from segexport.spec import TaskName
from segexport.task.instance import coco_ap
from segexport.task.instance.ap_delta import paired_ap_delta
from segexport.task.instance.average_precision import ClassMatches, class_ap, mean_ap
from segexport.task.instance.counts import ObjectCounts
from segexport.task.instance.data import Annotation
from segexport.verdict import Check, Verdict

AP_CONVENTION = (
    "AP is COCO's average precision, the mean over the IoU thresholds from 0.5 to 0.95 and over the classes that are "
    "annotated; objects agree when class and box (IoU of at least 0.5) are the same."
)


@dataclass(frozen=True)
class ObjectJudge:
    """A `Judge` with the gates on objects.

    Attributes:
        truth: Annotations of each image; without annotations, the reference's confident objects.
        sizes: (width, height) of each image.
        classes: Number of classes of the data.
        groups: Group of each image, if images of a group are not independent; None if all images are independent.
    """

    comparison: Comparison[ObjectCounts]
    truth: Sequence[Sequence[Annotation]]
    sizes: Sequence[tuple[int, int]]
    classes: int
    groups: Sequence[str] | None = None
    _known: dict[tuple[int, str], list[ClassMatches]] = field(default_factory=dict)

    task: TaskName = "instance"
    convention: str = AP_CONVENTION

    def export(self, counts: ObjectCounts, limits: Limits) -> Judged:
        own, labelled = self.comparison.reference, self.comparison.labelled
        deltas: dict[coco_ap.Kind, PairedDelta] = {
            kind: paired_ap_delta(self._matches(own, kind), self._matches(counts, kind), groups=self.groups)
            for kind in _kinds(counts)
        }
        share = _share(counts)
        checks = [
            *_tripwires(counts, own),
            *_agreement(counts, limits, self.comparison.names),
            gates.box_ap_check(deltas["bbox"], limits, agreement=share, labelled=labelled),
        ]
        if "segm" in deltas:
            checks.append(gates.mask_ap_check(deltas["segm"], limits, agreement=share, labelled=labelled))
        figures = {
            "agreement": share if counts.pairs else None,
            "agreement_worst": min(counts.agreement, default=None),
            "objects": self._scores(counts, deltas),
        }
        return Judged(checks, figures)

    def reference(self) -> dict[str, Any]:
        """The reference's average precision, only with annotations."""
        own = self.comparison.reference
        return {"objects": self._scores(own, {}) if self.comparison.labelled else ObjectScores(found=own.sure)}

    def remarks(self) -> list[str]:
        return []

    def _matches(self, counts: ObjectCounts, kind: coco_ap.Kind) -> list[ClassMatches]:
        """Matches a model's objects with the truth."""
        key = (id(counts), kind)
        if key not in self._known:
            self._known[key] = coco_ap.matches(self.truth, self.sizes, counts.found, self.classes, kind)
        return self._known[key]

    def _scores(self, counts: ObjectCounts, deltas: Mapping[coco_ap.Kind, PairedDelta]) -> ObjectScores:
        own = self.comparison.reference
        boxes, masks = (_all(counts, name) for name in ("box_iou", "mask_iou"))
        figures: dict[str, Any] = {}
        for kind in _kinds(counts):
            figures[f"{kind}_mmap"] = _number(mean_ap(self._matches(counts, kind))[0])
            if (delta := deltas.get(kind)) is not None:
                figures |= {f"{kind}_mmap_delta": delta.delta, f"{kind}_mmap_delta_interval": delta.interval}
        every = np.ones((1, len(self.sizes)))
        kind = _kinds(counts)[-1]
        aps, before = ([float(class_ap(one, every)[0]) for one in self._matches(who, kind)] for who in (counts, own))
        return ObjectScores(
            **figures,
            class_ap=tuple(map(_number, aps)),
            class_ap_delta=tuple(_number(a - b) for a, b in zip(aps, before, strict=True)) if counts is not own else (),
            found=counts.sure,
            box_iou=float(boxes.mean()) if boxes.size else None,
            mask_iou=float(masks.mean()) if masks.size else None,
        )


def _kinds(counts: ObjectCounts) -> tuple[coco_ap.Kind, ...]:
    """The kinds for which average precision is measured: boxes, and masks if there are any."""
    return ("bbox", "segm") if counts.masks else ("bbox",)


def _tripwires(counts: ObjectCounts, own: ObjectCounts) -> list[Check]:
    images = len(counts.found)
    checks = [
        check
        for check in gates.tripwire_checks(
            images=images, not_finite=counts.not_finite, wrong_shape=counts.wrong_shape, repeatable=counts.repeatable
        )
        if check.name != "tripwire.constant"
    ]
    name = "tripwire.objects"
    found = f"{counts.sure} objects with a score of {SURE:g} or more on {images} images, the reference {own.sure}"
    if counts.sure:
        verdict, reason = Verdict.PASS, "it finds something"
    elif own.sure:
        verdict, reason = Verdict.FAIL, "the export finds nothing: it is dead"
    else:
        verdict, reason = Verdict.INCONCLUSIVE, "neither finds an object, so nothing can be compared"
    return [*checks, Check(name=name, verdict=verdict, message=f"{found}: {reason}.", value=float(counts.sure))]


def _agreement(counts: ObjectCounts, limits: Limits, images: tuple[str, ...]) -> list[Check]:
    """Checks on the objects with partners, and on the similarity of the pairs; exact counts, no estimates."""
    total = sum(pair.objects for pair in counts.pairs)
    if not total:
        return [gates.skipped("agreement.objects", "neither model is sure of any object, so none can agree.")]
    worst = min(range(len(counts.agreement)), key=counts.agreement.__getitem__)
    boxes, masks, scores = (_all(counts, name) for name in ("box_iou", "mask_iou", "score_delta"))
    checks = [
        gates.at_least(
            "agreement.objects",
            _share(counts),
            limits.agreement_objects_min,
            f"of {total} sure objects of both models have a partner of their class in the other's answer",
        ),
        gates.skipped(
            "agreement.worst_image",
            f"on the worst image, {images[worst]}, {counts.pairs[worst].partnered} of {counts.pairs[worst].objects} "
            "objects have a partner; not gated, since a single object can be many per cent.",
            value=counts.agreement[worst],
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


def _share(counts: ObjectCounts) -> float:
    total = sum(pair.objects for pair in counts.pairs)
    return sum(pair.partnered for pair in counts.pairs) / total if total else 1.0


def _all(counts: ObjectCounts, name: str) -> np.ndarray:
    return np.array([value for pair in counts.pairs for value in getattr(pair, name)], np.float64)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
