"""The task semantic segmentation: the class of each pixel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from segexport.errors import MismatchError, OptionError
from segexport.task.base import Feature, PredictionResult, ScoredClasses
from segexport.task.semantic.words import SemanticWords

if TYPE_CHECKING:
    from segexport.artifact import Manifest, ModelArtifact
    from segexport.data.dataset import Dataset
    from segexport.predict.model import Model
    from segexport.predict.options import PredictOptions
    from segexport.predict.target_size import TargetSize
    from segexport.progress import Progress
    from segexport.recipe.limits import Limits
    from segexport.spec import TaskName
    from segexport.task.semantic.scorer import PixelScorer


class SemanticTask:
    """A `Task`."""

    name: TaskName = "semantic"
    answer = "the class of each pixel"
    features: frozenset[Feature] = frozenset({"steps", "shard", "recording", "diagnose", "pipeline", "compress"})
    words = SemanticWords()

    def require_data(self, data: Dataset) -> None:
        from segexport.task.instance.data import InstanceData

        if isinstance(data, InstanceData):
            raise MismatchError(
                f"{data.source}: annotated objects, and the model gives the class of each pixel",
                hint="segexport data convert makes label images of them",
            )

    def scored_classes(self, manifest: Manifest, data: Dataset, label_map: Mapping[str, str] | None) -> ScoredClasses:
        from segexport.task.semantic.classes import scored_classes

        return scored_classes(manifest, data, label_map)

    def scorer(self, manifest: Manifest, data: Dataset, classes: ScoredClasses, worst_images: int) -> PixelScorer:
        from segexport.task.semantic.scorer import PixelScorer

        return PixelScorer(manifest, data, classes, worst_images)

    def least_agreement(self, limits: Limits) -> tuple[float, float]:
        return limits.agreement_min or 0.0, limits.agreement_worst_image_min or 0.0

    def suspicions(self, data: Dataset, classes: int) -> tuple[str, ...]:
        from segexport.data.label_scan import look

        suspicion = look(data, classes)
        return (suspicion,) if suspicion else ()

    def open_model(
        self,
        artifact: ModelArtifact,
        *,
        device: str = "cpu",
        threads: int = 1,
        runtime: str = "",
        target_size: TargetSize = None,
    ) -> Model:
        from segexport.predict.model import Model

        kind = Model
        if (rule := artifact.manifest.postprocess) is not None:
            from segexport.clusters.models import MODELS

            kind = MODELS[rule.kind]
        return kind(artifact, device=device, threads=threads, runtime=runtime, target_size=target_size)

    def predictions(self, model: Model, inputs: Any, options: PredictOptions) -> Iterator[PredictionResult]:
        if model.artifact.manifest.postprocess is not None:
            from segexport.clusters.models import EmbeddingModel

            if isinstance(model, EmbeddingModel):
                least = options.score_threshold or 0.0
                size, slices = options.target_size, options.slice_size
                return model.predict(inputs, target_size=size, slice_size=slices, score_threshold=least)
        if options.score_threshold is not None:
            raise OptionError("--score-threshold", cause="this model gives the class of each pixel, and no objects")
        return model.predict(
            inputs, options.batch_size or 1, options.target_size, slice_size=options.slice_size, score_map=False
        )

    def evaluate(
        self,
        model: Model,
        data: Dataset,
        *,
        batch_size: int,
        metric: str | None,
        label_map: Mapping[str, str] | None,
        progress: Progress,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        if metric is not None:
            raise OptionError(f"--metric {metric}", cause="this model gives the class of each pixel, not objects")
        return cast(
            "tuple[dict[str, Any], dict[str, Any]]",
            model.evaluate(data, batch_size, return_details=True, label_map=label_map, progress=progress),
        )

    def metrics_table(self, metrics: Mapping[str, Any], *, title: str, color: bool, width: int) -> str:
        from segexport.task.semantic.metrics_table import metrics_table

        return metrics_table(metrics, title=title, color=color, width=width)
