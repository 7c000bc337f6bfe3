"""Converts errors of the disk to a StorageError with a hint."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

from segexport.errors import StorageError

CACHE_VARIABLE = "SEGEXPORT_CACHE"
STORE_VARIABLE = "SEGEXPORT_STORE"
_FULL_BYTES = 1 << 18


def require_room(folder: Path, error: Exception) -> None:
    """Raises StorageError if the disk is full; native tools that cannot write report other errors."""
    if shutil.disk_usage(folder).free < _FULL_BYTES:
        raise storage_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), folder) from error


def require_temporary_room(error: Exception) -> None:
    """Raises StorageError if the folder for temporary files is full, which libraries rarely report."""
    folder = Path(tempfile.gettempdir())
    if shutil.disk_usage(folder).free < _FULL_BYTES:
        raise StorageError(
            f"{folder}: no room for temporary files",
            cause=os.strerror(errno.ENOSPC),
            hint="free some space there, or name another folder: TMPDIR=DIR segexport ...",
        ) from error


def storage_error(error: OSError, path: Path) -> StorageError:
    """The error to raise for an OSError while writing `path`."""
    hints = {
        errno.ENOSPC: "free some space; `segexport cache gc` removes old outputs",
        errno.EDQUOT: "the quota is used up; `segexport cache gc` removes old outputs",
        errno.EACCES: f"choose another place: ${CACHE_VARIABLE} for the cache, -o for the output",
        errno.EROFS: f"choose another place: ${CACHE_VARIABLE} for the cache, -o for the output",
    }
    where = error.filename2 or error.filename or path  # for a copy, the second one is the target
    return StorageError(
        f"{where}: cannot be written", cause=os.strerror(error.errno or 0), hint=hints.get(error.errno or 0, "")
    )
