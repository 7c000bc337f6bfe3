"""Distinguishes failures of a job itself from failures of the machine.

A converter that aborts on a program refuses it, and the caller may try another way. A process that was killed (by the
system for lack of memory, or by someone) or timed out proves nothing about the model: it runs again, and a second
failure is an error. Otherwise a temporary problem of the machine would be stored as a property of the model.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from segexport.errors import Interrupted, WorkerCrashed, WorkerError, WorkerFailed, WorkerTimeout
from segexport.files.disk import require_room

T = TypeVar("T")

OWN_ENDS = frozenset({"SIGABRT", "SIGSEGV", "SIGFPE", "SIGILL", "SIGTRAP"})
"""Signals that a program causes. SIGKILL and SIGTERM come from outside, SIGBUS from a full disk or memory."""
MOST_RUNS = 3


def settled(run: Callable[[], T], *, out: Path | None = None) -> T:
    """Returns what `run` returns; raises its failure if it fails the same way twice.

    Args:
        run: The job, in a separate process each time.
        out: Folder that it writes to. A native tool that cannot write reports another error, or crashes.

    Raises:
        WorkerCrashed: It crashed with the same signal, or exited with the same code, in two consecutive runs.
        Interrupted: It was killed from outside twice, or failed in different ways.
        StorageError: It crashed or failed, and the disk of `out` is full.
        SegexportError: Any other error of `run`, without a second run.
    """
    try:
        return _settled(run)
    except (WorkerCrashed, WorkerFailed) as error:
        if out is not None:
            require_room(out, error)
        raise


def _settled(run: Callable[[], T]) -> T:
    before: WorkerError | None = None
    for _ in range(MOST_RUNS):
        try:
            return run()
        except (WorkerCrashed, WorkerTimeout) as error:
            if before is not None and _is_own(error) and _end(error) == _end(before):
                raise
            if before is not None and not _is_own(error) and not _is_own(before):
                raise _interrupted(error) from error
            before = error
    assert before is not None, "each run that ends without a result leaves its error"
    raise _interrupted(before) from before


def _is_own(error: WorkerError) -> bool:
    end = _end(error)
    return end in OWN_ENDS or end.startswith("exit ")


def _end(error: WorkerError) -> str:
    return error.end if isinstance(error, WorkerCrashed) else ""


def _interrupted(error: WorkerError) -> Interrupted:
    return Interrupted(
        error.what,
        cause=f"{error.cause + '; ' if error.cause else ''}the same once more, or another end each time: that is the "
        "machine, and proves nothing about the model",
        hint="run the command again, with more free memory; what was done before is kept",
    )
