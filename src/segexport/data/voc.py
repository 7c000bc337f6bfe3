"""Pascal VOC's folders: `JPEGImages`, `SegmentationClass` with palette or colour masks, `ImageSets/Segmentation`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segexport.data.dataset_list import read_labels
from segexport.data.images import IMAGE_SUFFIXES, decode_image, decode_label
from segexport.data.source import IGNORE_INDEX, Item, Source, require_classes
from segexport.errors import DataError, MissingInputError, UnreadableError

IMAGES = "JPEGImages"
_MASKS = ("SegmentationClass", "SegmentationClassPNG")
_VOC = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor"
)


def masks_folder(root: Path) -> Path | None:
    """The folder of masks, if this is a VOC folder."""
    found = [root / name for name in _MASKS if (root / name).is_dir()]
    return found[0] if found and (root / IMAGES).is_dir() else None


def read(root: Path) -> Source:
    """Reads the lists; masks are read when an item's label is read.

    Class names are those of `labelmap.txt` (CVAT: `name:r,g,b::`, for colour masks), else `class_names.txt` (LabelMe's
    exporter) or `labels.txt`, else VOC's 20.

    Raises:
        InputError: A list names missing files, or masks are in colours without a `labelmap.txt`.
    """
    folder = masks_folder(root)
    if folder is None:
        raise UnreadableError(f"{root}: not a VOC folder", cause=f"{IMAGES} and SegmentationClass are expected in it")
    colors = _labelmap(root / "labelmap.txt")
    if colors is not None:
        names, notes = tuple(colors), ()
    else:
        given = read_labels(root / "class_names.txt") or read_labels(root / "labels.txt")
        names = tuple(name for name in given if name != "__ignore__") if given else tuple(_VOC.split())
        notes = () if given else ("no class_names.txt or labelmap.txt: the classes are taken to be VOC's",)
    require_classes(names, root)
    splits = {split: tuple(_item(root, folder, stem, colors) for stem in stems) for split, stems in _sets(root, folder)}
    return Source("Pascal VOC", names, splits, notes)


def _sets(root: Path, masks: Path) -> list[tuple[str, list[str]]]:
    """Stems of each list in `ImageSets/Segmentation`, without unions such as `trainval`; else all masks."""
    found = []
    for split in ("train", "val", "test"):
        path = root / "ImageSets" / "Segmentation" / f"{split}.txt"
        if path.is_file():
            stems = [line.strip() for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines()]
            stems = [stem for stem in stems if stem]
            for stem in stems:
                if "/" in stem or "\\" in stem or not (masks / f"{stem}.png").is_file():
                    raise MissingInputError(f"{path}: {stem!r} has no mask", cause=f"{masks / stem}.png is not there")
            found.append((split, stems))
    return found or [("train", sorted(path.stem for path in masks.glob("*.png")))]


def _item(root: Path, masks: Path, stem: str, colors: dict[str, tuple[int, int, int]] | None) -> Item:
    images = [path for suffix in sorted(IMAGE_SUFFIXES) if (path := root / IMAGES / f"{stem}{suffix}").is_file()]
    if not images:
        raise DataError(f"{masks / stem}.png: no image of this name in {IMAGES}")

    def label(width: int, height: int) -> np.ndarray:
        path = masks / f"{stem}.png"
        if colors is None:
            return decode_label(path)
        return _from_colors(path, colors)

    return Item(masks / f"{stem}.png", stem, images[0], label)


def _labelmap(path: Path) -> dict[str, tuple[int, int, int]] | None:
    """CVAT's names and colours, in the file's order."""
    if not path.is_file():
        return None
    colors: dict[str, tuple[int, int, int]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        parts = rest.partition(":")[0].split(",")
        if len(parts) != 3 or not all(part.strip().isdigit() and int(part) < 256 for part in parts):
            raise DataError(f"{path}: line {number} is {line!r}, `name:red,green,blue::` is expected")
        colors[name.strip()] = (int(parts[0]), int(parts[1]), int(parts[2]))
    return colors or None


def _from_colors(path: Path, colors: dict[str, tuple[int, int, int]]) -> np.ndarray:
    """Class ids of a mask in its classes' colours; a palette's colours are used, not its indices."""
    image = decode_image(path).astype(np.uint32)
    packed = image[:, :, 0] << 16 | image[:, :, 1] << 8 | image[:, :, 2]
    result = np.full(packed.shape, IGNORE_INDEX, np.uint8)
    known = np.zeros(packed.shape, bool)
    for index, (red, green, blue) in enumerate(colors.values()):
        here = packed == (red << 16 | green << 8 | blue)
        result[here], known = index, known | here
    known |= packed == 0xE0E0C0  # VOC's colour for borders, which are ignored
    if not known.all():
        y, x = np.argwhere(~known)[0]
        raise DataError(f"{path}: the colour {tuple(map(int, image[y, x]))} at ({x}, {y}) is not in labelmap.txt")
    return result
