"""Draws LabelMe's polygons as label images, equal pixel for pixel to LabelMe's exporter.

LabelMe draws with Pillow: a polygon with its outline, so every pixel that an edge touches is inside. OpenCV's
`fillPoly` rounds the corners first and gives different masks. Later shapes cover earlier ones.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from segexport.data.dataset_list import read_labels
from segexport.data.images import decode_label
from segexport.data.source import (
    BACKGROUND,
    BACKGROUND_NAMES,
    IGNORE_INDEX,
    Item,
    Source,
    inside,
    read_json,
    require_classes,
)
from segexport.errors import DataError, MissingInputError, UnreadableError

IGNORE = "__ignore__"
_MAX_COORDINATE = 1e6
_MOST_RADII = 10  # largest radius of a circle, relative to the image's width plus height
_LINE_WIDTH, _POINT_RADIUS = 10, 5  # LabelMe's
_POINTS = {"rectangle": (2, 2), "circle": (2, 2), "line": (2, 2), "linestrip": (2, None), "point": (1, 1)}
_POINTS |= {"polygon": (3, None), "oriented_rectangle": (4, 4), "mask": (2, 2)}
_SPLITS = ("train", "val", "test")


def find(root: Path) -> list[Path]:
    """The LabelMe files below a folder: JSON with `shapes` and `imagePath`."""
    files = (path for path in sorted(root.rglob("*.json")) if path.is_file())
    return [path for path in files if b'"shapes"' in _head_and_tail(path)]


def read(root: Path, labels: Sequence[str] | None = None) -> Source:
    """Reads the names in all files; the shapes are drawn when an item's label is read.

    Args:
        root: A folder; `train_anno_list.txt` and `val_anno_list.txt` in it, if present, define the splits.
        labels: The classes in the order of their ids, as in LabelMe's `labels.txt`: a first `__ignore__` counts as -1.
            Default: those of LabelMe's `labels.txt` in the folder, else `_background_` and the names in the files,
            sorted.

    Raises:
        InputError: A file is not LabelMe's, an image is missing, or a class is not in `labels`.
    """
    files = {split: [_scan(root, path) for path in paths] for split, paths in _splits(root).items()}
    used = sorted({name for scanned in files.values() for one in scanned for name in one.classes})
    given = labels or _own_labels(root)
    names = _classes(given, root) if given else (BACKGROUND, *(n for n in used if n not in (BACKGROUND, IGNORE)))
    require_classes(names, root)
    ids = {name: index for index, name in enumerate(names)} | {IGNORE: IGNORE_INDEX}
    splits = {split: tuple(_item(root, one, ids) for one in scanned) for split, scanned in files.items()}
    notes = [] if set(files) != {"train"} else ["no list names the splits: all images are in train.txt"]
    if names[0].lower() not in BACKGROUND_NAMES:
        notes.append(f"pixels outside of all shapes become class 0, {names[0]!r}")
    return Source("LabelMe", names, splits, tuple(notes))


def _own_labels(root: Path) -> tuple[str, ...] | None:
    """The classes in LabelMe's `labels.txt`, which begins with `__ignore__` or `_background_`."""
    found = read_labels(root / "labels.txt")
    return found if found and found[0] in (IGNORE, BACKGROUND) else None


def _classes(labels: Sequence[str], root: Path) -> tuple[str, ...]:
    """The names in the order of their ids. LabelMe counts `__ignore__`, its first line, as class -1.

    Raises:
        InputError: `__ignore__` is not the first line, so that the ids of the lines after it are ambiguous.
    """
    names = tuple(labels[1:]) if labels[0] == IGNORE else tuple(labels)
    if IGNORE in names:
        raise DataError(
            f"{root}: {IGNORE} is line {labels.index(IGNORE) + 1} of the class names",
            cause="LabelMe counts it as class -1, so it is the first line, and the next one is class 0",
            hint=f"begin the file with {IGNORE} and {BACKGROUND}, or leave {IGNORE} out",
        )
    return names


def draw(shapes: Sequence[dict[str, Any]], ids: dict[str, int], width: int, height: int, where: Path) -> np.ndarray:
    """Draws the shapes as class ids: uint8 (height, width), 0 where there is no shape.

    Raises:
        InputError: A shape is invalid; the error names the file and the shape.
    """
    canvas = Image.new("L", (width, height), 0)
    pencil = ImageDraw.Draw(canvas)
    for number, shape in enumerate(shapes, start=1):
        what = f"{where}: shape {number} ({shape['label']})"
        kind = shape.get("shape_type") or "polygon"
        points = _points(what, kind, shape.get("points"))
        value = ids[shape["label"]]
        if kind == "mask":
            _paste(canvas, what, shape.get("mask"), points, value)
        elif kind in ("polygon", "oriented_rectangle"):
            pencil.polygon(points, outline=value, fill=value)
        elif kind == "rectangle":
            (x0, y0), (x1, y1) = points
            pencil.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), outline=value, fill=value)
        elif kind in ("line", "linestrip"):
            pencil.line(points, fill=value, width=_LINE_WIDTH)
        else:
            x, y = points[0]
            radius = _POINT_RADIUS if kind == "point" else math.dist(points[0], points[1])
            if radius > _MOST_RADII * (width + height):  # Pillow takes minutes for a circle of a million pixels
                raise DataError(
                    f"{what}: a circle with a radius of {radius:,.0f} pixels, on an image of {width}x{height}"
                )
            pencil.ellipse((x - radius, y - radius, x + radius, y + radius), outline=value, fill=value)
    return np.asarray(canvas)


