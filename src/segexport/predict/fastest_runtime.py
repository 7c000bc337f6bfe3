"""Finds the fastest runtime for a model on this machine; stores the result until model, machine or runtimes change."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from segexport.artifact import ModelArtifact, digest_of
from segexport.errors import SegexportError
from segexport.files.store import Store
from segexport.measure import latency
from segexport.measure.environment import describe_machine
from segexport.measure.latency_statistics import latency_ratio
from segexport.measure.noise import noise
from segexport.pipeline.registry import runtime_for, runtimes_of
from segexport.progress import Progress, silent
from segexport.recipe.limits import limits_for
from segexport.runtimes.agreement import agreement
from segexport.runtimes.base import RunOptions, Session

_FILE = "fastest.json"
_SECONDS = 4.0
_VERSION = 1


def fastest_runtime(
    artifact: ModelArtifact, options: RunOptions, *, store: Store | None = None, progress: Progress = silent
) -> str:
    """The name of the fastest runtime on this machine whose masks agree with those of the format's first runtime.

    Another runtime than the first is chosen only if the whole 95 % interval of its time ratio is below 1. The result is
    stored by model, machine, device, threads, and the versions of all runtimes.

    Args:
        options: Device and threads.

    Raises:
        SegexportError: The format's first runtime cannot run the model.
    """
    each = [(runtime.name, runtime.version()) for runtime in runtimes_of(artifact.manifest.format)]
    versions = {name: version for name, version in each if version}
    if len(versions) < 2:
        return next(iter(versions), "")
    store = store or Store()
    key = digest_of(
        {
            "fastest runtime": _VERSION,
            "model": artifact.digest,
            "versions": versions,
            "device": options.device,
            "threads": options.threads,
            "machine": describe_machine(),
        }
    )
    known = _read(store, key)
    if known in versions:
        return known
    found = _measured(artifact, list(versions), options, progress)

    def keep(folder: Path) -> None:
        (folder / _FILE).write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")

    if not found.failed:  # a failed runtime may work the next time
        store.keep(key, keep)
    return found.fastest


@dataclass(frozen=True)
class _Found:
    """The measurements.

    Attributes:
        ratios: Runtime -> its time relative to the first runtime's.
        failed: Runtime -> why it could not be timed.
        disagree: Runtime with masks that differ from the first one's -> fraction of equal pixels.
    """

    fastest: str
    ratios: dict[str, float]
    failed: dict[str, str]
    disagree: dict[str, float]


def _read(store: Store, key: str) -> str:
    """The stored name; empty if there is none or the file is damaged."""
    folder = store.find(key)
    if folder is None:
        return ""
    try:
        return str(json.loads((folder / _FILE).read_text(encoding="utf-8"))["fastest"])
    except (OSError, ValueError, KeyError, TypeError):
        store.discard(key)
        return ""


def _measured(artifact: ModelArtifact, names: list[str], options: RunOptions, progress: Progress) -> _Found:
    tensors, manifest = noise(artifact), artifact.manifest

    def opened(name: str) -> Session:
        return runtime_for(manifest.format, options.device, name).open(artifact, options)

    first, *others = names
    with opened(first) as session:
        expected = session.infer(tensors)
    least = limits_for(manifest.target.precision).agreement_min or 0.0
    failed: dict[str, str] = {}
    disagree: dict[str, float] = {}
    for name in others:
        try:
            with opened(name) as session:
                same = agreement(expected, session.infer(tensors))
        except SegexportError as error:
            failed[name] = error.what
        else:
            if same < least:
                disagree[name] = same
    timed = [name for name in names if name not in failed and name not in disagree]
    programs = {name: latency.TimedModel(lambda name=name: opened(name), tensors) for name in timed}
    timings = latency.measure(programs, _SECONDS, progress=progress)
    if (error := timings[first].error) is not None:
        raise error
    ratios, fastest = {first: 1.0}, first
    for name in timed[1:]:
        if (fault := timings[name].error) is not None:
            failed[name] = fault.what
            continue
        ratio = latency_ratio(timings[name].sessions_ms, timings[first].sessions_ms)
        ratios[name] = ratio.value
        if ratio.interval is not None and ratio.interval[1] < 1 and ratio.value < ratios[fastest]:
            fastest = name
    return _Found(fastest, ratios, failed, disagree)
