"""Which classes a check scores, and how the model's become the data's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from segexport.artifact import ModelArtifact
from segexport.data.dataset import Dataset
from segexport.errors import InputError
from segexport.measure import metrics
from segexport.spec import Label
from segexport.task.instance.classes import class_lookup
from segexport.task.instance.data import InstanceData
from segexport.ui.pictures import default_labels


@dataclass(frozen=True)
class Classes:
    """Which classes are scored, and how the model's become the data's."""

    labels: tuple[Label, ...]
    lookup: np.ndarray | None
    label_map: dict[str, str] = field(default_factory=dict)


def require_fitting(reference: ModelArtifact, data: Dataset, exports: Sequence[ModelArtifact | None]) -> None:
    """Refuses data, or exports, that answer another question than the reference does.

    Raises:
        InputError: Objects on one side, classes of pixels on the other; or images that are read in another way.
    """
    task = reference.manifest.task
    for export in exports:
        if export is not None and export.manifest.task != task:
            raise InputError(f"{export.path}: its task is {export.manifest.task}, that of the reference {task}")
        own, found = reference.manifest.preprocess.pixels, export and export.manifest.preprocess.pixels
        if export is not None and found != own:
            raise InputError(
                f"{export.path}: it takes {found.channels} channels ({found.color}, {found.depth}), "
                f"the reference {own.channels} ({own.color}, {own.depth})",
                hint="check it against the model that it was made from",
            )
    if task == "semantic" and isinstance(data, InstanceData):
        raise InputError(
            f"{data.source}: annotated objects, and the model gives the class of each pixel",
            hint="segexport data convert makes label images of them",
        )
    if task == "instance" and data.labelled and not isinstance(data, InstanceData):
        raise InputError(
            f"{data.root}: labels of pixels, and the model finds objects",
            hint="give a folder with COCO's JSON or Pascal VOC's Annotations, or the images alone",
        )


def object_classes(reference: ModelArtifact, data: Dataset, label_map: Mapping[str, str] | None) -> Classes:
    """The same as `classes_of` where a model finds objects."""
    manifest = reference.manifest
    if not isinstance(data, InstanceData):
        return Classes(manifest.labels, np.arange(manifest.num_classes))
    lookup = class_lookup(manifest, data, label_map)
    own = [label.name for label in manifest.labels]
    pairs = {one: data.labels[to] for one, to in zip(own, lookup, strict=True) if to >= 0}
    shown = pairs if any(one != to for one, to in pairs.items()) else {}
    return Classes(default_labels(data.labels), lookup, shown)


def classes_of(reference: ModelArtifact, data: Dataset, label_map: Mapping[str, str] | None) -> Classes:
    """Decides the classes, or raises InputError where model and data do not fit."""
    model = tuple(label.name for label in reference.manifest.labels)
    if not data.labelled:
        return Classes(reference.manifest.labels, None)
    names = data.labels or model
    if label_map or (set(names) == set(model) and names != model):
        lookup = metrics.label_map_lookup(model, names, label_map or {})
        shown = {one: names[to] if to < len(names) else "other" for one, to in zip(model, lookup, strict=True)}
        return Classes(default_labels(names), lookup, shown)
    if len(names) != len(model):
        raise InputError(
            f"the model has {len(model)} classes, {data.root} has {len(names)}",
            cause=f"model: {', '.join(model[:20])}; data: {', '.join(names[:20])}",
            hint="say which is which with a label_map (model class: data class)",
        )
    return Classes(reference.manifest.labels if names == model else default_labels(names), None)
