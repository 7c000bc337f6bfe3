"""Outputs of steps, by the key of all that made them: work is done once, and a killed run goes on where it stopped."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from segexport.artifact import ModelArtifact, read_artifact
from segexport.errors import InputError, StorageError

LAYOUT_VERSION = "1"  # in the path: another layout is another store, never a misread one
OVERRIDE = "SEGEXPORT_CACHE"
TRAINING = "training"  # folder for what is trained and not finished, by content key
_FULL_BYTES = 1 << 18
_DAY_S = 86400.0


@dataclass(frozen=True)
class Entry:
    """A kept output. `used` is the time (seconds since the epoch) of its last use."""

    key: str
    path: Path
    size_bytes: int
    used: float


def default_root() -> Path:
    """$SEGEXPORT_CACHE, else the user's cache folder."""
    if chosen := os.environ.get(OVERRIDE):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "segexport"


class Store:
    """A content-addressed folder. Only successes are kept, and each appears whole or not at all."""

    def __init__(self, root: Path | None = None) -> None:
        base = (root or default_root()) / LAYOUT_VERSION
        self.objects, self.unfinished = base / "objects", base / "unfinished"
        self._trainings = base.parent / TRAINING

    def find(self, key: str) -> Path | None:
        """The folder kept under `key`; its time of use is renewed."""
        path = self._place(key)
        if not path.is_dir():
            return None
        with contextlib.suppress(OSError):  # a read-only store serves as well
            os.utime(path)
        return path

    def find_artifact(self, key: str) -> ModelArtifact | None:
        """The artifact kept under `key`; one that was damaged since is forgotten, so that it is made again."""
        path = self.find(key)
        if path is None:
            return None
        try:
            return read_artifact(path)
        except InputError:
            self.discard(key)
            return None

    def keep(self, key: str, build: Callable[[Path], None]) -> Path:
        """Lets `build` fill an empty folder and keeps it under `key`. Nothing is kept when `build` raises.

        Raises:
            StorageError: The disk is full or the store cannot be written.
        """
        place = self._place(key)
        work = self._working_name(key)
        try:
            work.mkdir(parents=True)
            place.parent.mkdir(parents=True, exist_ok=True)
            build(work)
            try:
                work.replace(place)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                # another run was quicker; equal keys mean equal bytes
        except OSError as error:
            raise storage_error(error, work) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return place

    def discard(self, key: str) -> None:
        """Forgets what is kept under `key` (it was found damaged)."""
        with contextlib.suppress(OSError):
            self._remove(self._place(key))

    def entries(self) -> Iterator[Entry]:
        """Everything that is kept."""
        for path in sorted(self.objects.glob("??/*")):
            try:
                size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
                used = path.stat().st_mtime
            except FileNotFoundError:  # collected by another process in this moment
                continue
            yield Entry(path.name, path, size, used)

    def collect(self, *, older_than_days: float) -> tuple[int, int]:
        """Removes what nobody used for that long, and the leftovers of runs that are gone: (entries, bytes)."""
        limit = time.time() - older_than_days * _DAY_S
        removed = freed = 0
        for entry in list(self.entries()):
            if entry.used <= limit:
                try:
                    self._remove(entry.path)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise storage_error(error, entry.path) from error
                removed, freed = removed + 1, freed + entry.size_bytes
        for leftover in self.unfinished.glob("*-*-*"):
            pid = leftover.name.split("-")[1]
            if pid.isdigit() and not is_alive(int(pid)):
                shutil.rmtree(leftover, ignore_errors=True)
        # A training that was killed leaves its checkpoint; one that is under way writes now and then.
        for folder in self._trainings.glob("*"):
            with contextlib.suppress(FileNotFoundError):  # finished in this moment
                last = max(file.stat().st_mtime for file in (folder, *folder.glob("*")))
                if last <= min(limit, time.time() - _DAY_S):
                    freed += sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
                    shutil.rmtree(folder, ignore_errors=True)
                    removed += 1
        return removed, freed

    def _remove(self, path: Path) -> None:
        """Takes an entry out at once, then deletes its files: a half-deleted entry is never found."""
        grave = self._working_name(path.name)
        grave.parent.mkdir(parents=True, exist_ok=True)
        path.replace(grave)
        shutil.rmtree(grave, ignore_errors=True) if grave.is_dir() else grave.unlink()

    def _working_name(self, key: str) -> Path:
        """A name of its own: process ids repeat among containers that share a store."""
        return self.unfinished / f"{key}-{os.getpid()}-{secrets.token_hex(4)}"

    def _place(self, key: str) -> Path:
        return self.objects / key[:2] / key


def is_alive(pid: int) -> bool:
    """Whether there is such a process, anybody's."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def require_room(folder: Path, error: Exception) -> None:
    """Raises StorageError where the disk is full: a native tool that cannot write says many things, but not that."""
    if shutil.disk_usage(folder).free < _FULL_BYTES:
        raise storage_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), folder) from error


def storage_error(error: OSError, path: Path) -> StorageError:
    """An OSError as something that a person can act on."""
    hints = {
        errno.ENOSPC: "free some space; `segexport cache gc` removes old outputs",
        errno.EDQUOT: "the quota is used up; `segexport cache gc` removes old outputs",
        errno.EACCES: f"choose another place: ${OVERRIDE} for the cache, -o for the output",
        errno.EROFS: f"choose another place: ${OVERRIDE} for the cache, -o for the output",
    }
    where = error.filename2 or error.filename or path  # of a copy, the second one is the target
    return StorageError(
        f"{where}: cannot be written", cause=os.strerror(error.errno or 0), hint=hints.get(error.errno, "")
    )
