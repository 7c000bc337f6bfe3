"""Opens the images and annotations of a folder for any task."""

from __future__ import annotations

from pathlib import Path

from segexport.data.dataset import Dataset
from segexport.files.foreign import guarded
from segexport.task.instance import coco_data, voc_data


@guarded("a data set")
def open_data(root: Path, split: str = "val", *, ignore_index: int = 255, groups: str | None = None) -> Dataset:
    """Opens the data set of a folder: annotated objects if it contains them and no list of label images.

    Args:
        root: A folder in PaddleSeg, COCO or Pascal VOC format, a folder of images, or a COCO JSON file.
        split: The split to open.
        ignore_index: As in `Dataset.open`.
        groups: As in `Dataset.grouped`.

    Raises:
        InputError: The data cannot be read.
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
