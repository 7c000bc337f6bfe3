"""The step: targets, what looks at images, sensitivities, latency, and what is refused before the work starts."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from segexport.artifact import ModelArtifact, read_artifact, write_artifact
from segexport.compress import latency_target, sensitivity
from segexport.compress.channel_analysis import analyze
from segexport.compress.cost import macs, parameters
from segexport.compress.finetune import Finetune
from segexport.compress.prune_step import REPORT, Prune
from segexport.errors import InputError, WorkerFailed
from segexport.exporter.program import Program, read
from segexport.pipeline.step import StepContext


def pruned(artifact: ModelArtifact, folder, context=None, **params) -> tuple[Program, dict]:
    folder.mkdir()
    write_artifact(folder, Prune(Prune.Params(**params)).run(artifact, folder, context or StepContext(key="k")))
    made = read_artifact(folder)
    return read(made.file("model"), made.file("params")), json.loads((folder / REPORT).read_text())


@pytest.fixture
def context(data):
    return StepContext(key="k", data=data, seed=3)


@pytest.mark.parametrize(
    ("params", "cost"),
    [({"keep_macs": 0.5}, macs), ({"keep_parameters": 0.4}, parameters), ({"keep_bytes": 0.4}, parameters)],
)
def test_targets_are_met(artifact, segmenter, params, cost, tmp_path):
    program, report = pruned(artifact, tmp_path / "out", **params)
    share = cost(program) / cost(segmenter)
    assert 0.5 * next(iter(params.values())) < share <= next(iter(params.values()))
    assert report["costs"]["macs"] == [macs(segmenter), macs(program)]
    assert report["seconds"] > 0


@pytest.mark.parametrize(
    ("criterion", "widths"),
    [("fisher", "uniform"), ("fisher", "global"), ("l1", "isomorphic"), ("redundancy", "isomorphic")],
)
def test_images_decide_in_stages(criterion, widths, artifact, segmenter, context, tmp_path):
    program, report = pruned(
        artifact,
        tmp_path / "out",
        context,
        keep_macs=0.5,
        criterion=criterion,
        widths=widths,
        stages=2,
        reconstruct=True,
        images=4,
        align=2,
    )
    assert macs(program) <= 0.5 * macs(segmenter)
    first, second = report["stages"]
    assert 0.5 < first["macs_kept"] <= 0.5**0.5 + 1e-4
    assert second["macs_kept"] == pytest.approx(macs(program) / macs(segmenter), abs=1e-3)
    assert second["peak_rss_bytes"] > 1e7


def test_isomorphic_widths_need_no_images(artifact, segmenter, tmp_path):
    program, _ = pruned(artifact, tmp_path / "out", keep_macs=0.5, widths="isomorphic", least_kept=0.1, align=2)
    assert macs(program) <= 0.5 * macs(segmenter)


def test_sensitivities_are_measured_once_and_chosen_from(artifact, segmenter, context, tmp_path):
    file = tmp_path / "sensitivities.json"
    params = {"sensitivities_file": str(file), "eval_metric_loss": 0.3, "images": 2}
    program, report = pruned(artifact, tmp_path / "out", context, **params)
    found = sensitivity.load(file)
    assert list(found) == [group.name for group in analyze(segmenter).groups]
    assert report["ratios"] == sensitivity.ratios_by_loss(found, 0.3)
    assert macs(program) < macs(segmenter)
    kept = json.loads(file.read_text())
    kept[next(iter(found))] = {"0.25": 0.0, "0.5": 0.0, "0.75": 0.0}  # a second run believes the file
    file.write_text(json.dumps(kept))
    _, again = pruned(artifact, tmp_path / "again", context, **params)
    assert again["ratios"][next(iter(found))] == 0.75


def test_a_pickle_as_paddlex_writes_it_is_read(artifact, segmenter, context, tmp_path):
    """PaddleSlim's values are NumPy scalars; parameters that it does not name stay whole."""
    name = analyze(segmenter).groups[-1].name
    file = tmp_path / "sensitivities.data"
    file.write_bytes(pickle.dumps({name: {0.5: np.float64(0.01), 0.75: np.float32(0.5)}, "elsewhere": {0.5: 0.0}}))
    program, report = pruned(artifact, tmp_path / "out", context, sensitivities_file=str(file), align=2)
    assert report["ratios"] == {name: pytest.approx(0.5 + 0.25 * 0.04 / 0.49)}
    assert sum(program.shape(each) != segmenter.shape(each) for each in program.params) > 0
    assert program.shape(analyze(segmenter).groups[0].name) == segmenter.shape(analyze(segmenter).groups[0].name)


