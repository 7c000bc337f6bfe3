"""A loaded instance segmentation model: `predict`, `batch_predict`, `evaluate`. `segexport.load` opens one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segexport import preprocess
from segexport.artifact import Manifest
from segexport.data.dataset import Dataset
from segexport.errors import DataError, ModelOutputError, OptionError
from segexport.predict.inputs import Picture, pictures
from segexport.predict.model_session import Opened
from segexport.progress import Progress, silent
from segexport.runtimes.base import Prediction
from segexport.runtimes.objects import Objects
from segexport.task.instance.evaluate import evaluate
from segexport.task.instance.result import DRAW_THRESHOLD, InstanceResult
from segexport.task.open_data import open_data
from segexport.ui.pictures import as_rgb


class InstanceModel(Opened):
    """A model in a separate process. Use it in a `with` block, or call `close`."""

    def predict(self, img_file: Any, *, score_threshold: float = 0.0) -> InstanceResult:
        """The objects of one image, best score first.

        Args:
            img_file: A path, an http(s) URL, or an array (H, W, 3) uint8 in BGR order, as OpenCV reads it.
            score_threshold: Lowest score of returned objects; the model first applies its own threshold.

        Raises:
            InputError: The image cannot be read, or there are several.
        """
        if isinstance(img_file, list | tuple) or (isinstance(img_file, str | Path) and Path(img_file).is_dir()):
            raise OptionError("predict takes one image", hint="batch_predict takes lists and folders")
        return next(self.each(img_file, score_threshold=score_threshold))

    def batch_predict(self, img_file_list: Any, *, score_threshold: float = 0.0) -> list[InstanceResult]:
        """The objects of each image in a list or a folder; otherwise as `predict`."""
        return list(self.each(img_file_list, score_threshold=score_threshold))

    def each(self, input: Any, *, score_threshold: float = 0.0) -> Iterator[InstanceResult]:
        """Yields the same results one by one, without keeping earlier images."""
        if not 0 <= score_threshold <= 1:
            raise OptionError(f"score_threshold is {score_threshold}", cause="it is a number from 0 to 1")
        return (
            self._one(picture, score_threshold) for picture in pictures(input, self.artifact.manifest.preprocess.pixels)
        )

    def evaluate(
        self,
        eval_dataset: Dataset | str | Path,
        batch_size: int = 1,
        metric: str | None = None,
        return_details: bool = False,
        *,
        split: str = "val",
        label_map: Mapping[str, str] | None = None,
        progress: Progress = silent,
    ) -> dict[str, Any] | tuple[dict[str, Any], dict[str, Any]]:
        """Average precision with PaddleX's names.

        Args:
            eval_dataset: Annotated images (`InstanceData`), or their folder in COCO's or Pascal VOC's form.
            batch_size: Accepted for compatibility with PaddleX; exports run one image at a time, as on a phone.
            metric: COCO: `bbox_mmap` and `segm_mmap`, over the IoU thresholds from 0.5 to 0.95. VOC: `bbox_map` and
                `segm_map`, at an IoU of 0.5. None: as the data's form.
            return_details: Whether to return ({...}, {"bbox": ..., "mask": ..., "gt": ...}).
            split: Split to read, if a folder is given.
            label_map: Class of the model -> class of the data, by name or by id, if they differ.

        Raises:
            InputError: There are no annotations, or their classes are not the model's.
            EnvironmentMissingError: pycocotools is not installed.
        """
        from segexport.task.instance.data import InstanceData

        data = eval_dataset if isinstance(eval_dataset, Dataset) else open_data(Path(eval_dataset), split)
        if not isinstance(data, InstanceData):
            raise DataError(
                f"{data.root}: no annotated objects",
                cause="an instance segmentation model is measured against annotations of objects",
                hint="give a folder with COCO's JSON or Pascal VOC's Annotations",
            )
        data = data.read_for(self.artifact.manifest.preprocess)
        return evaluate(self.objects, self.artifact.manifest, data, metric, return_details, progress, label_map)

    def objects(self, name: str, image: np.ndarray) -> Objects:
        """The objects in an image (H, W, 3) uint8 RGB; `name` is for messages."""
        manifest = self.artifact.manifest
        tensor, placement = preprocess.apply(manifest.preprocess, image, input_spec=manifest.image)
        prediction = self._session.infer(preprocess.feed(manifest.inputs, tensor, placement))
        return checked(prediction, manifest, placement, name)

    def _one(self, picture: Picture, score_threshold: float) -> InstanceResult:
        objects = self.objects(picture.name, picture.image).at_least(score_threshold)
        draw = score_threshold or DRAW_THRESHOLD  # objects above an explicit threshold are drawn
        return InstanceResult(picture.name, as_rgb(picture.image), objects, self.artifact.manifest.labels, draw)


def checked(prediction: Prediction, manifest: Manifest, placement: preprocess.Placement, name: str) -> Objects:
    """The objects of a prediction.

    Raises:
        InputError: Masks do not have the image's size, or a class has no label.
    """
    found = prediction.objects
    if found is None:
        raise ModelOutputError(f"{name}: the model gave no objects", hint="export the model with its post-processing")
    if not len(found):  # without objects, the size of the masks does not matter
        return Objects.of([], [], np.zeros((0, 4)), [], placement.original)
    if found.size != placement.original:
        own, image = ("x".join(map(str, size)) for size in (found.size, placement.original))
        raise ModelOutputError(
            f"{name}: the model's masks are {own}, the image is {image}",
            cause="masks of the image's size are expected, which the model works out from im_shape and scale_factor",
            hint="export the model with its post-processing",
        )
    highest = int(found.classes.max())
    if highest >= manifest.num_classes:
        raise ModelOutputError(
            f"{name}: the model found the class {highest}, but it has {manifest.num_classes} labels",
            hint="name every class of the model: import it with --labels FILE",
        )
    return found
