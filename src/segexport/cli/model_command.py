"""What `evaluate`, `predict` and `pipeline` do with a model's answers: tables, JSON, pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from segexport.data.dataset import Dataset
from segexport.errors import InputError
from segexport.instance.model import InstanceModel
from segexport.instance.result import DRAW_THRESHOLD, InstanceResult
from segexport.predict.model import Model
from segexport.predict.prediction import SegmentationResult
from segexport.progress import Progress, silent


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
        "format": model.artifact.manifest.format.value,
        "dataset": {"name": data.root.resolve().name, "split": data.split, "images": len(data)},
        "labels": list(data.labels or (label.name for label in model.artifact.manifest.labels)),
    }
    return {**head, **found, **(more if details else {})}


def render(found: dict[str, Any], form: str, *, color: bool, width: int) -> str:
    """What `evaluate` found, as a table or as JSON."""
    if form == "json":
        return json.dumps(found, indent=2, ensure_ascii=False)
    from segexport.show.text_table import table

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
    if "confusion_matrix" in found:
        rows = [(name, *map(str, row)) for name, row in zip(found["labels"], found["confusion_matrix"], strict=True)]
        head = ("truth \\ model", *found["labels"])
        text += "\n" + table(head, rows, title="Pixels", color=color, width=width)
    return text


def _render_objects(found: dict[str, Any], *, color: bool, width: int) -> str:
    from segexport.show.text_table import table

    data, nothing = found["dataset"], [None] * len(found["labels"])
    title = f"{found['model']} ({found['format']}) on {data['name']}, {data['split']}: {data['images']} images"
    columns = found["category_bbox_ap"], found.get("category_segm_ap", nothing)
    body = [(name, *map(_number, aps)) for name, *aps in zip(found["labels"], *columns, strict=True)]
    mean = "mmap" if "bbox_mmap" in found else "map"
    body.append(("mean", _number(found[f"bbox_{mean}"]), _number(found[f"segm_{mean}"])))
    rule = "the mean over the IoU from 0.5 to 0.95" if mean == "mmap" else "at an IoU of 0.5, by 11 points"
    text = table(("class", "box AP", "mask AP"), body, title=title, color=color, width=width)
    return text + f"average precision is {rule}\n"


def runner(model: Model | InstanceModel, score_threshold: float | None) -> Callable[..., Iterator[Any]]:
    """What runs the model on inputs, with the options of `predict`.

    Raises:
        InputError: An option that the model's task does not have.
    """
    if model.artifact.manifest.task == "semantic":
        if score_threshold is not None:
            raise InputError("--score-threshold", cause="this model gives the class of each pixel, and no objects")
        return model.predict

    def run(inputs: Any, *, target_size: Any, slice_size: Any, score_map: bool, batch_size: int = 1) -> Iterator[Any]:
        if target_size is not None or slice_size is not None:
            option = "--target-size" if target_size is not None else "--slice-size"
            raise InputError(option, cause="this model finds objects; images get the size that it was exported for")
        return model.each(inputs, score_threshold=DRAW_THRESHOLD if score_threshold is None else score_threshold)

    return run


def save(
    results: Iterable[SegmentationResult | InstanceResult],
    output: Path | None,
    *,
    kind: str,
    with_json: bool,
    progress: Progress = silent,
) -> Iterator[str]:
    """Writes each result into a folder (None: nowhere) and gives a line about it.

    A name that came before gets a number, so that no picture replaces another one of the same call.
    """
    taken: set[str] = set()
    with progress("predicting", None) as bar:
        for result in results:
            height, width = result.image.shape[:2]
            line = f"{result.input_path}: {width}x{height}; {result.summary}"
            if output is not None:
                path = output / _free(result.picture_name(kind), taken)
                line += f" -> {result.save_to_img(path, kind=kind)}"
                if with_json:
                    result.save_to_json(path.with_suffix(".json"))
            bar.advance()
            yield line


def _free(name: str, taken: set[str]) -> str:
    """A name whose stem is not taken yet; a file system may not tell upper from lower case."""
    path, number = Path(name), 1
    stem = path.stem
    while stem.lower() in taken:
        number += 1
        stem = f"{path.stem}_{number}"
    taken.add(stem.lower())
    return stem + path.suffix


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
