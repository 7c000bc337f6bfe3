"""Starts the worker of a model's runtime while the rest of segexport is still being imported, for a fast cold start."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from segexport.errors import SegexportError
from segexport.pipeline.entry_points import instance, names

if TYPE_CHECKING:
    from segexport.process.worker import Worker

_MAX_BYTES = 1 << 20  # largest manifest to read
_started: dict[tuple[str, int], Worker] = {}


def start_ahead(model: Path, *, device: str, threads: int, runtime: str = "") -> None:
    """Starts the worker that will run an artifact; the next session of its runtime uses it.

    This is a guess: errors of the model or the runtime are reported when the model is opened. An unused worker ends
    with this process.

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
    """Returns a runtime for a format, probably the first; reading it from the target takes longer than the start."""
    likely_first = sorted(names("runtime"), key=lambda name: not name.startswith(format))
    return next((name for name in likely_first if format in instance("runtime", name).runs), "")
