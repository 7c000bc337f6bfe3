"""Verdicts and their sentences, each gate on both sides of its limit, and wrong conversions on two images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from segexport.errors import InputError
from segexport.judge.bootstrap import ClassDelta, PairedDelta, paired_delta
from segexport.judge.cost_gates import compression_check, latency_check, size_check
from segexport.judge.gates import (
    PASS_IMAGES,
    SEEN_SHARE,
    boundary_check,
    class_check,
    independence_check,
    miou_check,
    tripwire_checks,
    unseen_share,
)
from segexport.measure.boundary import boundary_counts
from segexport.measure.latency_statistics import Drift, LatencyRatio
from segexport.measure.metrics import class_counts, confusion_matrix
from segexport.recipe.limits import Limits, limits_for, require_margin_above_noise
from segexport.spec import Precision
from segexport.task.semantic.agreement_gates import agreement_checks, mask_iou_check
from segexport.verdict import Check, Verdict, overall

FP32, FP16, INT8 = (limits_for(precision) for precision in (Precision.FP32, Precision.FP16, Precision.INT8))
STEADY = Drift(0.0, 1.0)


def delta(
    value: float, interval: tuple[float, float] | None, images: int = 50, classes: tuple[ClassDelta, ...] = ()
) -> PairedDelta:
    error = None if interval is None else (interval[1] - interval[0]) / 4
    detectable = None if error is None else 2.8 * error
    return PairedDelta(images, 0.6, 0.6 + value, value, interval, None, None, error, detectable, classes)


def in_groups(groups: int, value: float, interval: tuple[float, float] | None, images: int = 50) -> PairedDelta:
    return replace(delta(value, interval, images), groups=groups)


def one_class(index: int, value: float, error: float, images: int = 50) -> ClassDelta:
    interval = (value - 2 * error, value + 2 * error)
    return ClassDelta(index, images, 0.7, 0.7 + value, value, error, interval, units=images, freedom=images - 1)


def scene(seed: int, shape: tuple[int, int] = (60, 80)) -> np.ndarray:
    """Three classes, two of them large, one covering 4 % of the image."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, np.uint8)
    mask[shape[0] // 2 :] = 1
    row, column = rng.integers(0, 40), rng.integers(0, 60)
    mask[row : row + 14, column : column + 14] = 2
    return mask


def agreements(references: list[np.ndarray], exports: list[np.ndarray], limits: Limits) -> dict[str, Check]:
    per_image = [float((a == b).mean()) for a, b in zip(references, exports, strict=True)]
    counts = sum(class_counts(confusion_matrix(a, b, 3, None)) for a, b in zip(references, exports, strict=True))
    return {check.name: check for check in agreement_checks(per_image, limits, mask_counts=counts)}


def test_tiers() -> None:
    assert (FP32.miou_margin, FP16.miou_margin, INT8.miou_margin) == (0.0005, 0.001, 0.01)
    assert limits_for(Precision.INT8, trained=True).miou_margin == 0.005
    assert limits_for(Precision.W8).agreement_min == 0.95
    assert (FP32.agreement_min, FP16.agreement_min, INT8.agreement_min) == (0.999, 0.995, 0.90)


def test_a_recipe_changes_what_it_names_and_null_switches_off() -> None:
    changes = Limits.model_validate({"miou_margin": 0.02, "latency_ratio_max": None})
    found = limits_for(Precision.INT8, overrides=changes)
    assert (found.miou_margin, found.latency_ratio_max, found.agreement_min) == (0.02, None, INT8.agreement_min)
    with pytest.raises(ValidationError, match="mIoU"):
        Limits.model_validate({"mIoU": 0.1})
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        Limits(miou_margin=5)


def test_a_margin_below_the_noise_is_refused() -> None:
    require_margin_above_noise(FP32, 0.0)
    require_margin_above_noise(FP32, 0.0004)
    with pytest.raises(InputError, match=r"miou_margin is 0\.0005, the reference differs from itself by 0\.00070"):
        require_margin_above_noise(FP32, -0.0007)
    require_margin_above_noise(Limits(miou_margin=0), 0.0)


def test_tripwires() -> None:
    good = tripwire_checks(images=5, repeatable=True)
    assert [check.name for check in good] == [
        "tripwire.finite",
        "tripwire.shape",
        "tripwire.constant",
        "tripwire.repeatable",
    ]
    assert {check.verdict for check in good} == {Verdict.PASS}
    bad = tripwire_checks(
        images=5, not_finite=["a.png"], constant_images=5, wrong_shape="(1, 2) instead of (2, 1)", repeatable=False
    )
    assert {check.verdict for check in bad} == {Verdict.FAIL}
    assert "1 of 5 images (a.png)" in bad[0].message
    assert "(1, 2) instead of (2, 1)" in bad[1].message
    assert "one single class on all 5 images" in bad[2].message


def test_constant_masks_that_the_reference_has_too_tell_nothing() -> None:
    checks = {c.name: c for c in tripwire_checks(images=2, constant_images=2, reference_constant_images=2)}
    assert checks["tripwire.constant"].verdict is Verdict.INCONCLUSIVE
    checks = {c.name: c for c in tripwire_checks(images=9, constant_images=2, reference_constant_images=1)}
    assert checks["tripwire.constant"].verdict is Verdict.PASS


def test_agreement_on_both_sides_of_the_limits() -> None:
    good = agreement_checks([0.9995, 0.9991], FP32, confident=[1.0, 1.0])
    assert [check.verdict for check in good] == [Verdict.PASS] * 3
    bad = agreement_checks([0.9995, 0.98], FP32, confident=[1.0, 0.999], images=["a.png", "b.png"])
    assert [check.verdict for check in bad] == [Verdict.FAIL] * 3
    assert bad[0].message == "98.975 % of the pixels agree with the reference on 2 images; the limit is 99.9 %."
    assert "on the worst image, b.png" in bad[1].message
    assert agreement_checks([0.999999999], FP32)[0].message.startswith("99.9999 %")  # never reads as all


def test_agreement_without_scores_or_images() -> None:
    skipped = agreement_checks([1.0], FP32, confident=[float("nan")])[2]
    assert (skipped.name, skipped.verdict, skipped.gated) == ("agreement.confident", Verdict.SKIPPED, False)
    (nothing,) = agreement_checks([], FP32)
    assert nothing.verdict is Verdict.ERROR


@pytest.mark.parametrize("limits", [FP32, FP16, INT8, limits_for(Precision.W8)])
def test_wrong_conversions_fail_on_two_images(limits: Limits) -> None:
    references = [scene(0), scene(1)]
    wrong = {
        "swapped classes": [np.where(m < 2, 1 - m, m) for m in references],
        "transposed": [np.ascontiguousarray(m[::-1, ::-1]) for m in references],
        "small class lost": [np.where(m == 2, 0, m) for m in references],  # 96 % of the pixels still agree
    }
    for fault, exports in wrong.items():
        verdict = overall(check.verdict for check in agreements(references, exports, limits).values())
        assert verdict is Verdict.FAIL, fault
    assert overall(c.verdict for c in agreements(references, references, limits).values()) is Verdict.PASS


def test_only_the_class_gate_sees_a_lost_small_class() -> None:
    references = [scene(0), scene(1)]
    found = agreements(references, [np.where(m == 2, 0, m) for m in references], INT8)
    assert found["agreement.pixels"].verdict is Verdict.PASS
    assert found["agreement.classes"].verdict is Verdict.FAIL
    assert "class 2" in found["agreement.classes"].message


@pytest.mark.parametrize(
    ("interval", "verdict", "says"),
    [
        ((-0.009, 0.001), Verdict.PASS, "the whole interval is inside the margin of 0.01"),
        ((-0.010, 0.001), Verdict.PASS, "inside"),
        ((-0.030, -0.011), Verdict.FAIL, "the whole interval is beyond the margin of 0.01"),
        ((-0.011, -0.001), Verdict.INCONCLUSIVE, "show differences from 0.00700 on"),
        ((-0.060, 0.040), Verdict.INCONCLUSIVE, "about 2450 images would show the margin"),  # 50 * (0.07 / 0.01)**2
    ],
)
def test_miou_non_inferiority(interval: tuple[float, float], verdict: Verdict, says: str) -> None:
    check = miou_check(delta(sum(interval) / 2, interval), INT8, agreement=0.97)
    assert (check.verdict, check.limit, check.interval) == (verdict, -0.01, interval)
    assert says in check.message


def test_the_sentence_has_the_numbers() -> None:
    check = miou_check(delta(-0.002, (-0.004, -0.0000001)), INT8, agreement=0.97)
    assert check.message == (
        "mIoU 0.6000 -> 0.5980, delta -0.00200 (95 % interval -0.00400 to +0.00000) on 50 images: "
        "the whole interval is inside the margin of 0.01."
    )
    assert check.details["smallest_detectable"] == pytest.approx(2.8 * 0.001, rel=1e-3)


def test_few_images_pass_only_when_the_masks_are_nearly_identical() -> None:
    tiny = delta(-0.00001, (-0.00002, 0.0), images=3)
    assert miou_check(tiny, FP32, agreement=0.9999).verdict is Verdict.PASS
    check = miou_check(tiny, FP32, agreement=0.97)
    assert check.verdict is Verdict.INCONCLUSIVE
    assert "too few images for the margin of 0.0005; use at least 14" in check.message
    far = delta(-0.3, (-0.31, -0.29), images=3)
    assert miou_check(far, FP32, agreement=0.5).verdict is Verdict.INCONCLUSIVE
    single = miou_check(delta(-0.0001, None, images=1), FP32, agreement=0.9999)
    assert single.verdict is Verdict.INCONCLUSIVE
    assert "on 1 image:" in single.message


def test_ten_images_can_fail_but_not_pass_what_a_fifth_of_the_images_could_hide() -> None:
    inside = (-0.004, 0.001)
    check = miou_check(delta(-0.002, inside, images=10), INT8, agreement=0.97)
    assert check.verdict is Verdict.INCONCLUSIVE
    assert "one image of five in 10.7 % of the cases; use at least 14" in check.message
    assert miou_check(delta(-0.002, inside, images=14), INT8, agreement=0.97).verdict is Verdict.PASS
    assert miou_check(delta(-0.002, inside, images=10), INT8, agreement=0.9995).verdict is Verdict.PASS
    assert miou_check(delta(-0.05, (-0.06, -0.04), images=10), INT8, agreement=0.97).verdict is Verdict.FAIL


def test_groups_are_counted_where_images_come_in_groups() -> None:
    inside = (-0.004, 0.001)
    check = miou_check(in_groups(14, -0.002, inside), INT8, agreement=0.97)
    assert check.verdict is Verdict.PASS
    assert "on 50 images in 14 groups: the whole interval is inside" in check.message
    check = miou_check(in_groups(13, -0.002, inside), INT8, agreement=0.97)
    assert check.verdict is Verdict.INCONCLUSIVE
    assert "one group of five in 5.5 % of the cases; use at least 14" in check.message
    check = miou_check(in_groups(5, -0.002, inside), INT8, agreement=0.97)
    assert check.verdict is Verdict.INCONCLUSIVE
    assert "too few groups for the margin of 0.01; use at least 14" in check.message
    check = miou_check(in_groups(20, -0.02, (-0.05, 0.01)), INT8, agreement=0.97)
    assert "about 353 groups would show the margin" in check.message  # 20 * (0.042 / 0.01)**2
    assert check.details["unseen_share"] == pytest.approx(unseen_share(20))


def test_one_group_passes_nearly_identical_masks_alone() -> None:
    check = miou_check(in_groups(1, -0.002, None, images=101), INT8, agreement=0.9935)
    assert check.verdict is Verdict.INCONCLUSIVE
    assert "on 101 images in 1 group: all images are of one group, so the loss on other groups" in check.message
    assert "use at least 14 groups" in check.message
    same = in_groups(1, -0.00001, None, images=101)
    assert miou_check(same, FP16, agreement=0.9999).verdict is Verdict.PASS
    assert miou_check(in_groups(1, -0.00001, None, images=13), FP16, agreement=0.9999).verdict is Verdict.INCONCLUSIVE
    assert miou_check(in_groups(1, -0.1, None, images=101), FP16, agreement=0.9999).verdict is Verdict.INCONCLUSIVE


def test_a_class_needs_groups_too() -> None:
    rare = replace(one_class(0, -0.2, 0.01, images=40), units=3, freedom=2)
    common = replace(one_class(1, -0.001, 0.01, images=40), units=20, freedom=19)
    check = class_check(replace(delta(0.0, (0.0, 0.0), classes=(rare, common)), groups=20), INT8)
    assert check.verdict is Verdict.PASS
    assert "(class 1, on 40 images in 20 groups)" in check.message
    assert "too few groups for class 0" in check.message


def test_the_alarm_about_neighbours_tells_and_decides_nothing() -> None:
    alike = replace(delta(-0.001, (-0.002, 0.0), images=100), autocorrelation=0.42)
    check = independence_check(alike, agreement=0.99)
    assert (check.name, check.verdict, check.gated) == ("images.independent", Verdict.INCONCLUSIVE, False)
    assert (check.value, check.limit) == (0.42, 0.2)
    assert "images lose alike (autocorrelation of losses +0.42, by chance under 0.20), as frames" in check.message
    assert "--groups" in check.message
    assert "neighbouring groups lose alike" in independence_check(replace(alike, groups=50), agreement=0.99).message
    quiet = independence_check(replace(alike, autocorrelation=0.19), agreement=0.99)
    assert (quiet.verdict, quiet.gated) == (Verdict.PASS, False)
    assert independence_check(alike, agreement=0.9995) is None
    assert independence_check(delta(-0.001, (-0.002, 0.0)), agreement=0.99) is None


def test_the_share_of_images_that_nobody_can_see() -> None:
    assert [unseen_share(images) for images in (10, 14, 101)] == pytest.approx([0.2589, 0.1926, 0.0292], abs=1e-4)
    assert (1 - SEEN_SHARE) ** PASS_IMAGES < 0.05 < (1 - SEEN_SHARE) ** (PASS_IMAGES - 1)
    assert miou_check(delta(0.0, (0.0, 0.0), images=50), FP32, agreement=1).details["unseen_share"] == unseen_share(50)


def test_identical_masks_pass_every_accuracy_gate_on_any_number_of_images() -> None:
    for images in (1, 3, 40):
        masks = [scene(seed) for seed in range(images)]
        truth = [np.roll(mask, 1, 0) for mask in masks]
        areas = np.stack([class_counts(confusion_matrix(t, m, 3)) for t, m in zip(truth, masks, strict=True)])
        edges = np.stack([boundary_counts(t, m, 3) for t, m in zip(truth, masks, strict=True)])
        assert miou_check(paired_delta(areas, areas), FP32, agreement=1.0).verdict is Verdict.PASS
        assert boundary_check(paired_delta(edges, edges), FP32, agreement=1.0).verdict is Verdict.PASS
        expected = Verdict.PASS if images >= 10 else Verdict.SKIPPED
        assert class_check(paired_delta(areas, areas), FP32).verdict is expected


def test_nothing_labelled_is_an_error_and_no_labels_only_report() -> None:
    empty = np.zeros((12, 3, 4), int)
    check = miou_check(paired_delta(empty, empty), FP32, agreement=1.0)
    assert check.verdict is Verdict.ERROR
    assert "no labelled pixel" in check.message
    check = miou_check(delta(-0.1, (-0.12, -0.08)), FP32, agreement=1.0, labelled=False)
    assert (check.verdict, check.gated, check.value) == (Verdict.SKIPPED, False, None)
    assert check.message == "no labels: the mIoU is unknown."
    assert class_check(delta(0.0, (0.0, 0.0)), FP32, labelled=False).verdict is Verdict.SKIPPED


@pytest.mark.parametrize(
    ("precision", "passes", "undecided"),
    [
        (Precision.FP32, 0.995, 0.985),
        (Precision.FP16, 0.995, 0.975),  # sound fp16 of five models: 0.9955 and more
        (Precision.W8, 0.936, 0.91),  # sound w8: 0.936 and more
        (Precision.INT8, 0.909, 0.87),  # sound int8 of models of one's own data: 0.909 and more; 5-bit weights: 0.82
    ],
)
def test_mask_iou_is_what_passes_without_labels(precision: Precision, passes: float, undecided: float) -> None:
    limits = limits_for(precision)
    good = mask_iou_check(passes, limits)
    assert (good.name, good.verdict, good.gated) == ("agreement.mask_iou", Verdict.PASS, True)
    assert f"a mean IoU of {passes:.4f} with the reference's" in good.message
    poor = mask_iou_check(undecided, limits)
    assert (poor.verdict, poor.gated, poor.limit) == (Verdict.INCONCLUSIVE, True, limits.agreement_mask_iou_min)
    assert "only labels can show whether the differing pixels are worse" in poor.message
    assert mask_iou_check(0.87, limits).verdict is Verdict.INCONCLUSIVE
    assert mask_iou_check(0.5, Limits()).verdict is Verdict.SKIPPED
    assert mask_iou_check(None, limits).verdict is Verdict.ERROR


def test_trained_weights_need_the_masks_too() -> None:
    for precision in Precision:
        assert mask_iou_check(0.87, limits_for(precision, trained=True)).verdict is Verdict.INCONCLUSIVE


def test_a_switched_off_margin_reports() -> None:
    check = boundary_check(delta(-0.1, (-0.12, -0.08)), Limits(), agreement=1.0)
    assert (check.name, check.verdict, check.gated) == ("boundary.delta", Verdict.SKIPPED, False)


def test_class_gate_looks_for_proven_harm() -> None:
    sound = one_class(0, -0.01, 0.05)
    assert class_check(delta(0, (0, 0), classes=(sound, one_class(1, -0.04, 0.2))), INT8).verdict is Verdict.PASS
    lost = one_class(1, -0.30, 0.02)
    check = class_check(delta(0, (0, 0), classes=(sound, lost)), INT8, labels=["road", "bicycle"])
    assert (check.verdict, check.value, check.limit) == (Verdict.FAIL, -0.30, -0.05)
    assert "proven beyond the margin of 0.05: bicycle -0.30000" in check.message
    check = class_check(delta(0, (0, 0), classes=(sound, one_class(1, -0.06, 0.05))), INT8)
    assert check.verdict is Verdict.INCONCLUSIVE
    assert "not proven: class 1" in check.message


def test_holm_makes_one_class_among_many_harder_to_convict() -> None:
    accused = one_class(0, -0.10, 0.02)  # alone p = 0.008
    alone = class_check(delta(0, (0, 0), classes=(accused,)), INT8)
    crowd = tuple(one_class(index, 0.0, 0.02) for index in range(1, 12))
    among = class_check(delta(0, (0, 0), classes=(accused, *crowd)), INT8)
    assert (alone.verdict, among.verdict) == (Verdict.FAIL, Verdict.INCONCLUSIVE)
    assert among.details["classes"]["class 0"]["p_holm"] == pytest.approx(
        12 * alone.details["classes"]["class 0"]["p_holm"]
    )


def test_classes_on_too_few_images_are_listed_and_not_gated() -> None:
    rare = one_class(1, -0.5, 0.01, images=9)
    check = class_check(delta(0, (0, 0), classes=(one_class(0, 0.0, 0.01), rare)), INT8, labels=["road", "train"])
    assert check.verdict is Verdict.PASS
    assert "too few images for train" in check.message
    assert check.details["not_gated"] == ["train"]
    assert class_check(delta(0, (0, 0), classes=(rare,)), INT8).verdict is Verdict.SKIPPED


def test_size() -> None:
    check = size_check(600_000, 2_000_000, Limits(), against="fp32")
    assert (check.verdict, check.value) == (Verdict.SKIPPED, 0.3)
    assert check.message == "0.600 MB, 0.30 of fp32; not gated."
    assert size_check(600_000, 2_000_000, Limits(size_ratio_max=0.3), against="fp32").verdict is Verdict.PASS
    assert size_check(600_001, 2_000_000, Limits(size_ratio_max=0.3), against="fp32").verdict is Verdict.FAIL
    assert size_check(1, 0, Limits(), against="fp32").verdict is Verdict.ERROR


@pytest.mark.parametrize(
    ("value", "interval", "verdict", "says"),
    [
        (0.60, (0.58, 0.62), Verdict.PASS, "within the limit of 0.95"),
        (1.00, (0.98, 1.02), Verdict.FAIL, "over the limit of 0.95"),
        (0.95, (0.90, 1.00), Verdict.INCONCLUSIVE, "crosses the limit of 0.95"),
        (0.60, None, Verdict.INCONCLUSIVE, "too few"),
    ],
)
def test_int8_must_be_faster(value: float, interval: tuple[float, float] | None, verdict: Verdict, says: str) -> None:
    check = latency_check(LatencyRatio(value, interval, 8, STEADY, STEADY), INT8, against="onnx fp32")
    assert (check.verdict, check.value, check.limit) == (verdict, value, 0.95)
    assert says in check.message
    assert check.message.startswith(f"latency {value:.3f} of onnx fp32")


def test_drift_decides_nothing_and_a_host_twin_is_not_gated() -> None:
    drifting = LatencyRatio(0.6, (0.58, 0.62), 12, Drift(0.2, 0.001), STEADY)
    check = latency_check(drifting, INT8, against="fp32")
    assert check.verdict is Verdict.INCONCLUSIVE
    assert "drifted by +20 %" in check.message
    slow = LatencyRatio(1.5, (1.4, 1.6), 12, STEADY, STEADY)
    check = latency_check(slow, INT8, against="fp32", on_target=False)
    assert (check.verdict, check.gated) == (Verdict.SKIPPED, False)
    assert latency_check(slow, FP32, against="paddle").verdict is Verdict.SKIPPED
    assert latency_check(drifting, FP32, against="paddle").verdict is Verdict.SKIPPED


@pytest.mark.parametrize(
    ("size", "interval", "verdict"),
    [
        (0.3, (1.4, 1.6), Verdict.PASS),
        (1.0, (0.7, 0.8), Verdict.PASS),
        (1.0, (0.98, 1.02), Verdict.FAIL),
        (1.0, (0.90, 1.05), Verdict.INCONCLUSIVE),
        (1.0, None, Verdict.INCONCLUSIVE),
    ],
)
def test_compressed_in_name_only(size: float, interval: tuple[float, float] | None, verdict: Verdict) -> None:
    latency = None if interval is None else LatencyRatio(sum(interval) / 2, interval, 8, STEADY, STEADY)
    check = compression_check(size, latency, Precision.INT8, INT8, against="fp32")
    assert check.verdict is verdict
    if verdict is Verdict.FAIL:
        assert check.message == (
            "int8 is not smaller than fp32 (1.00 of its size), nor faster (latency 1.000 of it): "
            "compressed in name only."
        )


def test_compression_off_target_and_of_fp32() -> None:
    assert compression_check(1.0, None, Precision.FP32, FP32, against="x").verdict is Verdict.SKIPPED
    check = compression_check(1.0, None, Precision.FP16, FP16, against="fp32", on_target=False)
    assert check.verdict is Verdict.SKIPPED
    assert "on the target only" in check.message
