"""Outputs of steps, by the key of all that made them: work is done once, and a killed run goes on where it stopped."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from segexport.errors import StorageError

LAYOUT_VERSION = "1"  # in the path: another layout is another store, never a misread one
OVERRIDE = "SEGEXPORT_CACHE"


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

    def find(self, key: str) -> Path | None:
        """The folder kept under `key`; its time of use is renewed."""
        path = self._place(key)
        if not path.is_dir():
            return None
        with contextlib.suppress(OSError):  # a read-only store serves as well
            os.utime(path)
        return path

    def keep(self, key: str, build: Callable[[Path], None]) -> Path:
        """Lets `build` fill an empty folder and keeps it under `key`. Nothing is kept when `build` raises.

        Raises:
            StorageError: The disk is full or the store cannot be written.
        """
        place = self._place(key)
        work = self.unfinished / f"{key}-{os.getpid()}"
        try:
            shutil.rmtree(work, ignore_errors=True)
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
        shutil.rmtree(self._place(key), ignore_errors=True)

    def entries(self) -> Iterator[Entry]:
        """Everything that is kept."""
        for path in sorted(self.objects.glob("??/*")):
            size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            yield Entry(path.name, path, size, path.stat().st_mtime)

    def collect(self, *, older_than_days: float) -> tuple[int, int]:
        """Removes what nobody used for that long, and the leftovers of runs that are gone: (entries, bytes)."""
        limit = time.time() - older_than_days * 86400
        removed = freed = 0
        for entry in list(self.entries()):
            if entry.used <= limit:
                shutil.rmtree(entry.path)
                removed, freed = removed + 1, freed + entry.size_bytes
        for leftover in self.unfinished.glob("*"):
            if not _alive(int(leftover.name.rpartition("-")[2])):
                shutil.rmtree(leftover, ignore_errors=True)
        return removed, freed

    def _place(self, key: str) -> Path:
        return self.objects / key[:2] / key


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def storage_error(error: OSError, path: Path) -> StorageError:
    """An OSError as something that a person can act on."""
    hints = {
        errno.ENOSPC: "free some space; `segexport cache gc` removes old outputs",
        errno.EDQUOT: "the quota is used up; `segexport cache gc` removes old outputs",
        errno.EACCES: f"choose another place: ${OVERRIDE} for the cache, -o for the output",
        errno.EROFS: f"choose another place: ${OVERRIDE} for the cache, -o for the output",
    }
    where = error.filename or path
    return StorageError(
        f"{where}: cannot be written", cause=os.strerror(error.errno or 0), hint=hints.get(error.errno, "")
    )
