"""Renders the report as one self-contained HTML page: no network, no script, embedded pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segexport.report import numbers, table, wording
from segexport.report.charts import latency_chart
from segexport.report.schema import NOT_RUN_HERE, ExportResult, Report, WorstImage
from segexport.task.registry import TASKS
from segexport.ui.console import printable
from segexport.ui.pictures import BOTH_WRONG_RGB, DIFFERS_RGB, suffix
from segexport.verdict import Verdict

if TYPE_CHECKING:
    import jinja2

# Shown in addition to the word, never instead of it.
_MARKS = {
    Verdict.PASS: "✓",
    Verdict.FAIL: "✕",
    Verdict.INCONCLUSIVE: "?",
    Verdict.ERROR: "!",
    Verdict.SKIPPED: "–",
}

# A larger page opens slowly, and mail and artifact viewers refuse it; pictures that do not fit are named instead.
_PICTURES_MAX_BYTES = 16_000_000
_MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg"}


@dataclass(frozen=True)
class ClassRow:
    """One class of an export: IoU or AP of export and reference, as text and as per cent of a bar."""

    name: str
    rgb: str
    reference: str
    export: str
    delta: str
    reference_bar: float | None
    export_bar: float | None


@dataclass(frozen=True)
class Figure:
    """A worst image; `source` is the picture's data URI, or empty with the reason in `absent`."""

    image: WorstImage
    source: str
    absent: str


def render(report: Report, folder: Path | None = None) -> str:
    """Renders the page.

    Args:
        report: The report.
        folder: Folder of the report's pictures; None omits them.
    """
    budget = _Budget(_PICTURES_MAX_BYTES)
    return _template().render(
        report=report,
        headline=wording.headline(report),
        compared=wording.compared(report),
        ratios=wording.ratios(report),
        rows=table.rows(report),
        metric=TASKS[report.task].words.metric_name(report),
        findings=[finding for export in report.exports for finding in wording.findings(export)],
        chart=latency_chart(report),
        times=table.times_rows(report),
        classes=[_classes(report, export) for export in report.exports],
        figures=[[_figure(image, folder, budget) for image in export.worst_images] for export in report.exports],
        legend=[(label.name, _css(label.rgb)) for label in report.labels],
        differs=_css(DIFFERS_RGB),
        both_wrong=_css(BOTH_WRONG_RGB),
        environment=list(_flat(report.environment)),
        marks=_MARKS,
        meaning=wording.MEANING,
        not_run_here=NOT_RUN_HERE,
        fmt=numbers,
        times_columns=table.TIMES_COLUMNS,
    )


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("segexport", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    return environment.get_template("report.html.j2")


def _shown(value: Any) -> Any:
    """Neutralizes characters that reorder or hide text; leaves our own markup (a subtype of str) unchanged."""
    return printable(value) if type(value) is str else value


def _classes(report: Report, export: ExportResult) -> list[ClassRow]:
    found = []
    accuracy = TASKS[report.task].words.accuracy
    one, before = accuracy(export), accuracy(report.reference)
    for index, label in enumerate(report.labels):
        own, reference = _at(one.classes, index), _at(before.classes, index)
        if own is None and reference is None:
            continue
        difference = _at(one.class_deltas, index)
        if difference is None and own is not None and reference is not None:
            difference = own - reference
        found.append(
            ClassRow(
                name=label.name,
                rgb=_css(label.rgb),
                reference=numbers.fraction(reference),
                export=numbers.fraction(own),
                delta=numbers.delta(difference),
                reference_bar=_bar(reference),
                export_bar=_bar(own),
            )
        )
    return found if one.classes else []


def _figure(image: WorstImage, folder: Path | None, budget: _Budget) -> Figure:
    if image.picture is None:
        return Figure(image, "", "no picture was drawn")
    if folder is None:
        return Figure(image, "", f"the picture lies beside the report: {image.picture}")
    try:
        path = (folder / image.picture).resolve()
        if not path.is_relative_to(folder.resolve()):
            return Figure(image, "", "its picture lies outside the folder of the report, and is not shown")
        if not path.is_file():  # reading a pipe would block
            return Figure(image, "", f"there is no such picture: {image.picture}")
        if path.stat().st_size > budget.left:
            return Figure(image, "", f"left out to keep this page small: {image.picture}")
        data = path.read_bytes()
    except (OSError, ValueError, RuntimeError):
        return Figure(image, "", f"the picture cannot be read: {image.picture}")
    kind = suffix(data)
    if kind is None:
        return Figure(image, "", f"neither a PNG nor a JPEG: {image.picture}")
    budget.left -= len(data)
    return Figure(image, f"data:{_MEDIA_TYPES[kind]};base64,{base64.b64encode(data).decode()}", "")


@dataclass
class _Budget:
    left: int


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            yield f"{prefix}{key}", ", ".join(str(item) for item in value)
        else:
            yield f"{prefix}{key}", str(value)


def _at(values: tuple[float | None, ...], index: int) -> float | None:
    return values[index] if index < len(values) else None


def _bar(value: float | None) -> float | None:
    return None if value is None else round(100.0 * min(max(value, 0.0), 1.0), 2)


def _css(rgb: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{min(max(channel, 0), 255):02x}" for channel in rgb)
