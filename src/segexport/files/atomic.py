"""Single files that appear whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from segexport.errors import InputError
from segexport.files.store import storage_error


def write_whole(path: Path, data: bytes, *, replace: bool = True) -> Path:
    """Writes a file beside its place and moves it there; folders are made.

    Args:
        replace: Whether a file that is there may be replaced.

    Returns:
        `path`.

    Raises:
        InputError: It is there and must not be replaced, or it is a folder.
        StorageError: The disk is full, or the place cannot be written.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        if path.is_dir() or (path.exists() and not replace):
            kind = "is a folder" if path.is_dir() else "exists"
            raise InputError(f"{path}: {kind}", hint="choose another file with -o")
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_bytes(data)
        os.replace(new, path)
    except OSError as error:
        with suppress(OSError):
            new.unlink()
        raise storage_error(error, path) from error
    return path
