"""The serializable description of a training for the worker process: plain values, without paddle."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from segexport.compress.batches import Augmentation
from segexport.compress.training_options import CourseOptions, TrainingOptions
from segexport.data.dataset import Dataset
from segexport.data.dataset_list import DatasetEntry
from segexport.spec import Frozen, Preprocess


class DatasetSpec(Frozen):
    """A serializable data set: a fixed list of images, which may be a subset or a shard."""

    root: str
    split: str
    entries: tuple[tuple[str, str | None, int], ...]
    num_classes: int | None
    ignore_index: int

    @classmethod
    def of(cls, data: Dataset, num_classes: int | None) -> DatasetSpec:
        entries = tuple((entry.image, entry.label, entry.line) for entry in data.entries)
        root = str(data.root.resolve())
        return cls(
            root=root, split=data.split, entries=entries, num_classes=num_classes, ignore_index=data.ignore_index
        )

    def open(self) -> Dataset:
        entries = tuple(DatasetEntry(*entry) for entry in self.entries)
        return Dataset(Path(self.root), self.split, entries, None, self.num_classes, self.ignore_index)


class Job(Frozen):
    """The worker's input for training.

    Attributes:
        student, teacher: Paths of `model` and `params`; empty without a teacher.
        classes: Number of the student's classes.
        batch_size: Images per step.
        folder: Folder for checkpoint, logs and the best weights.
        log_folder: Folder for TensorBoard files; empty: none.
        data_digest: Digest of images, labels and batch size.
    """

    student: dict[str, str]
    teacher: dict[str, str] = Field(default_factory=dict)
    options: TrainingOptions
    course: CourseOptions = CourseOptions()
    preprocess: Preprocess
    augmentation: Augmentation = Augmentation()
    classes: int
    batch_size: int = Field(gt=0)
    data: DatasetSpec
    validation: DatasetSpec | None = None
    folder: str
    log_folder: str = ""
    device: str = "cpu"
    data_digest: str = ""
