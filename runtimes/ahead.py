"""Starts the worker of a model's runtime while the rest of segexport is still being imported: a cold start has both."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from segexport.errors import SegexportError
from segexport.pipeline.entry_points import instance, names

if TYPE_CHECKING:
    from segexport.process.worker import Worker

_MAX_BYTES = 1 << 20  # of a manifest that is worth a look
_started: dict[tuple[str, int], Worker] = {}


def start_ahead(model: Path, *, device: str, threads: int, runtime: str = "") -> None:
    """Starts the worker that will run an artifact; the next session of its runtime takes it.

    This is a guess: what is wrong with the model or the runtime is said when it is opened. A worker that nobody takes
    ends with this process.

    Args:
        runtime: As in `segexport.load`.
    """
    if device.partition(":")[0] == "adb" or runtime not in ("", *names("runtime")):
        return
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError, SegexportError):
        with (model / "manifest.json").open("rb") as stream:
            format = json.loads(stream.read(_MAX_BYTES))["format"]
        chosen = runtime or _first_runtime(format)
        _started[chosen, threads] = instance("runtime", chosen).start(threads)


def taken(runtime: str, threads: int) -> Worker | None:
    """Returns the worker that was started ahead; None if there is none."""
    return _started.pop((runtime, threads), None)


def _first_runtime(format: str) -> str:
    """Returns a runtime that runs a format, likely the first; to ask the target takes longer than the start."""
    likely_first = sorted(names("runtime"), key=lambda name: not name.startswith(format))
    return next((name for name in likely_first if format in instance("runtime", name).runs), "")
