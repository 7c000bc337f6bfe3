"""What a report makes of a measurement: who is compared with whom, and which limits hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from recordings import LABELS, manifest, subject

from segexport.artifact import FileEntry, LineageEntry, ModelArtifact
from segexport.check.build_report import conclude
from segexport.judge.results import Measured, Measurement, ReferenceRun
from segexport.judge.times import times_of
from segexport.measure.audit import NOT_RUN
from segexport.measure.latency import Timing
from segexport.measure.mask_proof import MaskProof
from segexport.measure.parity import Comparison
from segexport.recipe.limits import Limits
from segexport.report import render
from segexport.report.schema import DatasetInfo
from segexport.runtimes.base import SessionInfo
from segexport.spec import Format, Precision
from segexport.task.semantic.counts import PixelCounts
from segexport.task.semantic.judge import PixelJudge
from segexport.verdict import Check, Verdict

IMAGES = 12
INFO = SessionInfo("fake", "1", "none", "Some CPU", 1, 5.0)


def tally() -> PixelCounts:
    counts = np.tile([[40, 30, 20], [40, 30, 20], [40, 30, 20]], (IMAGES, 1, 1))
    return PixelCounts(
        class_counts=list(counts),
        boundary=list(counts),
        confusion=np.diag([40, 30, 20]) * IMAGES,
        mask_confusion=np.diag([40, 30, 20]) * IMAGES,
        agreement=[1.0] * IMAGES,
        decided_agreement=[1.0] * IMAGES,
        postprocess_ms=[0.25] * IMAGES,
    )


def timing(ms: float) -> Timing:
    samples = ms * (1 + 0.001 * np.arange(5 * 3 * 4).reshape(5, 3, 4) % 7)
    return Timing(sessions_ms=samples, loads_ms=[7.0] * 5, firsts_ms=[9.0] * 5, peak_rss_bytes=5_000_000)


def measured(name: str, ms: float, *steps: LineageEntry, limits: Limits | None = None, **changes) -> Measured:
    lineage = (manifest().lineage[0], *steps)
    found = subject(name, limits, lineage=lineage, **changes)
    return Measured(found, INFO, tally(), timing(ms))


def head(kind: str, dtype: str = "int32") -> LineageEntry:
    return LineageEntry(step="set_head", version="1", params={"head": kind, "dtype": dtype})


def report(
    *exports: Measured,
    own: PixelCounts | None = None,
    environment: dict | None = None,
    latency=None,
    labelled=True,
    proof: MaskProof | None = None,
):
    model = ModelArtifact(None, manifest())
    comparison = Comparison(own or tally(), {}, tuple(f"{i}.png" for i in range(IMAGES)), labelled, 1.5)
    return conclude(
        Measurement(
            title="",
            reference=ReferenceRun(
                model, INFO, False, timing=timing(10.0), times=times_of(timing(10.0), 1, "Some CPU", 1, 1), proof=proof
            ),
            exports=list(exports),
            comparison=comparison,
            judge=PixelJudge(comparison, LABELS, LABELS),
            labels=LABELS,
            dataset=DatasetInfo(path="x", split="val", images=IMAGES, labelled=True, fingerprint="f"),
            environment=environment or {},
            latency=latency,
        )
    )


def rows(*exports: Measured) -> dict:
    return {row.name: row for row in report(*exports).exports}


def test_values_that_were_not_run_are_marked_and_decide_nothing():
    ran, twin, widened = (measured(name, 10.0) for name in ("ran", "twin", "widened"))
    twin.info = replace(INFO, not_run="the twin ran")
    audit = Check(name="audit.precision", verdict=Verdict.PASS, message="", gated=False, details={NOT_RUN: "fp32 here"})
    widened.more = [audit]
    found = rows(ran, twin, widened)
    assert [row.verdict for row in found.values()] == [Verdict.PASS] * 3
    assert found["ran"].not_run == ""
    assert found["ran"].outcome == "PASS"
    assert found["twin"].not_run == "values not run here: the twin ran."
    assert found["twin"].outcome == "PASS, values not run here"
    assert found["widened"].not_run == "values not run here: fp32 here."


INT8 = {"precision": Precision.INT8}
SMALL = {"files": (FileEntry(path="model.bin", sha256="c" * 64, size_bytes=300),)}


@pytest.mark.parametrize(
    ("hits", "verdict"), [(95, Verdict.PASS), (87, Verdict.INCONCLUSIVE), (10, Verdict.INCONCLUSIVE)]
)
def test_without_labels_the_mask_iou_decides(hits, verdict):
    """Each class has `hits` per cent of the union of both masks; every other check is switched off."""
    off = dict.fromkeys(
        ("agreement_min", "agreement_worst_image_min", "agreement_confident_min", "agreement_class_min")
    )
    entry = measured("int8", 4.0, limits=Limits(**off), **INT8, **SMALL)
    counts = np.tile([[hits] * 3, [hits] * 3, [100] * 3], (IMAGES, 1, 1))
    entry.counts.class_counts = list(counts)
    own = tally()
    own.class_counts = list(np.tile([[hits] * 3] * 3, (IMAGES, 1, 1)))
    found = report(measured("fp32", 5.0), entry, own=own, labelled=False)
    row = found.exports[1]
    checks = {check.name: check for check in row.checks}
    assert checks["agreement.mask_iou"].value == pytest.approx(hits / 100)
    assert (checks["agreement.mask_iou"].verdict, row.verdict) == (verdict, verdict)
    assert checks["miou.delta"].verdict is Verdict.SKIPPED
    assert found.metric.startswith("Mask IoU is the mean over classes")
    assert "agreement.mask_iou" not in {check.name for check in report(entry).exports[0].checks}


class TestLatencyPolicy:
    """An int8 export that takes twice as long as fp32, where 0.95 is the limit of its precision."""

    def row(self, policy: str | None = None, **changes):
        slow = measured("int8", 10.0, **INT8, **SMALL, **changes)
        found = report(measured("fp32", 5.0), slow, latency=policy).exports[1]
        return found.verdict, next(check for check in found.checks if check.name == "latency.ratio")

    @pytest.mark.parametrize("policy", [None, "warn", "off"])
    def test_a_slow_export_is_told_and_passes(self, policy):
        verdict, check = self.row(policy)
        assert (check.verdict, check.gated) == (Verdict.FAIL, False)
        assert "over the limit of 0.95" in check.message
        assert verdict is Verdict.PASS

    def test_it_fails_where_latency_is_gated(self):
        verdict, check = self.row("gate")
        assert (verdict, check.verdict, check.gated) == (Verdict.FAIL, Verdict.FAIL, True)

    def test_it_fails_where_its_recipe_sets_a_limit_and_nothing_else_is_said(self):
        limits = Limits(latency_ratio_max=1.5)
        assert self.row(limits=limits)[0] is Verdict.FAIL
        assert self.row("warn", limits=limits)[0] is Verdict.PASS
        assert self.row(limits=Limits(miou_margin=0.5))[0] is Verdict.PASS

    def test_what_cannot_be_decided_names_the_load(self):
        noisy = measured("int8", 4.0, **INT8, **SMALL)
        noisy.timing.sessions_ms *= np.array([1, 3, 1, 4, 1])[:, None, None]
        environment = {"cores": 2, "load_average": {"before timing": 7.25, "after timing": 8.0}}
        found = report(measured("fp32", 5.0), noisy, environment=environment).exports[1]
        check = next(check for check in found.checks if check.name == "latency.ratio")
        assert (check.verdict, check.gated, found.verdict) == (Verdict.INCONCLUSIVE, False, Verdict.PASS)
        assert "(load average 7.25 on 2 cores)" in check.message

    @pytest.mark.parametrize(("policy", "gated"), [(None, False), ("warn", False), ("gate", True)])
    def test_whether_a_file_that_is_not_smaller_is_faster(self, policy, gated):
        """It was not timed: the report says so, and it is undecided only if times decide."""
        large = measured("fp16", 4.0, precision=Precision.FP16)
        large.timing = None
        found = report(measured("fp32", 5.0), large, latency=policy).exports[1]
        check = next(check for check in found.checks if check.name == "compression.effect")
        assert (check.verdict, check.gated) == (Verdict.INCONCLUSIVE, gated)


class TestWhoIsComparedWithWhom:
    def test_an_fp32_export_with_the_reference(self):
        found = rows(measured("fp32", 5.0))["fp32"]
        assert found.latency_baseline == "reference"
        assert found.latency_ratio == pytest.approx(0.5)

    def test_int8_with_the_fp32_export_of_its_format(self):
        found = rows(
            measured("lite", 20.0, format=Format.PADDLE_LITE), measured("fp32", 5.0), measured("int8", 4.0, **INT8)
        )["int8"]
        assert found.latency_baseline == "fp32"
        assert found.latency_ratio == pytest.approx(0.8)

    def test_of_several_with_the_one_of_the_same_head(self):
        exports = (
            measured("scores", 5.0),
            measured("small", 3.0, head("argmax_small")),
            measured("classes", 8.0, head("argmax")),
            measured("int8-classes", 4.0, head("argmax"), **INT8),
            measured("int8-scores", 4.0, **INT8),
            measured("int8-bytes", 4.0, head("argmax", "uint8"), **INT8),
        )
        found = {name: row.latency_baseline for name, row in rows(*exports).items()}
        assert found["int8-classes"] == "classes"
        assert found["int8-scores"] == "scores"
        assert found["int8-bytes"] == "scores"  # none has its head: the first one

    @pytest.mark.parametrize(("policy", "gated"), [(None, False), ("gate", True)])
    def test_not_with_a_reference_that_had_to_run_unoptimized(self, policy, gated):
        wrong = MaskProof.of("oneDNN", [1.0, 0.5])
        fast = measured("fp32", 5.0, limits=Limits(latency_ratio_max=1.0))
        found = report(fast, measured("int8", 4.0, **INT8), latency=policy or "warn", proof=wrong)
        fp32, int8 = found.exports
        assert (fp32.latency_ratio, fp32.latency_baseline) == (None, "")
        check = next(check for check in fp32.checks if check.name == "latency.ratio")
        assert (check.verdict, check.gated) == (Verdict.INCONCLUSIVE, gated)
        assert "the reference had to run without graph optimization" in check.message
        assert (int8.latency_ratio, int8.latency_baseline) == (pytest.approx(0.8), "fp32")
        for form in ("table", "markdown", "html"):
            told = " ".join(render(found, form).split())
            assert "The reference had to run without graph optimization, so no latency ratio is taken to it." in told
        sound = report(fast, proof=MaskProof.of("oneDNN", [1.0, 1.0]))
        assert sound.exports[0].latency_ratio == pytest.approx(0.5)
        assert "had to run without" not in render(sound, "html")

    def test_not_with_one_that_failed(self):
        from segexport.errors import WorkerCrashed

        failed = measured("classes", 8.0, head("argmax"))
        failed.error = WorkerCrashed("it died")
        exports = (measured("scores", 5.0), failed, measured("int8", 4.0, head("argmax"), **INT8))
        assert rows(*exports)["int8"].latency_baseline == "scores"


class TestTrainedWeights:
    @pytest.mark.parametrize("step", ["finetune", "qat"])
    def test_have_limits_of_their_own(self, step):
        entry = LineageEntry(step=step, version="1")
        fp32 = measured("a", 5.0, entry).export.effective_limits
        assert (fp32.miou_margin, fp32.agreement_min, fp32.latency_ratio_max) == (0.005, 0.90, None)
        int8 = measured("a", 5.0, entry, **INT8).export.effective_limits
        assert (int8.miou_margin, int8.agreement_min, int8.latency_ratio_max) == (0.005, 0.90, 0.95)

    def test_pruning_alone_is_no_training(self):
        pruned = measured("a", 5.0, LineageEntry(step="prune", version="1"), **INT8)
        assert pruned.export.effective_limits.miou_margin == 0.01

    def test_a_recipe_still_changes_them(self):
        entry = LineageEntry(step="qat", version="1")
        assert measured("a", 5.0, entry, limits=Limits(miou_margin=0.02)).export.effective_limits.miou_margin == 0.02

    def test_the_gate_uses_them(self):
        plain, trained = measured("plain", 5.0), measured("trained", 5.0, LineageEntry(step="finetune", version="1"))
        found = rows(plain, trained)
        limits = {name: {check.name: check.limit for check in row.checks} for name, row in found.items()}
        assert (limits["plain"]["miou.delta"], limits["trained"]["miou.delta"]) == (-0.0005, -0.005)
        assert (limits["plain"]["agreement.pixels"], limits["trained"]["agreement.pixels"]) == (0.999, 0.90)


def test_labels_of_one_class_are_remarked():
    assert report(measured("fp32", 5.0)).notes == ()
    lonely = tally()
    lonely.class_counts = [np.array([[40, 0, 0], [90, 0, 0], [40, 30, 20]])] * IMAGES
    (note,) = report(measured("fp32", 5.0), own=lonely).notes
    assert note == "the labels hold one class only, ground: mIoU measures little of a model with 3 classes"


def test_times_as_the_report_holds_them():
    found = rows(measured("fp32", 5.0))["fp32"].latency
    assert (found.load_ms, found.first_ms, found.preprocess_ms, found.postprocess_ms) == (7.0, 9.0, 1.5, 0.25)
    assert found.peak_rss_bytes == 5_000_000
    assert len(found.sessions_ms) == 5
    assert len(found.samples_ms) == 60


def test_of_many_samples_every_nth_is_kept_of_all_sessions():
    many = Timing(sessions_ms=np.repeat(np.arange(1.0, 9.0), 3 * 500).reshape(8, 3, 500))
    found = times_of(many, 1, "Some CPU", 1.0, 1.0)
    assert len(found.samples_ms) == 2000
    assert sorted(set(found.samples_ms)) == [1, 2, 3, 4, 5, 6, 7, 8]
