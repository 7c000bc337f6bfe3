"""A data set of images with annotated objects: COCO's JSON, or Pascal VOC's XML."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from segexport.data.dataset import Dataset, Sample
from segexport.errors import DataError

Form = Literal["COCO", "VOC"]


@dataclass(frozen=True)
class Annotation:
    """One annotated object.

    Attributes:
        class_id: Index into the data's labels.
        bbox: (x, y, width, height) in pixels, from the image's upper left corner.
        segmentation: Polygons or a run-length code in COCO's form; None if there is only a box.
        crowd: Whether it marks many objects at once; detections in it count neither as right nor as wrong.
        difficult: VOC's flag, with the same effect.
        area: Area in square pixels, from the annotation.
    """

    class_id: int
    bbox: tuple[float, float, float, float]
    segmentation: Any = None
    crowd: bool = False
    difficult: bool = False
    area: float = 0.0


@dataclass(frozen=True)
class InstanceData(Dataset):
    """A data set with annotated objects.

    Attributes:
        form: Form of the annotations.
        source: The annotation file, or the folder of annotation files.
        category_ids: Id of each label in the annotations.
        annotations: Name of an image -> its objects.
        sizes: Name of an image -> (width, height), if the annotations have it.
        image_ids: Name of an image -> its id in the annotations.
    """

    form: Form = "COCO"
    source: Path = Path()
    category_ids: tuple[int, ...] = ()
    annotations: Mapping[str, tuple[Annotation, ...]] = field(default_factory=dict)
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    image_ids: Mapping[str, Any] = field(default_factory=dict)

    @property
    def labelled(self) -> bool:
        return True

    @property
    def has_masks(self) -> bool:
        """Whether every object has a mask."""
        return all(one.segmentation is not None for found in self.annotations.values() for one in found)

    def of(self, name: str) -> tuple[Annotation, ...]:
        """The objects of an image."""
        return self.annotations.get(name, ())

    def read(self, index: int) -> Sample:
        sample = super().read(index)
        stated, found = self.sizes.get(sample.name), sample.image.shape[1::-1]
        if stated is not None and stated != found:
            raise DataError(
                f"{self.source}: {sample.name} is {stated[0]}x{stated[1]} there, and {found[0]}x{found[1]} on disk",
                cause="the annotations belong to an image of another size",
            )
        return sample

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) of the images and their annotations."""
        images = Dataset(self.root, self.split, self.entries, self.labels, groups=self.groups).fingerprint
        truth = [(entry.image, self.of(entry.image)) for entry in self.entries]
        return hashlib.sha256(repr((images, self.category_ids, truth)).encode()).hexdigest()
