"""`segexport reference` and `segexport golden`: make recordings and golden packs, and describe recordings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segexport.artifact import ModelArtifact
from segexport.commands.check import read_label_map
from segexport.data.dataset import Dataset
from segexport.exporter.from_paddle import ImportOptions, fix_input_size, import_model
from segexport.files.json_writer import to_json
from segexport.files.store import Store
from segexport.progress import SILENCE, Feedback
from segexport.references.archive import require_new
from segexport.references.golden import make_pack
from segexport.references.reference import record
from segexport.references.reference_file import Header, ReferenceFile
from segexport.task.registry import require_feature, task_of


@dataclass(frozen=True, kw_only=True)
class RecordOptions:
    """Options of `segexport reference record`: images and runs; `label_map` is a YAML file."""

    split: str = "val"
    groups: str | None = None
    limit: int | None = None
    label_map: Path | None = None
    device: str = "cpu"
    threads: int = 1
    latency_seconds: float = 10.0


@dataclass(frozen=True, kw_only=True)
class GoldenOptions:
    """Options of `segexport golden make`; `images` is the number of images, spread over the split."""

    split: str = "val"
    groups: str | None = None
    images: int = 8
    device: str = "cpu"
    threads: int = 1


def record_reference(
    model: Path,
    data: Path,
    output: Path,
    importing: ImportOptions,
    options: RecordOptions,
    *,
    feedback: Feedback = SILENCE,
) -> ReferenceFile:
    """Records a model's outputs for images; raises errors as `references.reference.record`."""
    require_new(output)
    images = Dataset.open(data, options.split, groups=options.groups).at_most(options.limit)
    label_map = read_label_map(options.label_map)
    source = _imported(model, importing, images, feedback)
    task_of(source.manifest).scored_classes(source.manifest, images, label_map)
    return record(
        source,
        images,
        output,
        device=options.device,
        threads=options.threads,
        latency_seconds=options.latency_seconds,
        label_map=label_map,
        progress=feedback.progress,
    )


def make_golden(
    model: Path,
    data: Path,
    output: Path,
    importing: ImportOptions,
    options: GoldenOptions,
    *,
    feedback: Feedback = SILENCE,
) -> Path:
    """Makes a golden pack; raises errors as `references.golden.make_pack`."""
    require_new(output)
    images = Dataset.open(data, options.split, groups=options.groups)
    return make_pack(
        _imported(model, importing, images, feedback),
        images,
        output,
        images=options.images,
        device=options.device,
        threads=options.threads,
        progress=feedback.progress,
    )


def _imported(model: Path, importing: ImportOptions, data: Dataset, feedback: Feedback) -> ModelArtifact:
    store = Store()
    options = importing.model_copy(update={"fallback_labels": data.labels})
    source = import_model(model, options, store)
    feedback.warn_of(source)
    require_feature(source, "recording", "a recording of masks")
    return fix_input_size(model, options, source, data, store)


def summary(found: ReferenceFile, path: Path) -> str:
    """One line about a new recording."""
    header = found.header
    size = path.stat().st_size
    noise = header.noise
    again = "a second run gave the same masks"
    if noise.differing_pixels:
        again = f"a second run differed on {noise.differing_pixels} pixels, mIoU by {noise.miou_delta:+.5f}"
    each = f"{size / 1e3:,.0f} kB ({size / 1e3 / len(header.images):.1f} kB an image)"
    return f"{path}: {len(header.images)} images, {each}, {header.runner.provider} on {header.runner.device}; {again}"


class RecordingDocument(Header):
    """A recorded reference; `digest`: sha256 of its header, which covers the whole content."""

    digest: str


def describe(found: ReferenceFile, form: str, *, color: bool, width: int) -> str:
    """Formats a recording as a table, or its header as JSON."""
    header = found.header
    if form == "json":
        own = {name: getattr(header, name) for name in type(header).model_fields}
        return to_json(RecordingDocument(digest=found.digest, **own))
    from segexport.ui.text_table import table

    runner, data, noise, scores = header.runner, header.data, header.noise, found.scores()
    size = found.archive.path.stat().st_size
    device = runner.device + (f", driver {runner.driver}" if runner.driver else "")
    rows = [
        ("model", f"{header.model.name}, {header.model.num_classes} classes, files {header.model.source_sha256[:16]}"),
        ("images", f"{len(header.images)} of {data.path}, split {data.split!r}, {data.fingerprint[:16]}"),
        ("groups", f"{len({image.group for image in header.images})}, by {data.groups}" if data.groups else "none"),
        ("recorded", f"{header.created}, segexport {header.segexport_version}"),
        ("runtime", f"{runner.runtime} {runner.version}, {runner.provider}, {runner.threads} threads"),
        ("device", device if runner.is_gpu else f"{device} (CPU, a substitute for a GPU)"),
        ("size", f"{size / 1e3:,.0f} kB, {size / 1e3 / len(header.images):.1f} kB an image"),
        ("digest", found.digest),
        (
            "noise",
            f"{noise.differing_pixels} of {noise.pixels:,} pixels in a second run, at worst {noise.worst_image:.2%} of "
            f"an image, mIoU {noise.miou_delta:+.5f}",
        ),
        ("mIoU", f"{scores.miou:.4f}" if data.labelled else "not known: there are no labels"),
    ]
    if header.times is not None:
        times = np.concatenate([np.array(row) for row in header.times.blocks_ms])
        p50, p90, p99 = np.percentile(times, (50, 90, 99))
        rows.append(("latency", f"{p50:.2f} ms (p90 {p90:.2f}, p99 {p99:.2f}; {len(times)} samples)"))
    rows += [("note", note) for note in found.as_reference().notes]
    if data.labelled:
        pairs = zip(data.labels, scores.class_iou, strict=True)
        rows += [(f"IoU {label.name}", "–" if iou is None else f"{iou:.4f}") for label, iou in pairs]
    return table(("", ""), rows, title=str(found.archive.path), color=color, width=width)
