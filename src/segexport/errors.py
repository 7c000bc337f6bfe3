"""The errors that segexport raises.

A user's mistake, a failed gate and a bug are three different things: a mistake is a `SegexportError` (exit 2, no
traceback), a failed gate is a verdict in a report (exit 1), and anything else is a bug and keeps its traceback.

Every class has a `code`, which scripts may rely on: a code is never renamed or removed, and keeps its meaning. The
docstrings of the classes are the text of `docs/errors.md`: what happened, then what to do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from pydantic import ValidationError


class SegexportError(Exception):
    """Something failed for which there is no narrower code. Read the message.

    Args:
        what: One line that names the object, its value and its path: `path: what is wrong`.
        cause: The reason, if known.
        hint: The fix, with the command if there is one.

    Attributes:
        code: Stable name of the kind of error, for scripts.
    """

    code: ClassVar[str] = "error"

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

    @property
    def path(self) -> str | None:
        """The file or folder that the error is about, with which `what` begins; None if it begins with another word."""
        head = re.sub(r"^-{1,2}[a-z-]+ ", "", self.what.partition("\n")[0].partition(": ")[0])
        found = (head, head.partition(", split ")[0])
        return next((text for text in found if text and _exists(text)), None)


def _rebuild(kind: type[SegexportError], what: str, cause: str, hint: str) -> SegexportError:
    return kind(what, cause=cause, hint=hint)


def _exists(path: str) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:  # a null byte in it
        return False


class CommandLineError(SegexportError):
    """The command line cannot be read: an unknown command or option, or a value of another type. See `--help`."""

    code = "usage"


class InternalError(SegexportError):
    """A bug in segexport. Report it with the traceback on stderr."""

    code = "internal"


class StoppedError(SegexportError):
    """Ctrl-C stopped the command (exit code 130). The same command goes on after the last step that was finished."""

    code = "interrupted"


class InputError(SegexportError):
    """A file or value that was given cannot be used, for a reason without a narrower code. Read the message."""

    code = "input"


class OptionError(InputError):
    """The value of an option is unknown or out of range, or options contradict each other. Change the options."""

    code = "option"


class MissingInputError(InputError):
    """A file or folder that was named, or that another file names, does not exist. Correct the path."""

    code = "input.missing"

    @property
    def path(self) -> str | None:
        """What does not exist, if the message begins with it."""
        head, colon, _ = self.what.partition("\n")[0].partition(": ")
        return re.sub(r"^-{1,2}[a-z-]+ ", "", head) if colon else None


class UnreadableError(InputError):
    """The file is not of the expected kind, or it is damaged or cut off. Give another file, or make it again."""

    code = "input.unreadable"


class AlteredError(InputError):
    """The file is not the one that a digest or a list describes: it was edited or damaged. Make it again."""

    code = "input.altered"


class VersionError(InputError):
    """Another version of segexport wrote the file. Read it with that version, or make it again."""

    code = "input.version"


class MismatchError(InputError):
    """Two inputs do not belong together: other classes, images, tensors, or another model. Give the matching ones."""

    code = "input.mismatch"


class TooLargeError(InputError):
    """The input exceeds a limit of bytes or pixels, which the message names. Make it smaller."""

    code = "input.too-large"


class DownloadError(InputError):
    """A URL cannot be fetched, or must not be. Download the file yourself, or try again later."""

    code = "input.download"


class ServiceError(InputError):
    """GitHub's or GitLab's API refuses a request, or does not answer. The hint names the right that the token needs.

    Args:
        status: The HTTP status; 0 without an answer.
    """

    code = "service"

    def __init__(self, what: str, *, cause: str = "", hint: str = "", status: int = 0) -> None:
        super().__init__(what, cause=cause, hint=hint)
        self.status = status


class OutsideError(InputError):
    """The path lies outside of the folder that `segexport mcp --root` allows. Copy the files into it."""

    code = "input.outside"


class ExistsError(InputError):
    """The output exists already, and nothing is overwritten. Choose another one, or remove it."""

    code = "output.exists"


class BusyError(InputError):
    """Another process is doing the same work. Wait until it has finished, then run the command again."""

    code = "output.busy"


class DataError(InputError):
    """The images, lists, labels or annotations of the data cannot be used. `segexport data check` lists all faults."""

    code = "data"


class RecipeError(InputError):
    """The recipe has faults, which the message lists with their lines. See `segexport recipe schema`."""

    code = "recipe"


class UnsupportedModelError(InputError):
    """The model is valid, but has something that the target does not support. The message names the operator."""

    code = "model.unsupported"


class ModelSettingsError(InputError):
    """A model's files do not say how it is used (preprocessing, labels, mask), or do so wrongly. Say it by options."""

    code = "model.settings"


