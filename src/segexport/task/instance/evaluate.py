"""Evaluates instance segmentation against annotations: average precision with PaddleX's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from segexport.artifact import Manifest
from segexport.errors import OptionError
from segexport.progress import Progress, silent
from segexport.runtimes.objects import Objects
from segexport.task.instance import coco_ap, voc_ap
from segexport.task.instance.average_precision import class_ap, mean_ap
from segexport.task.instance.classes import class_lookup
from segexport.task.instance.data import InstanceData
from segexport.task.instance.detections import Detections, mask_tools

Metric = Literal["COCO", "VOC"]
METRICS = ("COCO", "VOC")


def evaluate(
    run: Callable[[str, np.ndarray], Objects],
    manifest: Manifest,
    data: InstanceData,
    metric: str | None = None,
    return_details: bool = False,
    progress: Progress = silent,
    label_map: Mapping[str, str] | None = None,
) -> dict[str, Any] | tuple[dict[str, Any], dict[str, Any]]:
    """See `InstanceModel.evaluate`; `run` returns the objects of a named image."""
    metric = metric or data.form
    if metric not in METRICS:
        raise OptionError(f"metric is {metric!r}", cause=f"it is {' or '.join(METRICS)}")
    mask_tools()
    lookup, masks = class_lookup(manifest, data, label_map), data.has_masks
    truth, sizes, found = [], [], []
    with progress("evaluating", len(data)) as bar:
        for sample in data:
            found.append(Detections.of(run(sample.name, sample.image), lookup, masks=masks))
            truth.append(data.of(sample.name))
            sizes.append(sample.image.shape[1::-1])
            bar.advance()
    measure = _coco if metric == "COCO" else _voc
    metrics = measure(truth, sizes, found, len(data.labels or ()), masks)
    return (metrics, _details(data, found)) if return_details else metrics


def _coco(truth: Any, sizes: Any, found: Any, classes: int, masks: bool) -> dict[str, Any]:
    """Means over the IoU thresholds from 0.5 to 0.95; None for classes that are not annotated."""
    metrics: dict[str, Any] = {}
    for kind in ("bbox", "segm") if masks else ("bbox",):
        matches = coco_ap.matches(truth, sizes, found, classes, kind)
        every = np.ones((1, len(truth)))
        metrics[f"{kind}_mmap"] = _number(mean_ap(matches)[0])
        metrics[f"category_{kind}_ap"] = [_number(class_ap(one, every)[0]) for one in matches]
    return {"bbox_mmap": None, "segm_mmap": None} | metrics


def _voc(truth: Any, sizes: Any, found: Any, classes: int, masks: bool) -> dict[str, Any]:
    """Metrics at an IoU of 0.5, by the 11-point rule as in PaddleDetection, and by the area."""
    metrics: dict[str, Any] = {"bbox_map": None, "segm_map": None}
    rules: tuple[tuple[voc_ap.Rule, str], ...] = (("11point", ""), ("integral", "_integral"))
    for kind in ("bbox", "segm") if masks else ("bbox",):
        for rule, suffix in rules:
            aps = voc_ap.class_aps(truth, sizes, found, classes, masks=kind == "segm", rule=rule)
            metrics[f"{kind}_map{suffix}"] = voc_ap.mean_ap(aps)
            if not suffix:
                metrics[f"category_{kind}_ap"] = aps
    return metrics


def _details(data: InstanceData, found: list[Detections]) -> dict[str, Any]:
    """PaddleX's three lists, with the ids of images and categories in the annotations."""
    boxes, masks, truth = [], [], []
    for entry, detections in zip(data.entries, found, strict=True):
        image_id = data.image_ids.get(entry.image, entry.image)
        for row in range(len(detections)):
            left, top, right, bottom = map(float, detections.boxes[row])
            category = data.category_ids[int(detections.classes[row])]
            score = float(detections.scores[row])
            boxes.append([image_id, category, [left, top, right - left, bottom - top], score])
            if detections.masks is not None:
                code = detections.masks[row]
                masks.append([image_id, category, {**code, "counts": code["counts"].decode()}, score])
        for one in data.of(entry.image):
            truth.append(
                {
                    "image_id": image_id,
                    "category_id": data.category_ids[one.class_id],
                    "bbox": list(one.bbox),
                    "segmentation": one.segmentation,
                    "iscrowd": int(one.crowd),
                    "difficult": int(one.difficult),
                    "area": one.area,
                }
            )
    return {"bbox": boxes, "mask": masks, "gt": truth}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
