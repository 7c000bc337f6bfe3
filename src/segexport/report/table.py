"""Builds the text rows for all forms of the report: one for the reference, one per export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase

from segexport.measure import latency_statistics
from segexport.report.numbers import NOTHING, agreement, delta, fraction, interval, milliseconds, size, times
from segexport.report.schema import ExportResult, Latency, Percentiles, ReferenceResult, Report
from segexport.task.base import Accuracy
from segexport.task.registry import TASKS
from segexport.verdict import Verdict


@dataclass(frozen=True)
class ReportRow:
    """One formatted table row; `verdict` is None for the reference, and `outcome` is the verdict with its mark.

    `miou` and its delta are the task's metric (`TaskWords.metric_name`). `latency_baseline` names the ratio's
    denominator, and `baseline_mark` is its letter if there are several baselines, else empty.
    """

    name: str
    miou: str = NOTHING
    miou_delta: str = NOTHING
    miou_delta_interval: str = ""
    agreement: str = NOTHING
    gpu_ms: str = NOTHING
    cpu_ms: str = NOTHING
    latency_ratio: str = NOTHING
    latency_ratio_interval: str = ""
    latency_baseline: str = ""
    baseline_mark: str = ""
    size: str = NOTHING
    verdict: Verdict | None = None
    outcome: str = ""


@dataclass(frozen=True)
class TimesRow:
    """The times of one program in milliseconds, by `TIMES_COLUMNS`."""

    name: str
    device: str
    cells: tuple[str, ...]


TIMES_COLUMNS = ("Load", "First run", "Preprocess", "p50", "p90", "p99", "Postprocess", "Memory", "Threads")


def times_rows(report: Report) -> tuple[TimesRow, ...]:
    """Returns all timed programs: the reference first, then the exports in report order."""
    reference = report.reference
    found = [(f"{reference.name} (reference)", times) for times in (reference.latency, reference.gpu_latency)]
    found += [(export.name, export.latency) for export in report.exports]
    return tuple(TimesRow(name, times.device, _times_cells(times)) for name, times in found if times is not None)


def _times_cells(found: Latency) -> tuple[str, ...]:
    run = found.inference_ms
    spent = (found.load_ms, found.first_ms, found.preprocess_ms, run.p50, run.p90, run.p99, found.postprocess_ms)
    return (*map(milliseconds, spent), size(found.peak_rss_bytes), str(found.threads))


def rows(report: Report) -> tuple[ReportRow, ...]:
    """Returns the rows: the reference first, then the exports in report order."""
    words, marks = TASKS[report.task].words, baseline_marks(report)
    return (
        _reference_row(report.reference, words.accuracy(report.reference)),
        *(_export_row(export, words.accuracy(export), marks) for export in report.exports),
    )


def times_shown(shown: Sequence[ReportRow]) -> dict[str, bool]:
    """The columns among `gpu_ms`, `cpu_ms` and `latency_ratio` that have a number in any row."""
    names = ("gpu_ms", "cpu_ms", "latency_ratio")
    return {name: any(getattr(row, name) != NOTHING for row in shown) for name in names}


def baseline_marks(report: Report) -> dict[str, str]:
    """Returns the latency baselines with their letters; a single baseline has no letter."""
    timed = (export.latency_baseline for export in report.exports if export.latency_ratio is not None)
    names = [name for name in dict.fromkeys(timed) if name]
    return {name: ascii_lowercase[place % 26] if len(names) > 1 else "" for place, name in enumerate(names)}


def undisturbed_ms(latency: Latency | None, shown: Percentiles | None = None) -> float | None:
    """Returns the time of an undisturbed run, from which latency ratios are computed.

    Args:
        shown: Percentiles whose median is used if the per-process times are missing.
    """
    if latency is not None and latency.sessions_ms:
        return latency_statistics.undisturbed_ms(latency.sessions_ms)
    found = shown or (latency.inference_ms if latency is not None else None)
    return found.p50 if found is not None else None


def percentiles(export: ExportResult) -> Percentiles | None:
    """Returns the percentiles of the inference time, from wherever the report stores them."""
    return export.latency_ms or (export.latency.inference_ms if export.latency else None)


def runs_on_gpu(export: ExportResult) -> bool:
    """Whether the export was timed on a GPU."""
    words = f"{export.provider} {export.device}".lower()
    return any(mark in words for mark in ("cuda", "gpu", "tensorrt", "opencl", "metal"))


def _reference_row(reference: ReferenceResult, accuracy: Accuracy) -> ReportRow:
    own, gpu = reference.latency, reference.gpu_latency
    return ReportRow(
        name=f"{reference.name} (reference)",
        miou=fraction(accuracy.value),
        gpu_ms=milliseconds(undisturbed_ms(gpu or (own if reference.is_gpu else None))),
        cpu_ms=milliseconds(undisturbed_ms(None if reference.is_gpu else own)),
        size=size(reference.size_bytes),
    )


def _export_row(export: ExportResult, accuracy: Accuracy, marks: dict[str, str]) -> ReportRow:
    taken, on_gpu = milliseconds(undisturbed_ms(export.latency, export.latency_ms)), runs_on_gpu(export)
    bounds = export.latency_ratio_interval
    return ReportRow(
        name=export.name,
        miou=fraction(accuracy.value),
        miou_delta=delta(accuracy.delta),
        miou_delta_interval=interval(accuracy.interval),
        agreement=agreement(export.agreement),
        gpu_ms=taken if on_gpu else NOTHING,
        cpu_ms=NOTHING if on_gpu else taken,
        latency_ratio=times(export.latency_ratio),
        latency_ratio_interval=f"{times(bounds[0])} to {times(bounds[1])}" if bounds else "",
        latency_baseline=export.latency_baseline if export.latency_ratio is not None else "",
        baseline_mark=marks.get(export.latency_baseline, "") if export.latency_ratio is not None else "",
        size=size(export.size_bytes),
        verdict=export.verdict,
        outcome=export.outcome,
    )
