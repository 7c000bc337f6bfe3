"""Computes the marks of the plots: latency, and size against accuracy. Positions are per cent of the plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from segexport.report.numbers import delta, milliseconds, size
from segexport.report.schema import Latency, Percentiles, Report
from segexport.report.table import percentiles
from segexport.task.registry import TASKS
from segexport.ui.axis import LOG_FROM_RATIO, Axis, Tick
from segexport.ui.scatter import Point, Scatter, scatter

_DOTS_SHOWN = 240  # per row; more would overlap
_GOLDEN = 0.6180339887498949  # its multiples modulo 1 fill an interval evenly: a reproducible jitter


@dataclass(frozen=True)
class Box:
    """Positions of the tenth and ninetieth percentile, the quartiles and the median of the samples."""

    p10: float
    p25: float
    p50: float
    p75: float
    p90: float


@dataclass(frozen=True)
class Strip:
    """One row. `dots` are (x per cent, height in 0..1); `beyond` counts samples right of the axis."""

    name: str
    where: str
    is_reference: bool
    median: str
    median_x: float
    box: Box | None
    dots: tuple[tuple[float, float], ...]
    count: int
    beyond: int


@dataclass(frozen=True)
class LatencyChart:
    """The whole plot."""

    strips: tuple[Strip, ...]
    ticks: tuple[Tick, ...]
    is_log: bool


def latency_chart(report: Report) -> LatencyChart | None:
    """Plots the times of the reference and of every export on one axis; None if nothing was timed."""
    sources = [source for source in _sources(report) if _positive(source[3].p50)]
    if not sources:
        return None
    medians = [found.p50 for _, _, _, found, _ in sources]
    samples = [sorted(value for value in raw if _positive(value)) for *_, raw in sources]
    low = min([*medians, *(row[0] for row in samples if row)])
    high = max(max(found.p50, found.p99 if _positive(found.p99) else 0.0) for _, _, _, found, _ in sources)
    is_log = max(medians) / min(medians) > LOG_FROM_RATIO
    axis = Axis(low if is_log else 0.0, high * 1.02, is_log)
    strips = tuple(
        _strip(name, where, is_reference, found.p50, row, axis)
        for (name, where, is_reference, found, _), row in zip(sources, samples, strict=True)
    )
    return LatencyChart(strips, axis.ticks(), is_log)


def size_accuracy(report: Report) -> Scatter | None:
    """Plots the size of each export against its change in accuracy; None with fewer than two exports that have both."""
    words = TASKS[report.task].words
    points = []
    for number, export in enumerate(report.exports, 1):
        accuracy = words.accuracy(export)
        if export.size_bytes and accuracy.delta is not None:
            points.append(
                Point(
                    export.size_bytes / 1e6,
                    accuracy.delta,
                    f"{export.name}: {size(export.size_bytes)}, {delta(accuracy.delta)}, {export.verdict.value}",
                    accuracy.interval,
                    str(number),
                    style=export.verdict.value,
                )
            )
    if len(points) < 2:
        return None
    reference = report.reference
    if reference.size_bytes:
        name = f"{reference.name} (reference): {size(reference.size_bytes)}"
        points.append(Point(reference.size_bytes / 1e6, 0.0, name, shape="diamond", style="base", remark="reference"))
    return scatter(points, x_title="size, MB", y_title=f"Δ {words.metric_name(report)}")


def _sources(report: Report) -> list[tuple[str, str, bool, Percentiles, Sequence[float]]]:
    """Returns (name, runtime, whether it is the reference, percentiles, raw samples) of each timed model."""
    reference = report.reference
    found: list[tuple[str, str, bool, Percentiles, Sequence[float]]] = []
    timed: list[tuple[Latency | None, str]] = [(reference.latency, reference.device), (reference.gpu_latency, "GPU")]
    for latency, device in timed:
        if latency:
            where = latency.device or device
            found.append((f"{reference.name} (reference)", where, True, latency.inference_ms, latency.samples_ms))
    for export in report.exports:
        times = percentiles(export)
        if times:
            where = (export.latency.device if export.latency else "") or export.device
            found.append((export.name, where, False, times, export.latency.samples_ms if export.latency else ()))
    return found


def _strip(name: str, where: str, is_reference: bool, median: float, row: list[float], axis: Axis) -> Strip:
    step = max(len(row) / _DOTS_SHOWN, 1.0)
    shown = [row[int(index * step)] for index in range(min(len(row), _DOTS_SHOWN))]
    return Strip(
        name=name,
        where=where,
        is_reference=is_reference,
        median=milliseconds(median),
        median_x=axis.place(median),
        box=Box(*(axis.place(_quantile(row, share)) for share in (0.1, 0.25, 0.5, 0.75, 0.9))) if row else None,
        dots=tuple(
            (axis.place(value), round(index * _GOLDEN % 1, 2))
            for index, value in enumerate(shown)
            if value <= axis.high
        ),
        count=len(row),
        beyond=sum(value > axis.high for value in row),
    )


def _quantile(ordered: list[float], share: float) -> float:
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def _positive(value: float) -> bool:
    return math.isfinite(value) and 1e-6 < value < 1e9
