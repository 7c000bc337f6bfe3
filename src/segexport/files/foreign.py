"""Guards readers of files that segexport did not write: every error in a reader becomes an InputError with the path.

A reader reports the faults that it expects. A file can have others, and no user should see a traceback for them, or an
exit code with another meaning. A named pipe, on which a reader would wait for ever, is refused.
"""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from segexport.errors import SegexportError, UnreadableError, cannot_read

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_LONGEST_CAUSE = 300


def guarded(what: str) -> Callable[[Callable[_Arguments, _Result]], Callable[_Arguments, _Result]]:
    """Makes a reader raise only SegexportError; its first argument is the file.

    Args:
        what: The expected kind of file, for messages: `a deploy file`.
    """

    def wrap(reader: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        @functools.wraps(reader)
        def read(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
            source = arguments[0] if arguments else next(iter(options.values()))
            with reading(source, what):
                return reader(*arguments, **options)

        return read

    return wrap


@contextmanager
def reading(source: object, what: str) -> Iterator[None]:
    """A block that reads a file that segexport did not write.

    Args:
        source: Its path, several paths, or another name for messages.
        what: The expected kind of file.

    Raises:
        InputError: The block raised anything but a SegexportError; or the path is a pipe or a device, or its name is
            not UTF-8, the encoding of reports and manifests.
    """
    for path in source if isinstance(source, list | tuple) else (source,):
        if isinstance(path, Path):
            _require_file_or_folder(path)
    name = "the data" if isinstance(source, bytes) else source
    if isinstance(source, list | tuple):
        name = ", ".join(map(str, source))
    try:
        yield
    except SegexportError:
        raise
    except OSError as error:
        raise cannot_read(name, error) from error
    except Exception as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_CAUSE]
        raise UnreadableError(f"{name}: not {what}, or a damaged one", cause=cause) from error


def _require_file_or_folder(path: Path) -> None:
    """Raises InputError for a path that must not be opened; the reader reports a missing file."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UnreadableError(
            f"{path}: the name is not UTF-8",
            cause=f"character {error.start + 1} of the path is a byte of another encoding",
            hint="rename it; `convmv` does that for whole folders",
        ) from None
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or _is_pipe_of_the_shell(path)):
        raise UnreadableError(f"{path}: not a file", cause=f"it is {_KINDS.get(stat.S_IFMT(mode), 'something else')}")


def _is_pipe_of_the_shell(path: Path) -> bool:
    """Whether the path comes from a shell's `<(...)`, which has a writer; a named pipe may have none."""
    return os.path.realpath(path).startswith("/proc/")


_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
