"""Counts pixels in a check of semantic segmentation."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from segexport import preprocess
from segexport.artifact import Manifest
from segexport.data.dataset import Dataset, Sample
from segexport.errors import ModelOutputError, capture_error
from segexport.exporter.set_head import declared_small_mask
from segexport.measure import metrics
from segexport.measure.boundary import boundary_counts
from segexport.measure.mask_proof import LEAST_AGREEMENT
from segexport.measure.parity import Comparison, ImageRun, ModelUnderTest, RankedImage
from segexport.runtimes.base import Prediction
from segexport.task.base import ScoredClasses
from segexport.task.semantic.certainty import decided_pixels
from segexport.task.semantic.counts import PixelCounts
from segexport.task.semantic.judge import PixelJudge
from segexport.ui.pictures import Panel, panel


class PixelScorer:
    """Compares masks pixel by pixel; a `TaskScorer`.

    Args:
        manifest: Manifest of the reference; exports have the same classes.
        worst_images: Number of worst images to keep.
    """

    def __init__(self, manifest: Manifest, data: Dataset, classes: ScoredClasses, worst_images: int) -> None:
        self._manifest, self._data, self._classes, self._keep = manifest, data, classes, worst_images

    def new_counts(self) -> PixelCounts:
        return PixelCounts()

    def add(self, run: ImageRun, own: PixelCounts, exports: Mapping[str, PixelCounts]) -> None:
        prediction, sample = run.reference_prediction, run.sample
        self._require_classes(prediction.mask, sample.name)
        own_mask = self._restored(run, run.reference, prediction)
        truth = sample.label if sample.label is not None else own_mask
        self._count(own, sample, truth, own_mask, prediction)
        decided = prediction.decided if prediction.decided is not None else decided_pixels(prediction.margin)
        differing: dict[str, np.ndarray] = {}  # masks that differ from the reference's
        for model in run.exports:
            answer, counts = run.predictions.get(model.name), exports[model.name]
            if answer is None:
                continue
            with capture_error(counts):
                self._require_classes(answer.mask, sample.name)
            if counts.error is not None:
                continue
            mask = self._restored(run, model, answer)
            self._count(counts, sample, truth, mask, answer)
            enlarged = _at_size_of(prediction.mask, answer.mask, model, counts)
            if enlarged is None:
                continue
            same = enlarged == prediction.mask
            sure = float(same[decided].mean()) if decided is not None and decided.any() else float("nan")
            by_class = metrics.confusion_matrix(prediction.mask, enlarged, self._manifest.num_classes, None)
            counts.mask_confusion = by_class if counts.mask_confusion is None else counts.mask_confusion + by_class
            agreement = float(same.mean())
            counts.agreement.append(agreement)
            counts.decided_agreement.append(sure)
            if agreement < LEAST_AGREEMENT:
                differing[model.name] = enlarged
            counts.consider(sample, agreement, (own_mask, mask), self._keep)
        _add_in_common(exports, differing, prediction.mask)

    def draw(self, sample: Sample, shown: RankedImage) -> Panel:
        labels, ignore_index = self._classes.labels, self._data.ignore_index
        return panel(sample.image, sample.label, shown.reference, shown.export, labels, ignore_index)

    def judge(self, comparison: Comparison[PixelCounts]) -> PixelJudge:
        return PixelJudge(comparison, self._classes.labels, self._manifest.labels, self._data.image_groups)

    def _restored(self, run: ImageRun, model: ModelUnderTest, prediction: Prediction) -> np.ndarray:
        """The mask at the image's size, in the data's classes."""
        mask, lookup = preprocess.restore_mask(prediction.mask, run.placement(model)), self._classes.lookup
        return mask if lookup is None else metrics.apply_label_map(mask, lookup)

    def _count(
        self, counts: PixelCounts, sample: Sample, truth: np.ndarray, mask: np.ndarray, prediction: Prediction
    ) -> None:
        classes, ignore = len(self._classes.labels), self._data.ignore_index
        columns = classes + (self._classes.lookup is not None)  # the column of "other"
        confusion = metrics.confusion_matrix(truth, mask, classes, ignore, prediction_classes=columns, name=sample.name)
        counts.confusion = confusion if counts.confusion is None else counts.confusion + confusion
        counts.class_counts.append(metrics.class_counts(confusion))
        counts.boundary.append(boundary_counts(truth, mask, classes, ignore, name=sample.name))
        counts.constant_images += int(mask.min() == mask.max())
        counts.add_prediction(sample, prediction)

    def _require_classes(self, mask: np.ndarray, name: str) -> None:
        classes = self._manifest.num_classes
        if mask.size and int(mask.max()) >= classes:
            raise ModelOutputError(
                f"{name}: the model's mask holds the class {int(mask.max())}, but the model has {classes} classes",
                hint="name every class of the model in its labels, or look for another model's file in this one's "
                "place",
            )


def _at_size_of(
    reference: np.ndarray, mask: np.ndarray, model: ModelUnderTest, counts: PixelCounts
) -> np.ndarray | None:
    """An export's mask at the reference's size; None if its size is wrong, which is recorded in `counts`."""
    small = declared_small_mask(model.manifest)
    if small == mask.shape:
        return preprocess.enlarge_mask(mask, (reference.shape[0], reference.shape[1]))
    if small is None and mask.shape == reference.shape:
        return mask
    wanted, who = (reference.shape, "the reference gives") if small is None else (small, "its manifest declares")
    counts.wrong_shape = f"{mask.shape} where {who} {wanted}"
    return None


def _add_in_common(exports: Mapping[str, PixelCounts], masks: Mapping[str, np.ndarray], reference: np.ndarray) -> None:
    """Counts the pixels on which exports differ from the reference in the same way; all masks have equal sizes."""
    others = {name: mask != reference for name, mask in masks.items()}
    for one, other in itertools.permutations(masks, 2):
        same = int(np.count_nonzero(others[one] & (masks[one] == masks[other])))
        before = exports[one].in_common.get(other, (0, 0))
        exports[one].in_common[other] = (before[0] + same, before[1] + int(np.count_nonzero(others[one])))
