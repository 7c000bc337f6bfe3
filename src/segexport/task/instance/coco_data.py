"""Reads COCO's annotations of objects: one JSON file with `images`, `annotations` and `categories`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from segexport.data import coco
from segexport.data.dataset_list import DatasetEntry
from segexport.data.source import inside, read_json
from segexport.errors import DataError, MissingInputError, UnreadableError
from segexport.task.instance.data import Annotation, InstanceData

_SPLITS = ("train", "val", "test")


def find(root: Path, split: str) -> Path | None:
    """The file of a split: the one whose name contains the split's, or the only one without a split; None if none.

    Raises:
        InputError: There are files, but none of this split, or two.
    """
    files = coco.find(root)
    if not files:
        broken = [path for path in (*root.glob("*.json"), *root.glob("annotations/*.json")) if split in path.stem]
        return broken[0] if len(broken) == 1 else None  # `read` reports what is wrong with it
    mine = [path for path in files if split in path.stem.lower()]
    unnamed = [path for path in files if not any(name in path.stem.lower() for name in _SPLITS)]
    found = mine or (unnamed if len(files) == 1 else [])
    if len(found) != 1:
        names = ", ".join(path.name for path in found or files)
        raise DataError(
            f"{root}: {'several COCO files' if found else 'no COCO file'} of the split {split!r}",
            cause=f"there are {names}",
            hint="name the split (--split), or give the JSON file itself as the data",
        )
    return found[0]


def read(root: Path, path: Path, split: str) -> InstanceData:
    """Reads one file. Checks that every image exists; decodes none.

    Raises:
        InputError: The file is not COCO, has an unknown category or image, an invalid box or mask, or a missing image.
            The message names the annotation or image.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise UnreadableError(f"{path}: not COCO", cause=f"its top level is a {type(content).__name__}")
    categories = coco._categories(path, content)
    ids = {category: index for index, category in enumerate(categories)}
    if not ids:
        raise DataError(f"{path}: no categories in it")
    names = _images(root, path, content["images"])
    sizes = {names[image["id"]]: _size(image) for image in content["images"] if _size(image) is not None}
    found: dict[str, list[Annotation]] = {name: [] for name in names.values()}
    for number, entry in enumerate(content["annotations"]):
        what = f"{path}: annotation {entry.get('id', number) if isinstance(entry, dict) else number}"
        if not isinstance(entry, dict) or _hashable(entry.get("category_id")) not in ids:
            known = ", ".join(map(str, list(ids)[:10])) + (", ..." if len(ids) > 10 else "")
            raise DataError(
                f"{what}: its category_id is {entry.get('category_id') if isinstance(entry, dict) else entry!r}",
                cause=f"the file's categories are {known}",
            )
        name = names.get(_hashable(entry.get("image_id")))
        if name is None:
            raise DataError(f"{what}: its image_id is {entry.get('image_id')!r}, and no image of the file has it")
        found[name].append(_annotation(what, entry, ids[entry["category_id"]], sizes.get(name)))
    image_ids = {name: image for image, name in names.items()}
    if not names:
        raise DataError(f"{path}: no images in it")
    labels = tuple(name.strip() for name in categories.values())
    if len(set(labels)) != len(labels):
        raise DataError(f"{path}: two categories have the same name", cause=", ".join(labels)[:200])
    masks = {one.segmentation is not None for objects in found.values() for one in objects}
    if len(masks) > 1:
        raise DataError(f"{path}: some annotations have a segmentation and some have none")
    return InstanceData(
        root=root,
        split=split,
        entries=tuple(DatasetEntry(name, None, 0) for name in names.values()),
        labels=labels,
        form="COCO",
        source=path,
        category_ids=tuple(ids),
        annotations={name: tuple(objects) for name, objects in found.items()},
        sizes={name: size for name, size in sizes.items() if size is not None},
        image_ids=image_ids,
    )


def _images(root: Path, path: Path, images: list[Any]) -> dict[Any, str]:
    """Image id -> path relative to the data set."""
    folders = [root, root / "images", *sorted(child for child in root.iterdir() if child.is_dir()), path.parent]
    names: dict[Any, str] = {}
    missing: list[str] = []
    for number, image in enumerate(images):
        if not isinstance(image, dict) or not isinstance(image.get("file_name"), str) or "id" not in image:
            raise DataError(f"{path}: image {number} has no `id` or no `file_name`")
        if _hashable(image["id"]) is None or image["id"] in names:
            raise DataError(f"{path}: image {number}: its id {image['id']!r} is taken, or no id")
        name = image["file_name"].replace("\\", "/")
        found = (folder / name for folder in folders if inside(root, folder / name))
        file = next((place for place in found if place.is_file()), None)
        if file is None:
            missing.append(name)
            continue
        names[image["id"]] = file.relative_to(root).as_posix()
    if missing:
        raise MissingInputError(
            f"{path}: {len(missing)} of {len(images)} images are not there: {', '.join(missing[:5])}"
            + (", ..." if len(missing) > 5 else ""),
            cause=f"looked for in {root} and its folders",
        )
    if len(set(names.values())) != len(names):
        raise DataError(f"{path}: two images have the same file")
    return names


def _annotation(what: str, entry: dict[str, Any], class_id: int, size: tuple[int, int] | None) -> Annotation:
    box = entry.get("bbox")
    sides = [float(side) for side in box if _is_number(side)] if isinstance(box, list) else []
    if len(sides) != 4 or len(sides) != len(box or ()) or sides[2] < 0 or sides[3] < 0:
        raise DataError(f"{what}: its bbox is {box!r}", cause="[x, y, width, height] in pixels is expected")
    left, top, width, height = sides
    shape = entry.get("segmentation") or None
    if shape is not None:
        _require_mask(what, shape, size)
    area = entry.get("area", width * height)
    if not _is_number(area):
        raise DataError(f"{what}: its area is {area!r}")
    crowd = bool(entry.get("iscrowd", 0))
    return Annotation(class_id, (left, top, width, height), shape, crowd, area=float(area))


def _require_mask(what: str, shape: Any, size: tuple[int, int] | None) -> None:
    """Refuses a mask on which pycocotools would read beyond its memory, or that it would draw wrong."""
    if size is None:
        raise DataError(f"{what}: its image has no width and height", cause="a mask needs the image's size")
    width, height = size
    if isinstance(shape, dict):
        if shape.get("size") != [height, width]:
            raise DataError(
                f"{what}: its run-length code is of size {shape.get('size')}", cause=f"its image is {[height, width]}"
            )
        coco.decode_rle(shape.get("counts"), width, height, what)
        return
    limit = 4 * max(width, height)
    for polygon in shape if isinstance(shape, list) else [None]:
        flat = polygon if isinstance(polygon, list) else []
        if len(flat) < 6 or len(flat) % 2 or not all(_is_number(value) and -limit <= value <= limit for value in flat):
            raise DataError(f"{what}: a polygon is not a list of x and y in pixels, at least 3 of each")


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    width, height = image.get("width"), image.get("height")
    if not isinstance(width, int) or not isinstance(height, int):
        return None
    return (width, height) if min(width, height) > 0 and max(width, height) <= 1 << 16 else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _hashable(value: Any) -> Any:
    return value if isinstance(value, int | str) else None
