"""Maps a model's classes to a data set's classes if their names or numbers differ."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import numpy as np

from segexport.errors import MismatchError

LabelMap = Mapping[str, str]
"""Class of the model -> class of the data, by name or by id in digits."""

_SHOWN = 40  # lines of a skeleton


def label_map_lookup(model_labels: Sequence[str], dataset_labels: Sequence[str], mapping: LabelMap) -> np.ndarray:
    """The table for evaluating a model on a dataset with different class names: model class -> dataset class.

    A model class without a counterpart becomes the extra class "other" (= the number of dataset classes). Predicting it
    is wrong, because the truth is another class, which loses a pixel; but it is no class of the dataset, so it has no
    IoU and does not count in the mean. Ignoring these pixels would reward a model for predicting classes that the data
    does not have. Several model classes may map to one dataset class.

    Args:
        model_labels: Names in the order of the model's class ids.
        dataset_labels: Names in the order of the dataset's class ids.
        mapping: Model class -> dataset class; equal names that it does not mention map to each other.

    Returns:
        (model classes,): the dataset's class id, or `len(dataset_labels)` for "other".

    Raises:
        InputError: Names do not exist (the error lists all, each with the nearest existing name), or no class maps.
    """
    faults = [_unknown("model", name, model_labels) for name in mapping if _id_of(name, model_labels) is None]
    faults += [
        _unknown("dataset", name, dataset_labels) for name in mapping.values() if not _known(name, dataset_labels)
    ]
    ids = [_id_of(name, model_labels) for name in mapping]
    faults += [f"the model's class {model_labels[one]!r} is mapped twice" for one in _repeated(ids)]
    if faults:
        raise MismatchError("label_map: " + "; ".join(faults), hint=skeleton_hint(model_labels, dataset_labels))
    other = len(dataset_labels)
    same_names = {name: index for index, name in enumerate(dataset_labels)}
    table = [same_names.get(name, other) for name in model_labels]
    for one, name in zip(ids, mapping.values(), strict=True):
        target = _id_of(name, dataset_labels)
        if one is not None and target is not None:
            table[one] = target
    if all(target == other for target in table):
        raise MismatchError(
            f"label_map: none of the model's {len(model_labels)} classes maps to a class of the dataset",
            cause=f"the model has {', '.join(model_labels[:20])}; the dataset has {', '.join(dataset_labels[:20])}",
            hint=skeleton_hint(model_labels, dataset_labels),
        )
    return np.array(table, np.uint8 if other < 256 else np.uint16)


def skeleton_hint(model_labels: Sequence[str], dataset_labels: Sequence[str]) -> str:
    """A template of a label map: every class of the model with the data's class of the most similar name."""
    lines = []
    for index, name in enumerate(model_labels[:_SHOWN]):
        near = difflib.get_close_matches(name, dataset_labels, n=1, cutoff=0.5)
        lines.append(f"{index}: {near[0] if near else '?'}  # {name}")
    left = len(model_labels) - len(lines)
    lines += [f"# and {left} more"] if left else []
    known = ", ".join(dataset_labels[:_SHOWN])
    return "\n".join(
        (
            "map the classes with --label-map FILE (in a recipe: data: {label_map: ...}); leave out what has no class.",
            f"The data's classes are {known}. To begin with:",
            *lines,
        )
    )


def _id_of(name: str, labels: Sequence[str]) -> int | None:
    """A class by its name, else by its id."""
    if name in labels:
        return list(labels).index(name)
    return int(name) if name.isdecimal() and int(name) < len(labels) else None


def _known(name: str, labels: Sequence[str]) -> bool:
    return _id_of(name, labels) is not None


def _repeated(ids: Sequence[int | None]) -> list[int]:
    return sorted({one for one in ids if one is not None and ids.count(one) > 1})


def _unknown(side: str, name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"the {side} has no class {name!r}" + (f", perhaps {near[0]!r}" if near else "")
