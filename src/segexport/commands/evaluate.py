"""`segexport evaluate`: measures a model on labelled images; a table or JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import segexport
from segexport.commands.check import read_label_map
from segexport.exporter.import_options import ImportOptions
from segexport.files.json_writer import to_json
from segexport.progress import SILENCE, Feedback
from segexport.spec import Frozen, TaskName
from segexport.task.open_data import open_data
from segexport.task.registry import TASKS, task_of


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Options of `segexport evaluate`.

    Attributes:
        data: Data folder with labels.
        label_map: YAML file: class of the model -> class of the data, by name or by id.
        metric: COCO or VOC, for instance segmentation; None: as the data's form.
        batch_size: Images per inference; None: 1.
        details: Whether to add the confusion matrix, or all metrics of objects.
    """

    data: Path
    split: str = "val"
    label_map: Path | None = None
    metric: str | None = None
    batch_size: int | None = None
    device: str = "cpu"
    threads: int = 1
    details: bool = False


class EvaluatedData(Frozen):
    """The images of an evaluation."""

    name: str
    split: str
    images: int


class EvaluationDocument(Frozen):
    """What every evaluation has; fractions of 1. `warnings`: findings about the labels that are rarely intended."""

    model: str
    format: str
    dataset: EvaluatedData
    labels: tuple[str, ...]
    warnings: tuple[str, ...] = ()


class MaskMetrics(EvaluationDocument):
    """The metrics of masks.

    Attributes:
        category_iou, category_acc: For each label; null if it does not occur.
        macc: Mean of `category_acc`.
        confusion_matrix: Pixels: a row for each true class, a column for each predicted one; with --details.
    """

    task: Literal["semantic"] = "semantic"
    miou: float | None
    category_iou: tuple[float | None, ...]
    macc: float | None
    category_acc: tuple[float | None, ...]
    pixel_accuracy: float | None
    kappa: float | None
    confusion_matrix: tuple[tuple[int, ...], ...] | None = None


class ObjectMetrics(EvaluationDocument):
    """The metrics of objects: COCO's (`mmap`, IoU from 0.5 to 0.95) or Pascal VOC's (`map`, IoU 0.5, by 11 points).

    Attributes:
        category_bbox_ap, category_segm_ap: For each label; null if it does not occur.
        bbox, mask, gt: With --details, PaddleX's lists of found boxes, found masks and annotations.
    """

    task: Literal["instance"] = "instance"
    bbox_mmap: float | None = None
    segm_mmap: float | None = None
    bbox_map: float | None = None
    segm_map: float | None = None
    bbox_map_integral: float | None = None
    segm_map_integral: float | None = None
    category_bbox_ap: tuple[float | None, ...] | None = None
    category_segm_ap: tuple[float | None, ...] | None = None
    bbox: list[Any] | None = None
    mask: list[Any] | None = None
    gt: list[Any] | None = None


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a model on one split.

    Attributes:
        values: Name -> metric (`miou`, `category_iou`, ...), and `model`, `format`, `dataset` and `labels`.
    """

    task: TaskName
    values: dict[str, Any]

    @property
    def document(self) -> EvaluationDocument:
        """What `--format json` prints."""
        return {"semantic": MaskMetrics, "instance": ObjectMetrics}[self.task].model_validate(self.values)

    def render(self, form: str, *, color: bool, width: int) -> str:
        """Formats the metrics as a table or as JSON."""
        values = self.values
        if form == "json":
            return to_json(self.document)
        data = values["dataset"]
        title = f"{values['model']} ({values['format']}) on {data['name']}, {data['split']}: {data['images']} images"
        return TASKS[self.task].metrics_table(values, title=title, color=color, width=width)


def evaluate(
    model: Path, importing: ImportOptions, options: EvaluateOptions, *, feedback: Feedback = SILENCE
) -> Evaluation:
    """Measures the accuracy of a model on labelled images.

    Raises:
        InputError: There are no labels, they are of another task, or the task does not have an option.
        SegexportError: The model or the data cannot be read, or the model cannot be run.
    """
    data = open_data(options.data, options.split, ignore_index=importing.ignore_index)
    label_map = read_label_map(options.label_map)
    with segexport.load(model, device=options.device, threads=options.threads, importing=importing) as opened:
        feedback.warn_of(opened.artifact)
        manifest = opened.artifact.manifest
        task = task_of(manifest)
        task.require_data(data)
        asked = {"batch_size": options.batch_size or 1, "metric": options.metric, "label_map": label_map}
        metrics, more = task.evaluate(opened, data, **asked, progress=feedback.progress)
    head = {
        "model": manifest.name,
        "format": manifest.format,
        "dataset": {"name": data.root.resolve().name, "split": data.split, "images": len(data)},
        "labels": list(data.labels or (label.name for label in manifest.labels)),
    }
    suspicions = task.suspicions(data, manifest.num_classes)
    odd = {"warnings": list(suspicions)} if suspicions else {}
    return Evaluation(task.name, {**head, **metrics, **(more if options.details else {}), **odd})
