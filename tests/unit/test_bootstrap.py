"""The interval against slow direct computation and scipy, and the cases at the edge: no spread, few images, nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from segexport.judge.bootstrap import ClassDelta, PairedDelta, autocorrelation, holm, paired_delta
from segexport.judge.groups import Grouping
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


def delta_of(reference: np.ndarray, export: np.ndarray, **options: Any) -> PairedDelta:
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
        assert found.units_needed(0.01) is None


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
    assert few.units_needed(few.smallest_detectable / 2) == pytest.approx(200, abs=1)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.5, 0.9]) == (1.0, 1.0)
    assert holm([]) == ()


def test_class_p_value() -> None:
    lost = ClassDelta(0, 25, 0.8, 0.7, -0.1, 0.02, (-0.14, -0.06), units=25, freedom=24)
    assert lost.p_not_worse_than(0.05) == pytest.approx(stats.t.cdf(-2.5, 24))
    exact = ClassDelta(0, 25, 0.8, 0.7, -0.1, 0.0, (-0.1, -0.1), units=25, freedom=24)
    assert (exact.p_not_worse_than(0.05), exact.p_not_worse_than(0.1)) == (0.0, 1.0)
    nowhere = ClassDelta(0, 0, None, None, None, None, None, units=0, freedom=1)
    assert nowhere.p_not_worse_than(0.05) is None


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 10, 51, 100, 199])
def test_student_t_equals_scipy(freedom: int) -> None:
    for t in (-40.0, -3.3, -0.2, 0.0, 1.0, 5.0):
        assert student_t_cdf(t, freedom) == pytest.approx(stats.t.cdf(t, freedom), abs=1e-12)
    for probability in (0.5, 0.8, 0.95, 0.975, 0.9995):
        assert student_t_quantile(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), rel=1e-9)
    assert student_t_quantile(0.975, 10_000) == pytest.approx(stats.t.ppf(0.975, 10_000), rel=0.01)


def videos(number: int, frames: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Confusions of videos whose frames lose alike and that differ from each other, and the video of each frame."""
    reference, export = confusions(number, seed=seed)
    reference, export = (np.repeat(part, frames, axis=0) for part in (reference, export))
    return reference, export, [f"video {number}" for number in range(number) for _ in range(frames)]


def test_images_that_are_groups_of_their_own_change_nothing() -> None:
    reference, export = confusions(30)
    alone, own = delta_of(reference, export), delta_of(reference, export, groups=[str(n) for n in range(30)])
    assert (alone.groups, own.groups, alone.unit, own.unit) == (None, 30, "image", "group")
    assert replace(own, groups=None) == alone


def test_a_group_counts_as_one_image_with_all_its_pixels() -> None:
    reference, export = confusions(60)
    order = np.random.default_rng(3).permutation(60)  # groups need not be runs of the list
    found = delta_of(reference[order], export[order], groups=[f"g{number // 4:02d}" for number in order], seed=4)
    first = list(dict.fromkeys(number // 4 for number in order))
    sums = [np.stack([part[4 * n : 4 * n + 4].sum(0) for n in first]) for part in (reference, export)]
    pooled_groups = delta_of(*sums, seed=4)
    assert found.interval == pooled_groups.interval
    assert (found.images, found.groups, pooled_groups.images) == (60, 15, 15)
    assert [(c.images, c.units, c.freedom) for c in found.classes] == [(60, 15, 14)] * 4
    assert [c.interval for c in found.classes] == [c.interval for c in pooled_groups.classes]


def test_the_standard_error_of_groups_is_what_repeated_draws_of_groups_show() -> None:
    deltas, errors, as_images = [], [], []
    for seed in range(200):
        reference, export, groups = videos(20, 6, seed)
        found = delta_of(reference, export, groups=groups, resamples=2)
        deltas.append(found.delta)
        errors.append(found.standard_error)
        as_images.append(delta_of(reference, export, resamples=2).standard_error)
    assert np.mean(errors) == pytest.approx(np.std(deltas), rel=0.15)
    assert np.mean(as_images) < 0.5 * np.std(deltas)


def test_frames_pass_an_export_at_the_margin_and_videos_do_not() -> None:
    passes = {"frames": 0, "videos": 0}
    true = np.mean([delta_of(*videos(400, 1, seed)[:2], resamples=2).delta for seed in range(1000, 1020)])
    for seed in range(150):
        reference, export, groups = videos(14, 6, seed)
        for name, given in (("frames", None), ("videos", groups)):
            found = delta_of(reference, export, groups=given, resamples=300)
            passes[name] += found.interval[0] >= true
    assert passes["videos"] <= 0.05 * 150
    assert passes["frames"] >= 0.15 * 150


def test_one_group_has_no_interval_unless_nothing_differs() -> None:
    reference, export = confusions(30)
    found = delta_of(reference, export, groups=["drive"] * 30)
    assert (found.interval, found.standard_error, found.groups) == (None, None, 1)
    assert found.delta == pytest.approx(pooled(reference, export))
    assert delta_of(reference, reference, groups=["drive"] * 30).interval == (0.0, 0.0)


def test_unequal_groups_are_worth_fewer() -> None:
    sizes = {"equal": [5] * 8, "one giant": [50, *[1] * 9], "alone": [3]}
    freedom = {
        name: Grouping.of([str(n) for n, size in enumerate(given) for _ in range(size)], sum(given)).freedom
        for name, given in sizes.items()
    }
    assert freedom == {"equal": 7, "one giant": 1, "alone": 1}  # 59**2 / (50**2 + 9) is 1.4 groups
    with pytest.raises(ValueError, match="2 groups for 3 images"):
        Grouping.of(["a", "b"], 3)


def test_few_groups_get_a_t_interval_with_their_degrees_of_freedom() -> None:
    reference, export, groups = videos(5, 6, 0)
    found = delta_of(reference, export, groups=groups)
    width = stats.t.ppf(0.975, 4) * found.standard_error
    assert found.interval == pytest.approx((found.delta - width, found.delta + width))


def test_images_without_a_counted_pixel_leave_their_group() -> None:
    reference, export, groups = videos(12, 2, 0)
    empty = np.zeros_like(reference[:1])
    added = delta_of(
        np.concatenate([empty, reference]), np.concatenate([empty, export]), groups=["elsewhere", *groups], seed=2
    )
    assert added == delta_of(reference, export, groups=groups, seed=2)


def test_autocorrelation_by_hand() -> None:
    values = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    centred = values - 5.5
    assert autocorrelation(values) == pytest.approx((centred[1:] * centred[:-1]).sum() / (centred**2).sum())
    assert autocorrelation(values[:9]) is None
    assert autocorrelation(np.ones(20)) is None


def test_neighbours_that_lose_alike_are_heard_and_shuffled_ones_are_not() -> None:
    reference, export, groups = videos(12, 5, 1)
    shuffled = np.random.default_rng(0).permutation(60)
    assert delta_of(reference, export).neighbours_alike
    assert not delta_of(reference[shuffled], export[shuffled]).neighbours_alike
    assert not delta_of(reference, export, groups=groups).neighbours_alike
    assert delta_of(reference, reference).autocorrelation is None
