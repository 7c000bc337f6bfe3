"""A portable zip file with a JSON header that contains the digest of every member, and its own.

Times are fixed, there are no folders, nothing is extracted by name, and there is no pickle. References and the parts of
a sharded check use this format. `docs/reference-format.md` describes it for other languages.
"""

from __future__ import annotations

import hashlib
import io
import json
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segexport.artifact import digest_of
from segexport.errors import AlteredError, ExistsError, MissingInputError, UnreadableError, VersionError, cannot_read
from segexport.files.atomic import whole_file
from segexport.files.foreign import guarded
from segexport.files.json_reader import parse_json

HEADER = "header.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time in a zip: equal contents give equal bytes
_STORED = (".png", ".jpg")  # already compressed
MAX_HEADER_BYTES = 256 << 20
MAX_MEMBER_BYTES = 256 << 20


class ArchiveWriter:
    """Adds members to an archive that is being written; see `new_archive`."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path, "w")  # closed by `new_archive`
        self._members: dict[str, dict[str, Any]] = {}
        self.finished = False

    def add(self, name: str, data: bytes) -> None:
        """Writes one member. Names are unique."""
        assert name not in {*self._members, HEADER}, name
        self._members[name] = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
        self._write(name, data)

    def finish(self, kind: str, schema_version: int, content: dict[str, Any]) -> None:
        """Writes the header; nothing can be added after it."""
        header = {"kind": kind, "schema_version": schema_version, **content, "members": self._members}
        header = {**header, "digest": digest_of(header)}
        self._write(HEADER, json.dumps(header, indent=1, ensure_ascii=False, allow_nan=False).encode())
        self.finished = True

    def close(self) -> None:
        """Writes the remaining data and closes the file."""
        self._zip.close()

    def _write(self, name: str, data: bytes) -> None:
        info = zipfile.ZipInfo(name, _EPOCH)
        info.compress_type = zipfile.ZIP_STORED if name.endswith(_STORED) else zipfile.ZIP_DEFLATED
        info.external_attr = 0o644 << 16
        self._zip.writestr(info, data, compresslevel=9)


@contextmanager
def new_archive(path: Path) -> Iterator[ArchiveWriter]:
    """An archive that appears at `path` if the block ends without an error and its header was written.

    Raises:
        InputError: `path` exists.
        StorageError: The disk is full, or the folder cannot be written.
    """
    with whole_file(path, replace=False) as work:
        writer = ArchiveWriter(work)
        try:
            yield writer
        finally:
            writer.close()
        assert writer.finished, "an archive without a header"


def require_new(path: Path) -> None:
    """Raises InputError if `path` exists."""
    if path.exists():
        raise ExistsError(f"{path}: exists", hint="choose another file with -o, or remove it")


@dataclass(frozen=True)
class Archive:
    """An archive whose members match the digests in its header.

    Attributes:
        header: The header without `members`, `digest`, `kind` and `schema_version`.
        digest: sha256 (hex) of the header, which contains the members' digests.
    """

    path: Path
    header: dict[str, Any]
    digest: str
    names: frozenset[str]

    def read(self, name: str) -> bytes:
        """The bytes of a member.

        Raises:
            InputError: The name is unknown, or the file was changed or removed after it was opened.
        """
        if name not in self.names:
            raise AlteredError(f"{self.path}: there is no {name} in it", cause="the file is damaged or was edited")
        try:
            with zipfile.ZipFile(self.path) as file:
                return file.read(name)
        except (OSError, *_DAMAGED) as error:
            raise UnreadableError(f"{self.path}: {name} cannot be read any more", cause=str(error)) from error


_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, KeyError, ValueError)


def looks_like_archive(path: Path) -> bool:
    """Whether a file begins like a zip, even if truncated."""
    try:
        with path.open("rb") as stream:
            return stream.read(2) == b"PK"
    except OSError:
        return False


@guarded("an archive of segexport")
def open_archive(path: Path, *, kind: str, schema_version: int, what: str, hint: str) -> Archive:
    """Reads the header and compares every member with its digest.

    Args:
        what: The kind of file, for messages.
        hint: How to get a valid file.

    Raises:
        InputError: The file is missing, truncated, edited, of another kind or of another version.
    """
    if not path.is_file():
        raise MissingInputError(f"{path}: {'not a file' if path.exists() else 'no such file'}", hint=hint)
    try:
        with zipfile.ZipFile(path) as file:
            header = _header(file, path, kind, schema_version, what, hint)
            _verify(file, header["members"])
    except _Edited as error:
        raise AlteredError(f"{path}: {what} that was edited or damaged", cause=str(error), hint=hint) from error
    except _DAMAGED as error:
        raise UnreadableError(
            f"{path}: not {what}, or one that was cut off", cause=str(error) or type(error).__name__, hint=hint
        ) from error
    except OSError as error:
        raise cannot_read(path, error) from error
    names, digest = frozenset(header.pop("members")), header.pop("digest")
    return Archive(path, header, digest, names)


class _Edited(Exception):
    pass


def _header(file: zipfile.ZipFile, path: Path, kind: str, schema_version: int, what: str, hint: str) -> dict[str, Any]:
    names = file.namelist()
    if HEADER not in names:
        raise UnreadableError(f"{path}: not {what}", cause=f"there is no {HEADER} in it", hint=hint)
    if file.getinfo(HEADER).file_size > MAX_HEADER_BYTES:
        raise _Edited(f"{HEADER} states {file.getinfo(HEADER).file_size} bytes")
    try:
        header = parse_json(file.read(HEADER))
    except ValueError as error:
        raise _Edited(f"{HEADER} is not JSON: {error}") from error
    if not isinstance(header, dict) or header.get("kind") != kind:
        found = header.get("kind") if isinstance(header, dict) else None
        raise UnreadableError(f"{path}: not {what}", cause=f"its kind is {found!r}, not {kind!r}", hint=hint)
    version = header.get("schema_version")
    if version != schema_version or isinstance(version, bool):
        newer = isinstance(version, int) and version > schema_version
        raise VersionError(
            f"{path}: schema_version is {version!r}, this segexport reads {schema_version}",
            cause=f"a {'newer' if newer else 'different'} version of segexport wrote it",
            hint=f"update segexport, or {hint}" if newer else hint,
        )
    body = {key: value for key, value in header.items() if key != "digest"}
    if header.get("digest") != digest_of(body):
        raise _Edited(f"{HEADER} has another digest than the one that it names")
    if len(set(names)) != len(names) or set(names) - {HEADER} != set(header["members"]):
        raise _Edited("the files in it are not those that its header lists")
    return {key: value for key, value in header.items() if key not in ("kind", "schema_version")}


def _verify(file: zipfile.ZipFile, members: dict[str, dict[str, Any]]) -> None:
    for name, entry in members.items():
        size = file.getinfo(name).file_size
        if size != entry["size_bytes"] or size > MAX_MEMBER_BYTES:
            raise _Edited(f"{name} has {size} bytes, its header states {entry['size_bytes']}")
        if hashlib.sha256(file.read(name)).hexdigest() != entry["sha256"]:
            raise _Edited(f"{name} has another sha256 than its header states")


def npy_bytes(array: np.ndarray) -> bytes:
    """The array in NumPy's file format: little-endian, C order, never pickled."""
    stream = io.BytesIO()
    little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    np.lib.format.write_array(stream, little, version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def npy_array(data: bytes, name: str) -> np.ndarray:
    """Reads what `npy_bytes` wrote.

    Raises:
        InputError: The bytes are not an array; memory is allocated only for sizes that the bytes have.
    """
    stream = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("not version 1.0 of the format")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        rest = data[stream.tell() :]
        if dtype.hasobject or fortran:
            raise ValueError(f"an array of {dtype}, fortran_order {fortran}")
        return np.frombuffer(rest, dtype).reshape(shape).copy()
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError) as error:  # its header is in Python's syntax
        raise UnreadableError(f"{name}: not an array", cause=str(error)) from error
