"""`segexport evaluate`: a model's metrics on labelled images, as a table or as JSON."""

from __future__ import annotations

import json
from typing import Any

from segexport.data.dataset import Dataset
from segexport.data.label_scan import look
from segexport.errors import InputError
from segexport.predict.model import Model
from segexport.progress import Progress, silent
from segexport.task.instance.model import InstanceModel


def evaluate(
    model: Model | InstanceModel,
    data: Dataset,
    *,
    details: bool,
    metric: str | None = None,
    batch_size: int | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """The metrics with the names of model, data and classes; with `details`, what they were counted from too."""
    options: dict[str, Any] = {"batch_size": batch_size or 1}
    if model.artifact.manifest.task == "instance":
        options["metric"] = metric
    elif metric is not None:
        raise InputError(f"--metric {metric}", cause="this model gives the class of each pixel, not objects")
    found, more = model.evaluate(data, return_details=True, progress=progress, **options)
    head = {
        "model": model.artifact.manifest.name,
        "format": model.artifact.manifest.format,
        "dataset": {"name": data.root.resolve().name, "split": data.split, "images": len(data)},
        "labels": list(data.labels or (label.name for label in model.artifact.manifest.labels)),
    }
    semantic = model.artifact.manifest.task == "semantic"
    suspicion = look(data, model.artifact.manifest.num_classes) if semantic else ""
    odd = {"warnings": [suspicion]} if suspicion else {}
    return {**head, **found, **(more if details else {}), **odd}


def render(found: dict[str, Any], form: str, *, color: bool, width: int) -> str:
    """What `evaluate` found, as a table or as JSON."""
    if form == "json":
        return json.dumps(found, indent=2, ensure_ascii=False)
    from segexport.ui.text_table import table

    data = found["dataset"]
    if "category_bbox_ap" in found:
        return _render_objects(found, color=color, width=width)
    title = f"{found['model']} ({found['format']}) on {data['name']}, {data['split']}: {data['images']} images"
    body = [
        (name, _number(iou), _number(accuracy))
        for name, iou, accuracy in zip(found["labels"], found["category_iou"], found["category_acc"], strict=True)
    ]
    body.append(("mean", _number(found["miou"]), _number(found["macc"])))
    text = table(("class", "IoU", "accuracy"), body, title=title, color=color, width=width)
    text += f"pixel accuracy {_number(found['pixel_accuracy'])}, kappa {_number(found['kappa'])}\n"
    text += "".join(f"warning: {line}\n" for line in found.get("warnings", ()))
    if "confusion_matrix" in found:
        rows = [(name, *map(str, row)) for name, row in zip(found["labels"], found["confusion_matrix"], strict=True)]
        head = ("truth \\ model", *found["labels"])
        text += "\n" + table(head, rows, title="Pixels", color=color, width=width)
    return text


def _render_objects(found: dict[str, Any], *, color: bool, width: int) -> str:
    from segexport.ui.text_table import table

    data, nothing = found["dataset"], [None] * len(found["labels"])
    title = f"{found['model']} ({found['format']}) on {data['name']}, {data['split']}: {data['images']} images"
    columns = found["category_bbox_ap"], found.get("category_segm_ap", nothing)
    body = [(name, *map(_number, aps)) for name, *aps in zip(found["labels"], *columns, strict=True)]
    mean = "mmap" if "bbox_mmap" in found else "map"
    body.append(("mean", _number(found[f"bbox_{mean}"]), _number(found[f"segm_{mean}"])))
    rule = "the mean over the IoU from 0.5 to 0.95" if mean == "mmap" else "at an IoU of 0.5, by 11 points"
    text = table(("class", "box AP", "mask AP"), body, title=title, color=color, width=width)
    return text + f"average precision is {rule}\n"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
