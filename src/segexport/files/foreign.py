"""The one door for files that somebody else wrote: whatever they provoke in a reader becomes an error with their path.

A reader tells the faults that it knows itself. A file can always hold one that nobody thought of, and no user should
see a traceback for it, or an exit code that means something else.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from segexport.errors import InputError, SegexportError

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_LONGEST_CAUSE = 300


def guarded(what: str) -> Callable[[Callable[_Arguments, _Result]], Callable[_Arguments, _Result]]:
    """Makes a reader one that raises nothing but SegexportError; its first argument names the file.

    Args:
        what: What the file should be, as messages call it: `a deploy file`.
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
    """A block that reads something foreign.

    Args:
        source: Its path, several of them, or what else names it in messages.
        what: What it should be.

    Raises:
        InputError: Anything but a SegexportError was raised inside.
    """
    name = "the data" if isinstance(source, bytes) else source
    if isinstance(source, list | tuple):
        name = ", ".join(map(str, source))
    try:
        yield
    except SegexportError:
        raise
    except OSError as error:
        raise InputError(f"{name}: cannot be read", cause=os.strerror(error.errno or 0)) from error
    except Exception as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_CAUSE]
        raise InputError(f"{name}: not {what}, or a damaged one", cause=cause) from error
