"""A loaded model: `predict` gives masks and score maps, `evaluate` gives metrics. `segexport.load` opens one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from segexport import metrics, preprocess
from segexport.artifact import ModelArtifact
from segexport.dataset import Dataset
from segexport.errors import InputError
from segexport.inputs import Picture, pictures
from segexport.prediction import SegmentationResult
from segexport.progress import Progress, silent
from segexport.registry import runtime_for
from segexport.runtimes.base import RunOptions
from segexport.spec import Preprocess, Resize

TargetSize = int | tuple[int, int] | None


class Model:
    """A model in a process of its own. Use it in a `with` block, or call `close`.

    Args:
        artifact: Any format.
        device, threads: As in `RunOptions`.
        target_size: Default of `predict`.
    """

    def __init__(
        self, artifact: ModelArtifact, *, device: str = "cpu", threads: int = 1, target_size: TargetSize = None
    ) -> None:
        self.artifact, self._target_size = artifact, target_size
        runtime = runtime_for(artifact.manifest.format)
        self._session = runtime.open(artifact, RunOptions(device=device, threads=threads))

    def predict(
        self,
        input: Any,
        batch_size: int = 1,
        target_size: TargetSize = None,
        *,
        slice_size: tuple[int, int] | None = None,
        score_map: bool = True,
    ) -> Iterator[SegmentationResult]:
        """Segments images, one after the other.

        Args:
            input: A path, a folder, an http(s) URL, an array (H, W, 3) uint8 in BGR order (as OpenCV reads it), or a
                list of these.
            batch_size: Accepted for PaddleX's sake: exports run one image at a time, as a phone does.
            target_size: Size that the network sees. None: as the model or `load` says; -1: the image's own size; a
                number: both sides; (width, height).
            slice_size: (width, height) of windows that a large image is cut into; their scores are averaged.
            score_map: Whether results carry the classes' probabilities; without, prediction is quicker.

        Raises:
            InputError: An input that cannot be read, or a size that the model does not take.
        """
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}", cause="it is at least 1")
        wanted = target_size if target_size is not None else self._target_size
        for picture in pictures(input):
            yield self._one(picture, self._contract(wanted, picture.image), slice_size, score_map)

    def evaluate(
        self,
        dataset: Dataset | str | Path,
        batch_size: int = 1,
        return_details: bool = False,
        *,
        split: str = "val",
        progress: Progress = silent,
    ) -> dict[str, Any] | tuple[dict[str, Any], dict[str, Any]]:
        """Metrics over a labelled dataset, with PaddleX's names: miou, category_iou, macc, category_acc, kappa.

        Args:
            dataset: A dataset, or the folder of one.
            batch_size: As in `predict`.
            return_details: Whether to return the confusion matrix too, as ({...}, {"confusion_matrix": [[...]]}).

        Raises:
            InputError: No labels, or another number of classes than the model's.
        """
        data = dataset if isinstance(dataset, Dataset) else Dataset.open(Path(dataset), split)
        manifest = self.artifact.manifest
        classes = manifest.num_classes
        if not data.labelled:
            raise InputError(f"{data.root}: the images have no labels", hint="name them in the list: `image label`")
        if data.labels and len(data.labels) != classes:
            raise InputError(
                f"the model has {classes} classes, {data.root} has {len(data.labels)}",
                hint="segexport check takes a --label-map where they are named differently",
            )
        total = np.zeros((classes, classes), np.int64)
        with progress("evaluating", len(data)) as bar:
            pending = None
            for sample in data:
                tensor, placement = preprocess.apply(manifest.preprocess, sample.image, input_spec=manifest.inputs[0])
                self._session.submit([tensor])
                if pending is not None:  # counted while the worker is busy
                    total += self._confusion(*pending, classes, data.ignore_index)
                pending = sample, self._session.result().mask, placement
                bar.advance()
            total += self._confusion(*pending, classes, data.ignore_index)
        scores = metrics.scores(total)
        found = {
            "miou": scores.miou,
            "category_iou": list(scores.class_iou),
            "macc": scores.mean_accuracy,
            "category_acc": list(scores.class_accuracy),
            "pixel_accuracy": scores.pixel_accuracy,
            "kappa": scores.kappa,
        }
        return (found, {"confusion_matrix": total.tolist()}) if return_details else found

    def close(self) -> None:
        """Ends the model's process."""
        self._session.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- parts -------------------------------------------------------------------------------------------------

    @staticmethod
    def _confusion(sample, mask: np.ndarray, placement, classes: int, ignore_index: int) -> np.ndarray:
        restored = preprocess.restore_mask(mask, placement)
        return metrics.confusion_matrix(sample.label, restored, classes, ignore_index, name=sample.name)

    def _contract(self, size: TargetSize, image: np.ndarray) -> Preprocess:
        """The model's preprocessing, its sizes replaced by `size`."""
        contract = self.artifact.manifest.preprocess
        if size is None:
            return contract
        if size == -1:
            return contract.model_copy(update={"geometry": ()})
        width, height = (size, size) if isinstance(size, int) else size
        if width < 1 or height < 1:
            raise InputError(f"target_size is {size}", cause="it is -1, a number of pixels, or (width, height)")
        return contract.model_copy(update={"geometry": (Resize(width=width, height=height),)})

    def _one(
        self, picture: Picture, contract: Preprocess, slice_size: tuple[int, int] | None, score_map: bool
    ) -> SegmentationResult:
        image, manifest = picture.image, self.artifact.manifest
        if slice_size is None and not score_map:
            tensor, placement = preprocess.apply(contract, image, input_spec=manifest.inputs[0])
            mask = preprocess.restore_mask(self._session.infer([tensor]).mask, placement)
            return SegmentationResult(picture.name, image, mask, None, manifest.labels)
        scores = self._scores(image, contract) if slice_size is None else self._sliced(image, contract, slice_size)
        if scores is None:  # an argmax head: classes are all that there is
            return self._one(picture, contract, None, False)
        return SegmentationResult(picture.name, image, _classes(scores), scores, manifest.labels)

    def _scores(self, image: np.ndarray, contract: Preprocess) -> np.ndarray | None:
        """Probabilities (H, W, C) float32 at the image's size, or None where the head gives classes only."""
        manifest = self.artifact.manifest
        tensor, placement = preprocess.apply(contract, image, input_spec=manifest.inputs[0])
        found = zip(manifest.outputs, self._session.outputs([tensor]), strict=True)
        spec, output = next(((s, o) for s, o in found if s.semantics in ("logits", "probability")), (None, None))
        if spec is None:
            return None
        scores = output[0] if spec.layout.endswith("HWC") else output[0].transpose(1, 2, 0)
        scores = _probabilities(scores.astype(np.float32), spec.semantics)
        return preprocess.restore_scores(scores, placement)

    def _sliced(self, image: np.ndarray, contract: Preprocess, size: tuple[int, int]) -> np.ndarray | None:
        """Scores of overlapping windows, averaged where they overlap."""
        width, height = min(size[0], image.shape[1]), min(size[1], image.shape[0])
        total: np.ndarray | None = None
        times = np.zeros((*image.shape[:2], 1), np.float32)
        for top in _starts(image.shape[0], height):
            for left in _starts(image.shape[1], width):
                window = np.s_[top : top + height, left : left + width]
                scores = self._scores(image[window], contract)
                if scores is None:
                    raise InputError(
                        f"{self.artifact.path}: slice_size needs a model whose output are scores",
                        cause="its head is an argmax, and classes cannot be averaged",
                    )
                total = np.zeros((*image.shape[:2], scores.shape[2]), np.float32) if total is None else total
                total[window] += scores
                times[window] += 1
        return total / times


def _starts(length: int, window: int) -> list[int]:
    """Where windows begin so that they cover `length` and overlap by about a quarter."""
    count = max(1, math.ceil((length - window) / (window * 0.75)) + 1)
    return [round(index * (length - window) / max(count - 1, 1)) for index in range(count)]


def _classes(scores: np.ndarray) -> np.ndarray:
    if scores.shape[2] == 1:
        return (scores[:, :, 0] > 0.5).astype(np.uint8)
    return scores.argmax(axis=2).astype(np.uint8 if scores.shape[2] <= 256 else np.uint16)


def _probabilities(scores: np.ndarray, semantics: str) -> np.ndarray:
    if semantics == "probability":
        return scores
    if scores.shape[2] == 1:
        return 1.0 / (1.0 + np.exp(-scores))
    scores = np.exp(scores - scores.max(axis=2, keepdims=True))
    return scores / scores.sum(axis=2, keepdims=True)
