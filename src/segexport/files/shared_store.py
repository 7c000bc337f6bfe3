"""The shared store: outputs of steps on a remote file system, for colleagues and CI; the level behind the local one.

An output is a folder of files. Each is an object named by its sha256, below the output's key, and an index entry lists
them; it is written last, so that a reader finds all of an output or nothing of it. A reader compares every byte with
the index. What does not agree is no result: it counts as missing, and is made again and replaced.

    1/store.json                 what this is
    1/entries/ab/<key>.json      the index entry of an output
    1/objects/ab/<key>/<sha256>  its files
    1/used/ab/<key>              written when it is used; its time decides what garbage collection removes

A store that cannot be used is said once, and the process goes on without it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field, ValidationError, field_validator

from segexport import __version__
from segexport.artifact import MAX_FILES, FileEntry, digest_of, file_digest
from segexport.errors import OptionError, StorageError, one_line
from segexport.files.disk import STORE_VARIABLE, storage_error
from segexport.files.json_reader import parse_json
from segexport.files.remote_folder import RemoteDenied, RemoteError, RemoteFolder, RemoteMissing, without_secrets
from segexport.spec import Frozen

log = logging.getLogger("segexport.store")
LOCAL_ALONE = "going on with the local cache alone"
_LAYOUT = "1"  # in the path, as in the local store
_MARKER = f"{_LAYOUT}/store.json"
_CLOCK = f"{_LAYOUT}/clock"
_PATIENCE_S = 30.0
_MAX_ENTRY_BYTES = 4 << 20
_DAY_S = 86400.0
_IN_USE_S = 3600.0  # who has used an output this recently may be reading it
_UPLOADING_S = _DAY_S  # files without an index entry may belong to an upload that is under way
_NO_NAME = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}


class SharedEntry(Frozen):
    """The index entry of an output.

    Attributes:
        made_by: The version of segexport that made it.
        seconds: How long making it took.
        digest: sha256 of all other fields, so that a changed entry is not believed.
    """

    format: Literal[1] = 1
    key: str
    made_by: str
    seconds: float = Field(ge=0)
    files: tuple[FileEntry, ...] = Field(max_length=MAX_FILES)
    digest: str

    @field_validator("files")
    @classmethod
    def _are_files_of_a_folder(cls, files: tuple[FileEntry, ...]) -> tuple[FileEntry, ...]:
        for file in files:
            path = PurePosixPath(file.path)
            if not path.parts or path.as_posix() != file.path or "\0" in file.path or file.size_bytes < 0:
                raise ValueError(f"not a file: {file.path!r}, {file.size_bytes} bytes")
            if not re.fullmatch("[0-9a-f]{64}", file.sha256):
                raise ValueError(f"not a sha256: {file.sha256!r}")
        if len({file.path for file in files}) < len(files):
            raise ValueError("a file is listed twice")
        return files

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def own_digest(self) -> str:
        return digest_of(self.model_dump(mode="json", exclude={"digest"}))


@dataclass(frozen=True)
class SharedOutput:
    """A stored output. `used` is the time of its last use, in seconds since the epoch, by the clock of the store."""

    key: str
    size_bytes: int
    used: float
    objects: tuple[str, ...]


@dataclass(frozen=True)
class Collected:
    """What garbage collection removed, or would remove.

    Attributes:
        outputs: Outputs that nobody has used for long.
        leftovers: Files of uploads that were killed.
        in_use: Number of outputs that are old enough by the option, and stay because somebody uses them now.
    """

    outputs: tuple[SharedOutput, ...]
    leftovers: tuple[str, ...]
    freed_bytes: int
    in_use: int


class Unusable(Exception):
    """The output cannot be taken from the shared store; that was said."""


class SharedStore:
    """A store at `url`. Nothing of it raises because of the store itself, except what says so.

    Args:
        url: An address that fsspec understands, or a folder.
        patience_s: Longest wait for one answer.
    """

    def __init__(self, url: str, patience_s: float = _PATIENCE_S) -> None:
        self.url = url if "://" in url else str(Path(url).expanduser().absolute())
        self._patience_s = patience_s
        self._remote: tuple[int, RemoteFolder] | None = None
        self._has_marker = False
        self._keeps = True  # whether outputs are written
        self._ended = False  # whether it could not be used
        self._distrusted: set[str] = set()

    def __reduce__(self) -> tuple[object, ...]:
        return store_at, (self.url, self._patience_s)

    @property
    def is_http(self) -> bool:
        """Whether it can be read only, and not listed."""
        return self.url.startswith(("http://", "https://"))

    @property
    def shown(self) -> str:
        """The address without secrets."""
        return without_secrets(self.url)

    def look(self, key: str) -> SharedEntry | None:
        """The index entry of an output; None if there is none, or none that can be believed.

        Raises:
            SegexportError: The address is wrong, or a package for it is missing.
        """
        remote = self._opened()
        if remote is None or key in self._distrusted:
            return None
        try:
            data = remote.read(_entry(key), _MAX_ENTRY_BYTES + 1)
            entry = _parsed(key, data)
        except (RemoteMissing, RemoteDenied):  # S3 denies what is not there to those who may not list
            return None
        except RemoteError as error:
            return self._end(error)
        except ValueError as error:
            return self._distrust(key, f"its index entry {error}")
        self._mark_used(remote, key)
        return entry

    def download(self, entry: SharedEntry, folder: Path) -> None:
        """Copies the files of an output into an empty folder.

        Raises:
            Unusable: A file is missing or differs from the entry, or the store cannot be read.
            StorageError: The disk is full, or the folder cannot be written.
        """
        remote = self._opened()
        if remote is None:
            raise Unusable
        try:
            remote.transfer(
                [partial(_fetch, remote, entry.key, file, folder) for file in entry.files], entry.size_bytes
            )
        except RemoteMissing:
            self._distrust(entry.key, "a file of it is missing")
            raise Unusable from None
        except ValueError as error:
            self._distrust(entry.key, str(error))
            raise Unusable from None
        except RemoteError as error:
            self._end(error)
            raise Unusable from None

    def publish(self, key: str, folder: Path, seconds: float) -> int | None:
        """Copies an output into the store, or marks it as used if it is there.

        Returns:
            The bytes that were copied; None: the store does not have the output.

        Args:
            seconds: How long making it took.

        Raises:
            SegexportError: The address is wrong, or a package for it is missing.
        """
        remote = self._opened()
        if remote is None or not self._keeps:
            return None
        try:
            if key not in self._distrusted and remote.modified(_entry(key)) is not None:
                self._mark_used(remote, key)
                return 0
            if not self._has_marker:
                remote.write(_MARKER, json.dumps({"segexport store": _LAYOUT}).encode())
                self._has_marker = True
            return self._copy(remote, key, folder, seconds)
        except RemoteDenied as error:
            self._keeps = False
            log.warning("shared store %s: cannot be written, and is only read: %s", self.shown, error)
        except RemoteError as error:
            self._end(error)
        except ValidationError as error:  # too many files, or a name that is none elsewhere
            log.warning("shared store %s: output %s is not shared: %s", self.shown, key[:16], one_line(error))
        except OSError as error:  # somebody removes it from the local cache
            log.warning("shared store %s: output %s is not shared: %s", self.shown, key[:16], error)
        return None

    def distrust(self, key: str) -> None:
        """Forgets an output whose files agree with its entry, and which is none: it will be replaced."""
        self._distrust(key, "it is not what its step makes")

    def outputs(self) -> list[SharedOutput]:
        """All stored outputs.

        Raises:
            StorageError: The store cannot be read.
            SegexportError: The address is wrong, or a package for it is missing.
        """
        remote = self._listed()
        try:
            return list(_outputs(remote))
        except RemoteError as error:
            raise self._error("cannot be read", error) from None

    def collect(self, *, older_than_days: float, dry_run: bool = False) -> Collected:
        """Removes outputs that nobody has used for this long, and what killed writers left more than a day ago.

        An output that somebody has used within the last hour stays at any age: it may be on its way to them.

        Raises:
            StorageError: The store cannot be read or written.
            OptionError: The address is wrong, or the store is read-only.
        """
        remote = self._listed()
        try:
            remote.write(_CLOCK, b"1")
            now = remote.modified(_CLOCK)
            assert now is not None, "it was just written"
            return _collected(remote, now, now - older_than_days * _DAY_S, dry_run)
        except RemoteError as error:
            raise self._error("garbage collection did not end", error) from None

    def _copy(self, remote: RemoteFolder, key: str, folder: Path, seconds: float) -> int:
        paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        files = tuple(
            FileEntry(path=name, sha256=file_digest(path), size_bytes=path.stat().st_size, role="other")
            for name, path in paths.items()
        )
        entry = SharedEntry(
            key=key, made_by=f"segexport {__version__}", seconds=round(seconds, 3), files=files, digest=""
        )
        entry = entry.model_copy(update={"digest": entry.own_digest})
        remote.upload({_object(key, file.sha256): paths[file.path] for file in files})
        remote.write(_entry(key), (entry.model_dump_json(indent=1) + "\n").encode())  # from now on, it can be found
        self._distrusted.discard(key)
        return entry.size_bytes

    def _opened(self) -> RemoteFolder | None:
        """The connection; None if the store cannot be used. A forked process opens its own."""
        if self._ended:
            return None
        if self._remote is not None and self._remote[0] == os.getpid():
            return self._remote[1]
        try:
            remote = RemoteFolder(self.url, self._patience_s)
            self._keeps = self._keeps and remote.writable
            try:
                remote.read(_MARKER, 1)
                self._has_marker = True
            except RemoteMissing:
                if not remote.writable:
                    raise RemoteError("there is no store: 1/store.json is missing") from None
        except RemoteError as error:
            return self._end(error)
        self._remote = os.getpid(), remote
        return remote

    def _listed(self) -> RemoteFolder:
        """The connection, for a command that is about the store.

        Raises:
            StorageError: The store cannot be reached.
            OptionError: The store can be neither listed nor written.
        """
        if self.is_http:
            raise OptionError(
                f"{self.shown}: over HTTP, a store is read and not listed or written",
                hint="use the address that you write with: s3://...",
            )
        try:
            return RemoteFolder(self.url, self._patience_s)
        except RemoteError as error:
            raise self._error("cannot be reached", error) from None

    def _error(self, what: str, error: RemoteError) -> StorageError:
        return StorageError(f"shared store {self.shown}: {what}", cause=str(error))

    def _mark_used(self, remote: RemoteFolder, key: str) -> None:
        if self._keeps:
            try:
                remote.write(_used(key), b"1")
            except RemoteDenied:  # whoever only reads cannot tell, and is told when it would write
                pass
            except RemoteError as error:
                self._end(error)

    def _distrust(self, key: str, why: str) -> None:
        if key not in self._distrusted:
            self._distrusted.add(key)
            log.warning("shared store %s: output %s is damaged and not used: %s", self.shown, key[:16], why)

    def _end(self, error: RemoteError) -> None:
        if not self._ended:
            self._ended = True
            log.warning("shared store %s: cannot be used, %s: %s", self.shown, LOCAL_ALONE, error)


@cache
def store_at(url: str, patience_s: float) -> SharedStore:
    """The store at an address: one for each process, which says once what is wrong with it."""
    return SharedStore(url, patience_s)


def chosen_store() -> SharedStore | None:
    """The store in $SEGEXPORT_STORE, which `--store` sets; None: there is none."""
    url = os.environ.get(STORE_VARIABLE, "")
    return store_at(url, _PATIENCE_S) if url else None


def _fetch(remote: RemoteFolder, key: str, file: FileEntry, folder: Path) -> None:
    """Raises ValueError if the file is another one than its entry says."""
    place, digest, size = folder / file.path, hashlib.sha256(), 0
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as stream:
            for block in remote.blocks(_object(key, file.sha256), file.size_bytes + 1):
                digest.update(block)
                size += len(block)
                stream.write(block)
    except OSError as error:
        if error.errno in _NO_NAME:
            raise ValueError(f"{file.path!r} cannot be the name of a file") from None
        raise storage_error(error, place) from error
    if size != file.size_bytes or digest.hexdigest() != file.sha256:
        found = f"over {file.size_bytes}" if size > file.size_bytes else str(size)
        raise ValueError(f"{file.path}: {found} bytes, {file.size_bytes} recorded, or another sha256")


def _parsed(key: str, data: bytes) -> SharedEntry:
    """Raises ValueError if this is not the entry of this output."""
    if len(data) > _MAX_ENTRY_BYTES:
        raise ValueError(f"is over {_MAX_ENTRY_BYTES >> 20} MiB")
    try:
        raw = parse_json(data)
    except ValueError:
        raise ValueError("is not JSON") from None
    try:
        entry = SharedEntry.model_validate(raw)
    except ValidationError as error:
        raise ValueError(f"is not valid: {one_line(error)}") from None
    if entry.key != key or entry.digest != entry.own_digest:
        raise ValueError("was changed")
    return entry


def _outputs(remote: RemoteFolder) -> Iterator[SharedOutput]:
    entries = {_key_of(file.name): file for file in remote.files(f"{_LAYOUT}/entries")}
    used = {_key_of(file.name): file.modified for file in remote.files(f"{_LAYOUT}/used")}
    objects: dict[str, list[tuple[str, int]]] = {}
    for file in remote.files(f"{_LAYOUT}/objects"):
        objects.setdefault(file.name.split("/")[-2], []).append((file.name, file.size_bytes))
    for key, file in sorted(entries.items()):
        own = objects.get(key, [])
        size = sum(size for _, size in own)
        last = max(file.modified, used.get(key, 0.0))
        yield SharedOutput(key, size, last, tuple(name for name, _ in own))


def _collected(remote: RemoteFolder, now: float, limit: float, dry_run: bool) -> Collected:
    outputs = list(_outputs(remote))
    known = {output.key for output in outputs}
    old = [output for output in outputs if output.used <= limit]
    removed, in_use = [], 0
    for output in old:
        last = max(output.used, remote.modified(_used(output.key)) or 0.0)  # again: it may have been used just now
        if last > limit or now - last < _IN_USE_S:
            in_use += 1
            continue
        removed.append(output)
        if not dry_run:
            remote.remove([_entry(output.key)])  # first: what cannot be found need not be complete
            remote.remove([*output.objects, _used(output.key)])
    leftovers = [
        file
        for folder in ("objects", "used")
        for file in remote.files(f"{_LAYOUT}/{folder}")
        if _key_of(file.name, folder) not in known and now - file.modified > _UPLOADING_S
    ]
    if not dry_run:
        remote.remove([file.name for file in leftovers])
        remote.remove_unfinished(now - _UPLOADING_S)
    freed = sum(output.size_bytes for output in removed) + sum(file.size_bytes for file in leftovers)
    return Collected(tuple(removed), tuple(file.name for file in leftovers), freed, in_use)


def _key_of(name: str, folder: str = "") -> str:
    parts = name.split("/")
    return parts[-2] if folder == "objects" else parts[-1].removesuffix(".json")


def _entry(key: str) -> str:
    return f"{_LAYOUT}/entries/{key[:2]}/{key}.json"


def _object(key: str, sha256: str) -> str:
    return f"{_LAYOUT}/objects/{key[:2]}/{key}/{sha256}"


def _used(key: str) -> str:
    return f"{_LAYOUT}/used/{key[:2]}/{key}"
