"""What `compress` ships: accuracy has to be proven, and only a finalist that is surely slower than fp32 is refused."""

from __future__ import annotations

import pytest
from report_sample import passing_report

from segexport.commands import compress
from segexport.exporter.targets.onnx import OnnxExport
from segexport.progress import SILENCE
from segexport.search.candidate import Attempt, Candidate, Trial
from segexport.search.loop import Outcome
from segexport.search.objective import Goal
from segexport.search.time_budget import ImageCounts, TimeBudget
from segexport.spec import Format, Precision

INT8 = Candidate(export=OnnxExport(to=Format.ONNX, precision=Precision.INT8))
POINT = Trial(attempt=Attempt(candidate=INT8, stage="precision", idea="all int8"))


def verdict(monkeypatch, tmp_path, objective: str = "latency", **changes):
    """(what is shipped, the sentence) where the check of the one finalist has these results."""
    report = passing_report()
    result = report.exports[0].model_copy(update={"name": "compressed", **changes})
    fp32 = report.exports[0].model_copy(update={"name": "fp32"})
    checked = report.model_copy(update={"exports": (fp32, result)})
    judge = compress._Judge.__new__(compress._Judge)
    judge._goal, judge._feedback, judge.failed = Goal(max_miou_drop=0.005, objective=objective), SILENCE, []
    judge._budget = TimeBudget(900.0, ImageCounts(10, 50, 50))
    monkeypatch.setattr(judge, "_checked", lambda _point, _out: (None, checked))
    monkeypatch.setattr(compress, "finalists", lambda _goal, _points: [POINT])
    monkeypatch.setattr(compress, "_write_recipe", lambda *_: None)
    shipped, _, sentence = judge.verdict(Outcome([POINT]), tmp_path)
    return shipped, sentence


@pytest.mark.parametrize(
    ("interval", "ships"), [((0.5, 0.7), True), ((0.42, 1.44), True), (None, True), ((1.1, 1.3), False)]
)
def test_times_that_decide_nothing_refuse_nothing(monkeypatch, tmp_path, interval, ships):
    accuracy = {"miou_delta": -0.001, "miou_delta_interval": (-0.002, 0.0)}
    times = {"latency_ratio": 1.2 if interval == (1.1, 1.3) else 0.77, "latency_ratio_interval": interval}
    shipped, sentence = verdict(monkeypatch, tmp_path, **accuracy, **times)
    assert (shipped is POINT) == ships
    if ships:
        assert "0.77x its time" in sentence
    else:
        assert "all int8: slower than fp32, 1.20x its time (1.10 to 1.30)." in sentence


def test_for_size_a_slower_file_is_no_fault_of_the_verdict(monkeypatch, tmp_path):
    accuracy = {"miou_delta": -0.001, "miou_delta_interval": (-0.002, 0.0)}
    times = {"latency_ratio": 1.2, "latency_ratio_interval": (1.1, 1.3)}
    shipped, _ = verdict(monkeypatch, tmp_path, "size", **accuracy, **times)
    assert shipped is POINT


def test_accuracy_has_to_be_proven(monkeypatch, tmp_path):
    changes = {"miou_delta": -0.001, "miou_delta_interval": (-0.006, 0.004), "latency_ratio": 0.5}
    shipped, sentence = verdict(monkeypatch, tmp_path, **changes)
    assert shipped is None
    assert sentence.startswith("fp32 is shipped: what the search found is not proven on the verdict images. all int8:")
