"""Regressions against an earlier report: what is worse fails, what is better is told, what is neither passes."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from report_sample import passing_report

from segexport.errors import InputError
from segexport.recipe.tolerances import Tolerances
from segexport.references.baseline import against, compare_with_baseline
from segexport.report import render
from segexport.report.schema import InstructionCount, Report
from segexport.spec import Label
from segexport.verdict import Check, Verdict

WHERE = Path("old/report.json")


def changed(report: Report, **changes) -> Report:
    """The report with its only export changed."""
    return report.model_copy(update={"exports": (report.exports[0].model_copy(update=changes),)})


def held(now: Report, before: Report | None = None, *, latency_gated: bool = False, **tolerances: float) -> Report:
    before = before or passing_report()
    return against(now, before, Tolerances(**tolerances), where=WHERE, latency_gated=latency_gated)


def found(report: Report, name: str) -> Check:
    return next(check for check in report.exports[0].checks if check.name == f"baseline.{name}")


def slower(report: Report, factor: float, **changes) -> Report:
    latency = report.exports[0].latency
    sessions = tuple(value * factor for value in latency.sessions_ms)
    return changed(report, latency=latency.model_copy(update={"sessions_ms": sessions, **changes}))


def test_the_same_again_passes():
    report = held(passing_report())
    assert report.verdict is Verdict.PASS
    names = [check.name for check in report.exports[0].checks if check.name.startswith("baseline.")]
    assert names == ["baseline.miou", "baseline.agreement", "baseline.size", "baseline.latency"]
    assert report.baseline.changed == ()
    assert "Nothing that is named changed." in render(report, "markdown")


@pytest.mark.parametrize(
    ("name", "changes", "limit"),
    [
        ("miou", {"miou": 0.63649 - 0.0011}, "0.001"),
        ("agreement", {"agreement": 0.999961 - 0.0006}, "0.0005"),
        ("size", {"size_bytes": int(1_498_112 * 1.02)}, "1%"),
    ],
)
def test_worse_fails(name, changes, limit):
    report = held(changed(passing_report(), **changes))
    check = found(report, name)
    assert (check.verdict, report.verdict) == (Verdict.FAIL, Verdict.FAIL)
    assert limit in check.message
    assert "unexplained: nothing that the two reports name has changed" in check.message
    assert all(found(report, other).verdict is Verdict.PASS for other in {"miou", "agreement", "size"} - {name})


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("miou", {"miou": 0.63649 - 0.0009}),
        ("agreement", {"agreement": 0.999961 - 0.0004}),
        ("size", {"size_bytes": int(1_498_112 * 1.009)}),
    ],
)
def test_a_little_worse_passes(name, changes):
    report = held(changed(passing_report(), **changes))
    assert found(report, name).verdict is Verdict.PASS
    assert report.verdict is Verdict.PASS


def test_tolerances_are_the_users():
    worse = changed(passing_report(), miou=0.63649 - 0.0011)
    assert held(worse, miou=0.002).verdict is Verdict.PASS
    assert held(worse, miou=0.002).baseline.tolerances["miou"] == 0.002


def test_an_unexplained_improvement_is_told_and_does_not_fail():
    report = held(changed(passing_report(), miou=0.64))
    check = found(report, "miou")
    assert (check.verdict, check.gated, report.verdict) == (Verdict.INCONCLUSIVE, False, Verdict.PASS)
    assert "better than the baseline by more than 0.001; unexplained" in check.message
    for form in ("table", "markdown", "html"):
        assert "better than the baseline" in " ".join(render(report, form).split()), form


def test_what_changed_is_named():
    now = changed(passing_report(), miou=0.6, digest="new", runtime="onnxruntime 1.24.0")
    packages = {"python": "3.10.0", "packages": {"onnxruntime": "1.24.0", "numpy": "1.26.4"}, "cpus": 2}
    report = held(now.model_copy(update={"environment": packages, "segexport_version": "0.2.0"}))
    message = found(report, "miou").message
    for words in (
        "the export's files",
        "runtime onnxruntime -> onnxruntime 1.24.0",
        "segexport 0.1.0 -> 0.2.0",
        "onnxruntime 1.23.2 -> 1.24.0",
    ):
        assert words in message
    assert "unexplained" not in message
    assert report.baseline.changed == ("segexport 0.1.0 -> 0.2.0", "onnxruntime 1.23.2 -> 1.24.0")


class TestLatency:
    @pytest.mark.parametrize(("gated", "verdict"), [(True, Verdict.FAIL), (False, Verdict.PASS)])
    def test_slower_on_the_same_device_is_found(self, gated, verdict):
        report = held(slower(passing_report(), 1.3), latency_gated=gated)
        check = found(report, "latency")
        assert (check.verdict, check.gated, report.verdict) == (Verdict.FAIL, gated, verdict)
        assert check.value == pytest.approx(1.3)

    def test_a_little_slower_passes(self):
        assert found(held(slower(passing_report(), 1.05)), "latency").verdict is Verdict.PASS

    def test_what_a_busy_machine_leaves_undecided_is_never_red(self):
        """Half as fast to three times as slow, against times of another day."""
        latency = passing_report().exports[0].latency
        noise = (0.5, 3.0, 0.6, 2.0) * len(latency.sessions_ms)
        sessions = tuple(ms * factor for ms, factor in zip(latency.sessions_ms, noise, strict=False))
        latency = latency.model_copy(update={"sessions_ms": sessions})
        report = held(changed(passing_report(), latency=latency), latency_gated=True)
        check = found(report, "latency")
        assert (check.verdict, check.gated, report.verdict) == (Verdict.INCONCLUSIVE, False, Verdict.PASS)

    @pytest.mark.parametrize(
        ("policy", "tolerances", "red"),
        [
            (None, {}, False),
            (None, {"latency": 0.1}, True),
            ("gate", {}, True),
            ("warn", {"latency": 0.1}, False),
            (None, {"miou": 0.01}, False),
        ],
    )
    def test_who_decides(self, tmp_path, policy, tolerances, red):
        (tmp_path / "report.json").write_text(render(passing_report(), "json"))
        finish = compare_with_baseline(tmp_path, Tolerances(**tolerances), policy)
        assert finish(slower(passing_report(), 1.3)).verdict is (Verdict.FAIL if red else Verdict.PASS)

    @pytest.mark.parametrize("other", [{"device": "Another CPU"}, {"threads": 4}])
    def test_another_device_decides_nothing(self, other):
        report = held(slower(passing_report(), 3.0, **other))
        check = found(report, "latency")
        assert (check.verdict, report.verdict) == (Verdict.SKIPPED, Verdict.PASS)
        assert "not compared" in check.message

    def test_a_report_without_sessions_decides_nothing(self):
        report = passing_report()
        bare = report.exports[0].latency.model_copy(update={"sessions_ms": ()})
        assert found(held(changed(report, latency=bare)), "latency").verdict is Verdict.SKIPPED

    def test_no_times_no_check(self):
        report = held(changed(passing_report(), latency=None))
        assert all(check.name != "baseline.latency" for check in report.exports[0].checks)


def test_an_export_that_is_gone_fails():
    before = passing_report()
    more = before.model_copy(update={"exports": (*before.exports, before.exports[0].model_copy(update={"name": "b"}))})
    report = held(passing_report(), more)
    assert [export.name for export in report.exports] == ["onnx-fp32", "b"]
    assert report.verdict is Verdict.FAIL
    assert "was not checked now" in render(report, "annotations")


def test_an_export_that_is_new_is_not_compared():
    report = held(changed(passing_report(), name="new"), passing_report())
    new = report.exports[0].checks[-1]
    assert (new.name, new.verdict, new.gated) == ("baseline.present", Verdict.SKIPPED, False)


def test_an_export_that_had_no_figures_is_not_compared():
    before = changed(passing_report(), miou=None, agreement=None, verdict=Verdict.ERROR)
    assert "it was ERROR in the baseline" in found(held(passing_report(), before), "present").message


def test_an_error_stays_an_error():
    now = changed(passing_report(), verdict=Verdict.ERROR, error="it broke", checks=(), miou=None, agreement=None)
    report = held(now)
    assert (report.verdict, report.exports[0].error) == (Verdict.ERROR, "it broke")


class TestAnotherBaseline:
    def test_other_classes(self):
        labels = (Label(id=0, name="cat", rgb=(1, 2, 3)), Label(id=1, name="dog", rgb=(1, 2, 3)))
        before = passing_report().model_copy(update={"labels": labels})
        with pytest.raises(InputError, match=r"^old/report\.json: the baseline has other classes") as caught:
            held(passing_report(), before)
        assert "cat, dog there" in caught.value.cause

    @pytest.mark.parametrize("change", [{"fingerprint": "0" * 64}, {"images": 7}, {"label_map": {}}])
    def test_other_images(self, change):
        before = passing_report()
        data = before.dataset.model_copy(update=change)
        with pytest.raises(InputError, match="measured on other images, other labels or another label map"):
            held(passing_report(), before.model_copy(update={"dataset": data}))

    def test_another_metric(self):
        before = passing_report().model_copy(update={"metric": "mIoU over all classes, absent ones as 0"})
        with pytest.raises(InputError, match="counts mIoU by another rule"):
            held(passing_report(), before)


class TestTolerances:
    def test_from_strings(self):
        assert Tolerances.from_strings(("miou=0.002", "latency=0.25")) == Tolerances(miou=0.002, latency=0.25)
        assert Tolerances.from_strings(()) == Tolerances()

    @pytest.mark.parametrize("text", ["miou", "miou=", "miou=-1", "miou=nan", "speed=1", "=1", "miou=2"])
    def test_nonsense(self, text):
        with pytest.raises(InputError, match="--tolerance") as caught:
            Tolerances.from_strings((text,))
        assert "miou, agreement, size, latency" in caught.value.hint


def test_every_form_shows_a_regression():
    report = held(changed(passing_report(), miou=0.6))
    cases = ElementTree.fromstring(render(report, "junit")).iter("testcase")
    failed = {case.get("name") for case in cases if case.find("failure") is not None}
    assert failed == {"baseline.miou"}
    assert "::error title=FAIL%3A onnx-fp32::baseline.miou" in render(report, "annotations")
    for form in ("table", "markdown", "html"):
        assert "worse than the baseline" in " ".join(render(report, form).split()), form


@pytest.mark.parametrize(
    ("now", "verdict"), [(1_010_000, Verdict.PASS), (1_010_001, Verdict.FAIL), (900_000, Verdict.PASS)]
)
def test_one_per_cent_more_instructions_fail(now, verdict):
    """The processor that grew most decides."""

    def counts(**each: int) -> dict:
        return {name: InstructionCount(instructions=n, counted_by="ORT 1") for name, n in each.items()}

    before = changed(passing_report(), instructions=counts(a76=1_000_000, a53=2_000_000))
    report = held(changed(passing_report(), instructions=counts(a76=now, a53=1_000_000)), before)
    check = found(report, "instructions")
    assert (check.verdict, report.verdict) == (verdict, verdict)
    assert "1,000,000 -> " in check.message
    assert (
        held(changed(passing_report(), instructions=counts(a76=now)), before, instructions=0.02).verdict is Verdict.PASS
    )


def test_counts_of_another_runtime_are_not_compared():
    before = changed(passing_report(), instructions={"a76": InstructionCount(instructions=1, counted_by="ORT 1")})
    other = changed(passing_report(), instructions={"a76": InstructionCount(instructions=9, counted_by="ORT 2")})
    for now in (other, passing_report()):
        assert found(held(now, before), "instructions").verdict is Verdict.SKIPPED
    assert held(other).verdict is Verdict.PASS  # none in the baseline: nothing to compare
