"""Runs a converter in a separate process; an error, a crash or a missing file means that it rejects the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from segexport.errors import UnsupportedModelError, WorkerCrashed, WorkerFailed
from segexport.process.settled import settled

T = TypeVar("T")


def converted(run: Callable[[], T], tool: str, files: Iterable[Path]) -> T:
    """Returns what `run` returns.

    Args:
        run: Calls the converter in a separate process.
        tool: The converter's name in messages.
        files: Files that it has to write, all in one folder.

    Raises:
        UnsupportedModelError: The converter rejects the model, crashes on it, or ends without a file.
        Interrupted: The converter was killed from outside or timed out, so its support for the model is unknown.
        StorageError: The disk is full.
    """
    files = list(files)
    try:
        answer = settled(run, out=files[0].parent)
    except (WorkerCrashed, WorkerFailed) as error:
        raise UnsupportedModelError(
            f"{tool} cannot convert this model", cause=f"{error.what}{f': {error.cause}' if error.cause else ''}"
        ) from error
    for file in files:
        if not file.is_file() or not file.stat().st_size:
            raise UnsupportedModelError(
                f"{tool} cannot convert this model", cause=f"it reported success and wrote no {file.name}"
            )
    return answer
