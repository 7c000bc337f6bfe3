"""Reads Pascal VOC's annotations of objects: one XML file per image, with boxes.

VOC's box is (xmin, ymin, xmax, ymax) in pixels counted from 1, both ends included. Boxes here are edges, so 1 is
subtracted from xmin and ymin; overlaps equal those of VOC's development kit.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from segexport.data.dataset_list import DatasetEntry, read_labels
from segexport.data.images import IMAGE_SUFFIXES
from segexport.data.source import inside
from segexport.errors import DataError, MissingInputError, TooLargeError, UnreadableError
from segexport.task.instance.data import Annotation, InstanceData

_MAX_BYTES = 4 << 20


def is_voc(root: Path) -> bool:
    """Whether the folder has VOC's form."""
    return (root / "Annotations").is_dir() and any((root / "Annotations").glob("*.xml"))


def read(root: Path, split: str) -> InstanceData:
    """Reads the XML files of a split, listed in `ImageSets/Main/SPLIT.txt` or PaddleX's `SPLIT_list.txt`; else all.

    Class names are those of `labels.txt` or PaddleX's `label_list.txt`; else the names in the files, sorted.

    Raises:
        InputError: A file is missing or no annotation, or a name is not a class.
    """
    pairs = _pairs(root, split)
    found = {image: _objects(file) for image, file in pairs}
    given = read_labels(root / "labels.txt") or read_labels(root / "label_list.txt")
    names = {name for objects, _ in found.values() for name, *_ in objects}
    labels = tuple(given) if given else tuple(sorted(names))
    if unknown := sorted(names - set(labels)):
        raise DataError(
            f"{root / 'Annotations'}: objects of {', '.join(map(repr, unknown[:5]))}",
            cause=f"labels.txt names {', '.join(labels[:10])}",
        )
    annotations = {
        image: tuple(
            Annotation(labels.index(name), box, difficult=difficult, area=box[2] * box[3])
            for name, box, difficult in objects
        )
        for image, (objects, _) in found.items()
    }
    return InstanceData(
        root=root,
        split=split,
        entries=tuple(DatasetEntry(image, None, 0) for image, _ in pairs),
        labels=labels,
        form="VOC",
        source=root / "Annotations",
        category_ids=tuple(range(1, len(labels) + 1)),
        annotations=annotations,
        sizes={image: size for image, (_, size) in found.items() if size is not None},
        image_ids={image: index for index, (image, _) in enumerate(pairs, start=1)},
    )


def _pairs(root: Path, split: str) -> list[tuple[str, Path]]:
    """Each image, relative to the root, with its XML file."""
    stems = root / "ImageSets" / "Main" / f"{split}.txt"
    if stems.is_file():
        lines = [line.split() for line in stems.read_text("utf-8-sig", errors="replace").splitlines() if line.strip()]
        return [_pair(root, line[0], str(stems)) for line in lines]
    pairs = root / f"{split}_list.txt"
    if pairs.is_file():
        found = []
        for line in pairs.read_text("utf-8-sig", errors="replace").splitlines():
            parts = line.split()
            if not parts:
                continue
            if len(parts) != 2 or not all(inside(root, root / part) for part in parts):
                raise DataError(f"{pairs}: {line!r} is not `image annotation`, both inside the folder")
            if missing := [part for part in parts if not (root / part).is_file()]:
                raise MissingInputError(f"{pairs}: {missing[0]} is not there")
            found.append((Path(parts[0]).as_posix(), root / parts[1]))
        return found
    return [_pair(root, file.stem, str(file)) for file in sorted((root / "Annotations").glob("*.xml"))]


def _pair(root: Path, stem: str, where: str) -> tuple[str, Path]:
    file = root / "Annotations" / f"{stem}.xml"
    if not inside(root / "Annotations", file) or not file.is_file():
        raise MissingInputError(f"{where}: {stem!r} has no annotation", cause=f"{file} is not there")
    for suffix in sorted(IMAGE_SUFFIXES):
        if (root / "JPEGImages" / f"{stem}{suffix}").is_file():
            return f"JPEGImages/{stem}{suffix}", file
    raise DataError(f"{where}: {stem!r} has no image in {root / 'JPEGImages'}")


def _objects(
    file: Path,
) -> tuple[list[tuple[str, tuple[float, float, float, float], bool]], tuple[int, int] | None]:
    data = file.read_bytes()[: _MAX_BYTES + 1]
    if len(data) > _MAX_BYTES:
        raise TooLargeError(f"{file}: more than {_MAX_BYTES >> 20} MiB of XML")
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise DataError(f"{file}: a document type in it", cause="annotations need none, and entities can hold anything")
    try:
        tree = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError) as error:
        raise UnreadableError(f"{file}: not XML", cause=str(error)) from None
    found = []
    for number, node in enumerate(tree.iter("object"), start=1):
        name = (node.findtext("name") or "").strip()
        sides = [_number(node.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")]
        numbers = [side for side in sides if side is not None]
        if not name or len(numbers) < 4 or numbers[2] < numbers[0] or numbers[3] < numbers[1]:
            raise DataError(f"{file}: object {number} has no name, or no box", cause=f"name {name!r}, box {sides}")
        left, top, right, bottom = numbers
        box = (left - 1, top - 1, right - left + 1, bottom - top + 1)
        found.append((name, box, (node.findtext("difficult") or "0").strip() == "1"))
    width, height = (_number(tree.findtext(f"size/{side}")) for side in ("width", "height"))
    return found, ((int(width), int(height)) if width and height else None)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