def _splits(root: Path) -> dict[str, list[Path]]:
    lists = {split: root / f"{split}_anno_list.txt" for split in _SPLITS}
    lists = {split: path for split, path in lists.items() if path.is_file()}
    if not lists:
        return {"train": find(root)}
    splits = {}
    for split, path in lists.items():
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines()]
        splits[split] = [root / line for line in lines if line]
        for number, file in enumerate(splits[split], start=1):
            if not inside(root, file) or not file.is_file():
                raise MissingInputError(
                    f"{path}: {file.relative_to(root)}: no such file in the folder (entry {number})"
                )
    return splits


@dataclass(frozen=True)
class _Scanned:
    """The parts of a file that are needed before drawing; shapes are read again for drawing."""

    path: Path
    classes: frozenset[str]
    image: Path | None  # None: the file contains the image


def _scan(root: Path, path: Path) -> _Scanned:
    content = _content(path)
    return _Scanned(path, frozenset(shape["label"] for shape in content["shapes"]), _image(root, path, content))


def _item(root: Path, scanned: _Scanned, ids: dict[str, int]) -> Item:
    path = scanned.path
    _require_known(scanned, ids)

    def label(width: int, height: int) -> np.ndarray:
        content = _content(path)
        stated = (content.get("imageWidth"), content.get("imageHeight"))
        if all(isinstance(side, int) for side in stated) and stated != (width, height):
            raise DataError(
                f"{path}: drawn on an image of {stated[0]}x{stated[1]}, the image is {width}x{height}",
                cause="it was resized or turned after it was annotated",
            )
        return draw(content["shapes"], ids, width, height, path)

    def embedded() -> bytes:
        try:
            return base64.b64decode(_content(path)["imageData"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise DataError(f"{path}: its imageData is not base64", cause=str(error)) from error

    return Item(path, path.relative_to(root).with_suffix("").as_posix(), scanned.image or embedded, label)


def _image(root: Path, path: Path, content: dict[str, Any]) -> Path | None:
    """The image at the path in the file, beside the file, or in `images`; None: use the copy inside the file."""
    named = PureWindowsPath(str(content.get("imagePath") or ""))  # reads both kinds of slashes
    places = [path.parent / named.as_posix(), path.parent / named.name, root / "images" / named.name, root / named.name]
    for place in places if named.name else []:
        if place.is_file() and inside(root, place):
            return place
    if isinstance(content.get("imageData"), str) and content["imageData"]:
        return None
    raise MissingInputError(
        f"{path}: its image {str(content.get('imagePath'))!r} is not there",
        cause=f"looked for beside the file, in images/, and inside of {root}",
    )


def _require_known(scanned: _Scanned, ids: dict[str, int]) -> None:
    for name in sorted(scanned.classes):
        if name not in ids:
            near = difflib.get_close_matches(name, ids, n=1)
            raise DataError(
                f"{scanned.path}: class {name!r} is not among the labels" + (f", perhaps {near[0]!r}" if near else ""),
                cause=f"the labels are {', '.join(list(ids)[:20])}",
            )


def _content(path: Path) -> dict[str, Any]:
    content = read_json(path, 512 << 20)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list) or not all(
        isinstance(shape, dict) and isinstance(shape.get("label"), str) for shape in shapes
    ):
        raise UnreadableError(f"{path}: not a LabelMe file", cause="it has no list of `shapes` that have a `label`")
    return content


def _points(what: str, kind: str, points: Any) -> list[tuple[float, float]]:
    if not isinstance(kind, str) or kind not in _POINTS:
        raise DataError(f"{what}: shape_type {kind!r} is unknown", cause=f"known are {', '.join(sorted(_POINTS))}")
    pairs = points if isinstance(points, list) else []
    least, most = _POINTS[kind]
    if len(pairs) < least or (most is not None and len(pairs) > most):
        raise DataError(f"{what}: a {kind} of {len(pairs)} points", cause=f"it takes {most or f'{least} or more'}")
    for pair in pairs:
        good = isinstance(pair, list) and len(pair) == 2
        if not good or not all(isinstance(v, int | float) and abs(v) <= _MAX_COORDINATE for v in pair):
            raise DataError(f"{what}: a point is {pair!r}, two numbers of pixels are expected")
    return [(pair[0], pair[1]) for pair in pairs]


def _paste(canvas: Image.Image, what: str, data: Any, points: list[tuple[float, float]], value: int) -> None:
    """LabelMe's `mask`: a PNG in base64 that fills the box of its two points, both included."""
    try:
        mask = decode_label(base64.b64decode(data, validate=True), name=what)
    except (binascii.Error, ValueError, TypeError) as error:
        raise DataError(f"{what}: its mask is not base64", cause=str(error)) from error
    (x0, y0), (x1, y1) = [(int(x), int(y)) for x, y in points]
    if mask.shape != (y1 - y0 + 1, x1 - x0 + 1):
        raise DataError(f"{what}: a mask of {mask.shape[1]}x{mask.shape[0]} for a box of {x1 - x0 + 1}x{y1 - y0 + 1}")
    canvas.paste(value, (x0, y0), Image.fromarray((mask > 0).astype(np.uint8) * 255))


def _head_and_tail(path: Path) -> bytes:
    """Enough of a file to see its keys: they are before or after the image data."""
    try:
        with path.open("rb") as stream:
            head = stream.read(1 << 16)
            stream.seek(max(0, path.stat().st_size - (1 << 16)))
            return head + stream.read()
    except OSError:
        return b""
