"""What `evaluate`, `predict` and `pipeline` do with a model's answers: tables, JSON, pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from segexport.data.dataset import Dataset
from segexport.predict.model import Model
from segexport.predict.prediction import SegmentationResult
from segexport.progress import Progress, silent


def evaluate(model: Model, data: Dataset, *, details: bool, progress: Progress = silent) -> dict[str, Any]:
    """The metrics with the names of model, data and classes; with `details`, the confusion matrix too."""
    found, more = model.evaluate(data, return_details=True, progress=progress)
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


def save(
    results: Iterable[SegmentationResult],
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
            height, width = result.label_map.shape
            shares = ", ".join(f"{name} {share:.1%}" for name, share in result.shares.items())
            line = f"{result.input_path}: {width}x{height}; {shares}"
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