class ModelOutputError(InputError):
    """A model gives results that cannot be used: NaN, one class everywhere, classes that it does not have."""

    code = "model.output"


class EnvironmentMissingError(SegexportError):
    """An interpreter, package, runtime or tool is not installed, or does not work. The hint installs it."""

    code = "environment"


class NoPythonError(EnvironmentMissingError):
    """This machine has no Python for a toolchain, and no uv to install one. Install the named version, or uv."""

    code = "environment.python"


class DeviceMissingError(EnvironmentMissingError):
    """There is no such device: a GPU or a connected phone. Connect it, or choose another `--device`."""

    code = "environment.device"


class StorageError(SegexportError):
    """The disk is full, or the system refuses access to a path. Make room, or change the permissions."""

    code = "storage"


class WorkerError(SegexportError):
    """A separate process failed. Native code runs in separate processes only, so it cannot crash this one."""

    code = "worker"


class WorkerCrashed(WorkerError):
    """The worker died: a signal, an abort, no memory, or an exit without a result. The cause has its last words.

    Args:
        end: `SIGSEGV`, `exit 3`, ...; empty if unknown, or if memory ran out.
    """

    code = "worker.crashed"

    def __init__(self, what: str, *, cause: str = "", hint: str = "", end: str = "") -> None:
        super().__init__(what, cause=cause, hint=hint)
        self.end = end

    def __reduce__(self):
        return _rebuild_crash, (self.what, self.cause, self.hint, self.end)


def _rebuild_crash(what: str, cause: str, hint: str, end: str) -> WorkerCrashed:
    return WorkerCrashed(what, cause=cause, hint=hint, end=end)


class WorkerTimeout(WorkerError):
    """The worker exceeded its time limit and was ended. Run it on a machine that is not busy, or raise the limit."""

    code = "worker.timeout"


class WorkerFailed(WorkerError):
    """The worker reported that the job failed. The message is the native library's."""

    code = "worker.failed"


class Interrupted(WorkerError):
    """The machine killed a worker more than once: no result about its input, so nothing is stored. Run it again."""

    code = "worker.killed"


class ClusterError(SegexportError):
    """The cluster of `--on` does not answer, has no workers or other versions, or was lost. Start it again."""

    code = "cluster"


class KilledWorkers(ClusterError):
    """A task ended every worker that ran it: it needs more memory than they have, or it crashes. See their logs."""

    code = "cluster.killed"


def all_kinds() -> dict[str, type[SegexportError]]:
    """Code -> class, of every class that is loaded and has a code of its own; subclasses after their base."""
    found: dict[str, type[SegexportError]] = {}

    def visit(kind: type[SegexportError]) -> None:
        if "code" in vars(kind):
            found.setdefault(kind.code, kind)
        for one in kind.__subclasses__():
            visit(one)

    visit(SegexportError)
    return found


def cannot_read(path: object, error: OSError, *, hint: str = "") -> InputError:
    """The error of a file that the system does not open."""
    kind = MissingInputError if isinstance(error, FileNotFoundError) else UnreadableError
    return kind(f"{path}: cannot be read", cause=error.strerror or str(error), hint=hint)


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
