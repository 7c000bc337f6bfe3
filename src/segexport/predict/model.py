"""A loaded model: `predict` gives masks and score maps, `evaluate` gives metrics. `segexport.load` opens one."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np

from segexport import preprocess
from segexport.artifact import ModelArtifact
from segexport.data.dataset import Dataset, Sample
from segexport.errors import InputError, SegexportError
from segexport.measure import metrics
from segexport.predict.batching import Placed, batch_limit, batches, each_of, stacked
from segexport.predict.inputs import Picture, pictures
from segexport.predict.model_session import Opened
from segexport.predict.prediction import SegmentationResult
from segexport.predict.target_size import TargetSize, both_sides, checked_size, with_size
from segexport.progress import Progress, silent
from segexport.spec import Preprocess
from segexport.task.semantic.classes import scored_classes
from segexport.ui.pictures import as_rgb
from segexport.video.flow import FlowName, flow_named
from segexport.video.smoother import VideoSmoother
from segexport.video.stream import MaskStream, NetworkFrame, foreground_ids

_SCORES = ("logits", "probability")


class Model(Opened):
    """A model in a separate process. Use it in a `with` block, or call `close`.

    Args:
        artifact: Any format.
        device: `cpu`, `gpu:0`, ..., as the format's runtime has it here.
        threads: Threads of one inference.
        runtime: As in `Opened`.
        target_size: Default of `predict`.

    Raises:
        InputError: A target_size that is none, or a device that the runtime does not have; those that it has are named.
    """

    def __init__(
        self,
        artifact: ModelArtifact,
        *,
        device: str = "cpu",
        threads: int = 1,
        runtime: str = "",
        target_size: TargetSize = None,
    ) -> None:
        self._target_size = checked_size(target_size)
        super().__init__(artifact, device=device, threads=threads, runtime=runtime)

    def __repr__(self) -> str:
        runtime = self._session.info
        return f"<Model {self.artifact!r} in {runtime.runtime} {runtime.version} on {runtime.device}>"

    def predict(
        self,
        input: Any,
        batch_size: int = 1,
        target_size: TargetSize = None,
        *,
        slice_size: int | tuple[int, int] | None = None,
        score_map: bool = True,
    ) -> Iterator[SegmentationResult]:
        """Segments images, one after the other.

        Args:
            input: A path, a folder, an http(s) URL, an array (H, W, 3) uint8 in BGR order (as OpenCV reads it), or a
                list of these. Where the model takes another number of channels, an array has those in their order.
            batch_size: Images of one run, where the export was made for batches of any size and neighbours have one
                size; else images run one at a time, as on a phone.
            target_size: Input size of the network. None: that of `load`, else the model's; -1: the image's size;
                a number: both sides; (width, height).
            slice_size: Side, or (width, height), of windows that a large image is cut into. They overlap, and their
                scores are averaged there.
            score_map: Whether results contain the classes' probabilities; prediction is faster without. The masks are
                the same.

        Raises:
            InputError: An input that cannot be read, or a size that the model does not take.
        """
        limit = batch_limit(self.artifact.manifest, batch_size)
        contract = self.contract(target_size)
        window = None if slice_size is None else both_sides("slice_size", slice_size)
        if window is not None and self._scores_output is None:
            raise InputError(
                f"{self.artifact.path}: slice_size needs a model whose output are scores",
                cause="its head is an argmax, and classes cannot be averaged",
            )
        if window is not None:
            return (self._in_windows(one, contract, window, score_map) for one in pictures(input, contract.pixels))
        placed = (self._placed(one, one.image, contract) for one in pictures(input, contract.pixels))
        return (result for batch in batches(placed, limit) for result in self._results(batch, score_map))

    def evaluate(
        self,
        dataset: Dataset | str | Path,
        batch_size: int = 1,
        return_details: bool = False,
        *,
        split: str = "val",
        label_map: Mapping[str, str] | None = None,
        progress: Progress = silent,
    ) -> dict[str, Any] | tuple[dict[str, Any], dict[str, Any]]:
        """Metrics over a labelled dataset, with PaddleX's names: miou, category_iou, macc, category_acc, kappa.

        Args:
            dataset: A dataset, or the folder of one.
            batch_size: As in `predict`; the metrics are the same.
            return_details: Whether to return the confusion matrix too, as ({...}, {"confusion_matrix": [[...]]}).
            split: Where a folder is given.
            label_map: Class of the model -> class of the data, by name or by id, where the two differ. A class of the
                model without a counterpart is a further column of the confusion matrix, and counts as wrong.

        Raises:
            InputError: No labels, or classes that are not the model's.
        """
        data = dataset if isinstance(dataset, Dataset) else Dataset.open(Path(dataset), split)
        manifest = self.artifact.manifest
        data = data.read_for(manifest.preprocess)
        limit = batch_limit(manifest, batch_size)
        if not data.labelled:
            raise InputError(f"{data.root}: the images have no labels", hint="name them in the list: `image label`")
        scored = scored_classes(manifest, data, label_map)
        classes, lookup = len(scored.labels), scored.lookup
        columns = classes if lookup is None else max(classes, int(lookup.max()) + 1)
        total = np.zeros((classes, columns), np.int64)
        with progress("evaluating", len(data)) as bar, closing(self._masks(data, limit)) as masks:
            for sample, mask in masks:
                assert sample.label is not None, "the data are labelled"
                found = mask if lookup is None else metrics.apply_label_map(mask, lookup)
                total += metrics.confusion_matrix(
                    sample.label, found, classes, data.ignore_index, prediction_classes=columns, name=sample.name
                )
                bar.advance()
        scores = metrics.scores(total)
        values = {
            "miou": scores.miou,
            "category_iou": list(scores.class_iou),
            "macc": scores.mean_accuracy,
            "category_acc": list(scores.class_accuracy),
            "pixel_accuracy": scores.pixel_accuracy,
            "kappa": scores.kappa,
        }
        return (values, {"confusion_matrix": total.tolist()}) if return_details else values

    def stream(
        self,
        *,
        smooth: bool = True,
        flow: FlowName = "dis",
        foreground: Iterable[str | int] = (),
        target_size: TargetSize = None,
    ) -> MaskStream:
        """Segments a video frame by frame: `next(frame)` returns mask and opacity, `reset()` begins another video.

        Args:
            smooth: Whether scores are smoothed along the optical flow; of a model that outputs classes, the scores are
                0 and 1.
            flow: `dis`: OpenCV's dense inverse search; `blocks`: block matching, as in the Java core.
            foreground: Names or ids of the classes in front; empty: all but class 0.
            target_size: As in `predict`.

        Raises:
            InputError: A class that the model does not have, or a model that does not take colours or grey.
        """
        manifest = self.artifact.manifest
        if not manifest.preprocess.takes_bitmaps:
            raise InputError(
                f"{self.artifact.path}: takes {manifest.preprocess.channels} channels of its own, a video has colours"
            )
        contract = self.contract(target_size)
        smoother = VideoSmoother(flow_named(flow)) if smooth else None
        front = foreground_ids(manifest.labels, foreground)
        return MaskStream(lambda frame: self._look(frame, contract), manifest.labels, front, smoother)

    def contract(self, target_size: TargetSize = None) -> Preprocess:
        """The preprocessing at an input size; None: that of `load`, else the model's.

        Raises:
            InputError: A target_size that is none.
        """
        size = checked_size(target_size)
        return with_size(self.artifact.manifest.preprocess, self._target_size if size is None else size)

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Scores (h, w, channels) of the network as probabilities (h, w, classes), float32."""
        assert self._scores_output is not None, "asked of models that give scores"
        return _probabilities(scores, self.artifact.manifest.outputs[self._scores_output].semantics)

    # -- parts -------------------------------------------------------------------------------------------------

    @property
    def _scores_output(self) -> int | None:
        """Which output holds scores; None where the head gives classes only."""
        found = (i for i, spec in enumerate(self.artifact.manifest.outputs) if spec.semantics in _SCORES)
        return next(found, None)

    def _placed(self, of: Any, image: np.ndarray, contract: Preprocess) -> Placed:
        tensor, placement = preprocess.apply(contract, image, input_spec=self.artifact.manifest.inputs[0])
        return Placed(of, tensor, placement)

    def _look(self, frame: np.ndarray, contract: Preprocess) -> NetworkFrame:
        image = next(pictures(frame, contract.pixels)).image
        placed = self._placed(None, image, contract)
        if self._scores_output is None:
            mask = self._session.infer([placed.tensor]).mask
            classes = max(self.artifact.manifest.num_classes, int(mask.max()) + 1)
            scores = (mask[..., None] == np.arange(classes)).astype(np.float32)
        else:
            scores = self._scores([placed])[0]
        grey = preprocess.grey_of(contract, placed.tensor)
        if grey.shape != scores.shape[:2]:
            grey = preprocess.resized(grey[..., None], (scores.shape[1], scores.shape[0]))[..., 0]
        shown = image if image.shape[2] == 3 else np.ascontiguousarray(frame[..., ::-1])
        return NetworkFrame(as_rgb(shown), scores, grey, placed.placement)

    def _masks(self, data: Dataset, limit: int) -> Generator[tuple[Sample, np.ndarray]]:
        """Each sample with the model's mask at the image's size; the worker is never idle while they are looked at."""
        contract = self.artifact.manifest.preprocess
        waiting: deque[list[Placed[Sample]]] = deque()  # what the worker is at, or will be next

        def answered(batch: list[Placed[Sample]], answer: np.ndarray) -> Iterator[tuple[Sample, np.ndarray]]:
            for one, mask in zip(batch, each_of(answer, len(batch)), strict=True):
                yield one.of, preprocess.restore_mask(mask, one.placement)

        try:
            for batch in batches((self._placed(sample, sample.image, contract) for sample in data), limit):
                ready = waiting.popleft() if len(waiting) == self._session.ahead else None
                answer = self._session.result().mask if ready else None
                self._session.submit([stacked(batch)])
                waiting.append(batch)
                if ready and answer is not None:
                    yield from answered(ready, answer)
            while waiting:
                yield from answered(waiting.popleft(), self._session.result().mask)
        finally:
            for _ in waiting:  # an error or a break: the next call must not get these answers
                with suppress(SegexportError):
                    self._session.result()

    def _results(self, batch: list[Placed[Picture]], score_map: bool) -> Iterator[SegmentationResult]:
        labels = self.artifact.manifest.labels
        if not score_map or self._scores_output is None:
            masks = each_of(self._session.infer([stacked(batch)]).mask, len(batch))
            for one, mask in zip(batch, masks, strict=True):
                restored = preprocess.restore_mask(mask, one.placement)
                yield SegmentationResult(one.of.name, as_rgb(one.of.image), restored, None, labels)
            return
        for one, scores in zip(batch, self._scores(batch), strict=True):
            mask = preprocess.restore_mask(_classes(scores), one.placement)  # as `evaluate` and `check` see it
            full = preprocess.restore_scores(scores, one.placement)
            yield SegmentationResult(one.of.name, as_rgb(one.of.image), mask, full, labels)

    def _in_windows(
        self, picture: Picture, contract: Preprocess, window: tuple[int, int], score_map: bool
    ) -> SegmentationResult:
        image = picture.image
        if window[0] >= image.shape[1] and window[1] >= image.shape[0]:
            return next(self._results([self._placed(picture, image, contract)], score_map))
        scores = self._sliced(image, contract, window)
        labels = self.artifact.manifest.labels
        return SegmentationResult(picture.name, as_rgb(image), _classes(scores), scores if score_map else None, labels)

    def _scores(self, batch: list[Placed]) -> list[np.ndarray]:
        """Probabilities (h, w, C) float32 of the network's size of each image."""
        place = self._scores_output
        assert place is not None, "asked of models that give scores"
        spec = self.artifact.manifest.outputs[place]
        output = self._session.outputs([stacked(batch)])[place]
        each = output if spec.layout.endswith("HWC") else output.transpose(0, 2, 3, 1)
        return [_probabilities(scores.astype(np.float32), spec.semantics) for scores in each]

    def _sliced(self, image: np.ndarray, contract: Preprocess, size: tuple[int, int]) -> np.ndarray:
        """Scores of overlapping windows, averaged where they overlap."""
        width, height = min(size[0], image.shape[1]), min(size[1], image.shape[0])
        total: np.ndarray | None = None
        times = np.zeros((*image.shape[:2], 1), np.float32)
        for top in _starts(image.shape[0], height):
            for left in _starts(image.shape[1], width):
                window = np.s_[top : top + height, left : left + width]
                part = self._placed(None, image[window], contract)
                scores = preprocess.restore_scores(self._scores([part])[0], part.placement)
                total = np.zeros((*image.shape[:2], scores.shape[2]), np.float32) if total is None else total
                total[window] += scores
                times[window] += 1
        assert total is not None, "an image has one window at least"
        return total / times


def _starts(length: int, window: int) -> list[int]:
    """Where windows begin so that they cover `length` and overlap by about a quarter."""
    count = max(1, math.ceil((length - window) / (window * 0.75)) + 1)
    return [round(index * (length - window) / max(count - 1, 1)) for index in range(count)]


def _classes(scores: np.ndarray) -> np.ndarray:
    return scores.argmax(axis=2).astype(np.uint8 if scores.shape[2] <= 256 else np.uint16)


def _probabilities(scores: np.ndarray, semantics: str) -> np.ndarray:
    """(H, W, C) probabilities of all classes; a single channel is that of class 1."""
    if scores.shape[2] == 1:
        second = scores if semantics == "probability" else 1.0 / (1.0 + np.exp(-scores))
        return np.concatenate([1.0 - second, second], axis=2)
    if semantics == "probability":
        return scores
    scores = np.exp(scores - scores.max(axis=2, keepdims=True))
    return scores / scores.sum(axis=2, keepdims=True)
