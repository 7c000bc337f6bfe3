"""Against hand-computed values, the oracle's confusion matrices and scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from segexport.errors import InputError
from segexport.measure.label_map import label_map_lookup
from segexport.measure.metrics import (
    agreement,
    apply_label_map,
    class_counts,
    confusion_matrix,
    iou_per_class,
    mean_iou,
    scores,
)

TRUTH = np.array([[0, 0, 1, 1], [2, 2, 255, 255]], np.uint8)
PREDICTION = np.array([[0, 1, 1, 1], [2, 0, 2, 0]], np.uint8)


def masks(dtype: type, shape: tuple[int, int] = (37, 53), classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, classes, shape).astype(dtype)
    prediction = np.where(rng.random(shape) < 0.7, truth, rng.integers(0, classes, shape)).astype(dtype)
    truth[:3] = 255 if dtype != np.int8 else 100
    return truth, prediction


def test_confusion_by_hand() -> None:
    expected = [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    found = confusion_matrix(TRUTH, PREDICTION, 3)
    assert found.dtype == np.int64
    assert found.tolist() == expected


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32, np.int64])
def test_confusion_equals_scikit_learn(dtype: type) -> None:
    truth, prediction = masks(dtype)
    ignore = int(truth[0, 0])
    kept = truth != ignore
    expected = sklearn_metrics.confusion_matrix(truth[kept], prediction[kept], labels=range(5))
    assert np.array_equal(confusion_matrix(truth, prediction, 5, ignore), expected)


@pytest.mark.parametrize(("classes", "ignore"), [(300, 65535), (300, 299), (4, -1), (4, None), (4, 2)])
def test_confusion_of_wide_and_odd_labels(classes: int, ignore: int | None) -> None:
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, classes, (2, 64, 64)).astype(np.int32)
    if ignore in (65535, -1):
        truth[:5] = ignore
    kept = np.ones(truth.shape, bool) if ignore is None else truth != ignore
    expected = sklearn_metrics.confusion_matrix(truth[kept], prediction[kept], labels=range(classes))
    assert np.array_equal(confusion_matrix(truth, prediction, classes, ignore), expected)


def test_bool_masks_views_and_empty_masks() -> None:
    truth, prediction = masks(np.uint8, classes=2)
    expected = confusion_matrix(truth, prediction, 2)
    assert np.array_equal(confusion_matrix(truth, prediction.astype(bool), 2), expected)
    assert np.array_equal(confusion_matrix(truth.T, prediction.T, 2), expected)
    assert confusion_matrix(np.zeros((0, 4), np.uint8), np.zeros((0, 4), np.uint8), 3).tolist() == [[0] * 3] * 3


def test_counts_stay_exact_beyond_float32() -> None:
    size = (1 << 24) + 12345  # float32 stops counting at 2**24
    truth = np.zeros(size, np.uint8)
    truth[-1] = 1
    assert confusion_matrix(truth, np.zeros(size, np.uint8), 2).tolist() == [[size - 1, 0], [1, 0]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_values_out_of_range_are_named(dtype: type) -> None:
    truth, prediction = TRUTH.astype(dtype), PREDICTION.astype(dtype)
    truth[0, :2] = 11, 12
    with pytest.raises(InputError, match=r"a\.png: truth contains values that are not classes: 11, 12 \(2 ") as error:
        confusion_matrix(truth, prediction, 3, name="a.png")
    assert "3 classes, 0 to 2; ignore_index is 255" in error.value.cause
    with pytest.raises(InputError, match=r"prediction contains values that are not classes: 2 \(2 pixels\)"):
        confusion_matrix(np.zeros_like(prediction), prediction, 2)
    if dtype is np.int16:
        with pytest.raises(InputError, match=r"truth contains values that are not classes: -7 \(1 pixels\)"):
            confusion_matrix(np.where(truth == 11, -7, 0), prediction, 3)


def test_unusable_masks() -> None:
    with pytest.raises(InputError, match=r"b\.png: the truth is 4x2, the prediction 2x4"):
        confusion_matrix(TRUTH, PREDICTION.T, 3, name="b.png")
    with pytest.raises(InputError, match="has integers, this one is float32"):
        confusion_matrix(TRUTH, PREDICTION.astype(np.float32), 3)


def test_scores_by_hand() -> None:
    found = scores(np.array([[1, 1, 0], [0, 2, 0], [1, 0, 1]]))
    assert found.class_iou == (pytest.approx(1 / 3), pytest.approx(2 / 3), pytest.approx(1 / 2))
    assert found.miou == pytest.approx(0.5)
    assert found.pixel_accuracy == pytest.approx(4 / 6)
    assert found.class_accuracy == (pytest.approx(1 / 2), 1.0, pytest.approx(1 / 2))
    assert found.mean_accuracy == pytest.approx(2 / 3)
    assert found.class_precision == (pytest.approx(1 / 2), pytest.approx(2 / 3), 1.0)
    assert found.class_dice == (pytest.approx(1 / 2), pytest.approx(4 / 5), pytest.approx(2 / 3))
    assert found.kappa == pytest.approx((4 / 6 - 12 / 36) / (1 - 12 / 36))  # chance: (2*2 + 2*3 + 2*1) / 36
    assert found.pixels == 6


def test_absent_classes_under_each_rule() -> None:
    confusion = np.zeros((4, 4), int)
    confusion[0] = 6, 2, 0, 0  # class 2 is nowhere, class 3 is in the truth and never found
    confusion[1, 1], confusion[3, 0] = 8, 4
    found = scores(confusion)
    assert found.class_iou == (pytest.approx(0.5), pytest.approx(0.8), None, 0.0)
    assert found.miou == pytest.approx(1.3 / 3)
    assert scores(confusion, "zero").miou == pytest.approx(1.3 / 4)
    assert scores(confusion, "one").miou == pytest.approx(2.3 / 4)
    assert found.class_accuracy[2] is None
    assert found.class_precision[2:] == (None, None)


def test_nothing_and_one_class() -> None:
    nothing = scores(np.zeros((3, 3), int))
    assert (nothing.miou, nothing.pixel_accuracy, nothing.kappa, nothing.pixels) == (None, None, None, 0)
    assert scores(np.zeros((3, 3), int), "one").miou is None
    one = scores(np.array([[7]]))
    assert (one.miou, one.kappa) == (1.0, None)


def test_scores_equal_scikit_learn() -> None:
    truth, prediction = masks(np.uint8)
    kept = truth != 255
    truth, prediction = truth[kept], prediction[kept]
    found = scores(confusion_matrix(truth, prediction, 5))
    assert found.miou == pytest.approx(sklearn_metrics.jaccard_score(truth, prediction, average="macro"), abs=1e-12)
    assert found.mean_dice == pytest.approx(sklearn_metrics.f1_score(truth, prediction, average="macro"), abs=1e-12)
    assert found.kappa == pytest.approx(sklearn_metrics.cohen_kappa_score(truth, prediction), abs=1e-12)
    assert found.mean_accuracy == pytest.approx(sklearn_metrics.balanced_accuracy_score(truth, prediction), abs=1e-12)
    assert found.pixel_accuracy == pytest.approx(sklearn_metrics.accuracy_score(truth, prediction), abs=1e-12)


def test_oracle(shared_dir: Path) -> None:
    cases = json.loads((shared_dir / "oracle" / "metrics_cases.json").read_text())
    compared = 0
    for name, case in cases.items():
        if "cm" not in case:
            continue
        for rule, expected in (("zero", case["formula"]), ("one", case["paddleseg"])):
            found = scores(np.array(case["cm"]), rule)
            assert found.miou == pytest.approx(expected["miou"], abs=1e-6), (name, rule)
            assert found.pixel_accuracy == pytest.approx(expected["acc"], abs=1e-6), name
            assert found.kappa == pytest.approx(expected["kappa"], abs=1e-6), name
            assert [value or 0 for value in found.class_accuracy] == pytest.approx(expected["recall"], abs=1e-6), name
            assert [value or 0 for value in found.class_precision] == pytest.approx(expected["precision"], abs=1e-6)
        assert scores(np.array(case["cm"]), "zero").mean_dice == pytest.approx(case["formula"]["mdice"], abs=1e-6)
        compared += 1
    assert compared == 5
    frankfurt = scores(np.array(cases["espnet_cityscapes_frankfurt_256x128"]["cm"]))
    assert frankfurt.miou == pytest.approx(0.4305, abs=5e-5)  # "mean over present", by the oracle's note


def test_published_log_of_espnet(shared_dir: Path) -> None:
    case = json.loads((shared_dir / "oracle" / "metrics_cases.json").read_text())
    case = case["espnet_cityscapes_val500_published_log"]
    assert mean_iou(np.array(case["class_iou"])) == pytest.approx(case["published"]["miou"], abs=5e-5)


def test_class_counts_stack_and_pool() -> None:
    confusions = np.stack([confusion_matrix(TRUTH, PREDICTION, 3), confusion_matrix(TRUTH, TRUTH % 255, 3)])
    counts = class_counts(confusions)
    assert counts[0].tolist() == [[1, 2, 1], [2, 2, 2], [2, 3, 1]]
    assert iou_per_class(counts.sum(0)).tolist() == list(scores(confusions.sum(0)).class_iou)


def test_agreement() -> None:
    assert agreement(TRUTH, TRUTH) == 1.0
    assert agreement(TRUTH, PREDICTION) == pytest.approx(4 / 8)
    with pytest.raises(InputError, match="4x2 and 2x4"):
        agreement(TRUTH, TRUTH.T)


def test_label_map_scores_unmapped_classes_as_wrong() -> None:
    lookup = label_map_lookup(["road", "rider", "sky", "person"], ["sky", "person", "street"], {"road": "street"})
    assert lookup.tolist() == [2, 3, 0, 1]
    assert lookup.dtype == np.uint8
    truth = np.array([[0, 0, 1, 1], [1, 2, 2, 255]], np.uint8)
    prediction = apply_label_map(np.array([[2, 2, 3, 1], [1, 0, 0, 1]], np.uint8), lookup)
    assert prediction.tolist() == [[0, 0, 1, 3], [3, 2, 2, 3]]
    confusion = confusion_matrix(truth, prediction, 3, prediction_classes=4)
    assert confusion.tolist() == [[2, 0, 0, 0], [0, 1, 0, 2], [0, 0, 2, 0]]
    found = scores(confusion)
    assert found.class_iou == (1.0, pytest.approx(1 / 3), 1.0)  # two misses, and no class "other" in the mean
    assert found.miou == pytest.approx(7 / 9)
    assert found.pixel_accuracy == pytest.approx(5 / 7)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_label_map_on_every_dtype_and_bad_ids(dtype: type) -> None:
    lookup = label_map_lookup(["a", "b"], ["b", "a"], {})
    assert apply_label_map(np.array([[0, 1]], dtype), lookup).tolist() == [[1, 0]]
    with pytest.raises(InputError, match="the model has no label for: 7"):
        apply_label_map(np.array([[0, 7]], dtype), lookup)


def test_label_map_names_every_fault() -> None:
    with pytest.raises(InputError) as error:
        label_map_lookup(["road", "sky"], ["street", "sky"], {"raod": "street", "road": "stret"})
    assert "the model has no class 'raod', perhaps 'road'" in str(error.value)
    assert "the dataset has no class 'stret', perhaps 'street'" in str(error.value)
    with pytest.raises(InputError, match="none of the model's 2 classes maps"):
        label_map_lookup(["a", "b"], ["c"], {})
