"""`segexport evaluate`: a model's metrics on labelled images, as a table or as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from segexport.data.dataset import Dataset
from segexport.predict.model_session import Opened
from segexport.progress import Progress, silent
from segexport.spec import TaskName
from segexport.task.registry import TASKS, task_of


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Attributes:
        values: The metrics by their names, with those of model, data and classes.
    """

    task: TaskName
    values: dict[str, Any]

    def render(self, form: str, *, color: bool, width: int) -> str:
        """As a table or as JSON."""
        values = self.values
        if form == "json":
            return json.dumps(values, indent=2, ensure_ascii=False)
        data = values["dataset"]
        title = f"{values['model']} ({values['format']}) on {data['name']}, {data['split']}: {data['images']} images"
        return TASKS[self.task].metrics_table(values, title=title, color=color, width=width)


def evaluate(
    model: Opened,
    data: Dataset,
    *,
    details: bool,
    metric: str | None = None,
    batch_size: int | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Measures a model.

    Args:
        details: Whether to keep what the metrics were counted from.
        metric: For objects: COCO or VOC.

    Raises:
        InputError: No labels, labels of another task, or an option that the task does not have.
    """
    manifest = model.artifact.manifest
    task = task_of(manifest)
    task.require_data(data)
    metrics, more = task.evaluate(model, data, batch_size=batch_size or 1, metric=metric, progress=progress)
    head = {
        "model": manifest.name,
        "format": manifest.format,
        "dataset": {"name": data.root.resolve().name, "split": data.split, "images": len(data)},
        "labels": list(data.labels or (label.name for label in manifest.labels)),
    }
    suspicions = task.suspicions(data, manifest.num_classes)
    odd = {"warnings": list(suspicions)} if suspicions else {}
    return Evaluation(task.name, {**head, **metrics, **(more if details else {}), **odd})
