"""Atomic writes: files and folders are written under a unique temporary name and then renamed.

A killed run leaves its temporary file. The name contains the machine and the process id, so the next run that writes to
the same folder knows that the process is gone, and removes the file.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import platform
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segexport.errors import InputError
from segexport.files.disk import storage_error

_MARK = ".unfinished-"
_LONGEST_NAME_BYTES = 150  # file systems allow 255, and the temporary name has a suffix
_FOREIGN_AFTER_S = 86400.0  # another machine's process cannot be looked up; after a day, its file is a leftover


@contextmanager
def whole_file(path: Path, *, replace: bool = True, keep_suffix: bool = False) -> Iterator[Path]:
    """A temporary path to write to; renamed to `path` if the block ends without an error. Creates folders.

    Args:
        replace: Whether an existing file may be replaced.
        keep_suffix: Whether the temporary path has the suffix of `path`, for programs that select a format by it.

    Raises:
        InputError: `path` is a file that must not be replaced, or a folder.
        StorageError: The disk is full, or the folder cannot be written.
    """
    _require_file_place(path, replace)
    work = working_name(path)
    if keep_suffix:
        work = work.with_name(work.name + path.suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
        yield work
        _require_file_place(path, replace)  # checked again: writing may take long
        os.replace(work, path)
    except OSError as error:
        if not error.errno:  # of a connection, which the block uses
            raise
        raise storage_error(error, path) from error
    finally:
        _remove(work)


def write_file(path: Path, data: bytes | str, *, replace: bool = True) -> Path:
    """Writes a whole file, text as UTF-8 with `\\n`; raises as `whole_file`. Returns `path`."""
    with whole_file(path, replace=replace) as work:
        work.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """An empty temporary folder; it becomes or replaces the folder `path` if the block ends without an error.

    Raises:
        StorageError: The disk is full, or the parent folder cannot be written.
    """
    path = path.resolve()
    work = working_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
        work.mkdir()
        yield work
        if path.exists():
            remove_whole(path)
        work.replace(path)
    except OSError as error:
        if not error.errno:  # of a connection, which the block uses
            raise
        raise storage_error(error, work) from error
    finally:
        _remove(work)


def remove_whole(path: Path, graves: Path | None = None) -> None:
    """Renames a file or folder, then deletes it, so that a half-deleted one is never visible.

    Args:
        graves: Folder for files that are being deleted; default: the folder of `path`.
    """
    grave = working_name(path, graves)
    grave.parent.mkdir(parents=True, exist_ok=True)
    path.replace(grave)
    _remove(grave)


def working_name(path: Path, folder: Path | None = None) -> Path:
    """A temporary name for `path`, in its folder or in another; unique among all processes and machines."""
    return (folder or path.parent) / f"{_prefix(path.name)}{_machine()}-{os.getpid()}-{secrets.token_hex(4)}"


def remove_leftovers(path: Path) -> None:
    """Removes temporary files of killed runs next to `path`."""
    for leftover in path.parent.glob(f"{glob.escape(_prefix(path.name))}*"):
        if is_abandoned(leftover):
            _remove(leftover)


def is_abandoned(path: Path) -> bool:
    """Whether `path` is a temporary name of an ended process, or an old one of another machine."""
    _, mark, owner = path.name.rpartition(_MARK)
    machine, _, rest = owner.partition("-")
    pid, _, token = rest.partition("-")
    if not mark or not pid.isdigit() or not token:
        return False
    if machine == _machine():
        return int(pid) != os.getpid() and not is_alive(int(pid))
    try:
        return time.time() - path.stat().st_mtime > _FOREIGN_AFTER_S
    except OSError:
        return False


def is_own(path: Path) -> bool:
    """Whether `path` is a temporary name of this process."""
    return f"{_MARK}{_machine()}-{os.getpid()}-" in path.name


def is_alive(pid: int) -> bool:
    """Whether a process with this id exists, of any user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _prefix(name: str) -> str:
    encoded = name.encode(errors="surrogateescape")
    if len(encoded) > _LONGEST_NAME_BYTES:
        name = hashlib.sha256(encoded).hexdigest()[:16]
    return f".{name}{_MARK}"


def _machine() -> str:
    """Process ids repeat among machines and containers that share a folder; a host name distinguishes them."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _require_file_place(path: Path, replace: bool) -> None:
    if path.is_dir() or (path.exists() and not replace):
        kind = "is a folder" if path.is_dir() else "exists"
        raise InputError(f"{path}: {kind}", hint="choose another file with -o, or remove it")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
