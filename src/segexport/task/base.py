"""What one task does otherwise than another: the protocol that `semantic` and `instance` fulfil."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np

from segexport.artifact import Manifest, ModelArtifact
from segexport.data.dataset import Dataset, Sample
from segexport.judge.base import Judge
from segexport.measure.parity import AnyCounts, Comparison, RankedImage, Scorer
from segexport.predict.model_session import Opened
from segexport.predict.options import PredictOptions
from segexport.predict.target_size import TargetSize
from segexport.progress import Progress
from segexport.recipe.limits import Limits
from segexport.report.schema import ExportResult, ReferenceResult, Report
from segexport.spec import Label, TaskName

Feature = Literal["steps", "shard", "recording", "diagnose", "pipeline", "compress"]
"""What not every task's models can be used for."""


@dataclass(frozen=True)
class ScoredClasses:
    """Which classes are scored, and how the model's become the data's.

    Attributes:
        lookup: (classes of the model,): the class of the data for each of them; None when they are the same.
        label_map: The same by name, where names differ.
    """

    labels: tuple[Label, ...]
    lookup: np.ndarray | None
    label_map: dict[str, str] = field(default_factory=dict)


class TaskScorer(Scorer[AnyCounts], Protocol[AnyCounts]):
    """Counts, draws and judges one run of a check."""

    def draw(self, sample: Sample, worst: RankedImage) -> bytes:
        """Image, truth, reference, export and their difference side by side: a PNG or a JPEG."""
        ...

    def judge(self, comparison: Comparison[AnyCounts]) -> Judge:
        """What holds the counts against limits, when all images are counted."""
        ...


@dataclass(frozen=True)
class Accuracy:
    """A task's metric of one model; fractions of 1.

    Attributes:
        delta: Export minus reference, with its 95 % interval.
        classes: Of each class.
        class_deltas: Empty where they are not known.
    """

    value: float | None = None
    delta: float | None = None
    interval: tuple[float, float] | None = None
    classes: tuple[float | None, ...] = ()
    class_deltas: tuple[float | None, ...] = ()


class TaskWords(Protocol):
    """How reports speak of a task's answers.

    Attributes:
        answers: What models give.
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
        """A column's title."""
        ...

    def accuracy(self, row: ExportResult | ReferenceResult) -> Accuracy:
        """The metric in a row of the report."""
        ...

    def truth(self, *, labelled: bool) -> str:
        """What the metric is measured against, in a sentence."""
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
    """One kind of answer that models give.

    Attributes:
        answer: A model's output, in messages.
        features: What its models can be used for beyond export, predict, evaluate, check and serve.
        words: For reports.
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
        """Decides the classes of a check; raises InputError where model and data do not fit."""
        ...

    def scorer(self, manifest: Manifest, data: Dataset, classes: ScoredClasses, worst_images: int) -> TaskScorer[Any]:
        """What counts the answers of a check."""
        ...

    def least_agreement(self, limits: Limits) -> tuple[float, float]:
        """The agreement with the reference that is asked for, over all images and on the worst one; 0: none."""
        ...

    def suspicions(self, data: Dataset, classes: int) -> tuple[str, ...]:
        """Suspected faults of the labels, in sentences.

        Raises:
            InputError: Labels that cannot be read.
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
        """The model in a process of its own."""
        ...

    def predictions(self, model: AnyModel, inputs: Any, options: PredictOptions) -> Iterator[PredictionResult]:
        """A model's result for each image; raises InputError for an option that the task does not have."""
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
        """Metrics, and what they were counted from, by PaddleX's names."""
        ...

    def metrics_table(self, metrics: Mapping[str, Any], *, title: str, color: bool, width: int) -> str:
        """What `evaluate` gives, with `labels`, for the terminal."""
        ...
