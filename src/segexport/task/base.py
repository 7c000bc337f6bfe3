"""Defines the task protocol that `semantic` and `instance` implement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from segexport.measure.parity import AnyCounts, Scorer
from segexport.predict.model_session import Opened

if TYPE_CHECKING:
    import numpy as np

    from segexport.artifact import Manifest, ModelArtifact
    from segexport.data.dataset import Dataset, Sample
    from segexport.judge.base import Judge
    from segexport.measure.parity import Comparison, RankedImage
    from segexport.predict.options import PredictOptions
    from segexport.predict.target_size import TargetSize
    from segexport.progress import Progress
    from segexport.recipe.limits import Limits
    from segexport.report.schema import ExportResult, ReferenceResult, Report
    from segexport.spec import Label, TaskName
    from segexport.ui.pictures import Panel

Feature = Literal["steps", "shard", "recording", "diagnose", "pipeline", "compress"]
"""Features that not every task supports."""


@dataclass(frozen=True)
class ScoredClasses:
    """The scored classes, and the mapping from the model's classes to the data's.

    Attributes:
        lookup: (model classes,): the data class of each model class; None if they are equal.
        label_map: The same mapping by name, if names differ.
    """

    labels: tuple[Label, ...]
    lookup: np.ndarray | None
    label_map: dict[str, str] = field(default_factory=dict)


class TaskScorer(Scorer[AnyCounts], Protocol[AnyCounts]):
    """Counts, draws and judges the results of one check."""

    def draw(self, sample: Sample, shown: RankedImage) -> Panel:
        """Draws image, truth, reference, export and difference side by side."""
        ...

    def judge(self, comparison: Comparison[AnyCounts]) -> Judge:
        """Returns the judge that compares the final counts with the limits."""
        ...


@dataclass(frozen=True)
class Accuracy:
    """A model's task metric; fractions of 1.

    Attributes:
        delta: Export minus reference, with its 95 % interval.
        classes: Metric per class.
        class_deltas: Delta per class; empty if unknown.
    """

    value: float | None = None
    delta: float | None = None
    interval: tuple[float, float] | None = None
    classes: tuple[float | None, ...] = ()
    class_deltas: tuple[float | None, ...] = ()


class TaskWords(Protocol):
    """The wording of a task in reports.

    Attributes:
        answers: Noun for the models' outputs.
        compared: The end of "each export ran on the images, and ...".
        baseline_check: Name of the check of the metric against an earlier report.
    """

    @property
    def answers(self) -> str: ...
    @property
    def compared(self) -> str: ...
    @property
    def baseline_check(self) -> str: ...

    def metric_name(self, report: Report) -> str:
        """Returns the metric's column title."""
        ...

    def accuracy(self, row: ExportResult | ReferenceResult) -> Accuracy:
        """Returns the metric of a report row."""
        ...

    def truth(self, *, labelled: bool) -> str:
        """Returns a sentence on the metric's ground truth."""
        ...


class PredictionResult(Protocol):
    """A model's result for one image."""

    input_path: str
    image: np.ndarray

    @property
    def summary(self) -> str: ...
    def picture_name(self, kind: str = "overlay") -> str: ...
    def save_to_img(self, save_path: str | Path, *, kind: str = "overlay") -> Path: ...
    def save_to_json(self, save_path: str | Path) -> Path: ...


AnyModel = TypeVar("AnyModel", bound=Opened)


class Task(Protocol[AnyModel]):
    """A segmentation task.

    Attributes:
        answer: Noun for a model's output in messages.
        features: Supported features beyond export, predict, evaluate, check and serve.
        words: Wording for reports.
    """

    @property
    def name(self) -> TaskName: ...
    @property
    def answer(self) -> str: ...
    @property
    def features(self) -> frozenset[Feature]: ...
    @property
    def words(self) -> TaskWords: ...

    # -- check

    def require_data(self, data: Dataset) -> None:
        """Raises InputError for labels of another task."""

    def scored_classes(self, manifest: Manifest, data: Dataset, label_map: Mapping[str, str] | None) -> ScoredClasses:
        """Determines the classes of a check; raises InputError if model and data do not match."""
        ...

    def scorer(self, manifest: Manifest, data: Dataset, classes: ScoredClasses, worst_images: int) -> TaskScorer[Any]:
        """Returns the scorer of a check."""
        ...

    def least_agreement(self, limits: Limits) -> tuple[float, float]:
        """Returns the required agreement with the reference over all images and on the worst image; 0: none."""
        ...

    def suspicions(self, data: Dataset, classes: int) -> tuple[str, ...]:
        """Returns sentences on suspected label faults.

        Raises:
            InputError: A label cannot be read.
        """
        ...

    # -- use

    def open_model(
        self,
        artifact: ModelArtifact,
        *,
        device: str = "cpu",
        threads: int = 1,
        runtime: str = "",
        target_size: TargetSize = None,
    ) -> AnyModel:
        """Opens the model in a separate process."""
        ...

    def predictions(self, model: AnyModel, inputs: Any, options: PredictOptions) -> Iterator[PredictionResult]:
        """Yields a model's result per image; raises InputError for an option that the task does not support."""
        ...

    def evaluate(
        self,
        model: AnyModel,
        data: Dataset,
        *,
        batch_size: int,
        metric: str | None,
        label_map: Mapping[str, str] | None,
        progress: Progress,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns the metrics and their counts under PaddleX's names."""
        ...

    def metrics_table(self, metrics: Mapping[str, Any], *, title: str, color: bool, width: int) -> str:
        """Formats the metrics of `evaluate` for the terminal."""
        ...
