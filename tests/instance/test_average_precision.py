"""Average precision: COCO's against pycocotools called directly, Pascal VOC's against values worked out by hand."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

pytest.importorskip("pycocotools")

from segexport.task.instance import coco_ap, voc_ap
from segexport.task.instance.ap_delta import paired_ap_delta
from segexport.task.instance.average_precision import ClassMatches, class_ap, mean_ap
from segexport.task.instance.data import Annotation
from segexport.task.instance.detections import Detections, encoded

SIZE = (60, 50)


def noisy(seed: int, images: int = 15, classes: int = 3):
    """Random annotations, some of them crowds, and detections that are near some of them; several scores are equal."""
    random = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(images):
        annotations, rows = [], []
        for _ in range(random.integers(0, 6)):
            x, y, w, h = (int(v) for v in random.integers([0, 0, 6, 6], [40, 30, 20, 20]))
            mask = np.zeros(SIZE[::-1], np.uint8)
            mask[y : y + h, x : x + w] = 1
            category, crowd = int(random.integers(classes)), random.random() < 0.1
            code = encoded(mask)
            annotations.append(Annotation(category, (x, y, w, h), code, crowd=bool(crowd), area=float(mask.sum())))
            for _ in range(random.integers(0, 3)):
                moved = np.array([x, y, x + w, y + h]) + random.integers(-2, 3, 4)
                rows.append((category if random.random() < 0.9 else 0, round(random.random(), 1), moved))
        masks = []
        for _, _, (left, top, right, bottom) in rows:
            mask = np.zeros(SIZE[::-1], np.uint8)
            mask[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = 1
            masks.append(encoded(mask))
        boxes = np.array([row[2] for row in rows], np.float32).reshape(-1, 4)
        truth.append(annotations)
        found.append(
            Detections(np.array([r[0] for r in rows], int), np.array([r[1] for r in rows], np.float32), boxes, masks)
        )
    return truth, found


def directly(truth, found, kind: str, classes: int = 3) -> float:
    """COCOeval as its own demonstration calls it."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    own = COCO()
    annotations = [
        {
            "id": number,
            "image_id": image,
            "category_id": one.class_id,
            "bbox": list(one.bbox),
            "area": one.area,
            "iscrowd": int(one.crowd),
            "segmentation": one.segmentation,
        }
        for number, (image, one) in enumerate(((i, one) for i, group in enumerate(truth) for one in group), start=1)
    ]
    own.dataset = {
        "info": {},
        "images": [{"id": i, "width": SIZE[0], "height": SIZE[1]} for i in range(len(truth))],
        "categories": [{"id": i, "name": str(i)} for i in range(classes)],
        "annotations": annotations,
    }
    results = []
    for image, detections in enumerate(found):
        for row in range(len(detections)):
            left, top, right, bottom = map(float, detections.boxes[row])
            result = {"image_id": image, "category_id": int(detections.classes[row])}
            result["score"] = float(detections.scores[row])
            if kind == "bbox":
                result["bbox"] = [left, top, right - left, bottom - top]
            else:
                result["segmentation"] = detections.masks[row]
            results.append(result)
    with contextlib.redirect_stdout(io.StringIO()):
        own.createIndex()
        evaluation = COCOeval(own, own.loadRes(results), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_coco_is_pycocotools(seed: int, kind: str) -> None:
    truth, found = noisy(seed)
    matches = coco_ap.matches(truth, [SIZE] * len(truth), found, 3, kind)
    expected = directly(truth, found, kind)
    assert 0.01 < expected < 0.9
    assert mean_ap(matches)[0] == pytest.approx(expected, abs=1e-12)


def test_a_weight_is_a_repeated_image() -> None:
    """Without equal scores, an image with weight 2 counts as two equal images."""
    truth, found = noisy(5)
    random = np.random.default_rng(0)
    found = [Detections(d.classes, random.random(len(d)).astype(np.float32), d.boxes, d.masks) for d in found]
    matches = coco_ap.matches(truth, [SIZE] * len(truth), found, 3, "segm")
    weights = random.integers(0, 3, len(truth))
    repeated = np.repeat(np.arange(len(truth)), weights)
    expected = directly([truth[i] for i in repeated], [found[i] for i in repeated], "segm")
    # Of two copies, the second one's precision is read too; that moves a hundredth at most.
    assert mean_ap(matches, weights[None])[0] == pytest.approx(expected, abs=0.01)


def test_one_class_by_hand() -> None:
    """Two annotations; detections by score: right, wrong, right. Precision 1 up to recall 0.5, then 2/3."""
    right = np.array([[True, False, True]])
    found = ClassMatches.of(np.zeros(3), np.array([0.9, 0.8, 0.7]), right, np.zeros((1, 3), bool), np.array([2]))
    assert class_ap(found, np.ones((1, 1)))[0] == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)


