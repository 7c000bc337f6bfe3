"""Reads an APK, an AAR, or a folder with the same files, without extracting anything."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from segexport.errors import MissingInputError, TooLargeError, UnreadableError
from segexport.files.foreign import reading

MAX_MEMBERS = 100_000
MAX_MEMBER_BYTES = 1 << 30
_LOCAL_HEADER_BYTES = 30


class AppPackage:
    """The files of an app or a library, by name.

    Attributes:
        names: With `/`, relative to the package; sorted.
        size_bytes: Size of the archive, or of all files of a folder.
    """

    names: tuple[str, ...]
    size_bytes: int

    def read(self, name: str) -> bytes:
        """Returns a file's bytes.

        Raises:
            TooLargeError: The file is, or claims to be, larger than 1 GiB.
            InputError: The file cannot be read.
        """
        raise NotImplementedError

    def offset(self, name: str) -> int | None:
        """Offset of an uncompressed file's bytes in the archive; None for a compressed file, or in a folder."""
        return None


@contextmanager
def open_package(path: Path) -> Iterator[AppPackage]:
    """Opens an APK, an AAR or a folder.

    Raises:
        InputError: The path is none of these, is damaged, or has too many files.
    """
    with reading(path, "an APK, an AAR or a folder"):
        if not path.exists():
            raise MissingInputError(f"{path}: there is no such file or folder")
        if path.is_dir():
            yield _Folder(path)
            return
        if not zipfile.is_zipfile(path):
            raise UnreadableError(f"{path}: neither an APK nor an AAR, nor a folder", cause="it is no zip archive")
        with zipfile.ZipFile(path) as archive, path.open("rb") as stream:
            yield _Archive(path, archive, stream)


def _require_few(path: Path, count: int) -> None:
    if count > MAX_MEMBERS:
        raise TooLargeError(f"{path}: {count:,} files, of which at most {MAX_MEMBERS:,} are read")


class _Archive(AppPackage):
    def __init__(self, path: Path, archive: zipfile.ZipFile, stream: BinaryIO) -> None:
        found = [info for info in archive.infolist() if not info.is_dir()]
        _require_few(path, len(found))
        self._path, self._archive, self._stream = path, archive, stream
        self._members = {info.filename: info for info in found}
        if len(self._members) < len(found):
            raise UnreadableError(f"{path}: two files of it have the same name")
        self.names = tuple(sorted(self._members))
        self.size_bytes = path.stat().st_size

    def read(self, name: str) -> bytes:
        info = self._members[name]
        with reading(self._path, "an APK or an AAR"), self._archive.open(info) as stream:
            data = stream.read(MAX_MEMBER_BYTES + 1)  # limits the real size, whatever the header claims
        if len(data) > MAX_MEMBER_BYTES:
            raise TooLargeError(f"{self._path}: {name} is larger than {MAX_MEMBER_BYTES >> 20} MiB")
        return data

    def offset(self, name: str) -> int | None:
        info = self._members[name]
        if info.compress_type != zipfile.ZIP_STORED:
            return None
        with reading(self._path, "an APK or an AAR"):
            self._stream.seek(info.header_offset)
            lengths = struct.unpack_from("<HH", self._stream.read(_LOCAL_HEADER_BYTES), 26)
        return info.header_offset + _LOCAL_HEADER_BYTES + sum(lengths)


class _Folder(AppPackage):
    def __init__(self, path: Path) -> None:
        names: list[str] = []
        sizes = 0
        for parent, _, files in os.walk(path):  # links to folders are not followed
            for file in (Path(parent) / name for name in files):
                if file.is_file() and not file.is_symlink():
                    names.append(PurePosixPath(file.relative_to(path)).as_posix())
                    sizes += file.stat().st_size
            _require_few(path, len(names))
        self._path, self.names, self.size_bytes = path, tuple(sorted(names)), sizes

    def read(self, name: str) -> bytes:
        file = self._path / name
        with reading(file, "a file of an app"):
            if file.stat().st_size > MAX_MEMBER_BYTES:
                raise TooLargeError(f"{file}: larger than {MAX_MEMBER_BYTES >> 20} MiB")
            return file.read_bytes()
