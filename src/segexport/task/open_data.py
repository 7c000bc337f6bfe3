"""Opens the images and the truth in a folder, whichever task they are for."""

from __future__ import annotations

from pathlib import Path

from segexport.data.dataset import Dataset
from segexport.files.foreign import guarded
from segexport.task.instance import coco_data, voc_data


@guarded("a data set")
def open_data(root: Path, split: str = "val", *, ignore_index: int = 255, groups: str | None = None) -> Dataset:
    """The data set in a folder: annotated objects if it contains some and no list of label images.

    Args:
        root: A folder in PaddleSeg's, COCO's or Pascal VOC's form, a folder of images, or COCO's JSON file itself.
        split: Which part of it.
        ignore_index: As in `Dataset.open`.
        groups: As in `Dataset.grouped`.

    Raises:
        InputError: It cannot be read.
    """
    return _opened(root, split, ignore_index).grouped(groups)


def _opened(root: Path, split: str, ignore_index: int) -> Dataset:
    if root.is_file() and root.suffix.lower() == ".json":
        return coco_data.read(root.parent.parent if root.parent.name == "annotations" else root.parent, root, split)
    if root.is_dir() and not (root / f"{split}.txt").is_file():
        if (file := coco_data.find(root, split)) is not None:
            return coco_data.read(root, file, split)
        if voc_data.is_voc(root):
            return voc_data.read(root, split)
    return Dataset.open(root, split, ignore_index=ignore_index)
