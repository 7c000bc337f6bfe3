"""Counts what the stores found, so that `segexport cache` can tell what they saved; a file that processes share."""

from __future__ import annotations

import fcntl
from contextlib import suppress
from pathlib import Path

from segexport.files.json_reader import parse_json
from segexport.spec import Frozen


class Hits(Frozen):
    """Since the local store was made.

    Attributes:
        local: Outputs that were found in the local store.
        shared: Outputs that were found in a shared store, of `shared_bytes`, whose making had taken `shared_seconds`.
        published: Outputs that were copied into a shared store, of `published_bytes`.
    """

    local: int = 0
    shared: int = 0
    shared_bytes: int = 0
    shared_seconds: float = 0.0
    published: int = 0
    published_bytes: int = 0


def count(file: Path, more: Hits) -> None:
    """Adds to the counts; does nothing where the file cannot be written."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a+", encoding="utf-8") as stream:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(stream, fcntl.LOCK_EX)
            stream.seek(0)
            known = _parsed(stream.read())
            stream.truncate(0)
            added = {name: getattr(known, name) + value for name, value in more.model_dump().items()}
            stream.write(Hits(**added).model_dump_json())


def counted(file: Path) -> Hits:
    """The counts; all zero if there are none."""
    try:
        return _parsed(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return Hits()


def _parsed(text: str) -> Hits:
    try:
        return Hits.model_validate(parse_json(text))
    except ValueError:  # nothing yet, or a process was killed while it wrote
        return Hits()
