"""The gates of semantic segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segexport.judge import gates
from segexport.judge.base import Judged
from segexport.judge.bootstrap import PairedDelta, paired_delta
from segexport.measure import metrics
from segexport.measure.parity import Comparison
from segexport.recipe.limits import Limits
from segexport.spec import Label, TaskName
from segexport.task.semantic.agreement_gates import agreement_checks, mask_iou_check
from segexport.task.semantic.counts import PixelCounts
from segexport.verdict import Check


@dataclass(frozen=True)
class PixelJudge:
    """A `Judge` with the gates on masks.

    Attributes:
        labels: The scored classes.
        model_labels: The model's classes.
        groups: Group of each image, if images of a group are not independent; None if all images are independent.
    """

    comparison: Comparison[PixelCounts]
    labels: tuple[Label, ...]
    model_labels: tuple[Label, ...]
    groups: Sequence[str] | None = None

    task: TaskName = "semantic"

    @property
    def convention(self) -> str:
        return metrics.MIOU_CONVENTION if self.comparison.labelled else metrics.MASK_IOU_CONVENTION

    def export(self, counts: PixelCounts, limits: Limits) -> Judged:
        own = self.comparison.reference
        delta = paired_delta(np.stack(own.class_counts), np.stack(counts.class_counts), groups=self.groups)
        boundary = paired_delta(np.stack(own.boundary), np.stack(counts.boundary), groups=self.groups)
        agreement = float(np.mean(counts.agreement)) if counts.agreement else 0.0
        checks = [
            *gates.tripwire_checks(
                images=len(counts.class_counts),
                not_finite=counts.not_finite,
                constant_images=counts.constant_images,
                reference_constant_images=own.constant_images,
                wrong_shape=counts.wrong_shape,
                repeatable=counts.repeatable,
            ),
            *agreement_checks(
                counts.agreement,
                limits,
                confident=counts.decided_agreement,
                mask_counts=None if counts.mask_confusion is None else metrics.class_counts(counts.mask_confusion),
                images=self.comparison.names,
                labels=[label.name for label in self.model_labels],
            ),
            *self._accuracy(delta, boundary, limits, agreement),
        ]
        scores, own_iou = metrics.scores(_counted(counts)), metrics.scores(_counted(own)).class_iou
        figures = {
            "miou": delta.miou_export,
            "miou_reference": delta.miou_reference,
            "miou_delta": delta.delta,
            "miou_delta_interval": delta.interval,
            "pixel_accuracy": scores.pixel_accuracy,
            "kappa": scores.kappa,
            "agreement": agreement if counts.agreement else None,
            "agreement_worst": min(counts.agreement, default=None),
            "class_iou": scores.class_iou,
            "class_iou_delta": tuple(
                None if a is None or b is None else a - b for a, b in zip(scores.class_iou, own_iou, strict=True)
            ),
        }
        return Judged(checks, figures)

    def reference(self) -> dict[str, Any]:
        scores, labelled = metrics.scores(_counted(self.comparison.reference)), self.comparison.labelled
        return {
            "miou": scores.miou if labelled else None,
            "pixel_accuracy": scores.pixel_accuracy if labelled else None,
            "kappa": scores.kappa if labelled else None,
            "class_iou": scores.class_iou,
        }

    def remarks(self) -> list[str]:
        counts = self.comparison.reference.class_counts
        if not self.comparison.labelled or not len(counts):
            return []
        there = np.flatnonzero(np.sum(counts, axis=0)[1])
        if len(there) != 1:
            return []
        name, classes = self.labels[there[0]].name, len(self.labels)
        return [f"the labels hold one class only, {name}: mIoU measures little of a model with {classes} classes"]

    def _accuracy(self, delta: PairedDelta, boundary: PairedDelta, limits: Limits, agreement: float) -> list[Check]:
        labelled, names = self.comparison.labelled, [label.name for label in self.labels]
        alarm = gates.independence_check(delta, agreement=agreement)
        return [
            *([] if labelled else [mask_iou_check(delta.miou_export, limits)]),
            *([] if alarm is None else [alarm]),
            gates.miou_check(delta, limits, agreement=agreement, labelled=labelled),
            gates.class_check(delta, limits, labels=names, labelled=labelled),
            gates.boundary_check(boundary, limits, agreement=agreement, labelled=labelled),
        ]


def _counted(counts: PixelCounts) -> np.ndarray:
    if counts.confusion is None:
        raise ValueError("no image was counted")
    return counts.confusion
