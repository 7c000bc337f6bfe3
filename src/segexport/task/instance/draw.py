"""Draws objects: over the image, each in a different colour, or as numbers."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from segexport.data.dataset import Dataset, Sample
from segexport.runtimes.objects import Objects
from segexport.spec import Label
from segexport.task.instance.data import Annotation, InstanceData
from segexport.task.instance.detections import decoded
from segexport.ui.pictures import Panel, default_labels, panel

_TINT = 0.5


def overlay(image: np.ndarray, objects: Objects, labels: Sequence[Label]) -> np.ndarray:
    """Draws masks, boxes, classes and scores over the image, the best score on top.

    Args:
        image: uint8 (height, width, 3), RGB.
        objects: Objects of this image, with or without masks.
        labels: The classes.
    """
    picture = image.copy()
    thickness = max(1, round(min(image.shape[:2]) / 400))
    for index in reversed(range(len(objects))):  # sorted by score, best first
        color = labels[int(objects.classes[index])].rgb
        if objects.bits is not None:
            mask = objects.mask(index)
            picture[mask] = (picture[mask] * (1 - _TINT) + np.array(color) * _TINT).astype(np.uint8)
            outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(picture, outlines, -1, color, thickness)
    for index in reversed(range(len(objects))):
        label = labels[int(objects.classes[index])]
        left, top, right, bottom = np.clip(np.rint(objects.boxes[index]), -(1 << 15), 1 << 15).astype(int).tolist()
        cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), label.rgb, thickness)
        name = label.name if label.name.isascii() else f"#{label.id}"  # OpenCV's fonts have no other letters
        _write(picture, f"{name} {objects.scores[index]:.2f}", left, top, label.rgb)
    return picture


def colored(objects: Objects, *, classes: Sequence[Label] | None = None) -> np.ndarray:
    """Draws masks on black, each object in a different colour, or in its class's colour if `classes` is given."""
    numbers = numbered(objects)
    if classes is None:
        colors = [label.rgb for label in default_labels([str(index) for index in range(len(objects) + 1)])]
    else:
        colors = [(0, 0, 0), *(classes[int(index)].rgb for index in objects.classes)]
    return np.array(colors, np.uint8)[numbers]


def numbered(objects: Objects) -> np.ndarray:
    """(height, width) uint8, uint16 for over 255 objects: 0: none, n: the n-th object; the best score on top."""
    width, height = objects.size
    picture = np.zeros((height, width), np.uint8 if len(objects) < 256 else np.uint16)
    for index in reversed(range(len(objects))):
        picture[objects.mask(index)] = index + 1
    return picture


def class_map(objects: Objects, classes: int) -> np.ndarray:
    """(height, width): class + 1, or 0 outside of objects and on outlines, so that adjacent objects stay separate."""
    width, height = objects.size
    picture = np.zeros((height, width), np.uint8 if classes < 255 else np.uint16)
    for index in reversed(range(len(objects))):
        mask = objects.mask(index).astype(np.uint8)
        inner = cv2.erode(
            mask, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=(0.0, 0.0, 0.0, 0.0)
        )
        picture[mask > 0] = 0
        picture[inner > 0] = int(objects.classes[index]) + 1
    return picture


def object_panel(
    sample: Sample, data: Dataset, reference: np.ndarray, export: np.ndarray, labels: Sequence[Label]
) -> Panel:
    """Draws image, annotated masks, reference, export and difference side by side, like `ui.pictures.panel`.

    Args:
        sample: The image.
        data: The data set with its annotations, if it has any.
        reference, export: Results of `class_map`.
        labels: The model's classes.
    """
    nothing = Label(id=0, name="nothing", rgb=(0, 0, 0))
    shifted = (nothing, *(label.model_copy(update={"id": label.id + 1}) for label in labels))
    truth = None
    names = data.labels or ()
    if isinstance(data, InstanceData) and data.has_masks and set(names) <= {label.name for label in labels}:
        truth = class_map(annotated(data.of(sample.name), (sample.image.shape[1], sample.image.shape[0])), len(names))
        ids = {label.name: label.id + 1 for label in labels}
        truth = np.array([0, *(ids[name] for name in names)], truth.dtype)[truth]
    return panel(sample.image, truth, reference, export, shifted, None)


def annotated(annotations: Sequence[Annotation], size: tuple[int, int]) -> Objects:
    """Converts annotations to objects of score 1, with masks, the largest last."""
    ordered = sorted(annotations, key=lambda one: one.area)
    masks = [decoded(one.segmentation, size) for one in ordered]
    boxes = [(x, y, x + width, y + height) for x, y, width, height in (one.bbox for one in ordered)]
    return Objects.of([one.class_id for one in ordered], [1.0] * len(ordered), boxes, masks, size)


def _write(picture: np.ndarray, text: str, left: int, top: int, color: tuple[int, int, int]) -> None:
    scale = max(0.35, min(picture.shape[:2]) / 1200)
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    left = min(max(left, 0), max(picture.shape[1] - width, 0))
    bottom = top - 1 if top > height + below else top + height + below
    cv2.rectangle(picture, (left, bottom - height - below), (left + width, bottom), color, cv2.FILLED)
    ink = (0, 0, 0) if sum(color) > 380 else (255, 255, 255)
    cv2.putText(picture, text, (left, bottom - below), cv2.FONT_HERSHEY_SIMPLEX, scale, ink, 1, cv2.LINE_AA)
