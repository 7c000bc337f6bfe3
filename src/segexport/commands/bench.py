"""Times exports alternately, without images: the time depends only on the input's shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from segexport.artifact import MANIFEST_NAME, ModelArtifact, read_artifact
from segexport.errors import OptionError, WorkerFailed
from segexport.files.json_writer import to_json
from segexport.measure import latency
from segexport.measure.environment import describe_machine
from segexport.measure.latency_statistics import latency_ratio, percentiles, session_times, undisturbed_ms
from segexport.measure.noise import noise
from segexport.pipeline.entry_points import require_known
from segexport.pipeline.registry import runtime_for, runtimes, runtimes_of
from segexport.progress import SILENCE, Feedback
from segexport.runtimes.base import RunOptions
from segexport.spec import Frozen

_MOST_SECONDS = 3600


@dataclass(frozen=True)
class BenchRow:
    """Times of one export in milliseconds per image; the ratio is relative to the first row.

    Attributes:
        undisturbed_ms: Time of an undisturbed run; the ratio is the quotient of two of these.
        load_ms, first_ms: Cold start: loading, and the first run after it; medians over the sessions.
        peak_rss_bytes: Peak memory of the process, including interpreter and runtime.
        samples_ms: One row per session.
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


class BenchDocument(Frozen):
    """The times of exports; `environment`: the machine and its packages."""

    environment: dict[str, Any]
    exports: tuple[BenchRow, ...]

    @classmethod
    def of(cls, rows: Sequence[BenchRow]) -> BenchDocument:
        return cls(environment=describe_machine(), exports=tuple(rows))


def bench(
    paths: Sequence[Path],
    *,
    threads: Sequence[int],
    device: str,
    latency_seconds: float,
    runtime: Sequence[str] = (),
    all_runtimes: bool = False,
    sessions: int = latency.SESSIONS,
    feedback: Feedback = SILENCE,
) -> list[BenchRow]:
    """Times all exports in their runtimes and with each number of threads, interleaved, in several sessions.

    Args:
        paths: Exports, or folders of exports.
        threads: Numbers of threads.
        device: Device of the exports, as in `RunOptions`.
        latency_seconds: Duration of all timed runs together, in seconds.
        runtime: Names of runtimes; an export that none of them supports runs in its format's first runtime.
        all_runtimes: Whether to use every installed runtime of an export's format. Failures are reported and left out.
        sessions: Most sessions; each one runs every export in a new process.

    Raises:
        InputError: Two exports have the same folder name, a time is invalid, or options exclude each other.
        SegexportError: An export cannot be opened or run.
    """
    if not 0 <= latency_seconds <= _MOST_SECONDS:  # NaN too
        raise OptionError(f"{latency_seconds} seconds of timing: not from 0 to {_MOST_SECONDS}")
    if all_runtimes and runtime:
        raise OptionError("--runtime and --all-runtimes cannot be combined")
    if device.startswith("adb") and (all_runtimes or runtime):
        raise OptionError(
            f"--device {device} and {'--all-runtimes' if all_runtimes else '--runtime'} cannot be combined",
            cause="the app on the phone runs each export in the runtime that it was made for",
        )
    artifacts = exports_named(paths)
    for name in runtime:
        require_known("runtime", name, runtimes())
    asked = {
        f"{name} {who} {count}": (name, who, count)
        for name, artifact in artifacts.items()
        for who in _runtimes(artifact, runtime, all_runtimes=all_runtimes)
        for count in dict.fromkeys(threads)
    }
    programs = {
        key: _timed(artifacts[name], RunOptions(device=device, threads=count, runtime=who))
        for key, (name, who, count) in asked.items()
    }
    timings = latency.measure(programs, latency_seconds, sessions=sessions, progress=feedback.progress)
    failed = {key: timing.error for key, timing in timings.items() if timing.error is not None}
    for key, error in failed.items():
        if not all_runtimes or len(failed) == len(timings):
            raise error
        name, who, _ = asked[key]
        feedback.error(type(error)(f"{name} in {who}: {error.what}", cause=error.cause, hint=error.hint))
    timings = {key: timing for key, timing in timings.items() if key not in failed}
    first = next(iter(timings.values()))
    rows = []
    for key, timing in timings.items():
        (name, _, count), info = asked[key], timing.info
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
    """Formats the rows as a table or as JSON."""
    if form == "json":
        return to_json(BenchDocument.of(rows))
    from segexport.report.numbers import NOTHING, milliseconds
    from segexport.ui.text_table import table

    runtimes = list(dict.fromkeys(row.runtime for row in rows))
    each = {
        "Export": [row.name for row in rows],
        "runtime": [row.runtime.split()[0] for row in rows],
        "threads": [str(row.threads) for row in rows],
        "input": ["x".join(map(str, reversed(row.input[2:]))) for row in rows],
        "load": [milliseconds(row.load_ms) for row in rows],
        "first": [milliseconds(row.first_ms) for row in rows],
        "run": [milliseconds(row.undisturbed_ms) for row in rows],
        "p50": [milliseconds(row.p50_ms) for row in rows],
        "p90": [milliseconds(row.p90_ms) for row in rows],
        "p99": [milliseconds(row.p99_ms) for row in rows],
        "ratio": [f"{row.ratio:.2f}x" + (" (drift)" if row.drift else "") for row in rows],
        "95 %": [
            NOTHING if row.ratio_interval is None else f"{row.ratio_interval[0]:.2f}–{row.ratio_interval[1]:.2f}"
            for row in rows
        ],
        "MB": [f"{row.peak_rss_bytes / 1e6:.0f}" if row.peak_rss_bytes else NOTHING for row in rows],
    }
    title = f"{rows[0].device}; {', '.join(runtimes)}; milliseconds in {min(row.sessions for row in rows)} sessions; "
    title += "ratios are those of `run`, undisturbed, to the first row"
    if len(runtimes) == 1:
        del each["runtime"]
    else:  # columns that are equal in all rows make room for it
        for name in ("threads", "input"):
            if len(set(each[name])) == 1:
                title += f"; {name} {each.pop(name)[0]}"
    head, body = tuple(each), list(zip(*each.values(), strict=True))
    return table(head, body, title=title, color=color, width=width)


def _exports_of(path: Path) -> list[Path]:
    """The export at `path`, or all in a folder of exports, such as `exports` in the output of `segexport run`."""
    inside = [] if (path / MANIFEST_NAME).exists() else sorted(file.parent for file in path.glob(f"*/{MANIFEST_NAME}"))
    return inside or [path]


def exports_named(given: Sequence[Path]) -> dict[str, ModelArtifact]:
    """The exports, and those in folders of exports, by name; raises InputError if one is given twice."""
    paths = list(chain.from_iterable(_exports_of(path) for path in given))
    names = [path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    if len(set(names)) < len(names):
        raise OptionError("the same export is named twice")
    return {name: read_artifact(path) for name, path in zip(names, paths, strict=True)}


def _runtimes(artifact: ModelArtifact, wanted: Sequence[str], *, all_runtimes: bool) -> list[str]:
    """Names of the runtimes for an export; "" means the format's first."""
    found = runtimes_of(artifact.manifest.format)
    if all_runtimes:
        return [runtime.name for runtime in found if runtime.version()] or [""]
    return [name for name in dict.fromkeys(wanted) if name in {runtime.name for runtime in found}] or [""]


def _timed(artifact: ModelArtifact, options: RunOptions) -> latency.TimedModel:
    runtime = runtime_for(artifact.manifest.format, options.device, options.runtime)
    return latency.TimedModel(lambda: runtime.open(artifact, options), noise(artifact))
