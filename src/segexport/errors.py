"""The errors that segexport raises.

A user's mistake, a failed gate and a bug are three different things: a mistake is a `SegexportError` (exit 2, no
traceback), a failed gate is a verdict in a report (exit 1), and anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pydantic import ValidationError


class SegexportError(Exception):
    """An error with its cause and a hint.

    Args:
        what: One line that names the object, its value and its path.
        cause: The reason, if known.
        hint: The fix, with the command if there is one.
    """

    def __init__(self, what: str, *, cause: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.cause = cause
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.what]
        if self.cause:
            lines.append(f"cause: {self.cause}")
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.cause, self.hint)


def _rebuild(kind: type[SegexportError], what: str, cause: str, hint: str) -> SegexportError:
    return kind(what, cause=cause, hint=hint)


class InputError(SegexportError):
    """A file or option that the user gave cannot be used: missing, corrupt, truncated, malicious or contradictory."""


class TooLargeError(InputError):
    """The input exceeds a limit of bytes or pixels, which the message names."""


class UnsupportedModelError(InputError):
    """The model is valid, but contains something that the target does not support; the message names the operator."""


class EnvironmentMissingError(SegexportError):
    """A required interpreter, runtime or provider is not installed."""


class StorageError(SegexportError):
    """The disk is full, or a path cannot be written."""


class WorkerError(SegexportError):
    """A separate process failed. Native code runs in separate processes only, so it cannot crash this one."""


class WorkerCrashed(WorkerError):
    """The worker died: a signal, an abort, or an exit without a result.

    Args:
        end: `SIGSEGV`, `exit 3`, ...; empty if unknown, or if memory ran out.
    """

    def __init__(self, what: str, *, cause: str = "", hint: str = "", end: str = "") -> None:
        super().__init__(what, cause=cause, hint=hint)
        self.end = end

    def __reduce__(self):
        return _rebuild_crash, (self.what, self.cause, self.hint, self.end)


def _rebuild_crash(what: str, cause: str, hint: str, end: str) -> WorkerCrashed:
    return WorkerCrashed(what, cause=cause, hint=hint, end=end)


class WorkerTimeout(WorkerError):
    """The worker exceeded its time limit."""


class WorkerFailed(WorkerError):
    """The worker reported that the job failed."""


class Interrupted(WorkerError):
    """The machine killed a worker more than once: this is no result about its input, so nothing is stored."""


class HoldsError(Protocol):
    """An object that can store its error."""

    error: SegexportError | None


@contextmanager
def capture_error(holder: HoldsError) -> Iterator[None]:
    """Stores an error in `holder` instead of raising it, so that a failure does not stop the others."""
    try:
        yield
    except SegexportError as error:
        holder.error = error


def one_line(error: ValidationError) -> str:
    """The faults of a pydantic error in one line, each with its location."""
    faults = error.errors()
    shown = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"[:300] for fault in faults[:10]]
    return "; ".join(shown) + (f"; and {len(faults) - 10} more" if len(faults) > 10 else "")
