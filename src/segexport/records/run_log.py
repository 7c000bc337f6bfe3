"""Writes a finished run to an experiment tracker: figures, tables, pictures and files.

A tracker is a record, not a judge: what it refuses is a warning, and never changes a verdict.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from segexport.artifact import ModelArtifact
from segexport.errors import OptionError
from segexport.progress import Feedback
from segexport.records.mlflow_log import MlflowLog
from segexport.records.record import Record
from segexport.records.tensorboard_log import TensorboardLog
from segexport.report import render
from segexport.report.comment import worst_picture
from segexport.report.schema import ExportResult, Report


class RunLog(Protocol):
    """A tracker."""

    def write(self, record: Record) -> str:
        """Writes a run; returns where it is."""
        ...


def open_logs(given: Sequence[str]) -> Callable[[Record, Feedback], None]:
    """Checks `--log` before any work is done; returns a function that writes a record to every tracker.

    Args:
        given: `mlflow:URI` or `tensorboard:DIR` each.

    Raises:
        OptionError: Another word, or nothing after the colon.
        EnvironmentMissingError: The tracker's package is not installed.
    """
    logs = {text: _opened(text) for text in given}

    def write(record: Record, feedback: Feedback) -> None:
        for text, log in logs.items():
            try:
                feedback.say(f"logged: {log.write(record)}")
            except Exception as error:  # trackers raise errors of many kinds: of their own, of HTTP, of files
                cause = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                feedback.warn(f"--log {text}: not written: {cause}")

    return write


def _opened(text: str) -> RunLog:
    kind, _, where = text.partition(":")
    if kind not in ("mlflow", "tensorboard") or not where:
        raise OptionError(f"--log {text}: no tracker", hint="--log mlflow:URI, or --log tensorboard:DIR")
    return MlflowLog(where) if kind == "mlflow" else TensorboardLog(Path(where))


def record_of(report: Report, folder: Path, **tables: str) -> Record:
    """The record of a check.

    Args:
        folder: The report's folder.
        tables: More tables, as Markdown.
    """
    params = {
        "verdict": report.verdict.value,
        "data": report.dataset.path,
        "split": report.dataset.split,
        "images": str(report.dataset.images),
        "reference": report.reference.name,
        "reference_digest": report.reference.digest,
        "segexport": report.segexport_version,
        "created": report.created,
    }
    figures: dict[str, float] = {}
    for export in report.exports:
        name = plain(export.name)
        params |= {
            f"{name}.verdict": export.outcome,
            f"{name}.digest": export.digest,
            f"{name}.runtime": export.runtime,
        }
        figures |= {f"{name}/{key}": value for key, value in _figures(export)}
    shown = worst_picture(report)
    pictures: dict[str, Path] = {}
    if shown is not None and shown[1].picture and (folder / shown[1].picture).is_file():
        pictures[f"{plain(shown[0].name)}/worst_image"] = folder / shown[1].picture
    return Record(
        name=report.title,
        params={key: value for key, value in params.items() if value},
        figures=figures,
        tables={"verdict": render(report, "markdown"), **tables},
        pictures=pictures,
        folder=folder,
    )


def record_of_training(model: ModelArtifact) -> Record:
    """The record of a training, from the model's lineage."""
    entry = next(entry for entry in model.manifest.lineage if entry.step == "finetune")
    kept = [match[1] for note in entry.notes if (match := re.match(r"kept: .*mIoU ([0-9.]+)", note))]
    return Record(
        name=model.manifest.name,
        params={key: str(value) for key, value in entry.params.items() if value not in ("", None, (), {}, [])},
        figures={"validation/miou": float(kept[0])} if kept else {},
        tables={"training": "\n".join(f"- {note}" for note in entry.notes)},
        folder=model.path,
    )


def plain(name: str) -> str:
    """A name that every tracker takes: letters of any script, digits, and `_-. `."""
    return re.sub(r"[^\w.\- ]", "_", " ".join(name.split()))[:100] or "unnamed"


def _figures(export: ExportResult) -> Iterator[tuple[str, float]]:
    objects = export.objects
    latency = export.latency_ms or (export.latency.inference_ms if export.latency else None)
    found = {
        "miou": export.miou,
        "miou_delta": export.miou_delta,
        "agreement": export.agreement,
        "agreement_worst": export.agreement_worst,
        "pixel_accuracy": export.pixel_accuracy,
        "map": objects.mmap if objects else None,
        "map_delta": objects.mmap_delta if objects else None,
        "size_bytes": export.size_bytes,
        "size_ratio": export.size_ratio,
        "latency_p50_ms": latency.p50 if latency else None,
        "latency_ratio": export.latency_ratio,
    }
    yield from ((key, float(value)) for key, value in found.items() if value is not None)
    if export.miou_delta_interval is not None:
        yield "miou_delta_low", export.miou_delta_interval[0]
        yield "miou_delta_high", export.miou_delta_interval[1]
    for check in export.checks:
        if check.value is not None and check.name.startswith("baseline."):
            yield check.name.replace(".", "_"), check.value
