"""Renders the report as one self-contained HTML page: no network, embedded pictures, and the script of its sliders."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from segexport.report import numbers, table, wording
from segexport.report.charts import latency_chart, size_accuracy
from segexport.report.schema import NOT_RUN_HERE, Chosen, ExportResult, Report, ShownImage
from segexport.task.registry import TASKS
from segexport.ui.page import page_template
from segexport.ui.pictures import BOTH_WRONG_RGB, DIFFERS_RGB, Tile, suffix
from segexport.verdict import Verdict

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
    """An image of the report.

    Attributes:
        source: The picture's data URI; empty with the reason in `absent`.
        tiles: Name of a part of the picture -> CSS that shows only this part.
    """

    image: ShownImage
    source: str
    absent: str
    tiles: dict[str, str] = field(default_factory=dict)

    @property
    def compared(self) -> bool:
        """Whether the page can lay reference and export over each other."""
        return {"reference", "export"} <= set(self.tiles)


_TITLES: dict[Chosen, str] = {
    "worst": "Images on which it differs most from the reference",
    "best": "Images on which it differs least",
    "random": "Images drawn at random",
}
_REMARKS: dict[Chosen, str] = {
    "worst": "",
    "best": "",
    "random": "Chosen by a hash of the file names (seed 0), whatever the result. Images shown above are left out.",
}


@dataclass(frozen=True)
class Gallery:
    """The images of an export that are shown for one reason."""

    title: str
    remark: str
    figures: tuple[Figure, ...]


def render(report: Report, folder: Path | None = None) -> str:
    """Renders the page.

    Args:
        report: The report.
        folder: Folder of the report's pictures; None omits them.
    """
    budget = _Budget(_PICTURES_MAX_BYTES)
    shown = table.rows(report)
    findings = [finding for export in report.exports for finding in wording.findings(export)]
    return page_template("segexport.report", "report.html.j2").render(
        report=report,
        headline=wording.headline(report),
        compared=wording.compared(report),
        ratios=wording.ratios(report),
        rows=shown,
        times_shown=table.times_shown(shown),
        metric=TASKS[report.task].words.metric_name(report),
        findings=findings,
        findings_title=wording.findings_title(findings),
        chart=latency_chart(report),
        trade_off=size_accuracy(report),
        unoptimized=wording.unoptimized(report),
        times=table.times_rows(report),
        classes=[_classes(report, export) for export in report.exports],
        galleries=[_galleries(export, folder, budget) for export in report.exports],
        legend=[(label.name, _css(label.rgb)) for label in report.labels],
        differs=_css(DIFFERS_RGB),
        both_wrong=_css(BOTH_WRONG_RGB),
        environment=list(_flat(report.environment)),
        marks=_MARKS,
        meaning=wording.MEANING,
        not_run_here=NOT_RUN_HERE,
        fmt=numbers,
        times_columns=table.TIMES_COLUMNS,
        script=Markup(_script()),
        script_digest=base64.b64encode(hashlib.sha256(_script().encode()).digest()).decode(),
    )


@lru_cache(maxsize=1)
def _script() -> str:
    """The page's script; its digest in the page's content security policy allows this one alone."""
    return files("segexport.report").joinpath("slider.js").read_text(encoding="utf-8")


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


def _galleries(export: ExportResult, folder: Path | None, budget: _Budget) -> list[Gallery]:
    images = (*export.worst_images, *export.other_images)
    found = []
    for chosen, title in _TITLES.items():
        figures = tuple(_figure(image, folder, budget) for image in images if image.chosen == chosen)
        if figures:
            found.append(Gallery(title, _REMARKS[chosen], figures))
    return found


def _figure(image: ShownImage, folder: Path | None, budget: _Budget) -> Figure:
    if image.picture is None:
        return Figure(image, "", "no picture was drawn")
    if folder is None:
        return Figure(image, "", f"the picture is stored beside the report: {image.picture}")
    try:
        path = (folder / image.picture).resolve()
        if not path.is_relative_to(folder.resolve()):
            return Figure(image, "", "its picture is outside the folder of the report and is not shown")
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
    source = f"data:{_MEDIA_TYPES[kind]};base64,{base64.b64encode(data).decode()}"
    return Figure(image, source, "", _tiles(image))


def _tiles(image: ShownImage) -> dict[str, str]:
    """Tiles of a size and place that cannot be are left out."""
    width, height = image.picture_size or (0, 0)
    return {
        tile.shows: _part_of(tile, width, height)
        for tile in image.tiles
        if 0 < tile.width < width - tile.left and 0 < tile.height < height - tile.top and min(tile.left, tile.top) >= 0
    }


def _part_of(tile: Tile, width: int, height: int) -> str:
    """CSS that shows one part of the picture `--strip`, of (width, height) pixels, as a background."""
    across, down = 100 * tile.left / (width - tile.width), 100 * tile.top / (height - tile.height)
    return (
        f"--ratio: {tile.width / tile.height:.4f}; "
        f"background-size: {100 * width / tile.width:.3f}% {100 * height / tile.height:.3f}%; "
        f"background-position: {across:.3f}% {down:.3f}%"
    )


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
