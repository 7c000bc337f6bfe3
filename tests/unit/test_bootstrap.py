"""The interval against slow direct computation and scipy, and the cases at the edge: no spread, few images, nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from segexport.judge.bootstrap import ClassDelta, PairedDelta, holm, paired_delta
from segexport.measure.metrics import class_counts, scores
from segexport.measure.student_t import student_t_cdf, student_t_quantile


def confusions(images: int, classes: int = 4, seed: int = 0, loss: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """Reference and export: the export moves about `loss` of the right pixels to the next class, unequally by image."""
    rng = np.random.default_rng(seed)
    reference = rng.integers(0, 60, (images, classes, classes))
    index = np.arange(classes)
    reference[:, index, index] += rng.integers(500, 3000, (images, classes))
    export = reference.copy()
    moved = (reference[:, index, index] * loss * rng.exponential(1, (images, 1))).astype(int)
    export[:, index, index] -= moved
    export[:, index, (index + 1) % classes] += moved
    return reference, export


def delta_of(reference: np.ndarray, export: np.ndarray, **options: int) -> PairedDelta:
    return paired_delta(class_counts(reference), class_counts(export), **options)


def pooled(reference: np.ndarray, export: np.ndarray) -> float:
    return scores(export.sum(0)).miou - scores(reference.sum(0)).miou


def test_delta_is_the_difference_of_pooled_miou() -> None:
    reference, export = confusions(30)
    found = delta_of(reference, export)
    assert found.delta == pytest.approx(pooled(reference, export), abs=1e-12)
    assert found.miou_reference == pytest.approx(scores(reference.sum(0)).miou)
    assert found.miou_export == pytest.approx(scores(export.sum(0)).miou)
    assert [c.delta for c in found.classes] == pytest.approx(
        np.subtract(scores(export.sum(0)).class_iou, scores(reference.sum(0)).class_iou)
    )
    low, high = found.interval
    assert low < found.lower_bound < found.delta < found.upper_bound < high


def test_interval_is_the_hull_computed_one_resample_at_a_time() -> None:
    reference, export = confusions(12, classes=3)
    images, resamples = 12, 300
    found = delta_of(reference, export, resamples=resamples, seed=5)
    rng = np.random.default_rng(5)
    rows = [*rng.multinomial(images, np.full(images, 1 / images), size=256)]
    rows += [*rng.multinomial(images, np.full(images, 1 / images), size=resamples - 256)]

    def influences(row: np.ndarray) -> np.ndarray:
        """The derivative of the delta by the weight of each image, numerically."""

        def at(weight: np.ndarray) -> float:  # IoU does not change when all weights are scaled
            return pooled(weight[:, None, None] * reference, weight[:, None, None] * export)

        return np.array(
            [(at(row * 10**6 + 100 * u) - at(row * 10**6 - 100 * u)) * 5e3 for u in np.eye(images, dtype=int)]
        )

    def error(row: np.ndarray) -> float:
        return float(np.sqrt((row * influences(row) ** 2).sum() * images / (images - 1)))

    plain = error(np.ones(images, int))
    assert found.standard_error == pytest.approx(plain, rel=1e-4)
    delta = pooled(reference, export)
    deltas = np.array([pooled(row[:, None, None] * reference, row[:, None, None] * export) for row in rows])
    ratios = (deltas - delta) / np.maximum([error(row) for row in rows], plain / 10)
    low, high = np.quantile(ratios, [0.025, 0.975])
    tail = stats.norm.cdf(-np.sqrt(12 / 11) * stats.t.ppf(0.975, 11))
    lower, upper = np.quantile(deltas, [tail, 1 - tail])
    expected = min(delta - high * plain, lower), max(delta - low * plain, upper)
    assert found.interval == pytest.approx(expected, rel=1e-3)


def test_standard_error_is_what_repeated_samples_show() -> None:
    reference, export = confusions(400, seed=1)
    rng = np.random.default_rng(2)
    deltas, errors = [], []
    for _ in range(300):
        picked = rng.integers(0, 400, 40)
        found = delta_of(reference[picked], export[picked], resamples=2)
        deltas.append(found.delta)
        errors.append(found.standard_error)
    assert np.mean(errors) == pytest.approx(np.std(deltas), rel=0.1)


def test_seeded() -> None:
    reference, export = confusions(20)
    assert delta_of(reference, export, seed=1) == delta_of(reference, export, seed=1)
    assert delta_of(reference, export, seed=1).interval != delta_of(reference, export, seed=2).interval


def test_identical_results_have_no_width_with_any_number_of_images() -> None:
    reference, _ = confusions(50)
    for images in (1, 3, 50):
        found = delta_of(reference[:images], reference[:images])
        assert found.interval == (0.0, 0.0)
        assert (found.delta, found.smallest_detectable, found.lower_bound) == (0.0, 0.0, 0.0)
        assert found.images_needed(0.01) is None


def test_equal_loss_on_every_image_has_no_width() -> None:
    reference, export = confusions(1)
    found = delta_of(np.repeat(reference, 20, 0), np.repeat(export, 20, 0))
    assert found.interval == pytest.approx((found.delta, found.delta), abs=1e-9)
    assert found.delta < 0


def test_one_differing_image_among_many_keeps_the_interval_finite() -> None:
    reference, _ = confusions(10)
    export = reference.copy()
    export[4, 0, 0] -= 3
    export[4, 0, 1] += 3
    found = delta_of(reference, export)
    low, high = found.interval
    assert 15 * found.delta < low < 5 * found.delta < found.delta < high < 0.0001


def test_a_single_image_has_no_interval() -> None:
    reference, export = confusions(1)
    found = delta_of(reference, export)
    assert (found.images, found.interval, found.standard_error, found.smallest_detectable) == (1, None, None, None)
    assert found.delta == pytest.approx(pooled(reference, export))
    assert found.classes[0].interval is None


def test_few_images_get_a_t_interval() -> None:
    reference, export = confusions(4)
    found = delta_of(reference, export)
    width = stats.t.ppf(0.975, 3) * found.standard_error
    assert found.interval == pytest.approx((found.delta - width, found.delta + width))


def test_one_class_only() -> None:
    reference, export = confusions(12, classes=1)
    found = delta_of(reference, export)
    assert (found.delta, found.miou_reference) == (0.0, 1.0) or found.delta is not None
    only_class_two = np.zeros((12, 4, 4), int)
    only_class_two[:, 2, 2] = 900
    worse = only_class_two.copy()
    worse[:, 2, 2] -= np.arange(12)
    worse[:, 2, 1] += np.arange(12)
    found = delta_of(only_class_two, worse)
    assert found.delta == pytest.approx(-66 / 10800)
    assert found.one_sided_classes == (1,)
    assert found.miou_export == pytest.approx((1 - 66 / 10800) / 2)  # by the convention, which counts class 1 as 0
    assert [c.delta is None for c in found.classes] == [True, True, False, True]


def test_nothing_labelled() -> None:
    empty = np.zeros((12, 4, 4), int)
    found = delta_of(empty, empty)
    assert (found.images, found.delta, found.interval, found.miou_reference) == (0, None, None, None)
    found = delta_of(empty[:0], empty[:0])
    assert found.delta is None


def test_images_without_labelled_pixels_do_not_count() -> None:
    reference, export = confusions(15)
    padded = [np.concatenate([part, np.zeros((30, 4, 4), int)]) for part in (reference, export)]
    assert delta_of(*padded) == delta_of(reference, export)


def test_unequal_images_are_refused() -> None:
    reference, export = confusions(5)
    with pytest.raises(ValueError, match=r"\(5, 3, 4\) and \(4, 3, 4\)"):
        delta_of(reference, export[:4])


def test_smallest_detectable_falls_with_the_images() -> None:
    reference, export = confusions(200)
    few, many = delta_of(reference[:50], export[:50]), delta_of(reference, export)
    assert many.smallest_detectable == pytest.approx(few.smallest_detectable / 2, rel=0.3)
    assert few.smallest_detectable == pytest.approx(
        few.delta - few.interval[0] + stats.norm.ppf(0.8) * few.standard_error
    )
    symmetric = (stats.t.ppf(0.975, 49) + stats.norm.ppf(0.8)) * few.standard_error
    assert few.smallest_detectable == pytest.approx(symmetric, rel=0.25)
    assert few.images_needed(few.smallest_detectable / 2) == pytest.approx(200, abs=1)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.5, 0.9]) == (1.0, 1.0)
    assert holm([]) == ()


def test_class_p_value() -> None:
    lost = ClassDelta(0, 25, 0.8, 0.7, -0.1, 0.02, (-0.14, -0.06))
    assert lost.p_not_worse_than(0.05) == pytest.approx(stats.t.cdf(-2.5, 24))
    exact = ClassDelta(0, 25, 0.8, 0.7, -0.1, 0.0, (-0.1, -0.1))
    assert (exact.p_not_worse_than(0.05), exact.p_not_worse_than(0.1)) == (0.0, 1.0)
    assert ClassDelta(0, 0, None, None, None, None, None).p_not_worse_than(0.05) is None


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 10, 51, 100, 199])
def test_student_t_equals_scipy(freedom: int) -> None:
    for t in (-40.0, -3.3, -0.2, 0.0, 1.0, 5.0):
        assert student_t_cdf(t, freedom) == pytest.approx(stats.t.cdf(t, freedom), abs=1e-12)
    for probability in (0.5, 0.8, 0.95, 0.975, 0.9995):
        assert student_t_quantile(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), rel=1e-9)
    assert student_t_quantile(0.975, 10_000) == pytest.approx(stats.t.ppf(0.975, 10_000), rel=0.01)
