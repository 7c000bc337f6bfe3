"""`data convert`: converts LabelMe, COCO, Pascal VOC and Cityscapes to PaddleSeg's form."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from segexport.data import cityscapes, coco, labelme, voc
from segexport.data.images import decode_image
from segexport.data.source import IGNORE_INDEX, Item, Source
from segexport.errors import DataError, MissingInputError, OptionError
from segexport.files.foreign import guarded, reading
from segexport.files.output_folder import new_folder
from segexport.progress import Progress, silent
from segexport.ui.pictures import default_labels, suffix

Form = Literal["labelme", "coco", "voc", "cityscapes"]
FORMS: tuple[Form, ...] = ("labelme", "coco", "voc", "cityscapes")


@dataclass(frozen=True)
class Converted:
    """The result of a conversion.

    Attributes:
        form: The form of the source.
        labels: Class names in the order of the ids.
        counts: Number of images per split.
        notes: Warnings about the conversion.
    """

    form: str
    labels: tuple[str, ...]
    counts: dict[str, int]
    notes: tuple[str, ...]


def convert(
    source: Path,
    out: Path,
    *,
    form: Form | None = None,
    labels: Sequence[str] | None = None,
    link: bool = False,
    progress: Progress = silent,
) -> Converted:
    """Writes `images/`, `labels/` (palette PNG), `labels.txt` and a list for each split into a new folder.

    Args:
        source: Folder of the data set.
        out: A folder that does not exist, or is empty.
        form: The form of `source`; default: recognised.
        labels: Class names in the order of their ids, for LabelMe, which does not store them.
        link: Whether to make hard links to the images instead of copies, if the file system supports them.
        progress: Advances with every image.

    Raises:
        InputError: The form is not recognised, or the data is invalid; nothing is written then.
        StorageError: The disk is full, or `out` cannot be written.
    """
    read = read_source(source, form, labels)
    if not any(read.splits.values()):
        raise DataError(f"{source}: no annotated images", cause=f"it was read as {read.form}")
    with new_folder(out) as folder:
        for name in ("images", "labels"):
            (folder / name).mkdir()
        names = _names([item for items in read.splits.values() for item in items])
        palette = [value for label in default_labels([""] * 256) for value in label.rgb]

        def write(item: Item) -> str:
            return _write(folder, names[id(item)], item, len(read.labels), palette, link)

        pool = ThreadPoolExecutor(2)
        try:
            for split, items in read.splits.items():
                lines = []
                with progress(f"converting {split}", len(items)) as bar:
                    for line in pool.map(write, items):
                        lines.append(line)
                        bar.advance()
                (folder / f"{split}.txt").write_text("".join(lines), encoding="utf-8")
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        (folder / "labels.txt").write_text("".join(f"{name}\n" for name in read.labels), encoding="utf-8")
    return Converted(read.form, read.labels, {split: len(items) for split, items in read.splits.items()}, read.notes)


@guarded("a data set of a known form")
def read_source(source: Path, form: Form | None = None, labels: Sequence[str] | None = None) -> Source:
    """Reads a data set's lists and names; raises as `convert`."""
    if not source.is_dir():
        raise MissingInputError(f"{source}: {'not a folder' if source.exists() else 'no such folder'}")
    form = form or recognise(source)
    if form == "labelme":
        return labelme.read(source, labels)
    if labels is not None:
        raise OptionError(f"{source}: {form} names its classes itself; class names are for LabelMe only")
    return {"coco": coco, "voc": voc, "cityscapes": cityscapes}[form].read(source)


def recognise(source: Path) -> Form:
    """The form of a folder.

    Raises:
        InputError: The form is not recognised.
    """
    if cityscapes.masks_folder(source):
        return "cityscapes"
    if voc.masks_folder(source):
        return "voc"
    if labelme.find(source):
        return "labelme"
    if coco.find(source):
        return "coco"
    raise DataError(
        f"{source}: its form is not recognised",
        cause="LabelMe: JSON files with `shapes`. COCO: a JSON with images, annotations, categories. VOC: JPEGImages "
        "and SegmentationClass. Cityscapes: leftImg8bit and gtFine",
        hint="name it with --form, if it is one of these",
    )


def _names(items: list[Item]) -> dict[int, str]:
    """A file name for each item (by its id()): the last part of its name if unique, else with its folders."""
    short = [_clean(Path(item.name).name) for item in items]
    counts = Counter(name.lower() for name in short)  # a file system may ignore case
    names: dict[int, str] = {}
    taken: dict[str, Item] = {}
    for item, name in zip(items, short, strict=True):
        final = name if counts[name.lower()] == 1 else _clean(item.name.replace("/", "_"))
        if final.lower() in taken:
            raise DataError(f"{item.origin} and {taken[final.lower()].origin}: two images called {final!r}")
        taken[final.lower()] = item
        names[id(item)] = final
    return names


def _clean(name: str) -> str:
    """Removes spaces, with which PaddleSeg separates names."""
    return "_".join(name.split())


def _write(folder: Path, name: str, item: Item, classes: int, palette: list[int], link: bool) -> str:
    content = item.image if isinstance(item.image, Path) else item.image()
    image = decode_image(content, name=str(item.origin))
    with reading(item.origin, "an annotation"):
        label = item.label(image.shape[1], image.shape[0])
    if label.shape != image.shape[:2]:
        sizes = f"{label.shape[1]}x{label.shape[0]}, its image {image.shape[1]}x{image.shape[0]}"
        raise DataError(f"{item.origin}: the label is {sizes}")
    wrong = (label >= classes) & (label != IGNORE_INDEX)
    if wrong.any():
        values = ", ".join(map(str, np.unique(label[wrong])[:8]))
        raise DataError(f"{item.origin}: class ids {values}, but there are {classes} classes")
    if isinstance(content, bytes):
        target = f"images/{name}{suffix(content) or '.png'}"
        (folder / target).write_bytes(content)
    else:
        target = f"images/{name}{content.suffix.lower()}"
        _place(content, folder / target, link)
    picture = Image.fromarray(label.astype(np.uint8, copy=False))
    picture.putpalette(palette)
    picture.save(folder / f"labels/{name}.png")
    return f"{target} labels/{name}.png\n"


def _place(source: Path, target: Path, link: bool) -> None:
    if link:
        try:
            os.link(source, target)
            return
        except OSError:  # another file system, or one without hard links
            pass
    shutil.copyfile(source, target)
