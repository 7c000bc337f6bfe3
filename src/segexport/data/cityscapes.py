"""Cityscapes' folders: `leftImg8bit/<split>/<city>`, `gtFine/<split>/<city>`, as the 19 classes that are evaluated."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segexport.data.images import decode_label
from segexport.data.source import IGNORE_INDEX, Item, Source
from segexport.errors import DataError, UnreadableError

IMAGES = "leftImg8bit"
LABELS = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
)
# The `id` of each of these classes in `*_labelIds.png`; all others are ignored (cityscapesScripts, labels.py).
_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_MASKS = ("gtFine", "gtCoarse")


def masks_folder(root: Path) -> Path | None:
    """The folder of masks, if this is a Cityscapes folder."""
    found = [root / name for name in _MASKS if (root / name).is_dir()]
    return found[0] if found and (root / IMAGES).is_dir() else None


def read(root: Path) -> Source:
    """Lists images that have a mask; `test`, whose masks are empty, is left out.

    Raises:
        InputError: No image has a mask.
    """
    masks = masks_folder(root)
    if masks is None:
        raise UnreadableError(f"{root}: not a Cityscapes folder", cause=f"{IMAGES} and gtFine are expected in it")
    splits = {}
    for split in ("train", "val"):
        images = sorted((root / IMAGES / split).glob("*/*_leftImg8bit.png"))
        items = tuple(_item(image, masks / split / image.parent.name) for image in images)
        if items:
            splits[split] = items
    if not splits:
        raise DataError(f"{root}: no images in {IMAGES}/train and {IMAGES}/val")
    return Source("Cityscapes", LABELS, splits)


def to_train_ids(label_ids: np.ndarray) -> np.ndarray:
    """Cityscapes' 34 ids as the 19 classes that are evaluated: uint8 of the same shape, 255 for all others."""
    table = np.full(1 << 16, IGNORE_INDEX, np.uint8)
    table[list(_LABEL_IDS)] = np.arange(len(_LABEL_IDS))
    return table[label_ids]


def _item(image: Path, folder: Path) -> Item:
    stem = image.name.removesuffix("_leftImg8bit.png")
    kind = folder.parent.parent.name
    ready, raw = folder / f"{stem}_{kind}_labelTrainIds.png", folder / f"{stem}_{kind}_labelIds.png"
    if not ready.is_file() and not raw.is_file():
        raise DataError(f"{image}: no mask", cause=f"neither {ready.name} nor {raw.name} is in {folder}")

    def label(width: int, height: int) -> np.ndarray:
        return decode_label(ready) if ready.is_file() else to_train_ids(decode_label(raw))

    return Item(image, f"{image.parent.parent.name}/{image.parent.name}/{stem}", image, label)
