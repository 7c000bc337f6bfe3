"""Reads the text files of a data set: the lists of images and labels, and the class names."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from segexport.data.images import ARRAY_SUFFIXES, IMAGE_SUFFIXES
from segexport.errors import DataError, MissingInputError, OptionError, TooLargeError, UnreadableError, cannot_read
from segexport.files.foreign import guarded

_MAX_LIST_BYTES = 256 << 20
_FAULTS_SHOWN = 10
_OTHER_SEPARATORS = (",", ";", "|")
NO_LABEL = "-"
"""Replaces the label in a list of images that have groups and no labels."""


@dataclass(frozen=True)
class DatasetEntry:
    """An image and its label, as paths inside the data set.

    Attributes:
        line: Their line in the list; 0: no list.
        group: The group of the image, if the data has groups: `data.groups`.
    """

    image: str
    label: str | None = None
    line: int = 0
    group: str = ""


@guarded("a data set")
def read_list(root: Path, split: str) -> tuple[DatasetEntry, ...]:
    """Reads `<root>/<split>.txt`: `image label` or `image` per line, optionally followed by a group.

    The separator is a tab if there is one; else a space (a path may contain spaces if only one reading names existing
    files); else a comma, a semicolon or a bar if both sides exist (PaddleSeg's `separator`). A list of training images
    may repeat lines, to train rare classes more often. Empty lines and lines that start with `#` are skipped; a
    byte-order mark, CRLF and `\\` in paths are supported. A third column is the image's group (`data.groups`); without
    labels, the second column is `-`.

    Raises:
        InputError: As `Dataset.open`; the error names the list and the lines.
    """
    path = root / f"{split}.txt"
    if not split or PurePosixPath(split).name != split:
        raise OptionError(f"{split!r} is not the name of a split", hint="a split is `train`, `val`, ...: a list's name")
    if not path.is_file():
        others = _lists(root)
        raise MissingInputError(
            f"{path}: no such list",
            cause=f"the lists there are {', '.join(others)}" if others else f"{root} has no lists and no images",
            hint=f"choose one with --split {others[0]}" if others else "write a line `image label` for each image",
        )
    entries: list[DatasetEntry] = []
    faults: list[str] = []
    line_of: dict[str, int] = {}
    for number, text in enumerate(_text(path).splitlines(), start=1):
        line = text.strip()
        if not line or line.startswith("#"):
            continue
        try:
            entry = _parse(root, line, number)
        except ValueError as error:
            faults.append(f"line {number}: {error}")
            continue
        if entry.image in line_of and not _may_repeat(split):
            faults.append(f"line {number}: {entry.image} is in line {line_of[entry.image]} already")
        elif entries and (entry.label is None) != (entries[0].label is None):
            has, other = ("no label", "one") if entry.label is None else ("a label", "none")
            faults.append(f"line {number}: {entry.image} has {has}, line {entries[0].line} has {other}")
        elif entries and bool(entry.group) != bool(entries[0].group):
            has, other = ("a group", "none") if entry.group else ("no group", "one")
            faults.append(f"line {number}: {entry.image} has {has}, line {entries[0].line} has {other}")
        line_of.setdefault(entry.image, number)
        entries.append(entry)
    if faults:
        more = f"; and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
        raise DataError(f"{path}: {'; '.join(faults[:_FAULTS_SHOWN])}{more}")
    if not entries:
        raise DataError(f"{path}: the list is empty", hint="write a line `image label` for each image")
    return tuple(entries)


def plain_folder(root: Path, split: str) -> tuple[DatasetEntry, ...]:
    """The images of a folder without lists (or of its `images` folder), sorted by name; else nothing."""
    if (root / f"{split}.txt").exists() or _lists(root):
        return ()
    for folder in ("", "images/"):
        if (root / folder).is_dir():
            for suffixes in (IMAGE_SUFFIXES, ARRAY_SUFFIXES):
                names = sorted(name for name in os.listdir(root / folder) if Path(name).suffix.lower() in suffixes)
                files = [f"{folder}{name}" for name in names if (root / folder / name).is_file()]
                if files:
                    return tuple(DatasetEntry(name) for name in files)
    return ()


@guarded("a list of class names")
def read_labels(path: Path) -> tuple[str, ...] | None:
    """The class names of a `labels.txt`, class 0 first; None if the file does not exist.

    Raises:
        InputError: There are no names, an empty line between names, or a name twice.
    """
    if not path.is_file():
        return None
    names = [line.strip() for line in _text(path).splitlines()]
    while names and not names[-1]:
        names.pop()
    if not names:
        raise DataError(f"{path}: no class names in it", hint="one name in each line, the name of class 0 first")
    first: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if not name:
            raise DataError(f"{path}: line {number} is empty", cause=f"it would be the name of class {number - 1}")
        if name in first:
            raise DataError(f"{path}: line {number}: {name!r} is the name of class {first[name] - 1} already")
        first[name] = number
    return tuple(names)


def _parse(root: Path, line: str, number: int) -> DatasetEntry:
    """Parses a line to an entry whose files exist; raises ValueError for a wrong line."""
    if "\t" in line:
        return _of_columns(root, [field.strip() for field in line.split("\t") if field.strip()], number)
    words = line.split(" ")
    if len(words) == 1 and (_is_there(root, line) or not any(separator in line for separator in _OTHER_SEPARATORS)):
        return DatasetEntry(_existing(root, line), None, number)
    readings = _readings(root, words) or _readings_before_a_group(root, line.split())
    if len(readings) == 1:
        return replace(readings[0], line=number)
    if readings:
        raise ValueError(f"{line!r} can be read in {len(readings)} ways; separate the paths by a tab")
    for separator in _OTHER_SEPARATORS:
        columns = [column.strip() for column in line.split(separator)]
        if len(columns) in (2, 3) and _is_there(root, columns[0]):
            return _of_columns(root, columns, number)
    if len(fields := line.split()) == 2:
        return _of_columns(root, fields, number)
    raise ValueError(f"{line!r} names no existing files; separate an image and its label by a tab, or a space")


def _of_columns(root: Path, columns: list[str], number: int) -> DatasetEntry:
    """Image, label and group; the last two are optional."""
    group = columns[2] if len(columns) == 3 else ""
    if len(columns) > 3 or (group and _is_there(root, group)):
        raise ValueError(f"{len(columns)} columns, but an image and its label are 2")
    image = _existing(root, columns[0])
    if len(columns) == 1 or (group and columns[1] == NO_LABEL):
        return DatasetEntry(image, None, number, group)
    return DatasetEntry(image, _existing(root, columns[1]), number, group)


def _readings_before_a_group(root: Path, words: list[str]) -> list[DatasetEntry]:
    """Every way to read the last word as a group, and the words before it as an image and its label."""
    if len(words) < 3 or _is_there(root, words[-1]):
        return []
    if words[-2] == NO_LABEL:
        found = [entry for entry in _readings(root, words[:-2]) if entry.label is None]
    else:
        found = [entry for entry in _readings(root, words[:-1]) if entry.label is not None]
    return [replace(entry, group=words[-1]) for entry in found]


def _readings(root: Path, words: list[str]) -> list[DatasetEntry]:
    """Every way to read the words as one or two paths of existing files."""
    found = []
    for cut in range(1, len(words) + 1):
        image, label = " ".join(words[:cut]).strip(), " ".join(words[cut:]).strip()
        try:
            found.append(DatasetEntry(_existing(root, image), _existing(root, label) if label else None))
        except ValueError:
            continue
    return list(dict.fromkeys(found))


def _is_there(root: Path, path: str) -> bool:
    try:
        return bool(_existing(root, path))
    except ValueError:
        return False


def _existing(root: Path, path: str) -> str:
    """The path inside the data set, normalised, if it names a file there."""
    if "\\" in path and not (root / path).exists():
        path = path.replace("\\", "/")
    if path.startswith("/") or path[1:3] == ":/":
        raise ValueError(f"{path} is an absolute path; paths are relative to the data set's folder")
    normal = os.path.normpath(path)
    if normal == ".." or normal.startswith("../"):
        raise ValueError(f"{path} leaves the data set's folder")
    if "\0" in path or not (root / normal).is_file():
        raise ValueError(f"{path}: no such file")
    return normal


def _may_repeat(split: str) -> bool:
    return split.startswith("train")


def _lists(root: Path) -> list[str]:
    """Names of the lists in a folder."""
    names = sorted(path.stem for path in root.glob("*.txt") if path.name != "labels.txt")
    return [name for name in names if name in ("train", "val", "test") or name.endswith(("_list", "list"))]


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_LIST_BYTES:
            raise TooLargeError(f"{path}: larger than {_MAX_LIST_BYTES >> 20} MiB", cause="this is not a list")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(
            f"{path}: not UTF-8 text",
            cause=str(error),
            hint=f"iconv -f GB18030 -t UTF-8 {path.name} > new.txt, where it was written by a Chinese Windows",
        ) from error
    except OSError as error:
        raise cannot_read(path, error) from error
