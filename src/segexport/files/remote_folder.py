"""A folder on any file system that fsspec reaches: S3, GCS, Azure, SFTP, a mounted folder; HTTP for reading.

Credentials are fsspec's: its environment variables, its configuration files, and those of the cloud's own tools.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from segexport.errors import EnvironmentMissingError, OptionError
from segexport.files.in_time import in_time

T = TypeVar("T")
_UNFINISHED = "unfinished"
_BLOCK_BYTES = 4 << 20
_SLOWEST_BYTES_PER_S = 1 << 18
_READ_ONLY = {"http", "https"}
# Where an object appears whole, once all of it has arrived. Elsewhere it is written under another name and renamed.
_WHOLE = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "memory"}
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "abfs": "azure", "abfss": "azure", "az": "azure"}
_EXTRAS |= {"http": "http", "https": "http"}
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")
_SECRET = re.compile("secret|token|passw|credential|key|connection|sas", re.IGNORECASE)


class RemoteError(Exception):
    """The file system did not do what it was asked; the text is one line without secrets."""


class RemoteMissing(RemoteError):
    """There is no such file."""


class RemoteDenied(RemoteError):
    """The credentials do not allow it."""


@dataclass(frozen=True)
class RemoteFile:
    """A file. `name` is relative to the folder; `modified` is in seconds since the epoch, by the clock of the store."""

    name: str
    size_bytes: int
    modified: float


class RemoteFolder:
    """A folder at `url`; names in it are relative, with `/`.

    Args:
        patience_s: Longest wait for an answer, besides the time that the bytes take on a slow line.

    Raises:
        OptionError: fsspec does not know the protocol.
        EnvironmentMissingError: The package for the protocol is missing.
        RemoteError: The file system cannot be opened.
    """

    def __init__(self, url: str, patience_s: float) -> None:
        self.shown, self._patience_s = without_secrets(url), patience_s
        self._fs, self._root = self._run(lambda: _opened(url, self.shown))
        names = (self._fs.protocol,) if isinstance(self._fs.protocol, str) else tuple(self._fs.protocol)
        self._is_http = bool(_READ_ONLY & set(names))
        self._is_whole = bool(_WHOLE & set(names))
        self._local = Path(self._root) if "file" in names or "local" in names else None
        if self._local is not None and not self._run(self._local.is_dir):
            raise RemoteError("there is no such folder, or it is not mounted")
        self.writable = not self._is_http

    def read(self, name: str, limit: int) -> bytes:
        """The first `limit` bytes of a file.

        Raises:
            RemoteError: It is missing or cannot be read.
        """
        return self._run(lambda: b"".join(self.blocks(name, limit)))

    def blocks(self, name: str, limit: int) -> Iterator[bytes]:
        """The first `limit` bytes of a file, in blocks; waits as long as the file system does."""
        options = {"block_size": 0, "size": 1} if self._is_http else {}  # one GET, without ranges
        with _told(), self._fs.open(self._path(name), "rb", **options) as stream:
            left = limit
            while left > 0 and (block := stream.read(min(left, _BLOCK_BYTES))):
                left -= len(block)
                yield bytes(block)

    def transfer(self, jobs: Sequence[Callable[[], T]], size_bytes: int) -> list[T]:
        """Runs jobs that together transfer this many bytes, several at a time.

        Raises:
            RemoteError: They take too long. Errors of a job are raised unchanged.
        """
        try:
            return in_time(jobs, self._patience_s + size_bytes / _SLOWEST_BYTES_PER_S)
        except TimeoutError as error:
            raise RemoteError(str(error)) from None

    def write(self, name: str, data: bytes) -> None:
        """Writes a small file; it appears whole. Raises RemoteError."""
        self._run(lambda: self._place(name, lambda path: self._fs.pipe_file(path, data)))

    def upload(self, files: dict[str, Path]) -> None:
        """Copies files to the names; each appears whole. Raises RemoteError."""

        def one(name: str, file: Path) -> Callable[[], None]:
            return lambda: self._place(name, lambda path: self._fs.put_file(str(file), path))

        size = sum(file.stat().st_size for file in files.values())
        self.transfer([one(name, file) for name, file in files.items()], size)

    def modified(self, name: str) -> float | None:
        """When the file was written, by the clock of the store; None: there is none."""

        def ask() -> float:
            with _told():
                return self._time_of(self._fs.info(self._path(name)))

        try:
            return self._run(ask)
        except RemoteMissing:
            return None

    def files(self, folder: str) -> list[RemoteFile]:
        """All files below a folder, which may be missing."""

        def ask() -> list[RemoteFile]:
            with _told():
                found = self._fs.find(self._path(folder), detail=True)
            start = self._path("")
            return [
                RemoteFile(path[len(start) :], int(info.get("size") or 0), self._time_of(info))
                for path, info in found.items()
                if path.startswith(start)
            ]

        try:
            return self._run(ask, times=10)
        except RemoteMissing:
            return []

    def remove(self, names: Sequence[str]) -> None:
        """Removes files; some may be missing. Raises RemoteError."""

        def one(name: str) -> Callable[[], None]:
            def job() -> None:
                with suppress(RemoteMissing), _told():
                    self._fs.rm_file(self._path(name))

            return job

        self.transfer([one(name) for name in names], len(names) * _SLOWEST_BYTES_PER_S)
        if self._local is not None:
            for folder in {(self._local / name).parent for name in names} - {self._local / _UNFINISHED}:
                with suppress(OSError):  # other files are in it
                    folder.rmdir()

    def remove_unfinished(self, before: float) -> None:
        """Removes what killed writers left before this time, in seconds since the epoch."""
        self.remove([file.name for file in self.files(_UNFINISHED) if file.modified < before])

    def _place(self, name: str, write: Callable[[str], None]) -> None:
        with _told():
            if self._is_whole:
                write(self._path(name))
                return
            work, place = f"{_UNFINISHED}/{secrets.token_hex(16)}", self._path(name)
            self._make_parent(work)
            try:
                write(self._path(work))
                self._open_to_all(work)
                for attempt in range(5):
                    self._make_parent(name)
                    try:
                        self._fs.mv(self._path(work), place)
                        return
                    except FileNotFoundError:  # garbage collection has just removed the empty folder
                        if attempt == 4:
                            raise
            except BaseException:
                with suppress(Exception):
                    self._fs.rm_file(self._path(work))
                raise

    def _make_parent(self, name: str) -> None:
        """Makes the folder of a file. On a mount, who may write into the store's folder may write into those in it."""
        parent, _, _ = name.rpartition("/")
        if self._local is None:
            self._fs.makedirs(self._path(parent), exist_ok=True)
            return
        mode, folder = stat.S_IMODE(self._local.stat().st_mode), self._local
        for part in parent.split("/"):
            folder /= part
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                with suppress(PermissionError):  # another user has just made it
                    folder.chmod(mode)

    def _open_to_all(self, name: str) -> None:
        """Who may read the store's folder may read a file in it."""
        if self._local is not None:
            (self._local / name).chmod(stat.S_IMODE(self._local.stat().st_mode) & 0o666)

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def _time_of(self, info: dict[str, Any]) -> float:
        """Now, if the file system does not say."""
        value = next((info[name] for name in _TIMES if info.get(name) is not None), None)
        if isinstance(value, str):
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        if isinstance(value, datetime):
            return value.timestamp()
        return float(value) if isinstance(value, int | float) else time.time()

    def _run(self, job: Callable[[], T], times: int = 1) -> T:
        limit_s = self._patience_s * times
        try:
            return in_time([job], limit_s)[0]
        except TimeoutError as error:
            raise RemoteError(str(error)) from None
        except OSError as error:  # of a mounted folder
            raise RemoteError(_line(error)) from None


