"""`data check`: reads every file of a data set; reports faults and statistics, and draws samples."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

from segexport.artifact import file_digest
from segexport.data.dataset import Dataset, Sample
from segexport.data.images import own_pixels
from segexport.data.label_scan import LabelPixels
from segexport.errors import InputError
from segexport.files.json_writer import to_json
from segexport.files.output_folder import new_folder
from segexport.progress import Progress, silent
from segexport.spec import Frozen, Label
from segexport.ui.pictures import default_labels, overlay

RESULT_NAME = "check_dataset_result.json"
HISTOGRAM_NAME = "histogram.svg"
_SPLITS = ("train", "val", "test")


@dataclass
class Split:
    """The result for one split.

    Attributes:
        images: Entries of the list.
        pixels: (classes,) labelled pixels of each class.
        images_with: (classes,) images that have the class.
        ignored: Number of ignored pixels.
        sizes: (width, height) -> number of images.
        samples: Paths of the overlays in the output folder.
    """

    images: int = 0
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    images_with: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    ignored: int = 0
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)
    samples: list[str] = field(default_factory=list)

    def add(self, sample: Sample, ignore_index: int) -> None:
        """Counts one image."""
        size = (sample.image.shape[1], sample.image.shape[0])
        self.sizes[size] = self.sizes.get(size, 0) + 1
        if sample.label is None:
            return
        counts = np.bincount(sample.label.ravel())
        if ignore_index < counts.size:
            self.ignored += int(counts[ignore_index])
            counts[ignore_index] = 0
        counts = counts[: np.flatnonzero(counts).max(initial=-1) + 1]
        grow = max(0, counts.size - self.pixels.size)
        self.pixels, self.images_with = np.pad(self.pixels, (0, grow)), np.pad(self.images_with, (0, grow))
        self.pixels[: counts.size] += counts
        self.images_with[: counts.size] += counts > 0


class DataAnalysis(Frozen):
    """What is in the labels.

    Attributes:
        histogram: File of the histogram.
        classes: Each class with its id, its name, and `SPLIT_pixels` and `SPLIT_images` of each split.
        ignored_pixels: Split -> number of ignored pixels.
        sizes: Split -> sizes of the images, with their number.
    """

    histogram: str
    classes: tuple[dict[str, int | str], ...]
    ignored_pixels: dict[str, int]
    sizes: dict[str, tuple[dict[str, int], ...]]


class DataDocument(Frozen):
    """The check of a data set, with the keys of PaddleX's `check_dataset_result.json`, and more.

    Attributes:
        check_pass: Whether there are no faults.
        attributes: `num_classes`, and `SPLIT_samples` and `SPLIT_sample_paths` of each split.
        faults: What makes the data unusable, one line each.
        warnings: Findings that are allowed but rarely intended.
    """

    done_flag: bool
    check_pass: bool
    attributes: dict[str, Any]
    analysis: DataAnalysis
    faults: tuple[str, ...]
    warnings: tuple[str, ...]
    dataset_path: str
    show_type: str
    dataset_type: str


@dataclass(frozen=True)
class DataReport:
    """The result of a check.

    Attributes:
        root: The data set.
        labels: Class names; generated if there is no `labels.txt`.
        splits: The result for each split.
        faults: Faults that make the data unusable, one line each.
        warnings: Findings that are allowed but rarely intended.
    """

    root: Path
    labels: tuple[Label, ...]
    splits: dict[str, Split]
    faults: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the data has no faults."""
        return not self.faults

    @property
    def document(self) -> DataDocument:
        """The content of `check_dataset_result.json`."""
        return DataDocument.model_validate(self._content())

    def _content(self) -> dict[str, Any]:
        """The keys of PaddleX's `check_dataset_result.json`, and more."""
        attributes: dict[str, Any] = {"num_classes": len(self.labels)}
        for name, found in self.splits.items():
            attributes[f"{name}_samples"] = found.images
            attributes[f"{name}_sample_paths"] = found.samples
        classes = [
            {
                "id": label.id,
                "name": label.name,
                **{f"{name}_pixels": _at(found.pixels, label.id) for name, found in self.splits.items()},
                **{f"{name}_images": _at(found.images_with, label.id) for name, found in self.splits.items()},
            }
            for label in self.labels
        ]
        sizes = {
            name: [{"width": w, "height": h, "images": n} for (w, h), n in sorted(found.sizes.items())]
            for name, found in self.splits.items()
        }
        return {
            "done_flag": True,
            "check_pass": self.passed,
            "attributes": attributes,
            "analysis": {
                "histogram": HISTOGRAM_NAME,
                "classes": classes,
                "ignored_pixels": {name: found.ignored for name, found in self.splits.items()},
                "sizes": sizes,
            },
            "faults": list(self.faults),
            "warnings": list(self.warnings),
            "dataset_path": self.root.name,
            "show_type": "image",
            "dataset_type": "SegDataset",
        }


def check(
    root: Path,
    out: Path | None = None,
    *,
    splits: tuple[str, ...] | None = None,
    samples: int = 10,
    ignore_index: int = 255,
    progress: Progress = silent,
) -> DataReport:
    """Reads every image and label. A broken file is a fault in the report and does not end the check.

    Args:
        root: The data set.
        out: A new folder for `check_dataset_result.json`, `histogram.svg` and overlays; None writes nothing.
        splits: Lists to read; by default those of train, val and test that exist.
        samples: Number of overlays per split.
        ignore_index: Label of ignored pixels.
        progress: Advances with every image.

    Raises:
        InputError: The folder does not exist or has no list.
        StorageError: `out` cannot be written.
    """
    if out is None:
        return _check(root, None, splits, samples, ignore_index, progress)
    with new_folder(out) as folder:
        report = _check(root, folder, splits, samples, ignore_index, progress)
        (folder / RESULT_NAME).write_text(to_json(report.document), encoding="utf-8")
        (folder / HISTOGRAM_NAME).write_text(histogram(report), encoding="utf-8")
    return report


