"""What the check counts of models that find objects: who found what, and how far it is what the reference found."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from segexport.artifact import Manifest
from segexport.data.dataset import Dataset, Sample
from segexport.errors import capture_error
from segexport.measure.parity import Counts, ImageRun, ModelUnderTest
from segexport.task.instance import draw
from segexport.task.instance.data import Annotation, InstanceData
from segexport.task.instance.detections import Detections, mask_tools
from segexport.task.instance.match import SURE, Agreement, agreement
from segexport.task.instance.model import checked
from segexport.task.instance.objects import Objects


@dataclass
class InstanceCounts(Counts):
    """What one contender found in all images so far.

    Attributes:
        found: Of each image, in the data's classes.
        pairs: Of each image, how far it agrees with the reference; empty for the reference itself.
        sure: How many objects have a score of at least `SURE`.
        masks: Whether masks are measured, and not boxes alone.
    """

    found: list[Detections] = field(default_factory=list)
    pairs: list[Agreement] = field(default_factory=list)
    sure: int = 0
    masks: bool = True

    @property
    def images(self) -> int:
        return len(self.found)

    def image_miou(self, index: int) -> float | None:
        return None


class ObjectScorer:
    """Adds one round to the tallies; the counterpart of `parity.PixelScorer`."""

    def __init__(
        self, reference: ModelUnderTest, manifest: Manifest, data: Dataset, lookup: np.ndarray, worst_images: int
    ) -> None:
        mask_tools()
        self._reference, self._manifest, self._lookup, self._keep = reference, manifest, lookup, worst_images
        self._masks = not isinstance(data, InstanceData) or data.has_masks
        self.truth: list[Sequence[Annotation]] = []
        self.sizes: list[tuple[int, int]] = []
        self._data = data

    def tally(self) -> InstanceCounts:
        return InstanceCounts(masks=self._masks)

    def __call__(self, round_: ImageRun, own: InstanceCounts, tallies: dict[str, InstanceCounts]) -> None:
        sample = round_.prepared.sample
        expected = self._objects(round_, self._reference, round_.reference_prediction)
        self._add(own, sample, expected, round_.reference_prediction)
        self.sizes.append(sample.image.shape[1::-1])
        self.truth.append(self._data.of(sample.name) if isinstance(self._data, InstanceData) else _as_truth(own))
        for contender in round_.exports:
            prediction, tally = round_.predictions.get(contender.name), tallies[contender.name]
            if prediction is None:
                continue
            with capture_error(tally):
                found = self._objects(round_, contender, prediction)
            if tally.error is not None:
                continue
            self._add(tally, sample, found, prediction)
            same = agreement(expected, found)
            tally.pairs.append(same)
            tally.agreement.append(same.share)
            if self._keep:
                maps = (draw.class_map(one.at_least(SURE), self._manifest.num_classes) for one in (expected, found))
                entry = (-_likeness(same), -sample.index, *maps)
                push = heapq.heappush if len(tally.worst) < self._keep else heapq.heappushpop
                push(tally.worst, entry)

    def _objects(self, round_: ImageRun, contender: ModelUnderTest, prediction) -> Objects:
        _, placement = round_.prepared.inputs[contender.preprocess]
        return checked(prediction, self._manifest, placement, round_.prepared.sample.name)

    def _add(self, tally: InstanceCounts, sample: Sample, objects: Objects, prediction) -> None:
        tally.found.append(Detections.of(objects, self._lookup, masks=self._masks))
        tally.sure += int((objects.scores >= SURE).sum())
        tally.constant_images += int(not len(objects.at_least(SURE)))
        if not prediction.finite:
            tally.not_finite.append(sample.name)
        tally.inference_ms.append(prediction.inference_ms)
        tally.postprocess_ms.append(prediction.postprocess_ms)


def _likeness(same: Agreement) -> float:
    """For the order of the worst images: lost objects first, then the least like masks."""
    return same.share * (min(same.mask_iou) if same.mask_iou else 1.0)


def _as_truth(own: InstanceCounts) -> list[Annotation]:
    """The reference's sure objects, where nobody annotated the images."""
    found = own.found[-1]
    truth = []
    for row in np.flatnonzero(found.scores >= SURE):
        left, top, right, bottom = map(float, found.boxes[row])
        code = found.masks[row] if found.masks is not None else None
        area = float(mask_tools().area(code)) if code is not None else (right - left) * (bottom - top)
        box = (left, top, right - left, bottom - top)
        truth.append(Annotation(int(found.classes[row]), box, code, area=area))
    return truth
