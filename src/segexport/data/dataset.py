"""Images and labels on disk, in PaddleSeg's form, read as a stream in constant memory.

A data set is a folder with a list per split (`train.txt`, `val.txt`: an image and its label per line) and the class
names in `labels.txt`, class 0 first. A folder that contains only images is a data set without labels.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

import numpy as np

from segexport.artifact import file_digest
from segexport.data.dataset_list import DatasetEntry, plain_folder, read_labels, read_list
from segexport.data.groups import with_groups
from segexport.data.images import COLORS, MAX_PIXELS, MAX_PIXELS_IN_TILES, decode_image, decode_label, image_size
from segexport.errors import DataError, InputError, MissingInputError, OptionError, cannot_read
from segexport.recipe.groups import COLUMN
from segexport.spec import Pixels, Preprocess

_THREADS = 2
_AHEAD = 2  # decoded samples that wait, besides those that the threads decode


@dataclass(frozen=True)
class Sample:
    """One image, decoded.

    Attributes:
        index: Index in the data set, from 0.
        name: The image's path inside the data set.
        image: uint8 (height, width, 3), RGB; or in the form of the data set's `pixels`.
        label: uint8 or uint16 (height, width) of class ids; None if the data set has no labels.
    """

    index: int
    name: str
    image: np.ndarray
    label: np.ndarray | None


AnyDataset = TypeVar("AnyDataset", bound="Dataset")


@dataclass(frozen=True)
class Dataset:
    """The images of one split. Iterating decodes them; length and files are known before.

    Attributes:
        root: The folder.
        split: The list's name without `.txt`.
        entries: The files, in the list's order.
        labels: Class names; None if there is no `labels.txt`.
        num_classes: Labels of this value or more are errors, except `ignore_index`; None: not checked.
        ignore_index: Label of ignored pixels.
        pixels: The form of decoded images.
        groups: Grouping of the images (`data.groups`); empty if each is independent.
    """

    root: Path
    split: str
    entries: tuple[DatasetEntry, ...]
    labels: tuple[str, ...] | None = None
    num_classes: int | None = None
    ignore_index: int = 255
    pixels: Pixels = COLORS
    groups: str = ""

    @classmethod
    def open(
        cls,
        root: Path,
        split: str = "val",
        *,
        num_classes: int | None = None,
        ignore_index: int = 255,
        groups: str | None = None,
    ) -> Dataset:
        """Reads the list of a split and checks that its files exist; decodes nothing.

        Args:
            root: Folder of the data set.
            split: Name of the list, without `.txt`.
            num_classes: Number of classes in labels; default: the number of names in `labels.txt`.
            ignore_index: Label of ignored pixels.
            groups: As in `grouped`.

        Raises:
            InputError: The folder or list is missing, the list is empty, or lines name files that are missing, outside
                of the folder or listed twice; the error lists all faults.
        """
        if not root.is_dir():
            raise MissingInputError(
                f"{root}: {'not a folder' if root.exists() else 'no such folder'}",
                hint="data is a folder with val.txt (a line for each image: `image label`) and labels.txt",
            )
        labels = read_labels(root / "labels.txt")
        entries = plain_folder(root, split) or read_list(root, split)
        if num_classes is None and labels is not None:
            num_classes = len(labels)
        return cls(root, split, entries, labels, num_classes, ignore_index).grouped(groups)

    def grouped(self, groups: str | None) -> Dataset:
        """The same images with groups.

        Args:
            groups: `auto`, `column` or a pattern (`data.groups`); None: by the list's last column, if it has one.

        Raises:
            InputError: As `data.groups.with_groups`.
        """
        if groups is None:
            return replace(self, groups=COLUMN if self.entries and self.entries[0].group else "")
        entries = with_groups(self.entries, groups, f"{self.root}, split {self.split!r}")
        return replace(self, entries=entries, groups=groups)

    def ungrouped(self) -> Dataset:
        """The same images without groups."""
        return replace(self, groups="")

    @property
    def units(self) -> int:
        """Number of independent units: groups, or images without groups."""
        return len(set(self.image_groups or ())) or len(self)

    @property
    def image_groups(self) -> tuple[str, ...] | None:
        """The group of each image, in the list's order; None without groups."""
        return tuple(entry.group for entry in self.entries) if self.groups else None

    def read_for(self: AnyDataset, contract: Preprocess) -> AnyDataset:
        """The same images, decoded in this form."""
        return replace(self, pixels=contract.pixels)

    @property
    def labelled(self) -> bool:
        """Whether every image has a label."""
        return bool(self.entries) and self.entries[0].label is not None

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Sample]:
        """Decodes in the list's order, a few images ahead, in threads (the decoders release the interpreter's lock)."""
        pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="decode")
        waiting: deque[Future[Sample]] = deque()
        try:
            for index in range(len(self)):
                waiting.append(pool.submit(self.read, index))
                if len(waiting) >= _THREADS + _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def read(self, index: int) -> Sample:
        """Decodes one image and its label.

        Raises:
            InputError: A file cannot be decoded, image and label differ in size, or label values are out of range; the
                message names the file and the line of the list.
        """
        entry = self.entries[index]
        try:
            image = decode_image(self.root / entry.image, pixels=self.pixels)
            limit = MAX_PIXELS_IN_TILES if self.pixels.in_tiles else MAX_PIXELS
            label = None if entry.label is None else decode_label(self.root / entry.label, max_pixels=limit)
        except InputError as error:
            raise DataError(f"{error.what}{self._where(entry)}", cause=error.cause, hint=error.hint) from error
        if label is not None:
            self._check_label(entry, (image.shape[0], image.shape[1]), label)
        return Sample(index, entry.image, image, label)

    def read_label(self, index: int) -> np.ndarray:
        """Decodes a label; reads only the header of its image.

        Raises:
            InputError: As `read`, for faults in the image's header; or the image has no label.
        """
        entry = self.entries[index]
        try:
            if entry.label is None:
                raise DataError(f"{self.root / entry.image}: no label is named for it")
            width, height = image_size(self.root / entry.image)
            label = decode_label(self.root / entry.label)
        except InputError as error:
            raise DataError(f"{error.what}{self._where(entry)}", cause=error.cause, hint=error.hint) from error
        self._check_label(entry, (height, width), label)
        return label

    def subset(self, count: int, seed: int = 0) -> Dataset:
        """At most `count` images, spread over the list: one from each of `count` equal parts, drawn by `seed`."""
        if count < 1:
            raise OptionError(f"a subset of {count} images", cause="at least one is needed")
        if count >= len(self):
            return self
        edges = np.arange(count + 1) * len(self) // count  # integers, so that no image is drawn for two parts
        drawn = np.random.default_rng(seed).random(count)
        places = edges[:-1] + np.floor(drawn * np.diff(edges)).astype(int)
        return replace(self, entries=tuple(self.entries[place] for place in places))

    def at_most(self, limit: int | None, seed: int = 0) -> Dataset:
        """`subset`, or the whole data set if there is no limit."""
        return self if limit is None else self.subset(limit, seed)

    def shard(self, index: int, count: int) -> Dataset:
        """Every `count`-th image, from `index` on; the shards 0 to `count` - 1 together are the data set."""
        if not 0 <= index < count:
            raise OptionError(f"shard {index} of {count}", cause=f"shards of {count} are 0 to {count - 1}")
        return replace(self, entries=self.entries[index::count])

    def part(self, index: int, count: int) -> Dataset:
        """The `index`-th (from 1) of `count` equal runs of the list, so that consecutive frames stay together.

        A group is not split: the list is ordered by groups, and a group belongs to the part with its middle image.

        Raises:
            InputError: The part does not exist or has no images.
        """
        names = self.image_groups or tuple(entry.image for entry in self.entries)
        sizes = Counter(names)
        ends = dict(zip(sizes, accumulate(sizes.values()), strict=True))
        first, last = ((index - 1) * len(self) // count, index * len(self) // count)
        inside = {name for name, size in sizes.items() if first <= ends[name] - 1 - size // 2 < last}
        entries = tuple(entry for entry, name in zip(self.entries, names, strict=True) if name in inside)
        if not 1 <= index <= count or not entries:
            groups = f" in {len(sizes)} group{'s' if len(sizes) > 1 else ''}" if self.groups else ""
            raise OptionError(
                f"{self.root}, split {self.split!r}: part {index}/{count} of {len(self)} images{groups} is empty",
                cause="parts are 1/N to N/N, and each needs an image" + (" and whole groups" if groups else ""),
            )
        return replace(self, entries=entries)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) of the files' names and contents in the list's order, class names, label range and groups."""
        paths = [path for entry in self.entries for path in (entry.image, entry.label) if path is not None]
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="digest") as pool:
            digests = dict(zip(paths, pool.map(self.digest, paths), strict=True))
        total = hashlib.sha256(repr((self.labels, self.num_classes, self.ignore_index)).encode())
        for entry in self.entries:
            total.update(repr((entry.image, digests[entry.image])).encode())
            if entry.label is not None:
                total.update(repr((entry.label, digests[entry.label])).encode())
        if self.groups:
            total.update(repr(self.image_groups).encode())
        return total.hexdigest()

    def digest(self, relative: str) -> str:
        """sha256 (hex) of a file of the data set."""
        path = self.root / relative
        try:
            stat = path.stat()
            return _digest_of_version(path, stat.st_size, stat.st_mtime_ns)
        except OSError as error:
            raise cannot_read(path, error) from error

    def _check_label(self, entry: DatasetEntry, size: tuple[int, int], label: np.ndarray) -> None:
        """`size`: (height, width) of the image."""
        path = f"{self.root / str(entry.label)}{self._where(entry)}"
        if label.shape != size:
            turned = label.shape == size[::-1]
            raise DataError(
                f"{path}: the label is {label.shape[1]}x{label.shape[0]}, its image {entry.image} is "
                f"{size[1]}x{size[0]}",
                cause="the label was drawn before the EXIF orientation turned the image"
                if turned
                else "a label gives the class of each pixel, so the sizes must be equal",
                hint="turn the label likewise, or save the image without its EXIF block" if turned else "",
            )
        if self.num_classes is None:
            return
        wrong = (label >= self.num_classes) & (label != self.ignore_index)
        if wrong.any():
            values = [int(value) for value in np.unique(label[wrong])]
            more = ", ..." if len(values) > 8 else ""
            raise DataError(
                f"{path}: label values out of range: {', '.join(map(str, values[:8]))}{more}",
                cause=f"there are {self.num_classes} classes (0 to {self.num_classes - 1}), "
                f"and {self.ignore_index} is ignored",
                hint="name every class in labels.txt, or give another ignore_index",
            )

    def _where(self, entry: DatasetEntry) -> str:
        return f" ({self.split}.txt, line {entry.line})" if entry.line else ""


@lru_cache(maxsize=1 << 16)
def _digest_of_version(path: Path, _size_bytes: int, _mtime_ns: int) -> str:
    """A file's sha256; cached in this process while the file does not change."""
    return file_digest(path)
