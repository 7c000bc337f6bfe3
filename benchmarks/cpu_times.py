"""Times exports in turns by the processor time of their workers, which other processes disturb less than the clock."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from segexport.artifact import ModelArtifact
from segexport.measure.noise import noise
from segexport.pipeline.registry import runtime_for
from segexport.runtimes.base import RunOptions

_DRAWS = 2000


def in_turns(artifacts: Mapping[str, ModelArtifact], rounds: int, runs: int = 3) -> dict[str, dict[str, object]]:
    """Processor milliseconds of one inference, and the ratio to the first artifact's in the same round.

    Every artifact runs in a worker with one thread; a round runs each `runs` times. `cpu_ms` and `cpu_ratio` are
    medians over the rounds, the interval is the 95 % percentile interval of the bootstrapped median. An artifact that
    does not run has `times_error`.
    """
    times: dict[str, list[float]] = {}
    found: dict[str, dict[str, object]] = {}
    with ExitStack() as stack:
        sessions = {}
        for name, artifact in artifacts.items():
            before = _children()
            try:
                session = stack.enter_context(
                    runtime_for(artifact.manifest.format).open(artifact, RunOptions(threads=1))
                )
                sessions[name] = session, (_children() - before).pop()
                session.bench(noise(artifact), 2)
            except Exception as error:  # a row of its own, as in the table
                sessions.pop(name, None)
                found[name] = {"times_error": f"{type(error).__name__}: {str(error)[:200]}"}
        for _ in range(rounds):
            for name, (session, process) in sessions.items():
                start = _seconds(process)
                session.bench(noise(artifacts[name]), runs)
                times.setdefault(name, []).append((_seconds(process) - start) / runs * 1e3)
    random = np.random.default_rng(0)
    first = np.array(times[next(iter(artifacts))])
    for name, values in times.items():
        ratios = np.array(values) / first
        medians = np.median(ratios[random.integers(0, rounds, (_DRAWS, rounds))], axis=1)
        low, high = np.percentile(medians, [2.5, 97.5])
        found[name] = {
            "cpu_ms": round(float(np.median(values)), 2),
            "cpu_ratio": round(float(np.median(ratios)), 3),
            "cpu_ratio_interval": [round(float(low), 3), round(float(high), 3)],
        }
    return found


def _children() -> set[int]:
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        after_name = " ".join(_words(folder / "stat")).rpartition(")")[2].split()
        if after_name and int(after_name[1]) == os.getpid():
            found.add(int(folder.name))
    return found


def _seconds(process: int) -> float:
    """Processor time of all threads of a process; `schedstat` counts in nanoseconds."""
    counts = (_words(task / "schedstat") for task in Path(f"/proc/{process}/task").iterdir())
    return sum(int(each[0]) for each in counts if each) / 1e9


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:  # it has ended
        return []
