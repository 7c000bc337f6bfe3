"""Determines the scored classes of objects: class of the model -> class of the data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from segexport.artifact import Manifest
from segexport.data.dataset import Dataset
from segexport.errors import MismatchError
from segexport.measure.label_map import label_map_lookup, skeleton_hint
from segexport.task.base import ScoredClasses
from segexport.task.instance.data import InstanceData
from segexport.ui.pictures import default_labels


def scored_classes(manifest: Manifest, data: Dataset, label_map: Mapping[str, str] | None) -> ScoredClasses:
    """Determines the classes, the model's if there are no annotations; raises errors as `class_lookup`."""
    if not isinstance(data, InstanceData):
        return ScoredClasses(manifest.labels, None)
    lookup = class_lookup(manifest, data, label_map)
    names: tuple[str, ...] = data.labels or ()
    own = [label.name for label in manifest.labels]
    pairs: dict[str, str] = {one: names[int(to)] for one, to in zip(own, lookup, strict=True) if to >= 0}
    shown = pairs if any(one != to for one, to in pairs.items()) else {}
    return ScoredClasses(default_labels(names), lookup, shown)


def class_lookup(manifest: Manifest, data: InstanceData, label_map: Mapping[str, str] | None = None) -> np.ndarray:
    """(classes of the model,) int64: the data's class of each, or -1 if the data does not have it.

    Classes are matched by name if the model has all names of the data, or with a `label_map`; otherwise by their order
    if the numbers are equal (PaddleDetection numbers classes by their categories' ids).

    Raises:
        InputError: Neither names nor numbers match, or the map names an unknown class.
    """
    own, names = [label.name for label in manifest.labels], list(data.labels or ())
    if label_map or set(names) <= set(own):
        lookup = label_map_lookup(own, names, label_map or {}).astype(np.int64)
        return np.where(lookup < len(names), lookup, -1)
    if len(own) != len(names):
        raise MismatchError(
            f"the model has {len(own)} classes, {data.source} has {len(names)}",
            cause=f"model: {', '.join(own[:20])}; data: {', '.join(names[:20])}",
            hint=skeleton_hint(own, names),
        )
    return np.arange(len(own))
