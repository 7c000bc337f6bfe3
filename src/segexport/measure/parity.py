"""Runs the reference and every export on the same images, one at a time; the task counts the differences.

Decoding and preprocessing of the next image, inference in the workers and counting of the last image overlap. Only a
few integers per class are kept for each image, so memory does not grow with the images' size.
"""

from __future__ import annotations

import hashlib
import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from segexport import preprocess
from segexport.errors import DataError, SegexportError, capture_error
from segexport.progress import Progress, silent

if TYPE_CHECKING:
    from segexport.artifact import Manifest
    from segexport.data.dataset import Dataset, Sample
    from segexport.report.schema import Chosen
    from segexport.runtimes.base import Prediction, Session
    from segexport.spec import Preprocess


@dataclass(frozen=True)
class ModelUnderTest:
    """A model to compare: the reference or an export.

    Attributes:
        preprocess: Preprocessing of its images; usually that of its manifest.
        choose: Called with the name of each image before the run; for sessions that replay a recording.
    """

    name: str
    session: Session
    manifest: Manifest
    preprocess: Preprocess
    choose: Callable[[str], None] | None = None


BEST_IMAGES, RANDOM_IMAGES = 2, 3
"""Number of images that a report shows besides the worst ones."""

_SEED = 0


def drawn_number(image: str) -> float:
    """A number in [0, 1) from the image's name; the smallest are the random sample, the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{_SEED}/{image}".encode()).digest()[:6], "big") / 2**48


class RankedImage(NamedTuple):
    """An image that a report may show. The images with the greatest ranks are kept.

    Attributes:
        rank: Depends on the reason to show the image, see `Counts.consider`.
        negative_index: Minus the image's index; of equal ranks, the first image is the greatest.
        agreement: Agreement with the reference, from 0 to 1.
        reference, export: Outputs of both, in the task's form for drawing.
    """

    rank: float
    negative_index: int
    agreement: float
    reference: np.ndarray
    export: np.ndarray


@dataclass
class Counts(ABC):
    """The results of one model on all images so far.

    Attributes:
        agreement: Per image, the agreement with the reference, from 0 to 1.
        not_finite: Images on which an output contained NaN or infinity.
        constant_images: Images with a constant output: one class everywhere, or no object.
        in_common: Other export's name -> pixels on which both agree and differ from the reference, and pixels on which
            this one differs from the reference; over images on which both differ from it.
        wrong_shape: Fault of the output's shape; empty if it is right.
        repeatable: Whether a second run on the first image gave the same result.
        shown: Reason -> a heap of images: the worst, the best, and a random sample.
    """

    agreement: list[float] = field(default_factory=list)
    in_common: dict[str, tuple[int, int]] = field(default_factory=dict)
    not_finite: list[str] = field(default_factory=list)
    constant_images: int = 0
    wrong_shape: str = ""
    repeatable: bool = True
    inference_ms: list[float] = field(default_factory=list)
    postprocess_ms: list[float] = field(default_factory=list)
    shown: dict[Chosen, list[RankedImage]] = field(default_factory=dict)
    error: SegexportError | None = None

    @property
    @abstractmethod
    def images(self) -> int:
        """Number of counted images."""

    @abstractmethod
    def image_miou(self, index: int) -> float | None:
        """The mIoU of one image; None if undefined."""

    def add_prediction(self, sample: Sample, prediction: Prediction) -> None:
        """Updates the counts that all tasks have."""
        if not prediction.finite:
            self.not_finite.append(sample.name)
        self.inference_ms.append(prediction.inference_ms)
        self.postprocess_ms.append(prediction.postprocess_ms)

    def consider(self, sample: Sample, agreement: float, masks: tuple[np.ndarray, np.ndarray], keep: int) -> None:
        """Keeps an image if it is one of the `keep` worst, the best, or the random sample; none if `keep` is 0.

        Args:
            masks: Outputs of reference and export, in the task's form for drawing.
        """
        if not keep:
            return
        ranks: dict[Chosen, tuple[float, int]] = {
            "worst": (-agreement, keep),
            "best": (agreement, BEST_IMAGES),
            "random": (-drawn_number(sample.name), RANDOM_IMAGES),
        }
        for why, (rank, most) in ranks.items():
            heap = self.shown.setdefault(why, [])
            push = heapq.heappush if len(heap) < most else heapq.heappushpop
            push(heap, RankedImage(rank, -sample.index, agreement, *masks))


AnyCounts = TypeVar("AnyCounts", bound=Counts)
CountsOf = TypeVar("CountsOf", bound=Counts, covariant=True)


class Scorer(Protocol[AnyCounts]):
    """Counts the results of a task's models, and compares them with the reference's."""

    def new_counts(self) -> AnyCounts:
        """Empty results, before the first image."""
        ...

    def add(self, run: ImageRun, own: AnyCounts, exports: Mapping[str, AnyCounts]) -> None:
        """Counts one image.

        Args:
            own: The reference's counts.
            exports: The counts of every export, by name. One whose output cannot be counted keeps the error.

        Raises:
            SegexportError: The reference's output cannot be counted.
        """


@dataclass(frozen=True)
class Comparison(Generic[CountsOf]):
    """The counts of a whole run; `names` are the images in order."""

    reference: CountsOf
    exports: Mapping[str, CountsOf]
    names: tuple[str, ...]
    labelled: bool
    preprocess_ms: float


def compare(
    reference: ModelUnderTest,
    exports: Sequence[ModelUnderTest],
    data: Dataset,
    scorer: Scorer[AnyCounts],
    *,
    progress: Progress = silent,
    repeat: bool = True,
) -> Comparison[AnyCounts]:
    """Runs all models over `data`. An export that fails keeps its error and is skipped; the others continue.

    Args:
        repeat: Whether to run the first image twice, to find models that are not deterministic.

    Raises:
        SegexportError: The reference or the data fails.
    """
    counts = {export.name: scorer.new_counts() for export in exports}
    own = scorer.new_counts()
    names: list[str] = []
    preprocess_ms: list[float] = []
    pending: ImageRun | None = None
    with progress("checking", len(data)) as bar:
        for prepared in _prefetched(data, [reference, *exports]):
            run = ImageRun(prepared, reference, [one for one in exports if counts[one.name].error is None])
            run.submit(counts)
            if pending is not None:  # counted while the workers are busy with the next image
                scorer.add(pending, own, counts)
            run.collect(counts)
            if repeat and not names:
                run.repeat(own, counts)
            pending = run
            names.append(prepared.sample.name)
            preprocess_ms.append(prepared.preprocess_ms)
            bar.advance()
    if pending is None:
        raise DataError("no images to check on", cause=f"{data.root} has none in split {data.split!r}")
    scorer.add(pending, own, counts)
    return Comparison(own, counts, tuple(names), data.labelled, float(np.median(preprocess_ms)))


@dataclass(frozen=True)
class _Prepared:
    """A sample and its tensor for each distinct preprocessing."""

    sample: Sample
    inputs: dict[Preprocess, tuple[np.ndarray, preprocess.Placement]]
    preprocess_ms: float


def _prefetched(data: Dataset, models: Sequence[ModelUnderTest]) -> Iterator[_Prepared]:
    """Prepares one image ahead in a thread (OpenCV and NumPy release the interpreter's lock)."""
    import time

    def prepare(sample: Sample) -> _Prepared:
        start = time.perf_counter()
        inputs = {}
        for model in models:
            if model.preprocess not in inputs:
                inputs[model.preprocess] = preprocess.apply(
                    model.preprocess, sample.image, input_spec=model.manifest.image
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
    """The run of one image in all sessions.

    Attributes:
        exports: Exports that have not failed before.
        predictions: Export's name -> its prediction, if it succeeded.
    """

    def __init__(self, prepared: _Prepared, reference: ModelUnderTest, exports: list[ModelUnderTest]) -> None:
        self._prepared, self.reference, self.exports = prepared, reference, exports
        self._reference_prediction: Prediction | None = None
        self.predictions: dict[str, Prediction] = {}

    @property
    def sample(self) -> Sample:
        return self._prepared.sample

    @property
    def reference_prediction(self) -> Prediction:
        """The reference's prediction; call `collect` first."""
        if self._reference_prediction is None:
            raise RuntimeError("the answers were not collected yet")
        return self._reference_prediction

    def placement(self, model: ModelUnderTest) -> preprocess.Placement:
        """Placement of the image in the model's tensor."""
        return self._prepared.inputs[model.preprocess][1]

    def tensors(self, model: ModelUnderTest) -> list[np.ndarray]:
        return preprocess.feed(model.manifest.inputs, *self._prepared.inputs[model.preprocess])

    def submit(self, counts: Mapping[str, Counts]) -> None:
        if self.reference.choose is not None:
            self.reference.choose(self.sample.name)
        self.reference.session.submit(self.tensors(self.reference), margin=True)
        for model in self.exports:
            with capture_error(counts[model.name]):
                model.session.submit(self.tensors(model))

    def collect(self, counts: Mapping[str, Counts]) -> None:
        try:
            self._reference_prediction = self.reference.session.result()
        except SegexportError:
            for model in self.exports:  # their results are no longer needed
                model.session.close()
            raise
        for model in self.exports:
            if counts[model.name].error is None:
                with capture_error(counts[model.name]):
                    self.predictions[model.name] = model.session.result()

    def repeat(self, own: Counts, counts: Mapping[str, Counts]) -> None:
        """Runs the first image again, to find models that are not deterministic."""
        again = self.reference.session.infer(self.tensors(self.reference))
        own.repeatable = again.same_as(self.reference_prediction)
        for model in self.exports:
            one = counts[model.name]
            if one.error is None:
                with capture_error(one):
                    again = model.session.infer(self.tensors(model))
                    one.repeatable = again.same_as(self.predictions[model.name])
