"""A loaded model: `predict` returns masks and score maps, `evaluate` returns metrics. `segexport.load` opens one."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segexport import preprocess
from segexport.artifact import ModelArtifact
from segexport.errors import DataError, OptionError, SegexportError
from segexport.measure.tiled_session import in_tiles
from segexport.predict.batching import Placed, batch_limit, batches, each_of, stacked
from segexport.predict.inputs import Picture, pictures
from segexport.predict.model_session import Opened
from segexport.predict.prediction import SegmentationResult
from segexport.predict.target_size import TargetSize, both_sides, checked_size, with_size
from segexport.progress import Progress, silent
from segexport.spec import Preprocess, Tiles
from segexport.ui.pictures import as_rgb

if TYPE_CHECKING:
    from segexport.data.dataset import Dataset, Sample
    from segexport.runtimes.base import Session
    from segexport.video.flow import FlowName
    from segexport.video.stream import MaskStream, NetworkFrame

_SCORES = ("logits", "probability")


class Model(Opened):
    """A model in a separate process. Use it in a `with` block, or call `close`.

    Args:
        artifact: The model, in any format.
        device: `cpu`, `gpu:0`, ...; a device of the format's runtime on this machine.
        threads: Threads for one inference.
        runtime: As in `Opened`.
        target_size: Default for `predict`.

    Raises:
        InputError: The target_size is invalid, or the runtime lacks the device; the error lists the available ones.
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
        tiles: Tiles | None = None,
        slice_size: int | tuple[int, int] | None = None,
        score_map: bool = True,
    ) -> Iterator[SegmentationResult]:
        """Segments images; returns a generator of results in input order.

        Args:
            input: A path, a folder, an http(s) URL, an array (H, W, 3) uint8 in BGR order (as in OpenCV), or a list of
                these. For a model with another number of channels, an array has those channels in their order.
            batch_size: Images per run, if the export has a dynamic batch size and consecutive images have equal sizes;
                else images run one at a time, as on a phone.
            target_size: Input size of the network. None: that of `load`, else the model's; -1: the image's size;
                a number: both sides; (width, height).
            tiles: Tiles for larger images; override those of the model. An image in tiles is a batch.
            slice_size: Side, or (width, height), of tiles that overlap by a quarter; their scores are averaged there.
            score_map: Whether results contain the classes' probabilities; prediction is faster without. The masks are
                the same.

        Raises:
            InputError: An input cannot be read, or the model does not support the size.
        """
        limit = batch_limit(self.artifact.manifest, batch_size)
        contract = self.contract(target_size)
        if slice_size is not None:
            tiles = _slices(tiles, slice_size)
        contract = contract if tiles is None else contract.with_tiles(tiles)
        session = in_tiles(self._session, self.artifact.manifest, contract)
        limit = limit if contract.tiles is None else 1
        placed = (self._placed(one, one.image, contract) for one in pictures(input, contract.pixels))
        return (result for batch in batches(placed, limit) for result in self._results(session, batch, score_map))

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
        """Computes metrics over a labelled dataset, named as in PaddleX: miou, category_iou, macc, category_acc, kappa.

        Args:
            dataset: A dataset or its folder.
            batch_size: As in `predict`; the metrics are the same.
            return_details: Whether to return the confusion matrix too, as ({...}, {"confusion_matrix": [[...]]}).
            split: The split, if a folder is given.
            label_map: Class of the model -> class of the data, by name or by id, if they differ. A class of the model
                without a counterpart is an additional column of the confusion matrix, and counts as wrong.

        Raises:
            InputError: There are no labels, or their classes are not the model's.
        """
        from segexport.data.dataset import Dataset
        from segexport.measure import metrics
        from segexport.task.semantic.classes import scored_classes

        data = dataset if isinstance(dataset, Dataset) else Dataset.open(Path(dataset), split)
        manifest = self.artifact.manifest
        data = data.read_for(manifest.preprocess)
        limit = batch_limit(manifest, batch_size) if manifest.preprocess.tiles is None else 1
        if not data.labelled:
            raise DataError(f"{data.root}: the images have no labels", hint="name them in the list: `image label`")
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
            smooth: Whether scores are smoothed along the optical flow; if the model outputs classes, scores are 0 and
                1.
            flow: `dis`: OpenCV's dense inverse search; `blocks`: block matching, as in the Java core.
            foreground: Names or ids of the classes in front; empty: all but class 0.
            target_size: As in `predict`.

        Raises:
            InputError: The model lacks a class, or its input is neither colour nor grey.
        """
        from segexport.video.flow import flow_named
        from segexport.video.smoother import VideoSmoother
        from segexport.video.stream import MaskStream, foreground_ids

        manifest = self.artifact.manifest
        if not manifest.preprocess.takes_bitmaps:
            raise OptionError(
                f"{self.artifact.path}: takes {manifest.preprocess.channels} channels of its own, a video has colours"
            )
        contract = self.contract(target_size)
        smoother = VideoSmoother(flow_named(flow)) if smooth else None
        front = foreground_ids(manifest.labels, foreground)
        if contract.tiles is not None:
            raise OptionError(f"{manifest.name}: frames of a video are run whole, and this model is run in tiles")
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
        """The index of the output with scores; None if the model outputs classes only."""
        found = (i for i, spec in enumerate(self.artifact.manifest.outputs) if spec.semantics in _SCORES)
        return next(found, None)

    def _placed(self, of: Any, image: np.ndarray, contract: Preprocess) -> Placed:
        tensor, placement = preprocess.apply(contract, image, input_spec=self.artifact.manifest.inputs[0])
        return Placed(of, tensor, placement)

    def _look(self, frame: np.ndarray, contract: Preprocess) -> NetworkFrame:
        from segexport.video.stream import NetworkFrame

        image = next(pictures(frame, contract.pixels)).image
        placed = self._placed(None, image, contract)
        if self._scores_output is None:
            mask = self._session.infer([placed.tensor]).mask
            classes = max(self.artifact.manifest.num_classes, int(mask.max()) + 1)
            scores = (mask[..., None] == np.arange(classes)).astype(np.float32)
        else:
            scores = self._scores(self._session, [placed])[0]
        grey = preprocess.grey_of(contract, placed.tensor)
        if grey.shape != scores.shape[:2]:
            grey = preprocess.resized(grey[..., None], (scores.shape[1], scores.shape[0]))[..., 0]
        shown = image if image.shape[2] == 3 else np.ascontiguousarray(frame[..., ::-1])
        return NetworkFrame(as_rgb(shown), scores, grey, placed.placement)

    def _masks(self, data: Dataset, limit: int) -> Generator[tuple[Sample, np.ndarray]]:
        """Yields each sample with its mask at the image's size; the worker runs the next images meanwhile."""
        contract = self.artifact.manifest.preprocess
        session = in_tiles(self._session, self.artifact.manifest)
        waiting: deque[list[Placed[Sample]]] = deque()  # batches that the worker runs or will run next

        def answered(batch: list[Placed[Sample]], answer: np.ndarray) -> Iterator[tuple[Sample, np.ndarray]]:
            for one, mask in zip(batch, each_of(answer, len(batch)), strict=True):
                yield one.of, preprocess.restore_mask(mask, one.placement)

        try:
            for batch in batches((self._placed(sample, sample.image, contract) for sample in data), limit):
                ready = waiting.popleft() if len(waiting) == session.ahead else None
                answer = session.result().mask if ready else None
                session.submit([stacked(batch)])
                waiting.append(batch)
                if ready and answer is not None:
                    yield from answered(ready, answer)
            while waiting:
                yield from answered(waiting.popleft(), session.result().mask)
        finally:
            for _ in waiting:  # after an error or a break, the next call must not get these results
                with suppress(SegexportError):
                    session.result()

    def _results(self, session: Session, batch: list[Placed[Picture]], score_map: bool) -> Iterator[SegmentationResult]:
        labels = self.artifact.manifest.labels
        if not score_map or self._scores_output is None:
            masks = each_of(session.infer([stacked(batch)]).mask, len(batch))
            for one, mask in zip(batch, masks, strict=True):
                restored = preprocess.restore_mask(mask, one.placement)
                yield SegmentationResult(one.of.name, as_rgb(one.of.image), restored, None, labels)
            return
        for one, scores in zip(batch, self._scores(session, batch), strict=True):
            mask = preprocess.restore_mask(_classes(scores), one.placement)  # equals the mask of `evaluate` and `check`
            full = preprocess.restore_scores(scores, one.placement)
            yield SegmentationResult(one.of.name, as_rgb(one.of.image), mask, full, labels)

    def _scores(self, session: Session, batch: list[Placed]) -> list[np.ndarray]:
        """Probabilities (h, w, C) float32 of each image, at the network's size."""
        place = self._scores_output
        assert place is not None, "asked of models that give scores"
        spec = self.artifact.manifest.outputs[place]
        output = session.outputs([stacked(batch)])[place]
        each = output if spec.layout.endswith("HWC") else output.transpose(0, 2, 3, 1)
        return [_probabilities(scores.astype(np.float32), spec.semantics) for scores in each]


def _slices(tiles: Tiles | None, size: Any) -> Tiles:
    """Returns the tiles for `slice_size`."""
    width, height = both_sides("slice_size", size)
    if tiles is not None:
        raise OptionError("slice_size and tiles cannot be combined", cause="slice_size is short for averaged tiles")
    return Tiles(size=(width, height), overlap=(width // 4, height // 4), blend="average")


def _classes(scores: np.ndarray) -> np.ndarray:
    return scores.argmax(axis=2).astype(np.uint8 if scores.shape[2] <= 256 else np.uint16)


def _probabilities(scores: np.ndarray, semantics: str) -> np.ndarray:
    """(H, W, C) probabilities of all classes; a single channel is the probability of class 1."""
    if scores.shape[2] == 1:
        second = scores if semantics == "probability" else 1.0 / (1.0 + np.exp(-scores))
        return np.concatenate([1.0 - second, second], axis=2)
    if semantics == "probability":
        return scores
    scores = np.exp(scores - scores.max(axis=2, keepdims=True))
    return scores / scores.sum(axis=2, keepdims=True)
