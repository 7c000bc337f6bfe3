"""A reference that exports contradict is run again: what refutes it, what confirms it, and a recording."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segexport.errors import WorkerCrashed
from segexport.judge.results import Export
from segexport.measure.parity import Comparison
from segexport.recipe.limits import Limits
from segexport.references.recheck import RequiredAgreement, contradiction_of, rechecked, without_model
from segexport.spec import Format, Precision
from segexport.task.registry import TASKS
from segexport.task.semantic.counts import PixelCounts
from segexport.verdict import Verdict

NAMES = tuple(f"{index}.png" for index in range(5))
ONNX, LITE = (RequiredAgreement(format, 0.999, 0.99) for format in ("onnx", "paddle-lite"))


def tally(agreement, in_common=None, **changes) -> PixelCounts:
    made = PixelCounts(agreement=list(agreement), in_common=in_common or {}, **changes)
    made.class_counts = [np.zeros((3, 2), np.int64)] * len(made.agreement)
    return made


def comparison(names=NAMES, **tallies: PixelCounts) -> Comparison:
    return Comparison(PixelCounts(), tallies, tuple(names), labelled=False, preprocess_ms=0.0)


def charged(found: Comparison):
    """`b` is of another format than the others."""
    return contradiction_of(found, {name: LITE if name == "b" else ONNX for name in found.exports})


LATER_WRONG = (1.0, 0.7, 0.8, 0.75, 0.9)


def test_floors_are_those_of_the_gates():
    export = Export("a", Format.ONNX, Precision.FP32)
    assert RequiredAgreement.of(export, TASKS["semantic"]) == RequiredAgreement("onnx", 0.999, 0.99)
    assert RequiredAgreement.of(export, TASKS["instance"]) == RequiredAgreement("onnx", 0.99, 0.0)
    ungated = replace(export, limits=Limits(agreement_min=None))
    assert RequiredAgreement.of(ungated, TASKS["semantic"]) == RequiredAgreement("onnx", 0.0, 0.99)


def test_no_charge_where_exports_agree_or_are_no_witnesses():
    assert charged(comparison(a=tally([1.0] * 5))) is None
    assert charged(comparison(a=tally(LATER_WRONG, repeatable=False))) is None
    assert charged(comparison(a=tally(LATER_WRONG, error=WorkerCrashed("gone")))) is None
    assert charged(comparison(a=tally([0.5, 0.5], wrong_shape="(2, 2)"))) is None


def test_the_charge_names_the_images_on_which_exports_agree_least():
    found = charged(comparison(a=tally(LATER_WRONG), sound=tally([1.0] * 5)))
    assert list(found.exports) == ["a"]
    assert found.images == (1, 3, 2)
    one_image = charged(comparison(a=tally([1.0, 1.0, 1.0, 1.0, 0.98])))  # the mean is fine, the worst image is not
    assert one_image.images[0] == 4


def trial(agreement_anew, *, same_device: bool = True, agreement=LATER_WRONG, in_common=None):
    before = comparison(a=tally(agreement, in_common))
    asked = []

    def again(images):
        asked.append(tuple(images))
        return comparison([NAMES[index] for index in images], a=tally(agreement_anew))

    check = rechecked(charged(before), before, again, same_device=same_device)["a"]
    assert asked == [charged(before).images]
    assert check.name == "reference.trial"
    return check


def test_masks_that_come_out_the_same_confirm_the_reference():
    check = trial([0.7, 0.75, 0.8])
    assert (check.verdict, check.gated) == (Verdict.PASS, True)
    assert check.message == (
        "the reference is confirmed: run again in a fresh process on the 3 images on which exports agree least, "
        "it contradicts this export as before."
    )
    assert check.details == {
        "images": ["1.png", "3.png", "2.png"],
        "agreement": [0.7, 0.75, 0.8],
        "agreement_anew": [0.7, 0.75, 0.8],
    }


@pytest.mark.parametrize("anew", [[1.0, 0.75, 0.8], [0.7, 0.75, 0.802], [0.5, 0.75, 0.8]])
def test_other_masks_convict_it_whether_the_export_likes_them_or_not(anew):
    check = trial(anew)
    assert check.verdict is Verdict.ERROR
    assert check.message.startswith("the reference is wrong: run again in a fresh process, its mask of ")


def test_the_message_names_the_image_and_both_agreements():
    assert "its mask of 1.png differs, and this export agrees with it on 100.00% instead of 70.00%." in (
        trial([1.0, 0.75, 0.8]).message
    )


@pytest.mark.parametrize(("anew", "verdict"), [([0.72, 0.77, 0.8], Verdict.PASS), ([0.9995, 0.75, 0.8], Verdict.ERROR)])
def test_another_device_convicts_only_by_a_mask_that_the_export_agrees_with(anew, verdict):
    check = trial(anew, same_device=False)
    assert check.verdict is verdict
    assert "on the CPU" in check.message or verdict is Verdict.ERROR


def test_exports_of_one_mind_are_told():
    told = trial([0.7, 0.75, 0.8], in_common={"b": (99, 100)})
    assert "agrees with" not in told.message  # b does not contradict
    before = comparison(a=tally(LATER_WRONG, {"b": (999, 1000)}), b=tally(LATER_WRONG, {"a": (999, 1000)}))
    anew = comparison(NAMES[:3], a=tally([0.7, 0.75, 0.8]), b=tally([0.7, 0.75, 0.8]))
    found = rechecked(charged(before), before, lambda _images: anew, same_device=True)
    assert "(where it differs from the reference, it agrees with b on 99.9% of the pixels)" in found["a"].message


def test_a_reference_that_cannot_be_run_again():
    before = comparison(a=tally(LATER_WRONG))

    def again(_images):
        raise WorkerCrashed("paddle: gone")

    check = rechecked(charged(before), before, again, same_device=True)["a"]
    assert (check.verdict, "could not be run again: paddle: gone" in check.message) == (Verdict.ERROR, True)


@pytest.mark.parametrize(
    ("unproven", "in_common", "verdict", "words"),
    [
        (False, (100, 100), Verdict.PASS, "has a proof of its masks"),
        (True, (95, 100), Verdict.ERROR, "is wrong: its masks have no proof, and exports of two formats"),
        (True, (50, 100), Verdict.SKIPPED, "the recording's masks have no proof"),
    ],
)
def test_a_recording_has_nothing_but_its_proof(unproven, in_common, verdict, words):
    found = comparison(a=tally(LATER_WRONG, {"b": in_common}), b=tally(LATER_WRONG, {"a": in_common}))
    check = without_model(charged(found), found, unproven=unproven, again="make it again")["a"]
    assert check.verdict is verdict
    assert words in check.message
    assert ("record it again" in check.message) == unproven


def test_two_exports_of_one_format_share_its_faults_and_convict_no_recording():
    found = comparison(a=tally(LATER_WRONG, {"c": (1, 1)}), c=tally(LATER_WRONG, {"a": (1, 1)}))
    check = without_model(charged(found), found, unproven=True, again="x")["a"]
    assert (check.verdict, check.gated) == (Verdict.SKIPPED, False)
