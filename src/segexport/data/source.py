"""The source of `data convert`: classes, splits, and a function that makes each label."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segexport.errors import DataError, TooLargeError, UnreadableError, cannot_read
from segexport.files.foreign import guarded
from segexport.files.json_reader import parse_json

BACKGROUND = "_background_"
BACKGROUND_NAMES = ("background", "_background_", "__background__")
IGNORE_INDEX = 255
MAX_CLASSES = 255  # ids 0 to 254; 255 is ignored


@dataclass(frozen=True)
class Item:
    """One image of a data set.

    Attributes:
        origin: The file that describes it, for messages.
        name: The name of its output files, without a suffix; its folders are used if the last part is not unique.
        image: The image file, or a function that returns its bytes.
        label: Function of the image's (width, height) that returns class ids (height, width), uint8 or uint16.
    """

    origin: Path
    name: str
    image: Path | Callable[[], bytes]
    label: Callable[[int, int], np.ndarray]


@dataclass(frozen=True)
class Source:
    """A data set of another form.

    Attributes:
        form: The name of the form.
        labels: Class names in the order of the ids.
        splits: The images of each split.
        notes: Warnings about the conversion.
    """

    form: str
    labels: tuple[str, ...]
    splits: dict[str, tuple[Item, ...]]
    notes: tuple[str, ...] = ()


@guarded("JSON")
def read_json(path: Path, max_bytes: int = 1 << 30) -> Any:
    """The content of a JSON file.

    Raises:
        InputError: The file is missing, too large, or not JSON.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise TooLargeError(f"{path}: {size} bytes of JSON; at most {max_bytes} are read")
        return parse_json(path.read_bytes(), allow_nan=True)
    except OSError as error:
        raise cannot_read(path, error) from error
    except ValueError as error:
        raise UnreadableError(f"{path}: not JSON", cause=str(error)[:200]) from error


def inside(root: Path, path: Path) -> bool:
    """Whether a path, after resolving `..`, is inside a folder."""
    return Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root))


def require_classes(labels: tuple[str, ...], where: Path) -> tuple[str, ...]:
    """The class names, if they fit `labels.txt` and 8-bit labels.

    Raises:
        InputError: There are no names or too many, a name is duplicate, or does not fit into a line of text.
    """
    if not labels:
        raise DataError(f"{where}: no classes in it")
    for index, name in enumerate(labels):
        if name.splitlines() != [name] or name != name.strip():
            raise DataError(
                f"{where}: class {index} is called {name!r}",
                cause="a name with a line break, or with blanks around it, becomes another one in labels.txt",
                hint="rename the class in the annotations",
            )
        if name in labels[:index]:
            raise DataError(f"{where}: classes {labels.index(name)} and {index} are both called {name!r}")
    if len(labels) > MAX_CLASSES:
        raise DataError(f"{where}: {len(labels)} classes, at most {MAX_CLASSES} fit into 8-bit labels")
    return labels
