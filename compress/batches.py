"""Builds reproducible training batches: augmented images and labels after the model's preprocessing.

Batch `step` depends only on the seed and on `step`, so that a killed training resumes with the same batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import Field

from segexport import preprocess as contract
from segexport.compress import albumentation
from segexport.data.dataset import Dataset
from segexport.errors import DataError
from segexport.preprocess import Placement
from segexport.spec import Frozen, Preprocess

_THREADS = 2
_AHEAD = 3


class Augmentation(Frozen):
    """The random changes between two views of an image.

    Attributes:
        flip: Probability of a horizontal flip.
        zoom: Largest factor by which a window of the image is enlarged.
        brightness, contrast: Largest change, as a fraction.
        views: Number of different views per image, one per epoch, repeated in turn; 0: a new view each epoch. With few
            views, the teacher runs only once per view, see `Objective`.
        pipeline: Albumentations pipeline applied afterwards, as written by its `save`.
    """

    flip: float = 0.5
    zoom: float = 1.5
    brightness: float = 0.2
    contrast: float = 0.2
    views: int = Field(default=0, ge=0)
    pipeline: dict[str, Any] | None = None


@dataclass(frozen=True)
class Batch:
    """`images`: float32 (batch, channels, height, width). `labels`: int64 (batch, height, width), or None.

    `views`: a number for each image that identifies its pixels; None if every view differs.
    """

    images: np.ndarray
    labels: np.ndarray | None
    views: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Batches:
    """The batches of a training, by step. Each of `ranks` processes gets its share of a batch's images.

    Attributes:
        size: Images per batch, over all processes.
    """

    data: Dataset
    preprocess: Preprocess
    size: int
    seed: int
    augmentation: Augmentation = field(default_factory=Augmentation)
    rank: int = 0
    ranks: int = 1

    def at(self, step: int) -> Batch:
        """Returns the batch of a step. Each epoch reshuffles; an epoch's last batch is filled from the next epoch.

        Raises:
            InputError: An image cannot be read, or the batch's tensors differ in size.
        """
        places = range(step * self.size + self.rank, (step + 1) * self.size, self.ranks)
        views = [self._view(place) for place in places]
        images = [image for image, _, _ in views]
        if len({image.shape for image in images}) > 1:
            first, other = views[0], next(view for view in views if view[0].shape != images[0].shape)
            raise DataError(
                f"{first[2]} and {other[2]} become tensors of different sizes",
                cause=f"{first[0].shape[2:]} and {other[0].shape[2:]}; all images of a batch have the same size",
                hint="train with batch size 1, or on a model whose preprocessing resizes to one size",
            )
        labels = [label for _, label, _ in views]
        stacked = None if any(label is None for label in labels) else np.stack(labels).astype(np.int64)
        numbers = tuple(self._number(place) for place in places) if self.augmentation.views else None
        return Batch(np.concatenate(images), stacked, numbers)

    def following(self, step: int) -> Iterator[Batch]:
        """Yields the batches from `step` on, prepared in advance while the model trains."""
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="batches") as pool:
            waiting = [pool.submit(self.at, number) for number in range(step, step + _AHEAD)]
            try:
                while True:
                    step += 1
                    waiting.append(pool.submit(self.at, step + _AHEAD - 1))
                    yield waiting.pop(0).result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _view(self, place: int) -> tuple[np.ndarray, np.ndarray | None, str]:
        epoch, position = divmod(place, len(self.data))
        sample = self.data.read(self._index(place))
        if self.augmentation.views:
            random = np.random.default_rng([self.seed, self._number(place)])
        else:
            random = np.random.default_rng([self.seed, epoch, position])
        image, label = augment(sample.image, sample.label, self.augmentation, random)
        if self.augmentation.pipeline is not None:
            image, label = albumentation.apply(self.augmentation.pipeline, image, label, int(random.integers(1 << 31)))
        tensor, placement = contract.apply(self.preprocess, image)
        if label is not None:
            label = place_label(label, placement, self.data.ignore_index)
        return tensor, label, sample.name

    def _index(self, place: int) -> int:
        epoch, position = divmod(place, len(self.data))
        return int(np.random.default_rng([self.seed, epoch]).permutation(len(self.data))[position])

    def _number(self, place: int) -> int:
        """Returns the number that identifies a view."""
        return place // len(self.data) % self.augmentation.views * len(self.data) + self._index(place)


def augment(
    image: np.ndarray, label: np.ndarray | None, augmentation: Augmentation, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns a random view of an image with the same size.

    Args:
        image: (height, width, channels) uint8, uint16 or float32. Brightness is relative to the type's range for 8
            bits, else to the image's own range, because satellites and scanners use a small part of the type's range.
        label: (height, width) or None.
    """
    height, width = image.shape[:2]
    low, high = (0.0, 255.0) if image.dtype == np.uint8 else (float(image.min()), float(image.max()))
    zoom = random.uniform(1, augmentation.zoom)
    rows, columns = max(1, round(height / zoom)), max(1, round(width / zoom))
    top, left = random.integers(height - rows + 1), random.integers(width - columns + 1)
    mirrored = random.random() < augmentation.flip
    gain = 1 + random.uniform(-augmentation.contrast, augmentation.contrast)
    shift = (high - low) * random.uniform(-augmentation.brightness, augmentation.brightness)

    window = image[top : top + rows, left : left + columns].astype(np.float32)
    window, middle = contract.resized(window, (width, height)), (low + high) / 2
    window = (window - middle) * gain + middle + shift
    if image.dtype.kind == "u":
        window = np.clip(np.rint(window), 0, np.iinfo(image.dtype).max)
    image = window.astype(image.dtype)
    if label is not None:
        label = _nearest(label[top : top + rows, left : left + columns], width, height)
    if mirrored:
        image, label = image[:, ::-1], None if label is None else label[:, ::-1]
    return np.ascontiguousarray(image), label


def place_label(label: np.ndarray, placement: Placement, ignore_index: int) -> np.ndarray:
    """Aligns a label with its image's tensor: nearest-neighbour resize, padding becomes `ignore_index`.

    Args:
        label: (height, width) of the image.
        placement: The geometric preprocessing of the image.

    Returns:
        (height, width) of the tensor.
    """
    for (width, height), padded in zip(placement.sizes[1:], placement.padded, strict=True):
        if padded:
            below, right = height - label.shape[0], width - label.shape[1]
            label = np.pad(label, ((0, below), (0, right)), constant_values=ignore_index)
        else:
            label = _nearest(label, width, height)
    return label


def _nearest(label: np.ndarray, width: int, height: int) -> np.ndarray:
    rows = (2 * np.arange(height) + 1) * label.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * label.shape[1] // (2 * width)
    return label[rows][:, columns]
