"""Shares a machine between tasks: many that compute, or one that measures time and nothing beside it.

Two locks on files in the folder for temporary files, which all processes of the user see. A task that computes holds
the machine's lock together with others; one that measures time holds it alone. While that waits, it holds the gate, so
that no other task starts. The system releases the locks of a process that ends.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from segexport.errors import StorageError
from segexport.process.stopping import require_going

_LOOK_EVERY_S = 0.05


@contextmanager
def machine(*, alone: bool) -> Iterator[None]:
    """A block that shares the machine with others of this kind, or with none if `alone`.

    Raises:
        StorageError: The lock's folder belongs to another user, or cannot be written.
    """
    folder = _folder()
    with ExitStack() as stack:
        gate, whole = (stack.enter_context((folder / name).open("a")) for name in ("gate.lock", "machine.lock"))
        kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        _wait_for(gate, kind)
        _wait_for(whole, kind)
        if not alone:
            fcntl.flock(gate, fcntl.LOCK_UN)
        yield


def _wait_for(file, kind: int) -> None:
    """Waits without blocking, so that the work can be stopped meanwhile."""
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            require_going()
            time.sleep(_LOOK_EVERY_S)


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"segexport-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        owner = folder.lstat().st_uid
    except OSError as error:
        raise StorageError(f"{folder}: cannot be made", cause=error.strerror or str(error)) from error
    if owner != os.getuid() or folder.is_symlink():
        raise StorageError(
            f"{folder}: belongs to another user", hint=f"set TMPDIR to a folder of yours, or remove {folder}"
        )
    return folder
