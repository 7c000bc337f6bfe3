"""Runs the reference and every export on the same images, one at a time, and counts how they differ.

Decoding and preprocessing of the next image, inference in the workers and counting of the last image overlap. What
is kept per image is a few integers per class, so memory does not grow with the images' size.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from segexport import preprocess
from segexport.data.dataset import Dataset, Sample
from segexport.errors import InputError, SegexportError, capture_error
from segexport.measure import metrics
from segexport.measure.boundary import boundary_counts
from segexport.measure.mask_proof import LEAST_AGREEMENT
from segexport.progress import Progress, silent
from segexport.spec import Preprocess, TensorSpec

if TYPE_CHECKING:
    from segexport.runtimes.base import Prediction, Session

MARGIN_QUANTILE = 0.5  # pixels whose reference margin is in the upper half count as decided


@dataclass(frozen=True)
class ModelUnderTest:
    """A model that takes part: the reference or an export.

    Attributes:
        lookup: (classes of the model,): the class of the data for each of them; None when they are the same.
        choose: Told the name of each image before it is run; for a session that plays back a recording.
        inputs: All that the model takes, where that is more than the image.
        small_mask: (height, width) of a mask that is declared to be smaller than the tensor; None where it is not.
    """

    name: str
    session: Session
    preprocess: Preprocess
    input: TensorSpec
    lookup: np.ndarray | None = None
    choose: Callable[[str], None] | None = None
    small_mask: tuple[int, int] | None = None
    inputs: tuple[TensorSpec, ...] = ()


@dataclass
class Counts:
    """What one contender did on all images so far.

    Attributes:
        counts: Per image (3, C) int64: pixels right, pixels of the truth, pixels of the prediction, by class.
        boundary: Per image (3, C) int64: the same of the boundaries.
        confusion: (C, C) int64, all images, rows are the truth; a column more with a label map.
        mask_confusion: (M, M) int64 of the model's own classes, all images, rows are the reference's masks.
        agreement: Per image, the part of the pixels with the reference's class.
        decided_agreement: The same among pixels where the reference was sure; NaN where it gives no scores.
        in_common: By another export's name: pixels on which both say the same and not what the reference says, and
            pixels on which this one does not say what the reference says; of images on which both differ from it.
    """

    counts: list[np.ndarray] = field(default_factory=list)
    boundary: list[np.ndarray] = field(default_factory=list)
    confusion: np.ndarray | None = None
    mask_confusion: np.ndarray | None = None
    agreement: list[float] = field(default_factory=list)
    decided_agreement: list[float] = field(default_factory=list)
    in_common: dict[str, tuple[int, int]] = field(default_factory=dict)
    not_finite: list[str] = field(default_factory=list)
    constant_images: int = 0
    wrong_shape: str = ""
    repeatable: bool = True
    inference_ms: list[float] = field(default_factory=list)
    postprocess_ms: list[float] = field(default_factory=list)
    worst: list[tuple[float, int, np.ndarray, np.ndarray]] = field(default_factory=list)  # -agreement, index, masks
    error: SegexportError | None = None

    @property
    def images(self) -> int:
        """How many were counted."""
        return len(self.counts)

    def image_miou(self, index: int) -> float | None:
        """The mIoU of one image; None where it has none."""
        return metrics.mean_iou(metrics.iou_per_class(self.counts[index]))


class Scorer(Protocol):
    """Counts what a task's models answer, and holds it against the reference's answer."""

    def tally(self) -> Counts: ...
    def __call__(self, round_: ImageRun, own: Counts, tallies: dict[str, Counts]) -> None: ...


@dataclass(frozen=True)
class Comparison:
    """The tallies of a whole run; `names` are the images in order."""

    reference: Counts
    exports: dict[str, Counts]
    names: tuple[str, ...]
    labelled: bool
    preprocess_ms: float


def compare(
    reference: ModelUnderTest,
    exports: Sequence[ModelUnderTest],
    data: Dataset,
    *,
    num_classes: int,
    model_classes: int,
    ignore_index: int,
    worst_images: int = 10,
    counter: Scorer | None = None,
    progress: Progress = silent,
) -> Comparison:
    """Runs everything over `data`. An export that fails keeps its error and drops out; the others go on.

    Args:
        num_classes: Classes of the data (of the model where the data has no labels).
        model_classes: Classes of the model.
        counter: Counts what the models answer; by default the pixels of their masks.

    Raises:
        SegexportError: The reference or the data fails; then there is nothing to compare with.
    """
    count = counter or PixelScorer(reference, (num_classes, model_classes), ignore_index, worst_images)
    tallies = {contender.name: count.tally() for contender in exports}
    own = count.tally()
    names: list[str] = []
    preprocess_ms: list[float] = []
    pending: ImageRun | None = None
    with progress("checking", len(data)) as bar:
        for prepared in _prefetched(data, [reference, *exports]):
            running = ImageRun(prepared, reference, [c for c in exports if tallies[c.name].error is None])
            running.submit(tallies)
            if pending is not None:  # counted while the workers are busy with the next image
                count(pending, own, tallies)
            running.collect(tallies)
            if not names:
                running.repeat(own, tallies)
            pending = running
            names.append(prepared.sample.name)
            preprocess_ms.append(prepared.preprocess_ms)
            bar.advance()
    if pending is None:
        raise InputError("no images to check on", cause=f"{data.root} has none in split {data.split!r}")
    count(pending, own, tallies)
    return Comparison(own, tallies, tuple(names), data.labelled, float(np.median(preprocess_ms)))


@dataclass(frozen=True)
class _Prepared:
    """A sample and its tensor for each distinct preprocessing."""

    sample: Sample
    inputs: dict[Preprocess, tuple[np.ndarray, preprocess.Placement]]
    preprocess_ms: float


def _prefetched(data: Dataset, contenders: Sequence[ModelUnderTest]) -> Iterator[_Prepared]:
    """Prepares one image ahead in a thread (OpenCV and NumPy release the interpreter's lock)."""
    import time

    def prepare(sample: Sample) -> _Prepared:
        start = time.perf_counter()
        inputs = {}
        for contender in contenders:
            if contender.preprocess not in inputs:
                inputs[contender.preprocess] = preprocess.apply(
                    contender.preprocess, sample.image, input_spec=contender.input
                )
        return _Prepared(sample, inputs, (time.perf_counter() - start) * 1e3)

    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead = None
        for sample in data:
            future = pool.submit(prepare, sample)
            if ahead is not None:
                yield ahead.result()
            ahead = future
        if ahead is not None:
            yield ahead.result()


class ImageRun:
    """One image on its way through all sessions."""

    def __init__(self, prepared: _Prepared, reference: ModelUnderTest, exports: list[ModelUnderTest]) -> None:
        self.prepared, self.reference, self.exports = prepared, reference, exports
        self.reference_prediction: Prediction | None = None
        self.predictions: dict[str, Prediction] = {}

    def tensors(self, contender: ModelUnderTest) -> list[np.ndarray]:
        return preprocess.feed(contender.inputs or (contender.input,), *self.prepared.inputs[contender.preprocess])

    def submit(self, tallies: dict[str, Counts]) -> None:
        if self.reference.choose is not None:
            self.reference.choose(self.prepared.sample.name)
        self.reference.session.submit(self.tensors(self.reference), margin=True)
        for contender in self.exports:
            with capture_error(tallies[contender.name]):
                contender.session.submit(self.tensors(contender))

    def collect(self, tallies: dict[str, Counts]) -> None:
        try:
            self.reference_prediction = self.reference.session.result()
        except SegexportError:
            for contender in self.exports:  # nobody will read their answers
                contender.session.close()
            raise
        for contender in self.exports:
            tally = tallies[contender.name]
            if tally.error is None:
                with capture_error(tally):
                    self.predictions[contender.name] = contender.session.result()

    @property
    def answer(self) -> Prediction:
        """The reference's prediction, once it is collected."""
        assert self.reference_prediction is not None, "the run has not been collected yet"
        return self.reference_prediction

    def repeat(self, own: Counts, tallies: dict[str, Counts]) -> None:
        """Runs the first image again: a result that changes from run to run cannot be trusted."""
        again = self.reference.session.infer(self.tensors(self.reference))
        own.repeatable = again.same_as(self.answer)
        for contender in self.exports:
            tally = tallies[contender.name]
            if tally.error is None:
                with capture_error(tally):
                    again = contender.session.infer(self.tensors(contender))
                    tally.repeatable = again.same_as(self.predictions[contender.name])


class PixelScorer:
    """Adds one round to the tallies, pixel by pixel."""

    def __init__(
        self, reference: ModelUnderTest, classes: tuple[int, int], ignore_index: int, worst_images: int
    ) -> None:
        self._reference = reference
        (self._classes, self._model_classes), self._ignore, self._keep = classes, ignore_index, worst_images

    def tally(self) -> Counts:
        return Counts()

    def __call__(self, round_: ImageRun, own: Counts, tallies: dict[str, Counts]) -> None:
        prediction, sample = round_.answer, round_.prepared.sample
        _require_classes(prediction.mask, self._model_classes, sample.name)
        own_mask = self._restored(round_, self._reference, prediction)
        truth = sample.label if sample.label is not None else own_mask
        self._add(own, sample, truth, own_mask, prediction)
        decided = prediction.decided if prediction.decided is not None else decided_pixels(prediction.margin)
        differing: dict[str, np.ndarray] = {}  # the masks that are not the reference's
        for contender in round_.exports:
            found = round_.predictions.get(contender.name)
            tally = tallies[contender.name]
            if found is None:
                continue
            with capture_error(tally):
                _require_classes(found.mask, self._model_classes, sample.name)
            if tally.error is not None:
                continue
            mask = self._restored(round_, contender, found)
            self._add(tally, sample, truth, mask, found)
            own_size = found.mask
            if contender.small_mask == found.mask.shape:
                own_size = preprocess.enlarge_mask(found.mask, prediction.mask.shape)
            elif contender.small_mask is not None or found.mask.shape != prediction.mask.shape:
                wanted, who = prediction.mask.shape, "the reference gives"
                if contender.small_mask is not None:
                    wanted, who = contender.small_mask, "its manifest declares"
                tally.wrong_shape = f"{found.mask.shape} where {who} {wanted}"
                continue
            same = own_size == prediction.mask
            sure = float(same[decided].mean()) if decided is not None and decided.any() else float("nan")
            own_classes = metrics.confusion_matrix(prediction.mask, own_size, self._model_classes, None)
            tally.mask_confusion = own_classes if tally.mask_confusion is None else tally.mask_confusion + own_classes
            agreement = float(same.mean())
            tally.agreement.append(agreement)
            tally.decided_agreement.append(sure)
            if agreement < LEAST_AGREEMENT:
                differing[contender.name] = own_size
            if self._keep:
                entry = (-agreement, -sample.index, own_mask, mask)
                push = heapq.heappush if len(tally.worst) < self._keep else heapq.heappushpop
                push(tally.worst, entry)

        _add_in_common(tallies, differing, prediction.mask)

    def _restored(self, round_: ImageRun, contender: ModelUnderTest, prediction: Prediction) -> np.ndarray:
        """The mask at the image's own size, in the data's classes."""
        _, placement = round_.prepared.inputs[contender.preprocess]
        mask = preprocess.restore_mask(prediction.mask, placement)
        return mask if contender.lookup is None else metrics.apply_label_map(mask, contender.lookup)

    def _add(self, tally: Counts, sample: Sample, truth: np.ndarray, mask: np.ndarray, prediction: Prediction) -> None:
        columns = self._classes + (self._reference.lookup is not None)  # the column of "other"
        confusion = metrics.confusion_matrix(
            truth, mask, self._classes, self._ignore, prediction_classes=columns, name=sample.name
        )
        tally.confusion = confusion if tally.confusion is None else tally.confusion + confusion
        tally.counts.append(metrics.class_counts(confusion))
        tally.boundary.append(boundary_counts(truth, mask, self._classes, self._ignore, name=sample.name))
        tally.constant_images += int(mask.min() == mask.max())
        if not prediction.finite:
            tally.not_finite.append(sample.name)
        tally.inference_ms.append(prediction.inference_ms)
        tally.postprocess_ms.append(prediction.postprocess_ms)


def _add_in_common(tallies: dict[str, Counts], masks: dict[str, np.ndarray], reference: np.ndarray) -> None:
    """Counts how far exports contradict the reference in the same way. `masks`: by export, as large as `reference`."""
    others = {name: mask != reference for name, mask in masks.items()}
    for one, other in itertools.permutations(masks, 2):
        same = int(np.count_nonzero(others[one] & (masks[one] == masks[other])))
        before = tallies[one].in_common.get(other, (0, 0))
        tallies[one].in_common[other] = (before[0] + same, before[1] + int(np.count_nonzero(others[one])))


def _require_classes(mask: np.ndarray, classes: int, name: str) -> None:
    if mask.size and int(mask.max()) >= classes:
        raise InputError(
            f"{name}: the model's mask holds the class {int(mask.max())}, but the model has {classes} classes",
            hint="name every class of the model in its labels, or look for another model's file in this one's place",
        )


def decided_pixels(margin: np.ndarray | None) -> np.ndarray | None:
    """(H, W) bool: where the two best scores lie further apart than on half of the image; None without margins."""
    if margin is None:
        return None
    return margin >= np.quantile(margin[::4, ::4], MARGIN_QUANTILE)