def without_secrets(text: str) -> str:
    """The text without users and queries of URLs, and without values of variables and settings that may be secret."""
    import fsspec.config

    known = {name: value for name, value in os.environ.items() if _SECRET.search(name)}
    for protocol, settings in fsspec.config.conf.items():
        if isinstance(settings, dict):
            known |= {f"{protocol}.{name}": value for name, value in settings.items() if _SECRET.search(name)}
    for value in known.values():
        if isinstance(value, str) and len(value) >= 8:
            text = text.replace(value, "***")
    text = re.sub(r"//[^/@\s]*@", "//***@", text)
    return re.sub(r"\?[^\s'\"]+", "?***", text)


def _opened(url: str, shown: str) -> tuple[Any, str]:
    import fsspec.core

    protocol = url.partition("://")[0].rpartition("::")[2] if "://" in url else "file"
    try:
        return fsspec.core.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        hint = f'pip install "segexport[{extra}]"' if extra else "install the package that fsspec names"
        raise EnvironmentMissingError(f"{shown}: a package is missing", cause=_line(error), hint=hint) from None
    except ValueError as error:
        hint = "s3://BUCKET/FOLDER, gs://BUCKET/FOLDER, az://CONTAINER/FOLDER, https://HOST/FOLDER, or a folder"
        raise OptionError(f"{shown}: not the address of a store", cause=_line(error), hint=hint) from None
    except Exception as error:  # of any library: credentials that cannot be read, a host without an address
        raise RemoteError(_line(error)) from None


@contextmanager
def _told() -> Iterator[None]:
    """Turns the errors of a file system, which may be of any class, into RemoteError."""
    try:
        yield
    except RemoteError:
        raise
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise RemoteMissing(_line(error)) from None
    except PermissionError as error:
        raise RemoteDenied(_line(error)) from None
    except Exception as error:
        kind = RemoteDenied if getattr(error, "status", None) in (401, 403) else RemoteError
        raise kind(_line(error)) from None


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return without_secrets(text)[:300]
