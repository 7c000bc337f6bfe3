"""The steps of action.yml, run one by one as a runner does, on the built-in model."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from composite import REPOSITORY, run_action
from jobs import github_job
from services import github
from workplace import make_workplace

from segexport.artifact import file_entry, read_artifact, write_artifact

ACTION = yaml.safe_load((REPOSITORY / "action.yml").read_text(encoding="utf-8"))
OPTIONS = "--split all --limit 3 --latency-seconds 0"


def inputs(**changes: str) -> dict[str, str]:
    given = {"install": "false", "reference": "model", "data": "data", "exports": "exports/*", "arguments": OPTIONS}
    return given | changes


def test_every_action_is_pinned_and_no_input_enters_a_script():
    """An input in a script could carry commands; it goes through the environment."""
    for step in ACTION["runs"]["steps"]:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step.get("uses", "a@" + "0" * 40)), step["name"]
        assert "${{" not in step.get("run", ""), step["name"]


def test_without_a_report_the_job_fails_with_the_error(tmp_path):
    done = run_action(
        tmp_path, inputs(exports="none; touch hacked"), github_job(tmp_path, "http://127.0.0.1:9"), tmp_path
    )
    assert done.code == 2
    assert "error: data: no such folder" in done.log
    assert done.steps["Upload the report"] == done.steps["Comment"] == "skipped"
    assert done.outputs["verdict"] == ""
    assert not (tmp_path / "hacked").exists()


@pytest.mark.slow
def test_a_good_change_passes_and_a_bad_one_is_told_everywhere(tmp_path):
    """A run of main leaves the baseline; then come a request that changes nothing, and one that breaks a model."""
    place = make_workplace(tmp_path / "work", tmp_path / "cache")
    done = place.segexport("export", "model", "--to", "onnx", "-o", "exports/onnx-fp32")
    assert done.code == 0, done.stderr
    with github() as service:
        main = github_job(tmp_path, service.url, pull_request=False, run="1")
        store = {"baseline": "artifact", "pictures-branch": "pictures"}
        first = run_action(place.root, inputs(**store), main, tmp_path / "1")
        assert (first.code, first.outputs["verdict"]) == (0, "PASS"), first.log
        assert "no comment: this job does not run for a pull request" in first.log
        service.add_artifact("segexport-report", first.uploads["segexport-report"])

        job = github_job(tmp_path, service.url, run="2")
        good = run_action(place.root, inputs(**store), job, tmp_path / "2")
        assert (good.code, good.outputs["verdict"]) == (0, "PASS"), good.log
        assert "::notice title=segexport%3A PASS::" in good.log
        assert good.summary.startswith("## ✅")
        assert "### Since the baseline of" in service.comments[0]["body"]
        assert "1 passed" in good.uploads["segexport-report"]["badge.svg"].decode()

        break_model(place.root / "exports/onnx-fp32")
        bad = run_action(place.root, inputs(**store), job, tmp_path / "3")
        assert (bad.code, bad.outputs["verdict"]) == (1, "FAIL"), bad.log
        assert bad.steps["Verdict"] == "failure"
        assert "::error file=exports/onnx-fp32/manifest.json,line=1,title=FAIL%3A onnx-fp32::" in bad.log
        assert len(service.comments) == 1
        body = service.comments[0]["body"]
        assert "❌" in body.splitlines()[1]
        assert re.search(r"!\[.*\]\(https://github.com/octo/nets/blob/pictures/\w+\.png\?raw=true\)", body)
        assert bad.outputs["artifact-url"] in body
        sarif = json.loads(bad.uploads["segexport-report"]["report.sarif"])
        assert {"baseline.miou", "agreement.pixels"} <= {one["ruleId"] for one in sarif["runs"][0]["results"]}


@pytest.mark.slow
def test_the_baseline_is_kept_in_the_shared_store(tmp_path):
    place = make_workplace(tmp_path / "work", tmp_path / "cache")
    assert place.segexport("export", "model", "--to", "onnx", "-o", "exports/onnx-fp32").code == 0
    (tmp_path / "store").mkdir()
    given = inputs(baseline="store", store=str(tmp_path / "store"), comment="false")
    for number, pull_request in enumerate((False, True)):
        job = github_job(tmp_path, "http://127.0.0.1:9", pull_request=pull_request)
        done = run_action(place.root, given, job, tmp_path / str(number))
        assert (done.code, done.outputs["verdict"]) == (0, "PASS"), done.log
        assert done.steps["Keep the baseline"] == ("skipped" if pull_request else "success")
        assert ("### Since the baseline of" in done.summary) is pull_request
    assert (tmp_path / "store/baselines/octo/nets/main/report/report.json").is_file()


def break_model(folder: Path) -> None:
    """Spoils weights of the model and describes the new file in the manifest, as a bad conversion would."""
    import numpy as np
    import onnx

    manifest = read_artifact(folder).manifest
    entry = next(entry for entry in manifest.files if entry.role == "model")
    model = onnx.load(str(folder / entry.path))
    weights = [one for one in model.graph.initializer if len(one.dims) == 4]
    spoilt = onnx.numpy_helper.to_array(weights[0])
    noise = np.random.default_rng(0).normal(0, spoilt.std(), spoilt.shape).astype(spoilt.dtype)
    weights[0].CopyFrom(onnx.numpy_helper.from_array(spoilt + noise, weights[0].name))
    onnx.save(model, str(folder / entry.path))
    files = tuple(file_entry(folder, one.path, one.role) if one == entry else one for one in manifest.files)
    write_artifact(folder, manifest.model_copy(update={"files": files}))