def histogram(report: DataReport) -> str:
    """An SVG of each class's fraction of the labelled pixels per split; SVG shows names in every script."""
    names, row, left, width = list(report.splits), 18, 220, 480
    colors = ("#4c78a8", "#f58518", "#54a24b")
    totals = {name: max(1, int(found.pixels.sum())) for name, found in report.splits.items()}
    step = row * max(1, len(names)) + 8
    parts = []
    for position, label in enumerate(report.labels):
        top = 40 + position * step
        parts.append(f'<text x="{left - 8}" y="{top + 13}" text-anchor="end">{label.id} {escape(label.name)}</text>')
        for place, name in enumerate(names):
            share = _at(report.splits[name].pixels, label.id) / totals[name]
            y = top + place * row
            parts.append(
                f'<rect x="{left}" y="{y}" width="{share * width:.1f}" height="{row - 3}" fill="{colors[place % 3]}"/>'
            )
            parts.append(f'<text x="{left + share * width + 5:.1f}" y="{y + 12}">{share:.2%}</text>')
    for place, name in enumerate(names):
        parts.append(f'<text x="{left + 90 * place}" y="24" fill="{colors[place % 3]}">{escape(name)}</text>')
    height = 48 + step * len(report.labels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 80}" height="{height}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(parts)
        + "</svg>\n"
    )


def _check(
    root: Path, folder: Path | None, wanted: tuple[str, ...] | None, samples: int, ignore_index: int, progress: Progress
) -> DataReport:
    names = wanted or tuple(name for name in _SPLITS if (root / f"{name}.txt").is_file()) or ("val",)
    splits: dict[str, Split] = {}
    faults: list[str] = []
    data: dict[str, Dataset] = {}
    for name in names:
        try:
            data[name] = _with_own_pixels(Dataset.open(root, name, ignore_index=ignore_index))
        except InputError as error:
            if not root.is_dir() or len(names) == 1:
                raise
            faults.append(error.what)
    named = next((one.labels for one in data.values() if one.labels), None)
    labels = default_labels(named) if named else ()
    for name, one in data.items():
        found = splits[name] = Split(images=len(one))
        drawn = {entry.image for entry in one.subset(samples).entries} if folder is not None and samples else set()
        with progress(f"checking {name}", len(one)) as bar:
            for result in _read_all(one):
                bar.advance()
                if isinstance(result, InputError):
                    faults.append(" ".join(filter(None, (result.what, result.cause))))
                    continue
                found.add(result, ignore_index)
                if folder is not None and result.name in drawn and result.label is not None:
                    found.samples.append(_draw(folder, name, result, labels))
    if not named:
        classes = max((found.pixels.size for found in splits.values()), default=0)
        labels = default_labels([f"class_{index}" for index in range(classes)])
    warnings = _warnings(data, splits, labels, ignore_index)
    return DataReport(root, labels, splits, tuple(faults), tuple(warnings))


def _with_own_pixels(data: Dataset) -> Dataset:
    """Reads images in the form of the first one, because no model defines the channels; all must have this form."""
    try:
        return replace(data, pixels=own_pixels(data.root / data.entries[0].image))
    except InputError:  # reported with all others
        return data


def _read_all(data: Dataset) -> Iterator[Sample | InputError]:
    """Yields every sample in order, or its fault."""

    def read(index: int) -> Sample | InputError:
        try:
            return data.read(index)
        except InputError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(data), 8):
            yield from pool.map(read, range(start, min(start + 8, len(data))))


def _draw(folder: Path, split: str, sample: Sample, labels: tuple[Label, ...]) -> str:
    target = Path("demo_img") / f"{split}_{sample.index:05d}_{Path(sample.name).stem}.jpg"
    (folder / "demo_img").mkdir(exist_ok=True)
    assert sample.label is not None, "drawn where there are labels"
    classes = labels or default_labels([""] * (int(sample.label.max()) + 1))
    Image.fromarray(overlay(sample.image, sample.label, classes)).save(folder / target, quality=90)
    return target.as_posix()


def _warnings(
    data: dict[str, Dataset], splits: dict[str, Split], labels: tuple[Label, ...], ignore_index: int
) -> list[str]:
    found: list[str] = []
    for name, one in splits.items():
        if not data[name].labelled:
            found.append(f"{name}: there are no labels")
            continue
        absent = [label.name for label in labels if not _at(one.pixels, label.id)]
        if absent:
            found.append(f"{name}: no pixel of {', '.join(absent[:10])}{', ...' if len(absent) > 10 else ''}")
        classes = np.pad(one.pixels, (0, max(0, 2 - one.pixels.size)))  # a mask has at least two classes
        if suspicion := LabelPixels(classes, one.ignored).suspicion(name, ignore_index):
            found.append(suspicion)
    digests = {name: {_digest(one, entry.image): entry.image for entry in one.entries} for name, one in data.items()}
    names = list(digests)
    for first in range(len(names)):
        for second in range(first + 1, len(names)):
            a, b = digests[names[first]], digests[names[second]]
            both = sorted((set(a) & set(b)) - {""})
            if both:
                found.append(
                    f"{len(both)} images are in {names[first]} and in {names[second]}: {a[both[0]]} is {b[both[0]]}"
                )
    return found


def _digest(data: Dataset, name: str) -> str:
    try:
        return file_digest(data.root / name)
    except OSError:
        return ""


def _at(values: np.ndarray, index: int) -> int:
    return int(values[index]) if index < values.size else 0
