"""Computes the marks of the latency plot. Horizontal positions are per cent, so that a page can stretch the plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from segexport.report.numbers import milliseconds
from segexport.report.schema import Latency, Percentiles, Report
from segexport.report.table import percentiles

# Above this spread, a linear axis would squeeze most rows against its left end.
LOG_FROM_RATIO = 6.0

_DOTS_SHOWN = 240  # per row; more would overlap
_MARGIN_PERCENT = 2.0
_GOLDEN = 0.6180339887498949  # its multiples modulo 1 fill an interval evenly: a reproducible jitter


@dataclass(frozen=True)
class Tick:
    """A mark of the axis at `x` per cent."""

    x: float
    label: str


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
    axis = _Axis(low if is_log else 0.0, high * 1.02, is_log)
    strips = tuple(
        _strip(name, where, is_reference, found.p50, row, axis)
        for (name, where, is_reference, found, _), row in zip(sources, samples, strict=True)
    )
    return LatencyChart(strips, axis.ticks(), is_log)


class _Axis:
    def __init__(self, low: float, high: float, is_log: bool) -> None:
        self.low, self.high, self.is_log = low, high, is_log

    def place(self, value: float) -> float:
        value = min(max(value, self.low), self.high)
        if self.is_log:
            share = math.log(value / self.low) / max(math.log(self.high / self.low), 1e-9)
        else:
            share = (value - self.low) / max(self.high - self.low, 1e-9)
        return round(_MARGIN_PERCENT + share * (100.0 - 2 * _MARGIN_PERCENT), 2)

    def ticks(self) -> tuple[Tick, ...]:
        values = _log_ticks(self.low, self.high) if self.is_log else _linear_ticks(self.high)
        return tuple(Tick(self.place(value), f"{value:g}") for value in values)


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


def _strip(name: str, where: str, is_reference: bool, median: float, row: list[float], axis: _Axis) -> Strip:
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


def _log_ticks(low: float, high: float) -> list[float]:
    """Returns 1, 2 and 5 times the powers of ten; only the powers if that gives too many ticks."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(decades) <= 4 else (1,)
    return [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]


def _linear_ticks(high: float) -> list[float]:
    """Returns about five round values from 0."""
    rough = high / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [round(index * step, 12) for index in range(int(high / step) + 1)]


def _positive(value: float) -> bool:
    return math.isfinite(value) and 1e-6 < value < 1e9
