"""The build cache: stores outputs of steps by the digest of their inputs, so that a killed run resumes.

A shared store, if one is chosen, is its second level: what is missing here is taken from there, and what is made here
is copied there.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from segexport.artifact import ModelArtifact, read_artifact
from segexport.errors import InputError
from segexport.files.atomic import is_abandoned, is_own, remove_whole, working_name
from segexport.files.disk import CACHE_VARIABLE, storage_error
from segexport.files.hits import Hits, count, counted
from segexport.files.shared_store import SharedStore, Unusable, chosen_store

LAYOUT_VERSION = "1"  # in the path: another layout is another store, never a misread one
TRAINING = "training"  # folder of unfinished trainings, by content key
_DAY_S = 86400.0
_CLOCK_S = 1.0  # resolution of a file system's clock
_SIGNED_IN: set[Path] = set()


@dataclass(frozen=True)
class StoreEntry:
    """A stored output. `used` is the time of its last use, in seconds since the epoch."""

    key: str
    path: Path
    size_bytes: int
    used: float


def default_root() -> Path:
    """$SEGEXPORT_CACHE, else the user's cache folder."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "segexport"


class Store:
    """A content-addressed folder. Only complete outputs are stored, atomically.

    Args:
        root: Its folder; None: the default.
        shared: The second level; None: the one in $SEGEXPORT_STORE, if any.
    """

    def __init__(self, root: Path | None = None, shared: SharedStore | None = None) -> None:
        base = (root or default_root()) / LAYOUT_VERSION
        self.objects, self.unfinished = base / "objects", base / "unfinished"
        self._trainings, self._users = base.parent / TRAINING, base / "users"
        self.shared = shared or chosen_store()
        self._hits, self._published = base / "hits.json", base / "published"
        self._fetched: set[str] = set()

    def find(self, key: str) -> Path | None:
        """The folder stored under `key`; updates its time of use.

        Raises:
            SegexportError: The shared store's address is wrong, or a package for it is missing.
            StorageError: The output cannot be copied from the shared store to here.
        """
        self._sign_in()
        path = self._place(key)
        if not path.is_dir():
            return None if self.shared is None else self._fetch(self.shared, key)
        with contextlib.suppress(OSError):  # a read-only store works too
            os.utime(path)
        count(self._hits, Hits(local=1))
        if self.shared is not None:
            self._share(self.shared, key, path)
        return path

    def find_artifact(self, key: str) -> ModelArtifact | None:
        """The artifact stored under `key`; a damaged one is removed, so that it is made again."""
        for _level in ("local", "shared"):
            path = self.find(key)
            if path is None:
                return None
            try:
                return read_artifact(path)
            except InputError:
                self.discard(key)
        return None

    def origin(self, key: str) -> str:
        """Where this process found an output, for messages."""
        return "shared store" if key in self._fetched else "cache"

    def keep(self, key: str, build: Callable[[Path], None]) -> Path:
        """Calls `build` with an empty folder and stores it under `key`, unless `build` raises.

        Raises:
            StorageError: The disk is full or the store cannot be written.
        """
        start = time.monotonic()
        place = self._keep_here(key, build)
        if self.shared is not None:
            self._share(self.shared, key, place, time.monotonic() - start)
        return place

    @property
    def hits(self) -> Hits:
        """What this store and the shared one have found."""
        return counted(self._hits)

    def _keep_here(self, key: str, build: Callable[[Path], None]) -> Path:
        place = self._place(key)
        work = working_name(place, self.unfinished)
        self._sign_in()
        try:
            self._remove_leftovers(key)
            work.mkdir(parents=True)
            place.parent.mkdir(parents=True, exist_ok=True)
            build(work)
            try:
                work.replace(place)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                os.utime(place)  # another run was faster; equal keys mean equal bytes
        except OSError as error:
            raise storage_error(error, work) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return place

    def discard(self, key: str) -> None:
        """Removes the output under `key`, which is damaged."""
        if self.shared is not None and key in self._fetched:
            self.shared.distrust(key)
        with contextlib.suppress(OSError):
            self._remove(self._place(key))

    def entries(self) -> Iterator[StoreEntry]:
        """All stored outputs."""
        for path in sorted(self.objects.glob("??/*")):
            try:
                size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
                used = path.stat().st_mtime
            except FileNotFoundError:  # another process has just removed it
                continue
            yield StoreEntry(path.name, path, size, used)

    def collect(self, *, older_than_days: float) -> tuple[int, int]:
        """Removes entries that were not used for this long, and leftovers of ended runs; returns (entries, bytes).

        Entries that a running process has used are kept at any age, because it may still read them. The shared store is
        left alone.
        """
        limit = min([time.time() - older_than_days * _DAY_S, *self._running_since()])
        removed = freed = 0
        for entry in self.entries():
            if entry.used <= limit:
                try:
                    self._remove(entry.path)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise storage_error(error, entry.path) from error
                removed, freed = removed + 1, freed + entry.size_bytes
        self._remove_leftovers("*")
        for note in self._published.glob("*/*"):
            if not self._place(note.name).is_dir():
                note.unlink(missing_ok=True)
        # A killed training leaves its checkpoint; a running one writes regularly.
        for folder in self._trainings.glob("*"):
            with contextlib.suppress(FileNotFoundError):  # it has just finished
                last = max(file.stat().st_mtime for file in (folder, *folder.glob("*")))
                if last <= min(limit, time.time() - _DAY_S):
                    freed += sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
                    shutil.rmtree(folder, ignore_errors=True)
                    removed += 1
        return removed, freed

    def _fetch(self, shared: SharedStore, key: str) -> Path | None:
        entry = shared.look(key)
        if entry is None:
            return None
        try:
            place = self._keep_here(key, partial(shared.download, entry))
        except Unusable:
            return None
        self._fetched.add(key)
        count(self._hits, Hits(shared=1, shared_bytes=entry.size_bytes, shared_seconds=entry.seconds))
        self._note_published(shared, key)
        return place

    def _share(self, shared: SharedStore, key: str, place: Path, seconds: float = 0.0) -> None:
        """Copies an output into the shared store or marks it as used there; once a day is enough."""
        with contextlib.suppress(OSError):
            if not seconds and time.time() - self._note(shared, key).stat().st_mtime < _DAY_S:
                return
        size = shared.publish(key, place, seconds)
        if size is None:
            return
        self._note_published(shared, key)
        if size:
            count(self._hits, Hits(published=1, published_bytes=size))

    def _note_published(self, shared: SharedStore, key: str) -> None:
        """Remembers that the shared store has this output, so that it need not be asked today."""
        note = self._note(shared, key)
        with contextlib.suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()

    def _note(self, shared: SharedStore, key: str) -> Path:
        return self._published / hashlib.sha256(shared.url.encode()).hexdigest()[:16] / key

    def _sign_in(self) -> None:
        """Writes a file with the time since which this process has used the store; removed with the process."""
        if self._users in _SIGNED_IN:
            return
        _SIGNED_IN.add(self._users)
        file = working_name(Path("user"), self._users)
        with contextlib.suppress(OSError):  # a read-only store works too
            self._users.mkdir(parents=True, exist_ok=True)
            file.touch()
            atexit.register(file.unlink, missing_ok=True)

    def _running_since(self) -> Iterator[float]:
        """When other running processes began to use the store, in seconds since the epoch."""
        for file in self._users.glob(".user.*"):
            if is_abandoned(file):
                file.unlink(missing_ok=True)
            elif not is_own(file):
                with contextlib.suppress(FileNotFoundError):  # it has just ended
                    yield file.stat().st_mtime - _CLOCK_S

    def _remove(self, path: Path) -> None:
        remove_whole(path, self.unfinished)

    def _remove_leftovers(self, key: str) -> None:
        """Removes leftovers of killed runs for one output, or for all (`*`)."""
        for leftover in self.unfinished.glob(f".{key}.*"):
            if is_abandoned(leftover):
                shutil.rmtree(leftover, ignore_errors=True)

    def _place(self, key: str) -> Path:
        return self.objects / key[:2] / key
