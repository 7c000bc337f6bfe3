"""The model card of an export, `README.md`: what it is, how it is run, and what a check found.

Its YAML front matter has the fields of Hugging Face cards, so that an uploaded export is listed with its results.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from segexport.artifact import Manifest
from segexport.errors import UnreadableError
from segexport.files.atomic import write_file
from segexport.pipeline.registry import target_of
from segexport.records.small_file import read_small
from segexport.report.markdown import escape, verdict_sections
from segexport.report.schema import ExportResult, Report
from segexport.report.wording import compared
from segexport.spec import TensorSpec
from segexport.task.registry import TASKS

CARD_NAME = "README.md"
_MAX_BYTES = 1 << 20
_CLASSES_SHOWN = 40
_BEGIN, _END = "<!-- segexport:verdict -->", "<!-- /segexport:verdict -->"
_TYPES = {"mIoU": "mean_iou"}  # as Hugging Face calls them
_FRONT = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_UNCHECKED = (
    "Nobody has compared it with its original yet: "
    "`segexport check . --reference MODEL --data DIR --card` does, and writes the result here."
)

_CARD = """# {name}

{about}

## Run it

```sh
segexport predict . photo.jpg -o pictures
```

```python
import segexport

with segexport.load(".") as model:
    for result in model.predict("photo.jpg"):
        result.save_to_img("pictures")
```

`manifest.json` says how an image becomes the input, for any other program.{android}

## Verdict

{verdict}
"""
_FOR_ANDROID = """

## On Android

`segexport android assets . -o app/src/main/assets/model` writes it for an app, with the code that runs it there."""


def write_card(folder: Path, manifest: Manifest, report: Report | None = None, row: str = "") -> None:
    """Writes the card of an export into its folder, with the result of a check if there is one.

    Args:
        row: Name of the export in the report.
    """
    target = target_of(manifest.format)
    text = _CARD.format(
        name=manifest.name,
        about=about(manifest),
        android=_FOR_ANDROID if target is not None and target.packed else "",
        verdict=f"{_BEGIN}\n{_UNCHECKED}\n{_END}",
    )
    front: dict[str, Any] = {
        "license": "unknown",
        "library_name": "segexport",
        "pipeline_tag": "image-segmentation",
        "tags": [str(manifest.format), manifest.target.precision.value, f"{manifest.task}-segmentation"],
    }
    found = _row(report, row)
    write_file(folder / CARD_NAME, _joined(front, text) if found is None else _judged(front, text, manifest, *found))


def update_card(folder: Path, manifest: Manifest, report: Report, row: str) -> None:
    """Replaces the verdict in an existing card, and keeps everything that people wrote into it.

    Raises:
        InputError: The card cannot be read, or its front matter is not YAML.
        StorageError: It cannot be written.
    """
    file = folder / CARD_NAME
    found = _row(report, row)
    if not file.exists():
        return write_card(folder, manifest, report, row)
    try:
        text = read_small(file, "a model card", limit=_MAX_BYTES).decode()
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{file}: not UTF-8", cause=str(error)) from None
    match = _FRONT.match(text)
    try:
        front = yaml.safe_load(match[1]) if match else {}
    except yaml.YAMLError as error:
        raise UnreadableError(f"{file}: its front matter is not YAML", cause=" ".join(str(error).split())) from None
    if not isinstance(front, dict):
        raise UnreadableError(f"{file}: its front matter is no mapping", cause=f"it is {type(front).__name__}")
    body = text[match.end() :].lstrip("\n") if match else text
    if found is not None:
        write_file(file, _judged(front, body, manifest, *found))


def _row(report: Report | None, name: str) -> tuple[Report, ExportResult] | None:
    """A report with only the export of this name, and its row."""
    export = next((one for one in report.exports if one.name == name), None) if report is not None else None
    if report is None or export is None:
        return None
    return report.model_copy(update={"exports": (export,), "verdict": export.verdict, "title": "Verdict"}), export


def _judged(front: dict[str, Any], body: str, manifest: Manifest, report: Report, export: ExportResult) -> str:
    sections = [*verdict_sections(report)[1:], escape(compared(report))]
    sections = [re.sub("^### ", "**", section) for section in sections]
    sections = [re.sub(r"\A(\*\*[^\n]*)\n", r"\1**\n", section) for section in sections]
    name = f"**{export.outcome}**, by segexport {escape(report.segexport_version)}, {escape(report.created[:10])}"
    verdict = "\n\n".join((_BEGIN, name, *sections, _END))
    start, end = body.find(_BEGIN), body.find(_END)
    if 0 <= start < end:
        body = body[:start] + verdict + body[end + len(_END) :]
    else:
        body = f"{body.rstrip()}\n\n## Verdict\n\n{verdict}\n"
    results = _results(report, export)
    front = {key: value for key, value in front.items() if key != "model-index"}
    if results:
        front["model-index"] = [{"name": manifest.name, "results": results}]
    return _joined(front, body)


def _results(report: Report, export: ExportResult) -> list[dict[str, Any]]:
    """The results as a model index has them; empty if nothing was measured."""
    words = TASKS[report.task].words
    metrics = [
        (words.metric_name(report), words.accuracy(export).value),
        ("agreement with the original", export.agreement),
        ("pixel accuracy", export.pixel_accuracy),
    ]
    listed = [
        {"type": _TYPES.get(name) or re.sub(r"\W+", "_", name.lower()), "value": value, "name": name}
        for name, value in metrics
        if value is not None
    ]
    data = report.dataset
    name = Path(data.path).name or data.path
    place = {"type": name, "name": name, "split": data.split or "all"}
    task = {"type": "image-segmentation", "name": "Image segmentation"}
    return [{"task": task, "dataset": place, "metrics": listed}] if listed else []


def _joined(front: dict[str, Any], body: str) -> str:
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n\n{body}"


def about(manifest: Manifest) -> str:
    """A table of the model's data."""
    target = target_of(manifest.format)
    title = target.title if target is not None else str(manifest.format)
    size = sum(entry.size_bytes for entry in manifest.files if entry.role in ("model", "params"))
    names = [label.name for label in manifest.labels]
    left = len(names) - _CLASSES_SHOWN
    rows = [
        ("format", f"{title}, {manifest.target.precision.value}, for {manifest.target.arch}, {size:,} bytes"),
        *(("input", _tensor(spec)) for spec in manifest.inputs),
        *(("output", _tensor(spec)) for spec in manifest.outputs),
        (f"{len(names)} classes", ", ".join(names[:_CLASSES_SHOWN]) + (f", and {left} more" if left > 0 else "")),
        *(("warning", text) for text in manifest.warnings),
    ]
    return "\n".join(("| | |", "|---|---|", *(f"| {name} | {_cell(text)} |" for name, text in rows)))


def _tensor(spec: TensorSpec) -> str:
    shape = "x".join("?" if size < 0 else str(size) for size in spec.shape)
    return f"{spec.name}: {spec.dtype} {shape}, {spec.semantics}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
