"""Saves results to a file, or into a folder under the image's name."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from segexport.data.images import IMAGE_SUFFIXES
from segexport.errors import ExistsError, OptionError
from segexport.files.atomic import write_file

if TYPE_CHECKING:
    from PIL.Image import Image

_LONGEST_STEM_BYTES = 240  # of the 255 that file systems allow
KINDS = ("overlay", "color", "mask")


def require_kind(kind: str) -> None:
    """Raises InputError for an unknown kind of picture."""
    if kind not in KINDS:
        raise OptionError(f"{kind!r}: not a kind of picture", cause=f"it is {', '.join(KINDS[:-1])} or {KINDS[-1]}")


def file_name(input_path: str) -> str:
    """The file name of an image from a path or URL."""
    if input_path.startswith(("http://", "https://")):
        return PurePosixPath(urlsplit(input_path).path).name or "download"
    return Path(input_path).name


def picture_name(input_path: str, kind: str) -> str:
    """The file name of a picture in a folder: the image's name; the ids of `mask` are a PNG."""
    suffix = Path(file_name(input_path)).suffix
    keeps = kind != "mask" and suffix.lower() in IMAGE_SUFFIXES
    return stem_of(input_path) + (suffix if keeps else ".png")


def stem_of(input_path: str) -> str:
    """The file name of an image without its suffix, shortened so that another suffix or a number fits."""
    stem = Path(file_name(input_path)).stem
    encoded = stem.encode(errors="surrogateescape")
    if len(encoded) <= _LONGEST_STEM_BYTES:
        return stem
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    return encoded[: _LONGEST_STEM_BYTES - 9].decode(errors="ignore") + f"-{digest}"


def place(input_path: str, save_path: str | Path, name: str, suffixes: Collection[str]) -> Path:
    """`save_path` if it has one of the suffixes, else `name` in that folder; never the image itself."""
    path = Path(save_path)
    if path.is_dir() or path.suffix.lower() not in suffixes:
        path = path / name
    if path.exists() and Path(input_path).exists() and path.samefile(input_path):
        raise ExistsError(f"{path}: this is the image itself", hint="save to another folder")
    return path


def save_picture(picture: Image, path: Path, kind: str) -> Path:
    """Writes a picture; raises InputError for a format that cannot be written, or that would change ids."""
    if kind == "mask" and path.suffix.lower() != ".png":
        raise OptionError(f"{path}: class ids are kept by PNG only", hint=f"save to {path.with_suffix('.png')}")
    from PIL import Image

    content = BytesIO()
    try:
        # Those of the plugins in `data.images`; `registered_extensions()` imports all sixty that Pillow has.
        picture.save(content, format=Image.EXTENSION[path.suffix.lower()])
    except (OSError, ValueError, KeyError) as error:
        raise OptionError(f"{path}: this format cannot be written", cause=str(error), hint="use .png") from None
    return write_file(path, content.getvalue())
