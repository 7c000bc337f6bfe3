"""Matches objects with annotations for COCO's average precision, by pycocotools.

Matching is the costly part and works image by image; average precision depends only on the matches. So pycocotools
matches once, and each bootstrap resample only counts again (`average_precision`).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from segexport.task.instance.average_precision import ClassMatches
from segexport.task.instance.data import Annotation
from segexport.task.instance.detections import MAX_PER_IMAGE, Detections, code_of, mask_tools

Kind = Literal["bbox", "segm"]


def matches(
    truth: Sequence[Sequence[Annotation]],
    sizes: Sequence[tuple[int, int]],
    found: Sequence[Detections],
    classes: int,
    kind: Kind,
) -> list[ClassMatches]:
    """Matches detections with annotations by COCO's rules, at the ten IoU thresholds from 0.5 to 0.95.

    Args:
        truth: Annotations of each image.
        sizes: (width, height) of each image.
        found: A model's detections in each image.
        classes: Number of classes of the data.
        kind: Whether to compare boxes or masks.

    Returns:
        The detections of each class with their matches.
    """
    mask_tools()  # a clear error if pycocotools is missing
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it prints
        evaluation = COCOeval(
            _coco(COCO(), _annotations(truth, sizes), sizes, classes),
            _coco(COCO(), _results(found, kind), sizes, classes),
            kind,
        )
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [MAX_PER_IMAGE]
        evaluation.evaluate()
    images = len(truth)
    per_image: Any = evaluation.evalImgs  # by class, then by image
    return [_class(per_image[index * images : (index + 1) * images]) for index in range(classes)]


def _coco(made: Any, annotations: list[dict[str, Any]], sizes: Sequence[tuple[int, int]], classes: int) -> Any:
    for number, annotation in enumerate(annotations, start=1):  # from 1: 0 means no match in pycocotools
        annotation["id"] = number
    made.dataset = {
        "images": [{"id": index, "width": width, "height": height} for index, (width, height) in enumerate(sizes)],
        "categories": [{"id": index} for index in range(classes)],
        "annotations": annotations,
    }
    made.createIndex()
    return made


def _annotations(truth: Sequence[Sequence[Annotation]], sizes: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    return [
        {
            "image_id": index,
            "category_id": one.class_id,
            "bbox": list(one.bbox),
            "segmentation": one.segmentation and code_of(one.segmentation, sizes[index]),
            "area": one.area,
            "iscrowd": int(one.crowd),
            "ignore": int(one.crowd or one.difficult),
        }
        for index, objects in enumerate(truth)
        for one in objects
    ]


def _results(found: Sequence[Detections], kind: Kind) -> list[dict[str, Any]]:
    results = []
    for index, detections in enumerate(found):
        for row in range(len(detections)):
            left, top, right, bottom = map(float, detections.boxes[row])
            result = {
                "image_id": index,
                "category_id": int(detections.classes[row]),
                "score": float(detections.scores[row]),
                "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top),
                "iscrowd": 0,
            }
            if kind == "segm" and detections.masks is not None:
                result["segmentation"] = detections.masks[row]
                result["area"] = float(mask_tools().area(detections.masks[row]))
            results.append(result)
    return results


def _class(per_image: Sequence[dict[str, Any] | None]) -> ClassMatches:
    """The detections of one class, over all images, in pycocotools' order."""
    images, scores, right, ignored = [], [], [], []
    positives = np.zeros(len(per_image), np.int64)
    for index, one in enumerate(per_image):
        if one is None:  # neither annotated nor found there
            continue
        positives[index] = np.count_nonzero(np.asarray(one["gtIgnore"]) == 0)
        count = len(one["dtScores"])
        images.append(np.full(count, index))
        scores.append(np.asarray(one["dtScores"], np.float64))
        right.append(np.asarray(one["dtMatches"]) > 0)
        ignored.append(np.asarray(one["dtIgnore"]) > 0)
    if not scores:
        return ClassMatches.empty(positives, thresholds=10)
    return ClassMatches.of(
        np.concatenate(images), np.concatenate(scores), np.hstack(right), np.hstack(ignored), positives
    )
