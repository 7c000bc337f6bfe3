"""The task instance segmentation: objects with class, box, mask and score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from segexport.errors import MismatchError, OptionError
from segexport.task.base import Feature, ScoredClasses
from segexport.task.instance.words import InstanceWords

if TYPE_CHECKING:
    from segexport.artifact import Manifest, ModelArtifact
    from segexport.data.dataset import Dataset
    from segexport.predict.options import PredictOptions
    from segexport.predict.target_size import TargetSize
    from segexport.progress import Progress
    from segexport.recipe.limits import Limits
    from segexport.spec import TaskName
    from segexport.task.instance.model import InstanceModel
    from segexport.task.instance.result import InstanceResult
    from segexport.task.instance.scorer import ObjectScorer


class InstanceTask:
    """A `Task`."""

    name: TaskName = "instance"
    answer = "objects"
    features: frozenset[Feature] = frozenset()
    words = InstanceWords()

    def require_data(self, data: Dataset) -> None:
        from segexport.task.instance.data import InstanceData

        if data.labelled and not isinstance(data, InstanceData):
            raise MismatchError(
                f"{data.root}: pixel labels, but the model does instance segmentation",
                hint="give a folder with COCO's JSON or Pascal VOC's Annotations, or the images alone",
            )

    def scored_classes(self, manifest: Manifest, data: Dataset, label_map: Mapping[str, str] | None) -> ScoredClasses:
        from segexport.task.instance.classes import scored_classes

        return scored_classes(manifest, data, label_map)

    def scorer(self, manifest: Manifest, data: Dataset, classes: ScoredClasses, worst_images: int) -> ObjectScorer:
        from segexport.task.instance.scorer import ObjectScorer

        return ObjectScorer(manifest, data, classes, worst_images)

    def least_agreement(self, limits: Limits) -> tuple[float, float]:
        return limits.agreement_objects_min or 0.0, 0.0

    def suspicions(self, data: Dataset, classes: int) -> tuple[str, ...]:
        return ()

    def open_model(
        self,
        artifact: ModelArtifact,
        *,
        device: str = "cpu",
        threads: int = 1,
        runtime: str = "",
        target_size: TargetSize = None,
    ) -> InstanceModel:
        from segexport.task.instance.model import InstanceModel

        if target_size is not None:
            raise OptionError(
                f"{artifact.path}: target_size",
                cause="instance segmentation models have the input size of their export",
            )
        return InstanceModel(artifact, device=device, threads=threads, runtime=runtime)

    def predictions(self, model: InstanceModel, inputs: Any, options: PredictOptions) -> Iterator[InstanceResult]:
        from segexport.task.instance.result import DRAW_THRESHOLD

        if options.target_size is not None or options.slice_size is not None:
            option = "--target-size" if options.target_size is not None else "--slice-size"
            raise OptionError(option, cause="instance segmentation models have the input size of their export")
        least = DRAW_THRESHOLD if options.score_threshold is None else options.score_threshold
        return model.each(inputs, score_threshold=least)

    def evaluate(
        self,
        model: InstanceModel,
        data: Dataset,
        *,
        batch_size: int,
        metric: str | None,
        label_map: Mapping[str, str] | None,
        progress: Progress,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        return cast(
            "tuple[dict[str, Any], dict[str, Any]]",
            model.evaluate(data, batch_size, metric, True, label_map=label_map, progress=progress),
        )

    def metrics_table(self, metrics: Mapping[str, Any], *, title: str, color: bool, width: int) -> str:
        from segexport.task.instance.metrics_table import metrics_table

        return metrics_table(metrics, title=title, color=color, width=width)
