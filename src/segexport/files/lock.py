"""Locks a folder for one process; the system releases the lock when the process ends."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segexport.errors import BusyError

_NAME = ".lock"


@contextmanager
def only_user(folder: Path, what: str) -> Iterator[None]:
    """A block that only one process at a time can be in, per folder.

    Args:
        folder: An existing folder.
        what: The work in it, for the message: `this training`.

    Raises:
        InputError: Another process has the lock.
    """
    with (folder / _NAME).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                f"{what} is under way in another process",
                cause=f"it works in {folder}",
                hint="wait for it to end: the same command then finds what it made",
            ) from None
        except OSError:  # a file system without locks
            pass
        yield
