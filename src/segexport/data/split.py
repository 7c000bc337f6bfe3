"""`data split`: divides a data set into train, val and test; deterministic for a seed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from segexport.data.dataset import Dataset
from segexport.data.dataset_list import DatasetEntry
from segexport.data.images import ARRAY_SUFFIXES, IMAGE_SUFFIXES
from segexport.errors import DataError, OptionError
from segexport.files.atomic import whole_file

SPLITS = ("train", "val", "test")
_LABEL_FOLDERS = ("labels", "annotations", "masks")


def split(
    root: Path,
    train_percent: float,
    val_percent: float,
    test_percent: float = 0,
    *,
    seed: int = 0,
    stratify: bool = False,
    ignore_index: int = 255,
) -> dict[str, int]:
    """Writes `train.txt`, `val.txt` and, if its part is above 0, `test.txt`; existing lists are renamed to `.bak`.

    Divides all images of the lists; without lists, those of `images/` with a label of the same name in `labels/` (or
    `annotations/`, `masks/`).

    Args:
        root: The data set.
        train_percent: Percent of the images; the three sum to 100.
        val_percent: Percent of the images.
        test_percent: Percent of the images.
        seed: Seed of the division.
        stratify: Whether each split gets its part of the images of each class, rarest class first (Sechidis et al.,
            "On the Stratification of Multi-label Data", 2011); reads every label.
        ignore_index: Label of ignored pixels.

    Returns:
        Split -> number of images.

    Raises:
        InputError: The percentages do not sum to 100, or there are no images or too few for every split.
        StorageError: The lists cannot be written.
    """
    percents = (train_percent, val_percent, test_percent)
    if not (train_percent > 0 and val_percent > 0 and test_percent >= 0 and abs(sum(percents) - 100) <= 1e-6):
        raise OptionError(
            f"train {train_percent:g} %, val {val_percent:g} %, test {test_percent:g} %",
            cause="train and val get more than 0, and together they are 100",
        )
    entries = sorted(_all_entries(root), key=lambda entry: entry.image)  # independent of the lists' order
    shares = [percent / 100 for percent in percents]
    rng = np.random.default_rng(seed)
    if stratify:
        place = _stratified(_classes(root, entries, ignore_index), shares, rng)
    else:
        place = rng.permutation(np.repeat(np.arange(3), _counts(len(entries), shares)))
    parts = {name: [e for e, where in zip(entries, place, strict=True) if where == i] for i, name in enumerate(SPLITS)}
    for name, percent in zip(SPLITS, percents, strict=True):
        if percent > 0 and not parts[name]:
            raise DataError(f"{root}: {len(entries)} images are too few for {percent:g} % {name}")
    _write(root, {name: part for name, part in parts.items() if part})
    return {name: len(part) for name, part in parts.items() if part}


def _all_entries(root: Path) -> list[DatasetEntry]:
    found: dict[str, DatasetEntry] = {}
    listed = [name for name in SPLITS if (root / f"{name}.txt").is_file()]
    for name in listed:
        for entry in Dataset.open(root, name).entries:
            found.setdefault(entry.image, entry)
    entries = list(found.values()) if listed else _pairs(root)
    if not entries:
        raise DataError(
            f"{root}: no images to split", hint="images/ and labels/, or a list such as train.txt, are expected"
        )
    if len({entry.label is None for entry in entries}) > 1:
        raise DataError(f"{root}: some lists have labels and some have none")
    return entries


def _pairs(root: Path) -> list[DatasetEntry]:
    """Images in `images/` with labels of the same name."""
    if not (root / "images").is_dir():
        return []
    folder = next((name for name in _LABEL_FOLDERS if (root / name).is_dir()), None)
    entries = []
    for path in sorted((root / "images").rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES | ARRAY_SUFFIXES and path.is_file():
            image = path.relative_to(root)
            label = None
            if folder is not None:
                label = Path(folder, *image.parts[1:]).with_suffix(".png")
                if not (root / label).is_file():
                    raise DataError(f"{path}: has no label {label}")
            entries.append(DatasetEntry(image.as_posix(), None if label is None else label.as_posix()))
    return entries


def _counts(total: int, shares: Sequence[float]) -> list[int]:
    """Integers with this sum, nearest to the shares; every share above 0 gets at least one if possible."""
    exact = np.array([total * share for share in shares])
    counts = np.maximum(np.floor(exact), exact > 0).astype(int)
    while counts.sum() != total:
        step = 1 if counts.sum() < total else -1
        counts[int(np.argmax(np.where(exact > 0, step * (exact - counts), -np.inf)))] += step
    return counts.tolist()


def _classes(root: Path, entries: list[DatasetEntry], ignore_index: int) -> np.ndarray:
    """(images, classes) bool: whether the image's label contains the class."""
    data = Dataset(root, "all", tuple(entries), ignore_index=ignore_index)
    if not data.labelled:
        raise DataError(f"{root}: there are no labels to stratify by", hint="leave out --stratify")
    labels = map(data.read_label, range(len(data)))
    found = [np.bincount(label.ravel(), minlength=ignore_index + 1) > 0 for label in labels]
    table = np.zeros((len(entries), max(map(len, found))), bool)
    for row, values in zip(table, found, strict=True):
        row[: values.size] = values
    table[:, ignore_index] = False
    return table


def _stratified(has: np.ndarray, shares: list[float], rng: np.random.Generator) -> np.ndarray:
    """Assigns images to splits by iterative stratification: the class with the fewest remaining images is next; each of
    its images is assigned to the split that lacks this class most, then to the one that lacks images most."""
    place = np.full(len(has), -1)
    wanted = np.outer(shares, has.sum(axis=0)).astype(float)
    room = np.array(_counts(len(has), shares), float)
    order = rng.permutation(len(has))
    while (left := order[place[order] < 0]).size:
        counts = has[left].sum(axis=0)
        rarest = int(np.argmin(np.where(counts > 0, counts, np.iinfo(np.int64).max))) if counts.any() else -1
        for image in left[has[left, rarest]] if rarest >= 0 else left:
            open_splits = np.flatnonzero(room > 0)
            want = wanted[open_splits, rarest] if rarest >= 0 else np.zeros(open_splits.size)
            best = open_splits[np.lexsort((-room[open_splits], -want))[0]]
            place[image] = best
            room[best] -= 1
            wanted[best, has[image]] -= 1
    return place


def _write(root: Path, parts: dict[str, list[DatasetEntry]]) -> None:
    """Writes the new lists under temporary names, then renames the old ones, then the new ones."""
    spaces = any(" " in path for part in parts.values() for e in part for path in (e.image, e.label or ""))
    separator = "\t" if spaces else " "
    with ExitStack() as lists:
        for name, part in parts.items():
            lines = (e.image if e.label is None else f"{e.image}{separator}{e.label}" for e in part)
            work = lists.enter_context(whole_file(root / f"{name}.txt"))
            work.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        for path in (root / f"{name}.txt" for name in SPLITS):
            if path.exists():
                os.replace(path, _backup(path))


def _backup(path: Path) -> Path:
    """`train.txt.bak`, or the first unused of `train.txt.bak2`, `.bak3`, ..., so that no list is lost."""
    backup, number = path.with_name(f"{path.name}.bak"), 1
    while backup.exists():
        number += 1
        backup = path.with_name(f"{path.name}.bak{number}")
    return backup
