"""Determines the scored classes of masks: class of the model -> class of the data."""

from __future__ import annotations

from collections.abc import Mapping

from segexport.artifact import Manifest
from segexport.data.dataset import Dataset
from segexport.errors import MismatchError
from segexport.measure.label_map import label_map_lookup, skeleton_hint
from segexport.task.base import ScoredClasses
from segexport.ui.pictures import default_labels


def scored_classes(manifest: Manifest, data: Dataset, label_map: Mapping[str, str] | None) -> ScoredClasses:
    """Determines the classes.

    Args:
        label_map: Class of the model -> class of the data, by name; None: by equal names, or else by order.

    Raises:
        InputError: The classes of model and data do not match.
    """
    model = tuple(label.name for label in manifest.labels)
    if not data.labelled:
        return ScoredClasses(manifest.labels, None)
    names = data.labels or model
    if label_map or (set(names) == set(model) and names != model):
        lookup = label_map_lookup(model, names, label_map or {})
        shown = {one: names[to] if to < len(names) else "other" for one, to in zip(model, lookup, strict=True)}
        return ScoredClasses(default_labels(names), lookup, shown)
    if len(names) != len(model):
        raise MismatchError(
            f"the model has {len(model)} classes, {data.root} has {len(names)}",
            cause=f"model: {', '.join(model[:20])}; data: {', '.join(names[:20])}",
            hint=skeleton_hint(model, names),
        )
    return ScoredClasses(manifest.labels if names == model else default_labels(names), None)
