"""COCO's instances as label images: each object gets its category's class, smaller objects cover larger ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from segexport.data.source import BACKGROUND, BACKGROUND_NAMES, Item, Source, inside, read_json, require_classes
from segexport.errors import DataError, EnvironmentMissingError, InputError, MissingInputError, UnreadableError

_KEYS = ("images", "annotations", "categories")


def find(root: Path) -> list[Path]:
    """The COCO files of a folder: JSON at the top or in `annotations/` with COCO's three keys."""
    files = sorted(root.glob("*.json")) + sorted((root / "annotations").glob("*.json"))
    return [path for path in files if path.is_file() and _looks_like(path)]


def read(root: Path) -> Source:
    """Reads every COCO file of a folder; each is a split, named after `train`, `val` or `test` in the file's name.

    Raises:
        InputError: A file is not COCO, files have different categories, or an image is missing.
    """
    splits: dict[str, tuple[Item, ...]] = {}
    categories: dict[int, str] = {}
    for path in find(root):
        content = read_json(path)
        found = _categories(path, content)
        if categories and found != categories:
            raise DataError(f"{path}: other categories than the files before it")
        categories = found
        split = next((name for name in ("train", "val", "test") if name in path.stem.lower()), path.stem)
        if split in splits:
            raise DataError(f"{path}: a second file for the split {split!r}", hint="move one of them away")
        splits[split] = _items(root, path, content, _ids(categories))
    ids = _ids(categories)
    names = {index: categories[category].strip() for category, index in ids.items()}
    labels = tuple(names.get(index, BACKGROUND) for index in range(max(names, default=-1) + 1))
    return Source("COCO", require_classes(labels, root), splits)


def decode_rle(counts: Any, width: int, height: int, what: str) -> np.ndarray:
    """Decodes a run-length code, plain or compressed, to a bool mask (height, width).

    Runs of 0 and 1 alternate, column by column. Compressed (cocoapi, `rleFrString`): each run in groups of 5 bits
    above the letter `0`, bit 5 says that more follow, the last group's bit 4 is the sign, and from the fourth run on
    the difference to the run before the last is written.

    Raises:
        InputError: The runs do not fill the image.
    """
    runs = _uncompressed(counts, what) if isinstance(counts, str) else counts
    good = isinstance(runs, list) and all(isinstance(run, int) and run >= 0 for run in runs)
    if not good or sum(runs) != width * height:
        raise DataError(f"{what}: its run-length code does not fill an image of {width}x{height}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def _uncompressed(text: str, what: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        group = ord(letter) - 48
        if not 0 <= group < 64 or shift > 30:
            raise DataError(f"{what}: its run-length code holds {letter!r}")
        value |= (group & 31) << shift
        shift += 5
        if not group & 32:
            if group & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def _looks_like(path: Path) -> bool:
    if path.stat().st_size > 64 << 20:  # too large to read twice; one of COCO's keys is the first
        with path.open("rb") as stream:
            head = stream.read(4096)
        return any(f'"{key}"'.encode() in head for key in (*_KEYS, "info", "licenses"))
    try:
        content = read_json(path)
    except InputError:
        return False
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in _KEYS)


def _categories(path: Path, content: dict[str, Any]) -> dict[int, str]:
    if not all(isinstance(content.get(key), list) for key in _KEYS):
        raise UnreadableError(f"{path}: not COCO", cause=f"expected lists of {', '.join(_KEYS)}")
    try:
        categories = {int(entry["id"]): str(entry["name"]) for entry in content["categories"]}
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: a category without `id` or `name`", cause=str(error)) from error
    return dict(sorted(categories.items()))


def _ids(categories: dict[int, str]) -> dict[int, int]:
    """Category -> class id: in the order of the categories, from 1; a category "background" is class 0."""
    background = [key for key, name in categories.items() if name.strip().lower() in BACKGROUND_NAMES][:1]
    others = [key for key in categories if key not in background]
    return dict.fromkeys(background, 0) | {key: index for index, key in enumerate(others, start=1)}


def _items(root: Path, path: Path, content: dict[str, Any], ids: dict[int, int]) -> tuple[Item, ...]:
    objects: dict[Any, list[dict[str, Any]]] = {}
    for number, entry in enumerate(content["annotations"]):
        category = entry.get("category_id") if isinstance(entry, dict) else None
        if not isinstance(category, int) or category not in ids:
            raise DataError(f"{path}: annotation {number} has no known category")
        if not _is_id(entry.get("image_id")):
            raise DataError(f"{path}: annotation {number}: its image_id is {entry.get('image_id')!r}")
        objects.setdefault(entry["image_id"], []).append(entry)
    return tuple(_item(root, path, entry, objects, ids) for entry in content["images"])


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str)


def _item(root: Path, path: Path, entry: Any, objects: dict[Any, list[dict[str, Any]]], ids: dict[int, int]) -> Item:
    if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str) or not _is_id(entry.get("id")):
        raise DataError(f"{path}: an image without `id` or `file_name`")
    name = entry["file_name"].replace("\\", "/")
    folders = [root, root / "images", *sorted(child for child in root.iterdir() if child.is_dir()), path.parent]
    image = next(
        (folder / name for folder in folders if inside(root, folder / name) and (folder / name).is_file()), None
    )
    if image is None:
        raise MissingInputError(
            f"{path}: its image {name!r} is not there", cause=f"looked for in {root} and its folders"
        )

    def label(width: int, height: int) -> np.ndarray:
        stated = (entry.get("width", width), entry.get("height", height))
        if stated != (width, height):
            raise DataError(f"{path}: {name} is {stated[0]}x{stated[1]} in the file, and {width}x{height} on disk")
        result = np.zeros((height, width), np.uint8)
        masks = [(one, _mask(one, width, height, f"{path}: {name}")) for one in objects.get(entry["id"], [])]
        for one, mask in sorted(masks, key=lambda pair: -int(pair[1].sum())):
            result[mask] = ids[one["category_id"]]
        return result

    return Item(path, image.relative_to(root).with_suffix("").as_posix(), image, label)


def _mask(entry: dict[str, Any], width: int, height: int, where: str) -> np.ndarray:
    what = f"{where}: annotation {entry.get('id')}"
    shape = entry.get("segmentation")
    if isinstance(shape, dict):
        return decode_rle(shape.get("counts"), width, height, what)
    polygons = shape if isinstance(shape, list) else []
    limit = 4 * max(width, height)
    for polygon in polygons:
        flat = isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0
        if not flat or not all(isinstance(v, int | float) and -limit <= v <= limit for v in polygon):
            raise DataError(f"{what}: a polygon is not a list of x and y in pixels, at least 3 of each")
    if not polygons:
        raise DataError(
            f"{what}: no segmentation", cause="polygons or a run-length code are expected; boxes have no pixels"
        )
    try:
        from pycocotools import mask as coco_mask
    except ImportError as error:
        raise EnvironmentMissingError("COCO's polygons need pycocotools", hint="pip install pycocotools") from error
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))).astype(bool)
