"""Counts objects in a check of instance segmentation, and their agreement with the reference's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from segexport.artifact import Manifest
from segexport.data.dataset import Dataset, Sample
from segexport.errors import capture_error
from segexport.measure.parity import Comparison, ImageRun, ModelUnderTest, RankedImage
from segexport.runtimes.base import Prediction
from segexport.runtimes.object_matching import SURE, Agreement, agreement
from segexport.runtimes.objects import Objects
from segexport.task.base import ScoredClasses
from segexport.task.instance import draw
from segexport.task.instance.counts import ObjectCounts
from segexport.task.instance.data import Annotation, InstanceData
from segexport.task.instance.detections import Detections, mask_tools
from segexport.task.instance.judge import ObjectJudge
from segexport.task.instance.model import checked
from segexport.ui.pictures import Panel


class ObjectScorer:
    """Compares objects one by one; a `TaskScorer`.

    Args:
        manifest: Manifest of the reference; exports have the same classes.
        worst_images: Number of worst images to keep.
    """

    def __init__(self, manifest: Manifest, data: Dataset, classes: ScoredClasses, worst_images: int) -> None:
        mask_tools()
        self._manifest, self._data, self._classes, self._keep = manifest, data, classes, worst_images
        self._lookup = np.arange(manifest.num_classes) if classes.lookup is None else classes.lookup
        self._masks = not isinstance(data, InstanceData) or data.has_masks
        self._truth: list[Sequence[Annotation]] = []
        self._sizes: list[tuple[int, int]] = []

    def new_counts(self) -> ObjectCounts:
        return ObjectCounts(masks=self._masks)

    def add(self, run: ImageRun, own: ObjectCounts, exports: Mapping[str, ObjectCounts]) -> None:
        sample, prediction = run.sample, run.reference_prediction
        expected = self._objects(run, run.reference, prediction)
        self._count(own, sample, expected, prediction)
        height, width = sample.image.shape[:2]
        self._sizes.append((width, height))
        self._truth.append(self._data.of(sample.name) if isinstance(self._data, InstanceData) else _as_truth(own))
        for model in run.exports:
            answer, counts = run.predictions.get(model.name), exports[model.name]
            if answer is None:
                continue
            with capture_error(counts):
                objects = self._objects(run, model, answer)
                self._add(counts, sample, expected, objects, answer)

    def _add(
        self, counts: ObjectCounts, sample: Sample, expected: Objects, objects: Objects, prediction: Prediction
    ) -> None:
        """Counts an export's objects in an image, and compares them with the reference's."""
        self._count(counts, sample, objects, prediction)
        same = agreement(expected, objects)
        counts.pairs.append(same)
        counts.agreement.append(same.share)
        if self._keep:
            own, other = (draw.class_map(one.at_least(SURE), self._manifest.num_classes) for one in (expected, objects))
            counts.consider(sample, _likeness(same), (own, other), self._keep)

    def draw(self, sample: Sample, shown: RankedImage) -> Panel:
        return draw.object_panel(sample, self._data, shown.reference, shown.export, self._manifest.labels)

    def judge(self, comparison: Comparison[ObjectCounts]) -> ObjectJudge:
        return ObjectJudge(comparison, self._truth, self._sizes, len(self._classes.labels), self._data.image_groups)

    def _objects(self, run: ImageRun, model: ModelUnderTest, prediction: Prediction) -> Objects:
        return checked(prediction, self._manifest, run.placement(model), run.sample.name)

    def _count(self, counts: ObjectCounts, sample: Sample, objects: Objects, prediction: Prediction) -> None:
        counts.found.append(Detections.of(objects, self._lookup, masks=self._masks))
        counts.sure += int((objects.scores >= SURE).sum())
        counts.constant_images += int(not len(objects.at_least(SURE)))
        counts.add_prediction(sample, prediction)


def _likeness(same: Agreement) -> float:
    """Sort key of the worst images: lost objects first, then the least similar masks."""
    return same.share * (min(same.mask_iou) if same.mask_iou else 1.0)


def _as_truth(own: ObjectCounts) -> list[Annotation]:
    """The reference's confident objects, for images without annotations."""
    found = own.found[-1]
    truth = []
    for row in np.flatnonzero(found.scores >= SURE):
        left, top, right, bottom = map(float, found.boxes[row])
        code = found.masks[row] if found.masks is not None else None
        area = float(mask_tools().area(code)) if code is not None else (right - left) * (bottom - top)
        box = (left, top, right - left, bottom - top)
        truth.append(Annotation(int(found.classes[row]), box, code, area=area))
    return truth
