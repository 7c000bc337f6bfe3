"""Times exports in turn, without images: the shape of the input is all that the time depends on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np

from segexport.artifact import ModelArtifact, read_artifact
from segexport.errors import InputError, WorkerFailed
from segexport.measure import latency
from segexport.measure.environment import describe_machine
from segexport.measure.latency_statistics import latency_ratio, percentiles, session_times, undisturbed_ms
from segexport.pipeline.registry import runtime_for
from segexport.progress import Progress, silent
from segexport.runtimes.base import RunOptions

_MOST_SECONDS = 3600
_FREE_SIDE = 512  # pixels for an input that takes any size


@dataclass(frozen=True)
class BenchRow:
    """One export's times in milliseconds per image; the ratio is to the first row.

    Attributes:
        undisturbed_ms: What a run takes when nothing disturbs it; the ratio is the quotient of two of these.
        load_ms, first_ms: Of a cold start: loading, and the first run after it; medians over the sessions.
        peak_rss_bytes: Of the process that ran it, interpreter and runtime included.
        samples_ms: A row for each session.
    """

    name: str
    runtime: str
    device: str
    threads: int
    input: tuple[int, ...]
    sessions: int
    load_ms: float
    first_ms: float
    undisturbed_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    ratio: float
    ratio_interval: tuple[float, float] | None
    drift: bool
    peak_rss_bytes: int
    samples_ms: tuple[tuple[float, ...], ...]


def bench(
    paths: Sequence[Path],
    *,
    threads: Sequence[int],
    device: str,
    latency_seconds: float,
    sessions: int = latency.SESSIONS,
    progress: Progress = silent,
) -> list[BenchRow]:
    """Times all exports, each with every number of threads, interleaved and in several sessions.

    Raises:
        InputError: Two exports of the same folder name, or a time that is none.
        SegexportError: An export cannot be opened or run.
    """
    if not 0 <= latency_seconds <= _MOST_SECONDS:  # NaN too
        raise InputError(f"{latency_seconds} seconds of timing: not from 0 to {_MOST_SECONDS}")
    names = [path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    if len(set(names)) < len(names):
        raise InputError("the same export is named twice")
    artifacts = {name: read_artifact(path) for name, path in zip(names, paths, strict=True)}
    asked = {f"{name} {count}": (name, count) for name, count in product(artifacts, dict.fromkeys(threads))}
    programs = {
        key: _program(artifacts[name], RunOptions(device=device, threads=count)) for key, (name, count) in asked.items()
    }
    timings = latency.measure(programs, latency_seconds, sessions=sessions, progress=progress)
    for timing in timings.values():
        if timing.error is not None:
            raise timing.error
    first = next(iter(timings.values()))
    rows = []
    for key, timing in timings.items():
        (name, count), info = asked[key], timing.info
        if info is None or timing.load_ms is None or timing.first_ms is None:
            raise WorkerFailed(f"{name}: it was not timed")
        ratio = latency_ratio(timing.sessions_ms, first.sessions_ms)
        p50, p90, p99 = percentiles(timing.samples_ms)
        rows.append(
            BenchRow(
                name=name,
                runtime=f"{info.runtime} {info.version}",
                device=info.device,
                threads=count,
                input=programs[key].tensors[0].shape,
                sessions=ratio.sessions,
                load_ms=timing.load_ms,
                first_ms=timing.first_ms,
                undisturbed_ms=undisturbed_ms(session_times(timing.sessions_ms)),
                p50_ms=p50,
                p90_ms=p90,
                p99_ms=p99,
                ratio=ratio.value,
                ratio_interval=ratio.interval,
                drift=ratio.drift() is not None,
                peak_rss_bytes=timing.peak_rss_bytes,
                samples_ms=tuple(tuple(round(float(ms), 4) for ms in row.reshape(-1)) for row in timing.sessions_ms),
            )
        )
    return rows


def render(rows: Sequence[BenchRow], form: str, *, color: bool, width: int) -> str:
    """The rows as a table or as JSON."""
    if form == "json":
        return json.dumps({"environment": describe_machine(), "exports": [asdict(row) for row in rows]}, indent=2)
    from segexport.report.numbers import NOTHING, milliseconds
    from segexport.ui.text_table import table

    head = ("Export", "threads", "input", "load", "first", "run", "p50", "p90", "p99", "ratio", "95 %", "MB")
    body = [
        (
            row.name,
            str(row.threads),
            "x".join(map(str, reversed(row.input[2:]))),
            *map(milliseconds, (row.load_ms, row.first_ms, row.undisturbed_ms, row.p50_ms, row.p90_ms, row.p99_ms)),
            f"{row.ratio:.2f}x" + (" (drift)" if row.drift else ""),
            NOTHING if row.ratio_interval is None else f"{row.ratio_interval[0]:.2f}–{row.ratio_interval[1]:.2f}",
            f"{row.peak_rss_bytes / 1e6:.0f}" if row.peak_rss_bytes else NOTHING,
        )
        for row in rows
    ]
    runtimes = ", ".join(dict.fromkeys(row.runtime for row in rows))
    title = f"{rows[0].device}; {runtimes}; milliseconds in {min(row.sessions for row in rows)} sessions; "
    title += "ratios are those of `run`, undisturbed, to the first row"
    return table(head, body, title=title, color=color, width=width)


def _program(artifact: ModelArtifact, options: RunOptions) -> latency.TimedModel:
    runtime = runtime_for(artifact.manifest.format, options.device)
    return latency.TimedModel(lambda: runtime.open(artifact, options), _tensors(artifact))


def _tensors(artifact: ModelArtifact) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    found = []
    for spec in artifact.manifest.inputs:
        free = [1] + [_FREE_SIDE] * (len(spec.shape) - 1)
        shape = [size if size > 0 else default for size, default in zip(spec.shape, free, strict=True)]
        found.append(generator.standard_normal(shape).astype(spec.dtype))
    return found