class _Bad:
    def __reduce__(self):
        return (print, ("run by a pickle",))


@pytest.mark.parametrize(
    "content", [pickle.dumps({"w": _Bad()}), pickle.dumps([1]), b"\x80", pickle.dumps({"w": {0.5: "x"}})]
)
def test_a_pickle_of_anything_else_is_refused_and_not_run(content, tmp_path, capfd):
    file = tmp_path / "bad.data"
    file.write_bytes(content)
    with pytest.raises(InputError, match="not a file of sensitivities"):
        sensitivity.load(file)
    assert "run by a pickle" not in capfd.readouterr().out


def test_sensitivities_of_another_model_are_refused(artifact, context, tmp_path):
    file = tmp_path / "s.json"
    file.write_text(json.dumps({"elsewhere": {"0.5": 0.0}}))
    with pytest.raises(InputError, match=r"of another model[\s\S]*elsewhere"):
        pruned(artifact, tmp_path / "out", context, sensitivities_file=str(file))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"ratio": 1.0}, "less than 1"),
        ({"ratio": -0.1}, "greater than or equal to 0"),
        ({}, "one of them"),
        ({"ratio": 0.5, "keep_macs": 0.5}, "one of them"),
        ({"keep_macs": 0.5, "widths": "global"}, "criterion: fisher"),
        ({"ratio": 0.5, "widths": "isomorphic"}, "one of the keep_ targets"),
        ({"keep_macs": 0.5, "stages": 3}, "measured for each stage"),
        ({"keep_macs": 0.0}, "greater than 0"),
    ],
)
def test_what_makes_no_sense_is_refused(params, message):
    with pytest.raises(ValidationError, match=message):
        Prune.Params(**params)


def test_what_leaves_no_channel_is_refused_before_images_are_looked_at(artifact, context, tmp_path):
    with pytest.raises(InputError, match="to 1% of its multiply-accumulates"):
        pruned(artifact, tmp_path / "plain", keep_macs=0.01)
    params = {"criterion": "fisher", "widths": "global", "stages": 3, "images": 1}
    with pytest.raises(WorkerFailed, match="to 1% of its multiply-accumulates"):
        pruned(artifact, tmp_path / "seen", context, keep_macs=0.01, **params)
    with pytest.raises(InputError, match="images"):
        pruned(artifact, tmp_path / "none", keep_macs=0.5, criterion="fisher")


def test_latency_is_bisected():
    """Time falls with the square root of the cost: a quarter of the time is a sixteenth of the cost."""
    asked = []

    def make(share):
        asked.append(share)
        if share < 0.05:
            raise InputError("too narrow")
        return share

    share, tried = latency_target.macs_for_latency(make, lambda share: share**0.5, 0.5, tries=8)
    assert asked[:2] == [0.5, 0.25]
    assert share == 0.25
    assert all(each.latency_kept == pytest.approx(each.macs_kept**0.5, abs=1e-3) for each in tried)
    with pytest.raises(InputError, match=r"to 1% of its time[\s\S]*took 2"):
        latency_target.macs_for_latency(make, lambda share: share**0.5, 0.01, tries=8)


def test_a_measured_latency_is_a_target(artifact, segmenter, tmp_path):
    """Paddle's runtime and a tiny network, for which every cut is fast enough: tests the procedure, not the speed."""
    program, report = pruned(artifact, tmp_path / "out", keep_latency=0.999, latency_in="paddle", keep_macs=0.6)
    assert report["latency"]["in"] == "paddle"
    assert macs(program) <= 0.6 * macs(segmenter)
    assert all(0 < each["latency_kept"] < 20 for each in report["latency"]["tried"])


def test_the_recipe_of_the_page_holds():
    page = (Path(__file__).resolve().parents[2] / "docs" / "pruning.md").read_text(encoding="utf-8")
    recipe = yaml.safe_load(page.split("```yaml")[1].split("```")[0])
    params = {step["step"]: step["params"] for step in recipe["steps"]}
    assert Prune.Params.model_validate(params["prune"]).reconstruct
    assert Finetune.Params.model_validate(params["finetune"]).augmentation.views == 3
