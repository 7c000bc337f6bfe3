"""The rows that every form of the report shows, as text: one for the reference, one for each export."""

from __future__ import annotations

from dataclasses import dataclass

from segexport.report.schema import ExportResult, Latency, Percentiles, Reference, Report
from segexport.verdict import Verdict

NOTHING = "–"


@dataclass(frozen=True)
class Row:
    """One line of the table, ready to be shown; `verdict` is None for the reference.

    `miou` and its delta are those of the task's metric (`metric_name`).
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
    size: str = NOTHING
    verdict: Verdict | None = None


@dataclass(frozen=True)
class TimesRow:
    """What one program takes: the times in milliseconds, by `TIMES_COLUMNS`."""

    name: str
    device: str
    cells: tuple[str, ...]


TIMES_COLUMNS = ("Load", "First run", "Preprocess", "p50", "p90", "p99", "Postprocess", "Memory", "Threads")


def times_rows(report: Report) -> tuple[TimesRow, ...]:
    """Everything that was timed: the reference first, then the exports in the report's order."""
    reference = report.reference
    found = [(f"{reference.name} (reference)", times) for times in (reference.latency, reference.gpu_latency)]
    found += [(export.name, export.latency) for export in report.exports]
    return tuple(TimesRow(name, times.device, _times_cells(times)) for name, times in found if times is not None)


def _times_cells(found: Latency) -> tuple[str, ...]:
    run = found.inference_ms
    spent = (found.load_ms, found.first_ms, found.preprocess_ms, run.p50, run.p90, run.p99, found.postprocess_ms)
    return (*map(milliseconds, spent), size(found.peak_rss_bytes), str(found.threads))


def metric_name(report: Report) -> str:
    """What the exports are measured by, as a column's title."""
    if report.task == "semantic":
        return "mIoU" if report.dataset.labelled else "mask IoU"
    scored = (one.objects for one in (report.reference, *report.exports) if one.objects is not None)
    return "mask AP" if any(objects.segm_mmap is not None for objects in scored) else "box AP"


def accuracy(
    row: ExportResult | Reference,
) -> tuple[float | None, float | None, tuple[float, float] | None]:
    """The metric, its delta and the delta's interval, whatever the task is."""
    if row.objects is not None:
        return row.objects.mmap, row.objects.mmap_delta, row.objects.mmap_delta_interval
    if isinstance(row, Reference):
        return row.miou, None, None
    return row.miou, row.miou_delta, row.miou_delta_interval


def rows(report: Report) -> tuple[Row, ...]:
    """The reference first, then the exports in the report's order."""
    return (_reference_row(report.reference), *(_export_row(export) for export in report.exports))


def percentiles(export: ExportResult) -> Percentiles | None:
    """Of the inference time, wherever the report holds them."""
    return export.latency_ms or (export.latency.inference_ms if export.latency else None)


def runs_on_gpu(export: ExportResult) -> bool:
    """Whether the export's own times were taken on a GPU."""
    words = f"{export.provider} {export.device}".lower()
    return any(mark in words for mark in ("cuda", "gpu", "tensorrt", "opencl", "metal"))


def fraction(value: float | None) -> str:
    """`0.6365`"""
    return NOTHING if value is None else f"{value:.4f}"


def delta(value: float | None) -> str:
    """`-0.0003`; what rounds to nothing has no sign."""
    if value is None:
        return NOTHING
    text = f"{value:+.4f}"
    return "0.0000" if float(text) == 0 else text


def interval(bounds: tuple[float, float] | None) -> str:
    """`-0.0010 to +0.0004`"""
    return "" if bounds is None else f"{delta(bounds[0])} to {delta(bounds[1])}"


def agreement(value: float | None) -> str:
    """`99.996 %`, rounded down: only masks that are the same to the last pixel are 100 %."""
    if value is None:
        return NOTHING
    return "100 %" if value == 1 else f"{int(value * 100_000) / 1000:.3f} %"


def milliseconds(value: float | None) -> str:
    """Three significant digits: `0.42`, `12.3`, `346`"""
    if value is None:
        return NOTHING
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def times(value: float | None) -> str:
    """`0.52x`"""
    return NOTHING if value is None else f"{value:.2f}x"


def size(value: int | None) -> str:
    """`843 B`, `28.5 kB`, `1.20 MB`, in powers of 1000"""
    if value is None:
        return NOTHING
    if value < 1000:
        return f"{value} B"
    amount, unit = (value / 1e3, "kB") if value < 999_500 else (value / 1e6, "MB")
    return f"{amount:.{2 if amount < 10 else 1 if amount < 100 else 0}f} {unit}"


def _reference_row(reference: Reference) -> Row:
    own, gpu = reference.latency, reference.gpu_latency
    return Row(
        name=f"{reference.name} (reference)",
        miou=fraction(accuracy(reference)[0]),
        gpu_ms=_median(gpu or (own if reference.is_gpu else None)),
        cpu_ms=_median(None if reference.is_gpu else own),
        size=size(reference.size_bytes),
    )


def _export_row(export: ExportResult) -> Row:
    found = percentiles(export)
    median, on_gpu = milliseconds(found.p50 if found else None), runs_on_gpu(export)
    bounds = export.latency_ratio_interval
    value, change, sure = accuracy(export)
    return Row(
        name=export.name,
        miou=fraction(value),
        miou_delta=delta(change),
        miou_delta_interval=interval(sure),
        agreement=agreement(export.agreement),
        gpu_ms=median if on_gpu else NOTHING,
        cpu_ms=NOTHING if on_gpu else median,
        latency_ratio=times(export.latency_ratio),
        latency_ratio_interval=f"{times(bounds[0])} to {times(bounds[1])}" if bounds else "",
        size=size(export.size_bytes),
        verdict=export.verdict,
    )


def _median(latency: Latency | None) -> str:
    return milliseconds(latency.inference_ms.p50 if latency else None)
