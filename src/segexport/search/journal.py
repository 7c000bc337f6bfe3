"""Logs every trial as one line immediately, so that a killed search resumes with the next attempt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from segexport.errors import UnreadableError, one_line
from segexport.files.disk import storage_error
from segexport.search.candidate import Trial


class Journal:
    """JSON lines on disk. Drops a truncated last line; a damaged line is an error."""

    def __init__(self, path: Path) -> None:
        """Reads an existing journal.

        Raises:
            InputError: The file is not a journal.
        """
        self.path = path
        self.points: list[Trial] = []
        self._whole_bytes = 0
        if path.is_file():
            for line in _whole_lines(path.read_bytes()):
                self.points.append(_point(path, len(self.points) + 1, line))
                self._whole_bytes += len(line) + 1

    def append(self, point: Trial) -> None:
        """Writes a trial; killing the process after this cannot lose it.

        Raises:
            StorageError: The disk is full.
        """
        line = json.dumps(point.model_dump(mode="json"), separators=(",", ":"), ensure_ascii=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.truncate(self._whole_bytes)  # removes a killed run's partial last line
                file.write(line.encode())
        except OSError as error:
            raise storage_error(error, self.path) from error
        self._whole_bytes += len(line.encode())
        self.points.append(point)


def _whole_lines(data: bytes) -> Iterator[bytes]:
    *lines, _unfinished = data.split(b"\n")
    yield from lines


def _point(path: Path, number: int, line: bytes) -> Trial:
    hint = f"remove {path} to search anew"
    try:
        return Trial.model_validate_json(line)
    except ValidationError as error:
        raise UnreadableError(
            f"{path}: line {number} is not a try of a search", cause=one_line(error), hint=hint
        ) from None