def test_nothing_found_and_nothing_annotated() -> None:
    one = Annotation(0, (0, 0, 10, 10), encoded(np.ones((50, 60), np.uint8)), area=3000)
    none = Detections(np.zeros(0, int), np.zeros(0, np.float32), np.zeros((0, 4), np.float32), [])
    assert mean_ap(coco_ap.matches([[one]], [SIZE], [none], 2, "segm"))[0] == 0
    assert np.isnan(mean_ap(coco_ap.matches([[]], [SIZE], [none], 2, "bbox"))[0])


# -- Pascal VOC ------------------------------------------------------------------------------------------------------


def boxes(*rows: tuple[float, tuple[float, float, float, float]]) -> Detections:
    return Detections(
        np.zeros(len(rows), int),
        np.array([score for score, _ in rows], np.float32),
        np.array([box for _, box in rows], np.float32).reshape(-1, 4),
    )


def ap(truth: list[Annotation], found: Detections, rule: str) -> float | None:
    return voc_ap.class_aps([truth], [SIZE], [found], 1, rule=rule)[0]


TWO = [Annotation(0, (0, 0, 10, 10)), Annotation(0, (20, 0, 10, 10))]


def test_voc_by_hand() -> None:
    """Right, wrong, right: recall 1/2, 1/2, 1; precision 1, 1/2, 2/3."""
    found = boxes((0.9, (0, 0, 10, 10)), (0.8, (40, 0, 50, 10)), (0.7, (20, 0, 30, 10)))
    assert ap(TWO, found, "integral") == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert ap(TWO, found, "11point") == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)


def test_voc_counts_a_second_detection_of_an_object_as_wrong() -> None:
    found = boxes((0.9, (0, 0, 10, 10)), (0.8, (0, 0, 10, 9)), (0.7, (20, 0, 30, 10)))
    assert ap(TWO, found, "integral") == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_voc_leaves_difficult_objects_out() -> None:
    truth = [TWO[0], Annotation(0, (20, 0, 10, 10), difficult=True)]
    found = boxes((0.9, (20, 0, 30, 10)), (0.8, (0, 0, 10, 10)))
    assert ap(truth, found, "integral") == 1
    assert ap([truth[1]], found, "integral") is None


def test_voc_wants_half_of_the_union() -> None:
    assert ap(TWO[:1], boxes((0.9, (0, 0, 10, 5))), "11point") == 1
    assert ap(TWO[:1], boxes((0.9, (0, 0, 10, 4.9))), "11point") == 0


# -- the difference of two models ------------------------------------------------------------------------------------


def test_the_same_answers_have_no_difference() -> None:
    truth, found = noisy(1)
    matches = coco_ap.matches(truth, [SIZE] * len(truth), found, 3, "bbox")
    delta = paired_ap_delta(matches, matches)
    assert (delta.delta, delta.interval) == (0, (0, 0))


def test_a_loss_is_seen_and_its_interval_holds_it() -> None:
    truth, found = noisy(2, images=60)
    worse = [Detections(d.classes, d.scores, d.boxes + 4, d.masks) for d in found]
    sizes = [SIZE] * len(truth)
    one, two = (coco_ap.matches(truth, sizes, group, 3, "bbox") for group in (found, worse))
    delta = paired_ap_delta(one, two)
    assert delta.delta == pytest.approx(directly(truth, worse, "bbox") - directly(truth, found, "bbox"), abs=1e-12)
    low, high = delta.interval
    assert low < delta.delta < high < 0
    assert paired_ap_delta(one, two).interval == delta.interval
    assert paired_ap_delta(one, two, seed=1).interval != delta.interval
